use std::fmt;
use std::sync::Arc;

use kvolt_cache::{Owner, Timestamp};

use crate::Device;

/// What a store keeps for a session: the application's data and what belongs to it.
///
/// Cloning it is cheap.
pub struct Record<T>(Arc<Content<T>>);

/// What a record holds. It never changes: an update makes another record.
#[derive(Debug, Clone)]
pub(crate) struct Content<T> {
    pub(crate) data: T,
    pub(crate) owner: Option<Owner>,
    pub(crate) created: Timestamp,
    pub(crate) authenticated: Timestamp,
    pub(crate) device: Device,
    /// Which manager's it is.
    pub(crate) kind: u64,
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
}

impl<T> NewSession<T> {
    /// A session with this data.
    pub const fn new(data: T) -> Self {
        Self { data, owner: None, device: Device::new() }
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
}

impl<T> From<T> for NewSession<T> {
    fn from(data: T) -> Self {
        Self::new(data)
    }
}
