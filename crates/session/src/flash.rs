/// A message for the next page that is shown: "saved", "signed in from a new device".
///
/// It is kept with the session until somebody [takes](crate::Manager::take_flashes) it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Flash {
    kind: Box<str>,
    text: Box<str>,
}

impl Flash {
    /// How many wait in a session at the most; for one more the oldest goes.
    pub const MAX_WAITING: usize = 16;

    /// The longest text that is kept, in bytes; a longer one is cut.
    pub const MAX_TEXT_LEN: usize = 1_024;

    /// The longest name of a kind that is kept, in bytes; a longer one is cut.
    pub const MAX_KIND_LEN: usize = 32;

    /// A message of a kind, such as `success`, `info` or `error`, by which pages tell them apart.
    pub fn new(kind: &str, text: &str) -> Self {
        Self {
            kind: cut(kind, Self::MAX_KIND_LEN).into(),
            text: cut(text, Self::MAX_TEXT_LEN).into(),
        }
    }

    /// Of which kind it is.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What it says. It is text and no markup: pages have to escape it.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The text, or as much of its beginning as has at most `len_max` bytes.
pub(crate) fn cut(text: &str, len_max: usize) -> &str {
    let mut end = text.len().min(len_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
