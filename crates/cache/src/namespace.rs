use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::{Error, Key, Result};

/// Keeps applications apart that share one server.
///
/// One namespace is one deployment of one application. Production and staging on one server are
/// two namespaces. It is the first word of every name that a store uses on the server, and part of
/// every session's [`Key`].
///
/// It has 1 to 32 characters of `a` to `z`, `0` to `9` and `_`, and begins with a letter, so that
/// it is a valid Redis prefix and a valid SQL name.
///
/// ```
/// use kvolt_cache::Namespace;
///
/// let shop: Namespace = "shop".parse()?;
/// assert_eq!(shop.as_str(), "shop");
/// assert!("Shop".parse::<Namespace>().is_err());
/// assert_ne!(shop.tag(), Namespace::new("staging")?.tag());
/// # Ok::<(), kvolt_cache::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Namespace {
    name: Arc<str>,
    tag: [u8; Self::TAG_LEN],
}

impl Namespace {
    /// The largest length of a name in bytes.
    pub const MAX_LEN: usize = 32;

    /// The length of the [tag](Self::tag) in bytes.
    pub const TAG_LEN: usize = Key::LEN - Key::ID_LEN;

    /// Makes a namespace of its name.
    ///
    /// # Errors
    ///
    /// Returns an error ([`Error::is_misconfigured`]) if the name is empty, longer than
    /// [`MAX_LEN`](Self::MAX_LEN), does not begin with a letter, or has a character other than
    /// `a` to `z`, `0` to `9` and `_`.
    pub fn new(name: &str) -> Result<Self> {
        let is_allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        if name.len() > Self::MAX_LEN
            || !name.starts_with(|first: char| first.is_ascii_lowercase())
            || !name.bytes().all(is_allowed)
        {
            return Err(Error::misconfigured(format!(
                "`{}` is not a namespace: use 1 to {} characters of a-z, 0-9 and _, a letter first",
                name.chars().take(64).collect::<String>(),
                Self::MAX_LEN
            )));
        }
        let digest: [u8; 32] =
            Sha256::new().chain_update(b"kvolt namespace 1\0").chain_update(name).finalize().into();
        let mut tag = [0; Self::TAG_LEN];
        tag.copy_from_slice(&digest[..Self::TAG_LEN]);
        Ok(Self { name: name.into(), tag })
    }

    /// The namespace of each memory store: no two of them share entries.
    pub(crate) fn memory() -> Self {
        Self::new("memory").expect("it is a valid name")
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The last bytes of every session's key in this namespace: the first 20 bytes of the SHA-256 of
    /// `kvolt namespace 1`, a zero byte and the name.
    pub const fn tag(&self) -> &[u8; Self::TAG_LEN] {
        &self.tag
    }
}

impl FromStr for Namespace {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::new(name)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Namespace({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_redis_prefixes_and_sql_names() {
        for good in ["a", "shop", "shop_admin", "s1", &"a".repeat(32)] {
            assert_eq!(Namespace::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "1shop", "_shop", "Shop", "shop-1", "shop:1", "größe", &"a".repeat(33)] {
            assert!(Namespace::new(bad).unwrap_err().is_misconfigured(), "{bad}");
        }
    }

    #[test]
    fn namespaces_have_different_tags() {
        let [shop, other] = ["shop", "shop_admin"].map(|name| Namespace::new(name).unwrap());
        assert_ne!(shop.tag(), other.tag());
        assert_eq!(shop.tag(), Namespace::new("shop").unwrap().tag());
    }
}
