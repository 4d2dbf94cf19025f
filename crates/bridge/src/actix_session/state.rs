//! A state of actix-session: a JSON object whose values are texts, each of which is JSON.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{OldSession, OldSessionError};

/// The maximum length of a session key, as in actix-session.
const MAX_KEY_LEN: usize = 4_064;

/// Whether the other library would accept the text as a session key.
pub(super) fn is_key(text: &str) -> bool {
    text.len() <= MAX_KEY_LEN
}

pub(crate) fn session(text: &[u8]) -> Result<OldSession, OldSessionError> {
    let state: BTreeMap<String, String> =
        serde_json::from_slice(text).map_err(OldSessionError::unreadable)?;
    let value = |(name, text): (String, String)| {
        let value = serde_json::from_str::<Value>(&text).map_err(OldSessionError::unreadable)?;
        Ok((name, value))
    };
    state.into_iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_read_from_their_texts() {
        let state = br#"{"user":"\"ada\"","count":"3","roles":"[\"admin\"]"}"#;
        let values = json!({ "user": "ada", "count": 3, "roles": ["admin"] });
        assert_eq!(session(state).unwrap().values(), values.as_object().unwrap());
        assert!(session(b"{}").unwrap().values().is_empty());
    }

    #[test]
    fn other_texts_are_unreadable() {
        let deep = format!(r#"{{"a":"{}"}}"#, "[".repeat(100_000));
        for bad in ["", "null", "[]", r#"{"a":1}"#, r#"{"a":"ada"}"#, r#"{"a":"1"} x"#, &deep] {
            assert!(!session(bad.as_bytes()).unwrap_err().is_unavailable());
        }
    }
}
