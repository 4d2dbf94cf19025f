/// What a session is bound to: a version of the account's credentials, a number of
/// the account's state, or whatever ends its sessions when it changes.
///
/// It is kept in the store with the session; a hash of a secret is no good value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub struct Binding(Box<str>);

impl Binding {
    /// The value as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Binding {
    fn from(value: &str) -> Self {
        Self(value.into())
    }
}

impl From<String> for Binding {
    fn from(value: String) -> Self {
        Self(value.into())
    }
}

impl From<u64> for Binding {
    fn from(value: u64) -> Self {
        Self(value.to_string().into())
    }
}
