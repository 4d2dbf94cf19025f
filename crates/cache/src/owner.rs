use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Whose entry it is: the index under which entries are listed and removed together.
///
/// Usually an account's id. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(Arc<str>);

impl Owner {
    /// The longest owner that every store accepts, in bytes.
    pub const LEN_MAX: usize = 255;

    /// An owner by its name, such as an account's id.
    ///
    /// # Panics
    ///
    /// Never. A name longer than [`Owner::LEN_MAX`] is refused by
    /// [`Store::insert`](crate::Store::insert) with a misconfigured error.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Owner {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Owner {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for Owner {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owner({:?})", &*self.0)
    }
}
