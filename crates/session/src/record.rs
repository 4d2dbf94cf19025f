use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kvolt_cache::{Key, Owner, Timestamp};
#[cfg(feature = "json")]
use serde::{Deserialize, Serialize};

use crate::device_binding::DeviceBinding;
use crate::flash::Flash;
use crate::level::Proofs;
use crate::random::Seed;
use crate::secret_digest::SecretDigest;
use crate::{Binding, Device, Result, SessionId};

/// The stored value of a session: the envelope, which the manager reads, and the application's data.
/// Cloning it is cheap.
///
/// A store for sessions of `T` is a store of `Record<T>`.
///
/// ```
/// use kvolt_cache::{MemoryStore, Store};
/// use kvolt_session::{Manager, Record};
///
/// fn manager(store: impl Store<Record<String>>) -> Manager<String> {
///     Manager::new(store)
/// }
/// # pollster::block_on(async {
/// let store = MemoryStore::new();
/// let sessions = manager(store.clone());
/// let token = sessions.create(String::from("Ada")).await?;
///
/// let page = store.scan(None, 10).await.expect("a store in memory");
/// assert_eq!(page.listing.entries[0].value.data().expect("it is readable"), "Ada");
/// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
/// ```
pub struct Record<T>(Arc<Content<T>>);

/// The content of a record. It never changes: an update makes a new record.
pub(crate) struct Content<T> {
    pub(crate) envelope: Envelope,
    pub(crate) data: Data<T>,
}

/// KVolt's own part of a record. The fields are those of the stored format, in its order: see
/// `docs/formats.md`.
#[derive(Clone)]
#[cfg_attr(feature = "json", derive(Serialize, Deserialize))]
pub(crate) struct Envelope {
    /// The format of the record.
    pub(crate) v: u8,
    /// The digest of the session's current token.
    pub(crate) secret: SecretDigest,
    /// Raised by a change of credentials, which ends open connections that began before it.
    #[cfg_attr(feature = "json", serde(default, skip_serializing_if = "is_default"))]
    pub(crate) epoch: u32,
    /// The owner that the store knows: in an impersonation, the user.
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    pub(crate) owner: Option<Owner>,
    pub(crate) created: Timestamp,
    /// The absolute end by the manager's clock. A store that names a later one is not trusted.
    pub(crate) ends: Timestamp,
    /// The user's proofs of identity; none in an anonymous session.
    #[cfg_attr(feature = "json", serde(default, skip_serializing_if = "is_default"))]
    pub(crate) proved: Proofs,
    /// When the current token was made, by the manager's clock; `None` if at `created`.
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    pub(crate) rotated: Option<Timestamp>,
    #[cfg_attr(feature = "json", serde(with = "crate::base64url"))]
    pub(crate) seed: Seed,
    #[cfg_attr(feature = "json", serde(default, skip_serializing_if = "is_default"))]
    pub(crate) remembered: bool,
    #[cfg_attr(feature = "json", serde(default, skip_serializing_if = "is_default"))]
    pub(crate) device: Device,
    /// The fields that few sessions have. Never empty.
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    pub(crate) rare: Option<Box<RareFields>>,
}

#[derive(Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize, Deserialize))]
pub(crate) struct RareFields {
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    pub(crate) binding: Option<Binding>,
    /// Tokens that the session had before, while requests with them may be under way. Oldest
    /// first.
    #[cfg_attr(feature = "json", serde(default, skip_serializing_if = "Vec::is_empty"))]
    pub(crate) previous: Vec<PreviousToken>,
    /// Until then, by the store's clock, a token that was issued and is not in `previous` is no
    /// sign of theft: the latest end of the tokens that were dropped from there.
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    pub(crate) quiet_until: Option<Timestamp>,
    #[cfg_attr(feature = "json", serde(default, skip_serializing_if = "Vec::is_empty"))]
    pub(crate) flashes: Vec<Flash>,
    /// The timeouts that were chosen at the sign-in, in milliseconds. The policy may have shorter
    /// ones.
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    pub(crate) idle: Option<u64>,
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    pub(crate) lifetime: Option<u64>,
    /// In an impersonation, the administrator that acts for the owner.
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    pub(crate) impersonator: Option<Impersonator>,
    /// In an administrator's own session, the impersonation that it has started last.
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    pub(crate) impersonation: Option<SessionId>,
    /// The device that the session is bound to.
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    pub(crate) device_binding: Option<Box<DeviceBinding>>,
    /// Whether the browser has not been asked yet to bind the session to its device.
    #[cfg_attr(feature = "json", serde(default, skip_serializing_if = "is_default"))]
    pub(crate) offer_due: bool,
}

