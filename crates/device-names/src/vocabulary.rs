//! The words of names, so that a name contains no text that a client sent.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Word by kind (`browser`, `tool`, `system`) and name in uap-core.
static WORDS: LazyLock<HashMap<(&str, &str), &str>> = LazyLock::new(|| lines().collect());

fn lines() -> impl Iterator<Item = ((&'static str, &'static str), &'static str)> {
    include_str!("../data/vocabulary.tsv").lines().filter_map(|line| {
        let (kind, rest) = line.split_once('\t')?;
        let (name, word) = rest.split_once('\t')?;
        Some(((kind, name), word))
    })
}

/// The word for a name, if the vocabulary has one.
pub(crate) fn word(kind: &str, name: &str) -> Option<&'static str> {
    WORDS.get(&(kind, name)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_plain_short_and_listed_once() {
        for ((kind, name), expected) in lines() {
            assert_eq!(word(kind, name), Some(expected));
            assert!(["browser", "tool", "system"].contains(&kind), "{kind}");
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" -".contains(&byte);
            assert!(expected.len() <= 24 && expected.bytes().all(plain), "{expected}");
        }
        assert_eq!(lines().count(), WORDS.len());
        assert_eq!(word("browser", "Evil"), None);
    }
}
