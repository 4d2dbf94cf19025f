use std::fmt;

use kvolt_cache::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::OldSessionError;
use crate::actix_session::state;
use crate::tower_sessions::record;

/// A session of the other library: named values, and its end.
///
/// ```
/// use kvolt_bridge::OldSession;
/// use serde_json::json;
///
/// let mut old = OldSession::new();
/// old.insert("user_id", json!(42));
/// assert_eq!(old.get::<u64>("user_id")?, Some(42));
/// assert_eq!(old.get::<String>("theme")?, None);
/// assert!(old.get::<String>("user_id").is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct OldSession {
    values: Map<String, Value>,
    expires_at: Option<Timestamp>,
}

impl OldSession {
    /// A session without values and without an end.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a record of tower-sessions 0.14 in MessagePack, as its released stores write it. For a
    /// store that this crate does not know. `id` is the value of its cookie.
    ///
    /// ```
    /// use kvolt_bridge::OldSession;
    ///
    /// let read = OldSession::from_tower_sessions("AAECAwQFBgcICQoLDA0ODw", b"something else");
    /// assert!(!read.unwrap_err().is_unavailable());
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the bytes are not such a record of this id
    /// ([`OldSessionError::unreadable`]).
    pub fn from_tower_sessions(id: &str, record: &[u8]) -> Result<Self, OldSessionError> {
        record::session(id, record)
    }

    /// Reads a state of actix-session 0.11: a JSON object whose values are texts, each of which is
    /// JSON. For a store that this crate does not know.
    ///
    /// ```
    /// use kvolt_bridge::OldSession;
    ///
    /// let old = OldSession::from_actix_session(br#"{"user_id":"42"}"#)?;
    /// assert_eq!(old.get::<u64>("user_id")?, Some(42));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the text is not such a state ([`OldSessionError::unreadable`]).
    pub fn from_actix_session(state: &[u8]) -> Result<Self, OldSessionError> {
        state::session(state)
    }

    /// Sets a value.
    pub fn insert(&mut self, name: impl Into<String>, value: Value) {
        self.values.insert(name.into(), value);
    }

    /// Sets when the session ends. Defaults to never.
    ///
    /// ```
    /// use kvolt_bridge::OldSession;
    /// use kvolt_cache::Timestamp;
    ///
    /// let end = Timestamp::from_millis(1_800_000_000_000);
    /// assert_eq!(OldSession::new().expiring_at(end).expires_at(), Some(end));
    /// ```
    #[must_use]
    pub fn expiring_at(mut self, end: impl Into<Option<Timestamp>>) -> Self {
        self.expires_at = end.into();
        self
    }

    /// Returns a value; `None` if the session has none of this name.
    ///
    /// # Errors
    ///
    /// Returns an error if the value is not a `V`.
    pub fn get<V: DeserializeOwned>(&self, name: &str) -> Result<Option<V>, serde_json::Error> {
        self.values.get(name).map(V::deserialize).transpose()
    }

    /// All values by their names.
    ///
    /// ```
    /// use kvolt_bridge::OldSession;
    ///
    /// fn is_empty(old: &OldSession) -> bool {
    ///     old.values().is_empty()
    /// }
    /// ```
    pub fn values(&self) -> &Map<String, Value> {
        &self.values
    }

    /// When the session ends if it is not used again; `None` if the old store does not say.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }
}

impl FromIterator<(String, Value)> for OldSession {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(values: I) -> Self {
        Self { values: values.into_iter().collect(), expires_at: None }
    }
}

// Without the values, which may be secret.
impl fmt::Debug for OldSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OldSession")
            .field("values", &self.values.len())
            .field("expires_at", &self.expires_at)
            .finish()
    }
}
