use std::fmt;
use std::sync::Arc;

use crate::{Error, Result};

/// The owner of entries, usually an account's id. A store lists and removes the entries of an owner
/// together. Cloning is cheap.
///
/// ```
/// use kvolt_cache::Owner;
///
/// let ada = Owner::new("ada")?;
/// assert_eq!(ada.as_str(), "ada");
/// assert_eq!(Owner::from(42u64), Owner::new("42")?);
/// # Ok::<(), kvolt_cache::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "json", serde(try_from = "String", into = "String"))]
pub struct Owner(Arc<str>);

impl Owner {
    /// The largest length of a name in bytes.
    pub const MAX_LEN: usize = 255;

    /// The first character of a [reserved](Self::reserved) name.
    const RESERVED: char = '\u{1}';

    /// Makes an owner of a name, such as an account's id.
    ///
    /// # Errors
    ///
    /// Returns an error ([`Error::is_misconfigured`]) if the name is longer than
    /// [`MAX_LEN`](Self::MAX_LEN) bytes, begins with a control character (U+0000 to U+001F, which
    /// is [reserved](Self::reserved)), or has a zero byte (which some databases refuse).
    pub fn new(name: impl Into<Arc<str>>) -> Result<Self> {
        let name = name.into();
        if name.len() > Self::MAX_LEN {
            return Err(Error::misconfigured(format!(
                "the owner's name has {} bytes: at most {} are allowed",
                name.len(),
                Self::MAX_LEN
            )));
        }
        if name.starts_with(|first: char| first.is_ascii_control()) || name.contains('\0') {
            return Err(Error::misconfigured(
                "the owner's name begins with a control character or has a zero byte",
            ));
        }
        Ok(Self(name))
    }

    /// Makes an owner that is not an account, such as a group of anonymous visitors. It differs
    /// from every owner that [`new`](Self::new) makes.
    ///
    /// ```
    /// use kvolt_cache::Owner;
    ///
    /// let group = Owner::reserved("anonymous 7")?;
    /// assert!(group.is_reserved() && group != Owner::new("anonymous 7")?);
    /// assert_eq!(Owner::from_stored(group.as_str()), Some(group));
    /// # Ok::<(), kvolt_cache::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error ([`Error::is_misconfigured`]) as [`new`](Self::new) does, and for a name of
    /// [`MAX_LEN`](Self::MAX_LEN) bytes.
    pub fn reserved(name: &str) -> Result<Self> {
        Self::new(name)?;
        if name.len() == Self::MAX_LEN {
            return Err(Error::misconfigured("the reserved owner's name is too long"));
        }
        Ok(Self(format!("{}{name}", Self::RESERVED).into()))
    }

    /// Reads back the [name](Self::as_str) of any owner; `None` if no owner has it. For implementors
    /// of [`Store`](crate::Store).
    pub fn from_stored(name: &str) -> Option<Self> {
        match name.strip_prefix(Self::RESERVED) {
            Some(reserved) => Self::reserved(reserved).ok(),
            None => Self::new(name).ok(),
        }
    }

    /// Whether [`reserved`](Self::reserved) made it, so that it is not an account.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with(Self::RESERVED)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for Owner {
    type Error = Error;

    fn try_from(name: &str) -> Result<Self> {
        Self::new(name)
    }
}

impl TryFrom<String> for Owner {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        Self::new(name)
    }
}

impl From<Owner> for String {
    fn from(owner: Owner) -> Self {
        String::from(&*owner.0)
    }
}

/// The owner's name is the number in decimal.
impl From<u64> for Owner {
    fn from(number: u64) -> Self {
        Self(number.to_string().into())
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsuitable_names_are_refused() {
        for bad in ["\u{1}a", "\n", "a\0b", &"a".repeat(256)] {
            assert!(Owner::new(bad).unwrap_err().is_misconfigured(), "{bad:?}");
        }
        for good in ["", "ada", "größe", "a b:c", &"a".repeat(255)] {
            assert_eq!(Owner::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn reserved_owner_is_read_back_and_is_not_an_account() {
        let group = Owner::reserved("anonymous 7").unwrap();
        assert!(group.is_reserved() && Owner::new(group.as_str()).is_err());
        assert_eq!(Owner::from_stored(group.as_str()), Some(group));
        assert_eq!(Owner::from_stored("ada"), Some(Owner::new("ada").unwrap()));
        assert_eq!(Owner::from_stored("a\0"), None);
    }
}