/// An administrator that acts for a user.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize, Deserialize))]
pub(crate) struct Impersonator {
    pub(crate) owner: Owner,
    /// The administrator's own session.
    pub(crate) session: SessionId,
}

/// A token that a session had before.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize, Deserialize))]
pub(crate) struct PreviousToken {
    pub(crate) secret: SecretDigest,
    /// The user's proofs when it was replaced.
    #[cfg_attr(feature = "json", serde(default, skip_serializing_if = "is_default"))]
    pub(crate) proved: Proofs,
    /// The end of its grace, by the store's clock.
    pub(crate) until: Timestamp,
    /// Whether it is accepted during its grace.
    #[cfg_attr(feature = "json", serde(default, skip_serializing_if = "is_default"))]
    pub(crate) accepted: bool,
}

/// The application's data: a value, or bytes that a codec has read.
///
/// Bytes are decoded at the first access: never before the token was verified. Cloning is cheap,
/// and does not require `T: Clone`.
pub(crate) struct Data<T>(Arc<Held<T>>);

enum Held<T> {
    Value(T),
    #[cfg_attr(not(feature = "json"), expect(dead_code, reason = "only a codec makes it"))]
    Encoded {
        key: Key,
        bytes: Box<[u8]>,
        decode: Decode<T>,
        value: OnceLock<Result<T, kvolt_cache::Error>>,
    },
}

/// Decodes the data of the session under a key.
pub(crate) type Decode<T> = Arc<dyn Fn(&Key, &[u8]) -> Result<T, kvolt_cache::Error> + Send + Sync>;

#[cfg(feature = "json")]
fn is_default<V: Default + PartialEq>(value: &V) -> bool {
    *value == V::default()
}

impl Envelope {
    /// The format that is written, unless the session is bound to a device.
    pub(crate) const FORMAT: u8 = 1;

    /// The format of a session that is bound to a device, which a version that does not know bindings
    /// must refuse; the highest that is read.
    pub(crate) const BOUND_FORMAT: u8 = 2;

    pub(crate) fn is_anonymous(&self) -> bool {
        self.proved == Proofs::NONE && self.impersonator().is_none()
    }

    /// The administrator, in an impersonation.
    #[inline]
    pub(crate) fn impersonator(&self) -> Option<&Impersonator> {
        self.rare.as_ref()?.impersonator.as_ref()
    }

    /// The impersonation that this session has started last.
    pub(crate) fn impersonation(&self) -> Option<SessionId> {
        self.rare.as_ref()?.impersonation
    }

    pub(crate) fn binding(&self) -> Option<&Binding> {
        self.rare.as_ref()?.binding.as_ref()
    }

    /// The device that the session is bound to.
    #[inline]
    pub(crate) fn device_binding(&self) -> Option<&DeviceBinding> {
        self.rare.as_ref()?.device_binding.as_deref()
    }

    /// Binds the session to a device, or replaces what is known of it.
    pub(crate) fn bind(&mut self, device: DeviceBinding) {
        self.v = Self::BOUND_FORMAT;
        self.edit_rare(|rare| {
            (rare.device_binding, rare.offer_due) = (Some(Box::new(device)), false);
        });
    }

