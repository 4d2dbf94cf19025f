use crate::{Error, Result};

/// How many live entries one owner may have, and the reaction to a further one.
///
/// The limit is exact, and at most [`MAX`](Self::MAX), so that it costs the same at any number of
/// entries.
///
/// ```
/// use kvolt_cache::{AtLimit, OwnerLimit};
///
/// let limit = OwnerLimit::remove_oldest(3);
/// assert_eq!((limit.max_entries(), limit.at_limit()), (3, AtLimit::RemoveOldest));
/// assert_eq!(OwnerLimit::new(3, AtLimit::Refuse), OwnerLimit::refuse(3));
/// assert!(OwnerLimit::refuse(65).check().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnerLimit {
    max_entries: u32,
    at_limit: AtLimit,
}

impl OwnerLimit {
    /// The largest limit: 64.
    pub const MAX: u32 = 64;

    /// Refuses an entry that would exceed the limit.
    pub const fn refuse(max_entries: u32) -> Self {
        Self::new(max_entries, AtLimit::Refuse)
    }

    /// Removes the owner's oldest entry for one that would exceed the limit, in the same step.
    pub const fn remove_oldest(max_entries: u32) -> Self {
        Self::new(max_entries, AtLimit::RemoveOldest)
    }

    /// A limit with either reaction.
    pub const fn new(max_entries: u32, at_limit: AtLimit) -> Self {
        Self { max_entries, at_limit }
    }

    /// How many entries the owner may have.
    pub const fn max_entries(&self) -> u32 {
        self.max_entries
    }

    /// The reaction to an entry that would exceed the limit.
    pub const fn at_limit(&self) -> AtLimit {
        self.at_limit
    }

    /// Checks that every store supports the limit. An [`insert`](crate::Store::insert) calls this
    /// first.
    ///
    /// # Errors
    ///
    /// Returns an error ([`Error::is_misconfigured`]) if the limit is zero or above
    /// [`MAX`](Self::MAX).
    pub fn check(&self) -> Result<()> {
        match self.max_entries {
            1..=Self::MAX => Ok(()),
            other => Err(Error::misconfigured(format!(
                "an owner's limit of {other} entries: use 1 to {}",
                Self::MAX
            ))),
        }
    }
}

/// The reaction to an entry that would exceed an [`OwnerLimit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AtLimit {
    /// The new entry is refused.
    Refuse,
    /// The owner's oldest entries are removed in the same step.
    RemoveOldest,
}
