use std::fmt;
use std::ops::Deref;

use kvolt_cache::{Deadlines, Entry, EntryRef, Key, Owner, Timestamp, Version};

use crate::level::{Proofs, StepUp};
use crate::{Binding, CsrfToken, Device, Flash, Level, Record, Result, SessionId};

/// A live session as it was when it was read. It dereferences to the application's data.
///
/// It is a snapshot: what changes later, here or elsewhere, does not show in
/// it. Cloning it is cheap.
pub struct Session<T> {
    id: SessionId,
    record: Record<T>,
    version: Version,
    deadlines: Deadlines,
    /// Of one that was found by a former token: what its user has proved since does not count.
    proved_before: Option<Timestamp>,
}

impl<T> Session<T> {
    pub(crate) fn from_ref(entry: EntryRef<'_, Record<T>>) -> Self {
        Self {
            id: SessionId::new(*entry.key),
            record: entry.value.clone(),
            version: entry.version,
            deadlines: entry.deadlines,
            proved_before: None,
        }
    }

    pub(crate) fn from_entry(entry: Entry<Record<T>>) -> Self {
        Self {
            id: SessionId::new(entry.key),
            record: entry.value,
            version: entry.version,
            deadlines: entry.deadlines,
            proved_before: None,
        }
    }

    /// The same as who comes by this key sees it.
    #[inline]
    pub(crate) fn by(self, key: &Key) -> Self {
        if self.id.key() == key {
            return self;
        }
        let extras = self.record.content().extras.as_deref();
        let former =
            extras.and_then(|extras| extras.former.iter().find(|former| former.key == *key));
        let proved_before = former.and_then(|former| former.outdated);
        Self { proved_before, ..self }
    }

    /// The same as it is, by whichever key it was found.
    pub(crate) fn whole(self) -> Self {
        Self { proved_before: None, ..self }
    }

    fn proofs(&self) -> Proofs {
        let proofs = self.record.content().proofs;
        self.proved_before.map_or(proofs, |moment| proofs.before(moment))
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

    /// When it was made, at the sign-in.
    pub fn created(&self) -> Timestamp {
        self.record.content().created
    }

    /// When its user last proved who they are, at whatever level; none in an anonymous session.
    pub fn authenticated(&self) -> Option<Timestamp> {
        self.authenticated_at(Level::One)
    }

    /// When its user last proved who they are at this level or above, if they ever did.
    pub fn authenticated_at(&self, level: Level) -> Option<Timestamp> {
        self.proofs().at(level)
    }

    /// The highest level at which its user has proved who they are; none in an anonymous session.
    pub fn level(&self) -> Option<Level> {
        self.proofs().highest()
    }

    /// Whether nobody has signed in: a session of [`Manager::create_anonymous`](crate::Manager::create_anonymous).
    pub fn is_anonymous(&self) -> bool {
        self.record.content().is_anonymous()
    }

    /// Whether it meets what a sensitive act asks for, at this moment.
    pub fn meets(&self, step_up: &StepUp, now: Timestamp) -> bool {
        step_up.is_met(&self.proofs(), now)
    }

    /// Whether the client was to keep its token when it is closed.
    pub fn is_remembered(&self) -> bool {
        self.record.content().remembered
    }

    /// When the token that it has now was made.
    pub fn rotated(&self) -> Timestamp {
        self.record.content().rotated
    }

    /// What it is bound to, if to anything.
    pub fn binding(&self) -> Option<&Binding> {
        self.record.content().binding()
    }

    /// The messages that wait for the next page. They stay until they are [taken](crate::Manager::take_flashes).
    pub fn flashes(&self) -> &[Flash] {
        self.record.content().flashes()
    }

    /// A new form token of this session: for each page another, all good until the next login.
    ///
    /// # Errors
    ///
    /// No randomness.
    pub fn csrf_token(&self) -> Result<CsrfToken> {
        CsrfToken::new(&self.record.content().seed, crate::token::system_random)
    }

    /// Whether this is a form token of this session. It takes the same time whatever is wrong with it.
    pub fn verifies_csrf(&self, token: impl AsRef<[u8]>) -> bool {
        CsrfToken::verify(&self.record.content().seed, token.as_ref())
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
