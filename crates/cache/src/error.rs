use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::Key;

/// The result of a store's operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The failure of a store's operation. A missing entry is never an error.
///
/// | predicate | meaning | reaction |
/// |---|---|---|
/// | [`is_unavailable`](Self::is_unavailable) | the store can't be reached, or is too slow | retry later |
/// | [`is_full`](Self::is_full) | the store is at its capacity | add capacity |
/// | [`is_misconfigured`](Self::is_misconfigured) | a setting or an argument is wrong | correct it |
/// | [`is_corrupt`](Self::is_corrupt) | this entry can't be decoded | migrate or remove it |
/// | [`is_too_large`](Self::is_too_large), [`is_unencodable`](Self::is_unencodable) | this value can't be stored | store another |
///
/// ```
/// use kvolt_cache::{Error, Namespace};
///
/// let error: Error = Namespace::new("not valid").unwrap_err();
/// assert!(error.is_misconfigured() && !error.is_unavailable());
/// ```
///
/// An implementor of [`Store`](crate::Store) makes errors of each kind:
///
/// ```
/// use kvolt_cache::{Error, Key};
///
/// let key = Key::of("greeting");
/// let error = Error::corrupt(key, "it is not JSON");
/// assert!(error.is_corrupt() && error.key() == Some(key));
/// assert!(Error::unavailable("the connection was closed").is_unavailable());
/// assert!(Error::full("it has no room").is_full());
/// assert!(Error::misconfigured("no such database").is_misconfigured());
/// assert!(Error::too_large(70_000, 65_536).is_too_large());
/// assert!(Error::unencodable("NaN has no JSON").is_unencodable());
/// ```
#[derive(Debug, Clone)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    kind: Kind,
    message: String,
    key: Option<Key>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unavailable,
    Full,
    Misconfigured,
    Corrupt,
    TooLarge,
    Unencodable,
}

impl Error {
    /// The store can't be reached, or took too long. The same call may succeed later.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message.into())
    }

    /// The store is at its capacity.
    pub fn full(message: impl Into<String>) -> Self {
        Self::new(Kind::Full, message.into())
    }

    /// The call fails until the configuration or the program is corrected.
    pub fn misconfigured(message: impl Into<String>) -> Self {
        Self::new(Kind::Misconfigured, message.into())
    }

    /// The entry under `key` exists but can't be decoded. It was left in place.
    pub fn corrupt(key: Key, message: impl Into<String>) -> Self {
        let mut error = Self::new(Kind::Corrupt, message.into());
        error.0.key = Some(key);
        error
    }

    /// An encoded value has `size` bytes, and `max_size` are allowed. Nothing was changed.
    pub fn too_large(size: usize, max_size: usize) -> Self {
        Self::new(Kind::TooLarge, format!("it has {size} bytes encoded, of {max_size} allowed"))
    }

    /// The codec can't encode a value, or would decode it to another one. Nothing was changed.
    pub fn unencodable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unencodable, message.into())
    }

    /// Sets the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// Whether the same call may succeed later.
    pub fn is_unavailable(&self) -> bool {
        self.0.kind == Kind::Unavailable
    }

    /// Whether the store is at its capacity.
    pub fn is_full(&self) -> bool {
        self.0.kind == Kind::Full
    }

    /// Whether the configuration or the program must be corrected.
    pub fn is_misconfigured(&self) -> bool {
        self.0.kind == Kind::Misconfigured
    }

    /// Whether the entry can't be decoded; see [`key`](Self::key).
    pub fn is_corrupt(&self) -> bool {
        self.0.kind == Kind::Corrupt
    }

    /// Whether a value is larger than allowed.
    pub fn is_too_large(&self) -> bool {
        self.0.kind == Kind::TooLarge
    }

    /// Whether a value can't be encoded, or would be decoded to another one.
    pub fn is_unencodable(&self) -> bool {
        self.0.kind == Kind::Unencodable
    }

    /// The key of the entry that the error is about, if it is about one.
    pub fn key(&self) -> Option<Key> {
        self.0.key
    }

    fn new(kind: Kind, message: String) -> Self {
        Self(Box::new(Inner { kind, message, key: None, source: None }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.0.kind {
            Kind::Unavailable => "the store is unavailable",
            Kind::Full => "the store is full",
            Kind::Misconfigured => "misconfigured",
            Kind::Corrupt => "the entry can't be decoded",
            Kind::TooLarge => "the value is too large",
            Kind::Unencodable => "the value can't be encoded",
        };
        write!(f, "{what}: {}", self.0.message)?;
        match self.0.key {
            Some(key) => write!(f, " (key {key})"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
