use std::fmt;
use std::sync::{Arc, OnceLock};

use kvolt_cache::{Key, Owner, Timestamp};

use crate::csrf::Seed;
use crate::flash::Flash;
use crate::level::Proofs;
use crate::token::SecretDigest;
use crate::{Binding, Device, Error, Level, Result};

/// What a store keeps for a session: the envelope, which the manager reads, and the application's
/// data.
///
/// Cloning it is cheap.
pub struct Record<T>(Arc<Content<T>>);

/// What a record holds. It never changes: an update makes another record.
#[derive(Debug)]
pub(crate) struct Content<T> {
    /// Of the token that the session has now.
    pub(crate) secret: SecretDigest,
    /// Raised by a change of credentials, which ends open connections that began before it.
    pub(crate) epoch: u32,
    pub(crate) owner: Option<Owner>,
    pub(crate) created: Timestamp,
    /// The absolute end by the manager's clock. A store that says otherwise is not believed.
    pub(crate) ends_at: Timestamp,
    /// None at all for an anonymous session.
    pub(crate) proofs: Proofs,
    /// When the token that the session has now was made, by the manager's clock.
    pub(crate) rotated: Timestamp,
    pub(crate) seed: Seed,
    pub(crate) remembered: bool,
    pub(crate) device: Device,
    /// What few sessions have.
    pub(crate) rare: Option<Box<Rare>>,
    pub(crate) data: Data<T>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rare {
    /// Tokens that the session had before, while requests with them may be on their way.
    pub(crate) previous: Vec<Previous>,
    /// Until when, by the store's clock, a token that was issued and is not in `previous` is no
    /// sign of a theft: the latest end of what was dropped from there.
    pub(crate) quiet_until: Option<Timestamp>,
    pub(crate) binding: Option<Binding>,
    pub(crate) flashes: Vec<Flash>,
}

/// A token that a session had before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Previous {
    pub(crate) secret: SecretDigest,
    /// What its user had proved when it was replaced.
    pub(crate) proofs: Proofs,
    /// The end of its grace by the store's clock.
    pub(crate) until: Timestamp,
    /// Whether it is accepted until then.
    pub(crate) is_accepted: bool,
}

/// The application's data, as it is in memory or as a codec has read it.
///
/// Bytes are decoded when the data is first asked for: never before the token was verified.
/// Cloning it is cheap, also where `T` can't be cloned.
pub(crate) struct Data<T>(Arc<Held<T>>);

enum Held<T> {
    Value(T),
    #[cfg_attr(not(feature = "json"), expect(dead_code, reason = "only a codec makes it"))]
    Encoded(Encoded<T>),
}

struct Encoded<T> {
    key: Key,
    bytes: Box<[u8]>,
    decode: Decode<T>,
    value: OnceLock<Result<T, kvolt_cache::Error>>,
}

/// Turns the bytes of the data of the session under a key into a value.
pub(crate) type Decode<T> = Arc<dyn Fn(&Key, &[u8]) -> Result<T, kvolt_cache::Error> + Send + Sync>;

impl<T> Data<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(Held::Value(value)))
    }

    #[cfg(feature = "json")]
    pub(crate) fn encoded(key: Key, bytes: &[u8], decode: Decode<T>) -> Self {
        let (bytes, value) = (bytes.into(), OnceLock::new());
        Self(Arc::new(Held::Encoded(Encoded { key, bytes, decode, value })))
    }

    /// The value, or why the bytes can't be decoded.
    #[inline]
    pub(crate) fn get(&self) -> Result<&T, &kvolt_cache::Error> {
        match &*self.0 {
            Held::Value(value) => Ok(value),
            Held::Encoded(encoded) => encoded.get(),
        }
    }

    /// The bytes as they were read, to be written back unchanged.
    #[cfg(feature = "json")]
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match &*self.0 {
            Held::Value(_) => None,
            Held::Encoded(encoded) => Some(&encoded.bytes),
        }
    }

    /// Whether it came from a store that keeps bytes, to which others may write.
    #[inline]
    pub(crate) fn is_encoded(&self) -> bool {
        matches!(&*self.0, Held::Encoded(_))
    }
}

impl<T> Encoded<T> {
    fn get(&self) -> Result<&T, &kvolt_cache::Error> {
        self.value.get_or_init(|| (self.decode)(&self.key, &self.bytes)).as_ref()
    }
}

impl<T> Clone for Data<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Without the data, which may be private.
impl<T> fmt::Debug for Data<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Data(..)")
    }
}

impl<T> Content<T> {
    pub(crate) fn is_anonymous(&self) -> bool {
        self.proofs == Proofs::NONE
    }

    pub(crate) fn binding(&self) -> Option<&Binding> {
        self.rare.as_ref()?.binding.as_ref()
    }

    pub(crate) fn flashes(&self) -> &[Flash] {
        self.rare.as_ref().map_or(&[], |rare| &rare.flashes)
    }

    pub(crate) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Drops the box if nothing is in it.
    pub(crate) fn drop_empty(&mut self) {
        if self.rare.as_deref() == Some(&Rare::default()) {
            self.rare = None;
        }
    }
}

/// A copy that shares the data.
impl<T> Clone for Content<T> {
    fn clone(&self) -> Self {
        Self {
            owner: self.owner.clone(),
            device: self.device.clone(),
            rare: self.rare.clone(),
            data: self.data.clone(),
            ..*self
        }
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

    /// The application's data; an error that says why if it can't be decoded.
    ///
    /// # Errors
    ///
    /// Returns an error ([`kvolt_cache::Error::is_corrupt`]) if the codec does not read the bytes
    /// that the store has.
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
        f.debug_struct("Record").field("created", &self.0.created).finish_non_exhaustive()
    }
}

/// A session to be made: the application's data, and whose and where from it is.
///
/// Data alone is one too: `manager.create(user)`.
#[derive(Debug)]
pub struct NewSession<T> {
    pub(crate) data: T,
    pub(crate) owner: Result<Option<Owner>>,
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
            owner: Ok(None),
            device: Device::new(),
            level: Level::One,
            remembered: false,
            binding: None,
        }
    }

    /// Sets the owner, usually an account's id: what the session is listed and revoked by.
    ///
    /// A name, a number or an [`Owner`]. A name that is no owner's makes the call that is given
    /// this session an error ([`Error::is_misconfigured`]).
    #[must_use]
    pub fn owner<O>(mut self, owner: O) -> Self
    where
        O: TryInto<Owner, Error: std::error::Error + Send + Sync + 'static>,
    {
        self.owner = owner.try_into().map(Some).map_err(Error::invalid_owner);
        self
    }

    /// Sets where it was signed in from.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Sets how strongly its user has proved who they are. Defaults to [`Level::One`].
    #[must_use]
    pub fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Sets whether the client is to keep its token when it is closed: "remember me".
    ///
    /// How long the session lives is the server's business in any case
    /// ([`ManagerBuilder::remembered_timeouts`](crate::ManagerBuilder::remembered_timeouts)).
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
    /// [`ManagerBuilder::bound_to`](crate::ManagerBuilder::bound_to).
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
