use std::fmt;
use std::ops::Deref;

use kvolt_cache::{Deadlines, Entry, EntryRef, Expiry, Key, Owner, Target, Timestamp, Version};

use crate::level::{Proofs, StepUp};
use crate::record::Content;
use crate::{Binding, CsrfToken, Device, Flash, Level, Record, Result, SessionId};

/// A live session as it was when it was read. It dereferences to the application's data.
///
/// It is a snapshot: what changes later, in this process or another, does not show in
/// it. Cloning it is cheap.
pub struct SessionSnapshot<T> {
    key: Key,
    record: Record<T>,
    version: Version,
    deadlines: Deadlines,
    /// One moment by the store's clock and by the manager's: when it was read.
    read_at: (Timestamp, Timestamp),
    /// The owner it is filed under where that is not its own: the group of an anonymous session.
    group: Option<Owner>,
    /// The rights of a previous token in its grace, where one of them was presented.
    restricted_to: Option<Proofs>,
}

impl<T> SessionSnapshot<T> {
    /// The session of an entry, whose data may not be readable, at this time of the manager.
    #[inline]
    pub(crate) fn from_ref(entry: EntryRef<'_, Record<T>>, now: Timestamp) -> Self {
        let group = match &entry.value.content().owner {
            Some(_) => None,
            None => entry.owner.cloned(),
        };
        Self {
            key: *entry.key,
            record: entry.value.clone(),
            version: entry.version,
            deadlines: entry.deadlines,
            read_at: (entry.read_at, now),
            group,
            restricted_to: None,
        }
    }

    pub(crate) fn from_entry(entry: &Entry<Record<T>>, now: Timestamp) -> Self {
        Self::from_ref(entry.as_ref(), now)
    }

    /// Gives the session the rights of a previous token, or all of its own.
    pub(crate) fn restrict(&mut self, rights: Option<Proofs>) {
        self.restricted_to = rights;
    }

    /// The session with the rights of a previous token, or with all of its own.
    pub(crate) fn restricted_to(self, restricted_to: Option<Proofs>) -> Self {
        Self { restricted_to, ..self }
    }

    pub(crate) fn proofs(&self) -> Proofs {
        self.restricted_to.unwrap_or(self.content().proofs)
    }

    #[inline]
    pub(crate) fn content(&self) -> &Content<T> {
        self.record.content()
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// The entry, for an operation of the store.
    pub(crate) fn at(&self) -> Target<'_> {
        Target::new(&self.key).owner(self.filed_under())
    }

    /// The owner that the store knows.
    pub(crate) fn filed_under(&self) -> Option<&Owner> {
        self.content().owner.as_ref().or(self.group.as_ref())
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// The store's time at this time of the manager.
    pub(crate) fn store_time(&self, now: Timestamp) -> Timestamp {
        let (store, manager) = self.read_at;
        store.saturating_add(now.since(manager))
    }

    /// The session after a change, and with new deadlines if they start again at this time of the
    /// store.
    pub(crate) fn changed(
        self,
        record: Record<T>,
        version: Version,
        restart: Option<(Expiry, Timestamp)>,
    ) -> Self {
        let deadlines = restart.map_or(self.deadlines, |(expiry, now)| {
            let after = |duration| now.saturating_add(duration);
            let idle = expiry.idle_timeout().map(|idle| (idle, after(idle)));
            Deadlines::new(idle, expiry.lifetime().map(after))
        });
        Self { record, version, deadlines, restricted_to: None, ..self }
    }

    /// The session after a use, with the deadlines that the store has answered.
    pub(crate) fn slid(self, deadlines: Deadlines) -> Self {
        Self { deadlines, ..self }
    }

    /// The session after a use for which the store starts its idle time again as it is read.
    pub(crate) fn slide_in_place(&mut self) {
        let (now, _) = self.read_at;
        let idle = self.deadlines.idle_timeout().map(|timeout| {
            let used = self.last_seen().max(now);
            (timeout, used.saturating_add(timeout))
        });
        self.deadlines = Deadlines::new(idle, self.deadlines.absolute());
    }

    /// The application's data.
    pub fn data(&self) -> &T {
        // A manager hands out no session whose data it has not found readable.
        self.record.data().expect("the data was decoded when the session was admitted")
    }

    /// The session's public name, which stays the same while it lives.
    pub fn id(&self) -> SessionId {
        SessionId::from_key(&self.key)
    }

    /// Whose it is.
    pub fn owner(&self) -> Option<&Owner> {
        self.content().owner.as_ref()
    }

    /// When it was made, at the sign-in.
    pub fn created(&self) -> Timestamp {
        self.content().created
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
        self.content().is_anonymous()
    }

    /// Whether it meets what a sensitive act asks for, at this moment.
    pub fn meets(&self, step_up: &StepUp, now: Timestamp) -> bool {
        step_up.is_met(&self.proofs(), now)
    }

    /// Whether the client was to keep its token when it is closed.
    pub fn is_remembered(&self) -> bool {
        self.content().remembered
    }

    /// When the token that it has now was made.
    pub fn rotated(&self) -> Timestamp {
        self.content().rotated
    }

    /// What it is bound to, if to anything.
    pub fn binding(&self) -> Option<&Binding> {
        self.content().binding()
    }

    /// The messages that wait for the next page. They stay until they are [taken](crate::Manager::take_flashes).
    pub fn flashes(&self) -> &[Flash] {
        self.content().flashes()
    }

    /// A new form token of this session: for each page another, all good until the next login.
    ///
    /// # Errors
    ///
    /// No randomness.
    pub fn csrf_token(&self) -> Result<CsrfToken> {
        CsrfToken::new(&self.content().seed, crate::token::system_random)
    }

    /// Whether this is a form token of this session. It takes the same time whatever is wrong with it.
    pub fn verifies_csrf(&self, token: impl AsRef<[u8]>) -> bool {
        CsrfToken::verify(&self.content().seed, token.as_ref())
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
        &self.content().device
    }
}

impl<T> Deref for SessionSnapshot<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.data()
    }
}

impl<T> Clone for SessionSnapshot<T> {
    fn clone(&self) -> Self {
        Self { record: self.record.clone(), group: self.group.clone(), ..*self }
    }
}

/// Without the data, which may be private.
impl<T> fmt::Debug for SessionSnapshot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id()).finish_non_exhaustive()
    }
}
