use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::Key;

/// The result of a store's operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A store that could not do what was asked: never "there is no such entry".
///
/// Ask it who has to act: [`is_unavailable`](Self::is_unavailable) (nobody: try
/// again), [`is_full`](Self::is_full) and
/// [`is_misconfigured`](Self::is_misconfigured) (the operator),
/// [`is_corrupt`](Self::is_corrupt) (this entry can't be read),
/// [`is_too_large`](Self::is_too_large) and
/// [`is_unencodable`](Self::is_unencodable) (the caller, whose value it is).
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
    /// The store can't be reached, or took too long: the same call may work later.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message.into())
    }

    /// The store holds all it may hold.
    pub fn full(message: impl Into<String>) -> Self {
        Self::new(Kind::Full, message.into())
    }

    /// The call can't work until somebody changes the configuration or the program.
    pub fn misconfigured(message: impl Into<String>) -> Self {
        Self::new(Kind::Misconfigured, message.into())
    }

    /// The entry under `key` is there but can't be decoded; it was left in place.
    pub fn corrupt(key: Key, message: impl Into<String>) -> Self {
        let mut error = Self::new(Kind::Corrupt, message.into());
        error.0.key = Some(key);
        error
    }

    /// An encoded value of `size` bytes, where `size_max` are allowed; nothing was changed.
    pub fn too_large(size: usize, size_max: usize) -> Self {
        Self::new(Kind::TooLarge, format!("it has {size} bytes encoded, of {size_max} allowed"))
    }

    /// A value that the codec can't encode, or would not read back as it is; nothing was changed.
    pub fn unencodable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unencodable, message.into())
    }

    /// Keeps the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// Whether the same call may work later, with nobody doing anything.
    pub fn is_unavailable(&self) -> bool {
        self.0.kind == Kind::Unavailable
    }

    /// Whether the store is at its capacity.
    pub fn is_full(&self) -> bool {
        self.0.kind == Kind::Full
    }

    /// Whether the configuration or the program has to change.
    pub fn is_misconfigured(&self) -> bool {
        self.0.kind == Kind::Misconfigured
    }

    /// Whether the entry can't be decoded.
    pub fn is_corrupt(&self) -> bool {
        self.0.kind == Kind::Corrupt
    }

    /// Whether a value was larger than is allowed.
    pub fn is_too_large(&self) -> bool {
        self.0.kind == Kind::TooLarge
    }

    /// Whether a value can't be encoded, or would not be read back as it is.
    pub fn is_unencodable(&self) -> bool {
        self.0.kind == Kind::Unencodable
    }

    /// The entry that it is about, where it is about one.
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
