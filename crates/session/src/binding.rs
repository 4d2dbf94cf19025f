/// The value that a session is bound to, such as the version of its account's credentials: the
/// session is refused once the account has another one.
///
/// The store keeps it with the session, so a hash of a secret is no suitable value.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use kvolt_cache::MemoryStore;
/// use kvolt_session::{Binding, Manager, NewSession};
///
/// # pollster::block_on(async {
/// let version = Arc::new(AtomicU64::new(1));
/// let current = Arc::clone(&version);
/// let manager: Manager<String> = Manager::builder(MemoryStore::new())
///     .bound_to(move |_user| Some(Binding::from(current.load(Ordering::Relaxed))))
///     .build()?;
///
/// let token = manager.create(NewSession::new(String::from("Ada")).bound_to(1)).await?;
/// let session = manager.get(&token).await?.expect("its binding is the account's");
/// assert_eq!(session.binding().map(Binding::as_str), Some("1"));
/// version.store(2, Ordering::Relaxed);
/// assert!(manager.get(&token).await?.is_none());
/// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
/// ```
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
