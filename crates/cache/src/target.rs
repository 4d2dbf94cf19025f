use crate::{Key, Owner};

/// The entry that an operation is about: its key, and its owner if the caller knows it.
///
/// A store that keeps an owner's index beside the entry, as on Redis, needs the owner to address
/// both in one command. A wrong hint costs a second command and changes no outcome.
///
/// ```
/// use kvolt_cache::{Key, Owner, Target};
///
/// let (key, ada) = (Key::of("greeting"), Owner::new("ada")?);
/// let target = Target::new(&key).owner(&ada);
/// assert_eq!((target.key, target.owner), (&key, Some(&ada)));
/// # Ok::<(), kvolt_cache::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Target<'a> {
    /// The key of the entry.
    pub key: &'a Key,
    /// The owner that the entry had when the caller read it; `None` if it has none, or the caller
    /// does not know it.
    pub owner: Option<&'a Owner>,
}

impl<'a> Target<'a> {
    /// The entry under a key, with an unknown owner.
    pub const fn new(key: &'a Key) -> Self {
        Self { key, owner: None }
    }

    /// Sets the owner that the entry had when the caller read it.
    #[must_use]
    pub fn owner(mut self, owner: impl Into<Option<&'a Owner>>) -> Self {
        self.owner = owner.into();
        self
    }
}

impl<'a> From<&'a Key> for Target<'a> {
    fn from(key: &'a Key) -> Self {
        Self::new(key)
    }
}
