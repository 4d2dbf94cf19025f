use std::fmt;
use std::sync::Arc;

use kvolt_cache::{Key, Owner, Timestamp};

use crate::csrf::Seed;
use crate::flash::Flash;
use crate::level::Proofs;
use crate::{Binding, Device, Level};

/// What a store keeps for a session: the application's data and what belongs to it.
///
/// Cloning it is cheap.
pub struct Record<T>(Arc<Content<T>>);

/// What a record holds. It never changes: an update makes another record.
#[derive(Debug, Clone)]
pub(crate) struct Content<T> {
    /// Which manager's it is.
    pub(crate) kind: u64,
    pub(crate) data: T,
    pub(crate) owner: Option<Owner>,
    pub(crate) created: Timestamp,
    /// None at all for an anonymous session.
    pub(crate) proofs: Proofs,
    /// When the token that it has now was made.
    pub(crate) rotated: Timestamp,
    pub(crate) seed: Seed,
    pub(crate) remembered: bool,
    pub(crate) device: Device,
    /// What few sessions have.
    pub(crate) extras: Option<Box<Extras>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Extras {
    /// Keys that it had before, for as long as requests with them may be on their way.
    pub(crate) former: Vec<Former>,
    pub(crate) binding: Option<Binding>,
    pub(crate) flashes: Vec<Flash>,
}

/// A key that a session had before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Former {
    pub(crate) key: Key,
    /// From when on its user has proved more, which does not count for who comes by it.
    pub(crate) outdated: Option<Timestamp>,
    /// Until when it is no sign of a theft that somebody comes by it.
    pub(crate) until: Timestamp,
    /// Whether it is accepted until then.
    pub(crate) accepted: bool,
}

impl<T> Content<T> {
    pub(crate) fn is_anonymous(&self) -> bool {
        self.proofs == Proofs::NONE
    }

    /// The same with other data.
    pub(crate) fn with_data(&self, data: T) -> Self {
        let Self { owner, device, extras, .. } = self;
        let (owner, device, extras) = (owner.clone(), device.clone(), extras.clone());
        Self { data, owner, device, extras, ..*self }
    }

    pub(crate) fn binding(&self) -> Option<&Binding> {
        self.extras.as_ref()?.binding.as_ref()
    }

    pub(crate) fn flashes(&self) -> &[Flash] {
        self.extras.as_ref().map_or(&[], |extras| &extras.flashes)
    }

    /// A key that it had before, if it is not a sign of a theft to come by it at this moment.
    pub(crate) fn former(&self, key: &Key, now: Timestamp) -> Option<&Former> {
        let extras = self.extras.as_deref()?;
        extras.former.iter().find(|former| former.key == *key && now < former.until)
    }

    pub(crate) fn extras_mut(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    /// Takes the box away where nothing is in it.
    pub(crate) fn tidy(&mut self) {
        if self.extras.as_deref() == Some(&Extras::default()) {
            self.extras = None;
        }
    }
}

impl<T> Record<T> {
    pub(crate) fn new(content: Content<T>) -> Self {
        Self(Arc::new(content))
    }

    pub(crate) fn content(&self) -> &Content<T> {
        &self.0
    }

    /// The application's data.
    pub fn data(&self) -> &T {
        &self.0.data
    }
}

impl<T> Clone for Record<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Record<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("created", &self.0.created).finish_non_exhaustive()
    }
}

/// A session to be made: the application's data, and whose and where from it is.
///
/// Data alone is one too: `manager.create(user)`.
#[derive(Debug, Clone)]
pub struct NewSession<T> {
    pub(crate) data: T,
    pub(crate) owner: Option<Owner>,
    pub(crate) device: Device,
    pub(crate) level: Level,
    pub(crate) remembered: bool,
    pub(crate) binding: Option<Binding>,
}

impl<T> NewSession<T> {
    /// A session with this data.
    pub const fn new(data: T) -> Self {
        Self {
            data,
            owner: None,
            device: Device::new(),
            level: Level::One,
            remembered: false,
            binding: None,
        }
    }

    /// Sets whose it is, usually an account's id: what it is listed and revoked by.
    #[must_use]
    pub fn owner(mut self, owner: impl Into<Owner>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Sets where it was signed in from.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Sets how strongly its user has proved who they are. [`Level::One`] unless set.
    #[must_use]
    pub fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Sets whether the client is to keep its token when it is closed: "remember me".
    ///
    /// How long the session lives is the server's business in any case
    /// ([`Builder::remembered_timeouts`](crate::Builder::remembered_timeouts)).
    #[must_use]
    pub fn remember(mut self, remember: bool) -> Self {
        self.remembered = remember;
        self
    }

    /// Whether the client is to keep its token when it is closed.
    pub fn is_remembered(&self) -> bool {
        self.remembered
    }

    /// Binds it to a value such as the version of the account's credentials: see
    /// [`Builder::bound_to`](crate::Builder::bound_to).
    ///
    /// Give the value that was read together with what the credentials were checked
    /// against, so that a change in between is noticed.
    #[must_use]
    pub fn bound_to(mut self, value: impl Into<Binding>) -> Self {
        self.binding = Some(value.into());
        self
    }
}

impl<T> From<T> for NewSession<T> {
    fn from(data: T) -> Self {
        Self::new(data)
    }
}