    pub(crate) fn flashes(&self) -> &[Flash] {
        self.rare.as_ref().map_or(&[], |rare| &rare.flashes)
    }

    /// The idle time and the lifetime that were chosen at the sign-in.
    pub(crate) fn chosen_timeouts(&self) -> (Option<Duration>, Option<Duration>) {
        let rare = self.rare.as_deref();
        let chosen =
            |of: fn(&RareFields) -> Option<u64>| rare.and_then(of).map(Duration::from_millis);
        (chosen(|rare| rare.idle), chosen(|rare| rare.lifetime))
    }

    /// Changes the rare fields.
    pub(crate) fn edit_rare<R>(&mut self, edit: impl FnOnce(&mut RareFields) -> R) -> R {
        let mut rare = self.rare.take().unwrap_or_default();
        let edited = edit(&mut rare);
        self.rare = Some(rare).filter(|rare| **rare != RareFields::default());
        edited
    }
}

impl RareFields {
    /// How many previous tokens are kept.
    const MAX_PREVIOUS: usize = 16;

    /// Records a token that was replaced. It is accepted until its grace has passed, and for
    /// another grace it is no sign of theft.
    ///
    /// When one of too many must go, no issued token is a sign of theft until that one's time would
    /// have passed.
    pub(crate) fn add_previous(&mut self, token: PreviousToken, now: Timestamp, grace: Duration) {
        for previous in &mut self.previous {
            // After several rotations in a row, it is accepted while each one's grace lasts.
            previous.until = previous.until.min(token.until);
            previous.accepted &= token.accepted;
        }
        self.previous.retain(|previous| now < previous.until.saturating_add(grace));
        self.quiet_until = self.quiet_until.filter(|quiet_until| now < *quiet_until);
        if grace.is_zero() {
            return;
        }
        if self.previous.len() >= Self::MAX_PREVIOUS {
            // Each one's time was cut to that of its successor, so the first is the first to end.
            let dropped = self.previous.remove(0);
            self.quiet_until = self.quiet_until.max(Some(dropped.until.saturating_add(grace)));
        }
        self.previous.push(token);
    }
}

impl<T> Data<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(Held::Value(value)))
    }

    #[cfg(feature = "json")]
    pub(crate) fn encoded(key: Key, bytes: &[u8], decode: Decode<T>) -> Self {
        let (bytes, value) = (bytes.into(), OnceLock::new());
        Self(Arc::new(Held::Encoded { key, bytes, decode, value }))
    }

    /// The value, or why the bytes can't be decoded.
    #[inline]
    pub(crate) fn get(&self) -> Result<&T, &kvolt_cache::Error> {
        match &*self.0 {
            Held::Value(value) => Ok(value),
            Held::Encoded { key, bytes, decode, value } => {
                value.get_or_init(|| decode(key, bytes)).as_ref()
            }
        }
    }

    /// The bytes as they were read, if the data came from a store that keeps bytes.
    #[inline]
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match &*self.0 {
            Held::Value(_) => None,
            Held::Encoded { bytes, .. } => Some(bytes),
        }
    }
}

impl<T> Clone for Data<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// The copy shares the data.
impl<T> Clone for Content<T> {
    fn clone(&self) -> Self {
        Self { envelope: self.envelope.clone(), data: self.data.clone() }
    }
}

impl<T> Record<T> {
    pub(crate) fn new(content: Content<T>) -> Self {
        Self(Arc::new(content))
    }

    #[inline]
    pub(crate) fn content(&self) -> &Content<T> {
        &self.0
    }

    /// The application's data.
    ///
    /// # Errors
    ///
    /// Returns an error if the codec can't decode the stored bytes
    /// ([`kvolt_cache::Error::is_corrupt`]).
    pub fn data(&self) -> Result<&T, &kvolt_cache::Error> {
        self.0.data.get()
    }
}

impl<T> Clone for Record<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Record<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("created", &self.0.envelope.created).finish_non_exhaustive()
    }
}
