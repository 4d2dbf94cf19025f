use std::fmt;
use std::ops::Deref;

use kvolt_cache::{Deadlines, Entry, EntryRef, Owner, Timestamp, Version};

use crate::{Device, Record, SessionId};

/// A live session as it was when it was read. It dereferences to the application's data.
///
/// It is a snapshot: what changes later, here or elsewhere, does not show in
/// it. Cloning it is cheap.
pub struct Session<T> {
    id: SessionId,
    record: Record<T>,
    version: Version,
    deadlines: Deadlines,
}

impl<T> Session<T> {
    pub(crate) fn from_ref(entry: EntryRef<'_, Record<T>>) -> Self {
        Self {
            id: SessionId::new(*entry.key),
            record: entry.value.clone(),
            version: entry.version,
            deadlines: entry.deadlines,
        }
    }

    pub(crate) fn from_entry(entry: Entry<Record<T>>) -> Self {
        Self {
            id: SessionId::new(entry.key),
            record: entry.value,
            version: entry.version,
            deadlines: entry.deadlines,
        }
    }

    pub(crate) fn record(&self) -> &Record<T> {
        &self.record
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// The same session after a change.
    pub(crate) fn changed(self, record: Record<T>, version: Version) -> Self {
        Self { record, version, ..self }
    }

    /// The application's data.
    pub fn data(&self) -> &T {
        self.record.data()
    }

    /// Its public name, which changes when its token does.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Whose it is.
    pub fn owner(&self) -> Option<&Owner> {
        self.record.content().owner.as_ref()
    }

    /// When it was made.
    pub fn created(&self) -> Timestamp {
        self.record.content().created
    }

    /// When its owner last proved who they are.
    pub fn authenticated(&self) -> Timestamp {
        self.record.content().authenticated
    }

    /// When it was last used, as exactly as the store keeps it.
    pub fn last_seen(&self) -> Timestamp {
        self.deadlines.last_used().unwrap_or(self.created())
    }

    /// When it ends if nobody uses it until then.
    pub fn expires_at(&self) -> Timestamp {
        // A manager never makes an entry without an end.
        self.deadlines.expires_at().unwrap_or(self.created())
    }

    /// When it ends however much it is used.
    pub fn ends_at(&self) -> Timestamp {
        self.deadlines.absolute().unwrap_or(self.expires_at())
    }

    /// Where it was signed in from.
    pub fn device(&self) -> &Device {
        &self.record.content().device
    }
}

impl<T> Deref for Session<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.data()
    }
}

impl<T> Clone for Session<T> {
    fn clone(&self) -> Self {
        Self { record: self.record.clone(), ..*self }
    }
}

/// Without the data, which may be private.
impl<T> fmt::Debug for Session<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id).finish_non_exhaustive()
    }
}
