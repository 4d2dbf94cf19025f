use std::sync::Arc;

use crate::Owner;
use crate::flash::cut;

/// Who caused an event, and why: a person, or a program such as a nightly job. For
/// [`Manager::by`](crate::Manager::by).
///
/// Neither text can forge a line of the log: it is cut at its limit, and U+FFFD takes the place of
/// each control character and of each character that changes the direction of text.
///
/// ```
/// use kvolt_session::{Actor, Owner};
///
/// let actor = Actor::new("admin:7").because("phone stolen\nticket 4711");
/// assert_eq!(actor.name(), "admin:7");
/// assert_eq!(actor.reason(), Some("phone stolen\u{fffd}ticket 4711"));
/// assert_eq!(Actor::from(&Owner::from(7u64)).name(), "7");
/// ```
#[must_use = "an actor does nothing until `Manager::by` receives it"]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Actor(Arc<Texts>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Texts {
    name: Box<str>,
    reason: Option<Box<str>>,
}

impl Actor {
    /// The longest name, in bytes: that of an [`Owner`]. A longer one is cut.
    pub const MAX_NAME_LEN: usize = Owner::MAX_LEN;

    /// The longest reason, in bytes. A longer one is cut.
    pub const MAX_REASON_LEN: usize = 500;

    /// Makes an actor of its name, such as an account's id with a prefix.
    pub fn new(name: &str) -> Self {
        Self(Arc::new(Texts { name: clean(name, Self::MAX_NAME_LEN), reason: None }))
    }

    /// Sets the reason, in the actor's own words.
    pub fn because(mut self, reason: &str) -> Self {
        Arc::make_mut(&mut self.0).reason = Some(clean(reason, Self::MAX_REASON_LEN));
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The reason, if one was given.
    pub fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }
}

impl From<&str> for Actor {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<&Owner> for Actor {
    fn from(owner: &Owner) -> Self {
        Self::new(owner.as_str())
    }
}

fn clean(text: &str, len_max: usize) -> Box<str> {
    let is_unsafe = |char: char| {
        let changes_lines_or_direction = matches!(
            char,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        );
        char.is_control() || changes_lines_or_direction
    };
    let text = cut(text, len_max);
    match text.contains(is_unsafe) {
        // The replacement may be longer than what it replaces.
        true => cut(&text.replace(is_unsafe, "\u{fffd}"), len_max).into(),
        false => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut() {
        let actor = Actor::new(&"é".repeat(200)).because(&"\n".repeat(600));
        assert_eq!(actor.name(), "é".repeat(127));
        assert_eq!(actor.reason(), Some(&*"\u{fffd}".repeat(166)));
    }

    #[test]
    fn characters_that_forge_log_lines_are_replaced() {
        for bad in ["\n", "\r", "\0", "\u{1b}", "\u{85}", "\u{2028}", "\u{202e}", "\u{2066}"] {
            let actor = Actor::new(&format!("a{bad}b")).because(bad);
            assert_eq!((actor.name(), actor.reason()), ("a\u{fffd}b", Some("\u{fffd}")), "{bad:?}");
        }
        assert_eq!(Actor::new("größe 1 日本").name(), "größe 1 日本");
    }
}
