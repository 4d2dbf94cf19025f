//! The binding of a session to a device: Device Bound Session Credentials (DBSC), a working draft of
//! the W3C.
//!
//! The browser has a private key that can't leave the device. With each proof that it has the key,
//! it gets a new value of the bound cookie, which is accepted for some minutes: a copy of the
//! cookies is worthless after that.

#[cfg(feature = "device-bound")]
pub(crate) mod fault;
#[cfg(feature = "device-bound")]
mod proof;

use std::time::Duration;

use kvolt_cache::Timestamp;
#[cfg(feature = "json")]
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::secret_digest::SecretDigest;

#[cfg(feature = "device-bound")]
pub(crate) use proof::Proof;

/// A random number that a browser gets.
pub(crate) type Nonce = [u8; 16];

/// A public key: a point on P-256, compressed (SEC 1, section 2.3.3).
pub(crate) type PublicKey = [u8; 33];

/// The device that a session is bound to. All times are by the store's clock.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize, Deserialize))]
pub(crate) struct DeviceBinding {
    /// The browser's name for it. Random: with a name that is used again, a refresh that is under
    /// way would end the new key in the browser.
    #[cfg_attr(feature = "json", serde(with = "crate::base64url"))]
    pub(crate) id: Nonce,
    #[cfg_attr(feature = "json", serde(with = "crate::base64url"))]
    pub(crate) key: PublicKey,
    /// What the next proof must sign. A refusal never changes it, or a client without the key could
    /// keep the browser from ever signing the current one.
    #[cfg_attr(feature = "json", serde(with = "crate::base64url"))]
    pub(crate) challenge: Nonce,
    pub(crate) challenged: Timestamp,
    pub(crate) since: Timestamp,
    pub(crate) proved: Timestamp,
    pub(crate) current: BoundValue,
    #[cfg_attr(feature = "json", serde(skip_serializing_if = "Option::is_none"))]
    pub(crate) previous: Option<BoundValue>,
}

/// A value of the bound cookie.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(Serialize, Deserialize))]
pub(crate) struct BoundValue {
    digest: SecretDigest,
    until: Timestamp,
}

/// The time after a registration in which requests that were sent before it may arrive.
const UNDER_WAY: Duration = Duration::from_secs(5);

/// The time that the bound cookie is accepted after the browser has dropped it.
#[cfg(feature = "device-bound")]
const LEEWAY: Duration = Duration::from_secs(2);

impl DeviceBinding {
    /// The time of no proof.
    pub(crate) const NO_PROOF: Timestamp = Timestamp::from_millis(0);

    /// When the device was proved that a request with this cookie comes from, at this time of the
    /// store.
    ///
    /// A copy of the previous value must not count as the proof that has replaced it.
    fn proof_of(&self, cookie: Option<&DeviceCookie>, now: Timestamp) -> Timestamp {
        let accepts = |value: &BoundValue| {
            now < value.until && cookie.is_some_and(|cookie| cookie.0 == value.digest)
        };
        if accepts(&self.current) {
            self.proved
        } else if self.previous.as_ref().is_some_and(accepts) {
            Timestamp::from_millis(1)
        } else if now < self.since.saturating_add(UNDER_WAY) {
            self.since
        } else {
            Self::NO_PROOF
        }
    }
}

#[cfg(feature = "device-bound")]
impl DeviceBinding {
    /// A binding whose browser has neither a challenge nor a value of the cookie yet.
    pub(crate) fn new(id: Nonce, key: PublicKey, now: Timestamp) -> Self {
        let current = BoundValue { digest: SecretDigest::NONE, until: now };
        let (challenge, previous) = (Nonce::default(), None);
        Self { id, key, challenge, challenged: now, since: now, proved: now, current, previous }
    }

    /// Accepts a new value. The one before is accepted until its own end.
    pub(crate) fn replace_value(&mut self, value: BoundValue, now: Timestamp) {
        let previous = std::mem::replace(&mut self.current, value);
        self.previous = Some(previous).filter(|previous| now < previous.until);
    }
}

#[cfg(feature = "testing")]
impl DeviceBinding {
    /// As if everything had happened that much earlier.
    pub(crate) fn make_older(&mut self, by: Duration) {
        let times = [&mut self.challenged, &mut self.since, &mut self.proved];
        let values = [Some(&mut self.current), self.previous.as_mut()];
        let ends = values.into_iter().flatten().map(|value| &mut value.until);
        times.into_iter().chain(ends).for_each(|time| *time = time.saturating_sub(by));
    }
}

#[cfg(feature = "device-bound")]
impl BoundValue {
    /// The value of a cookie that the browser keeps for `lifetime` from now.
    pub(crate) fn new(text: &str, now: Timestamp, lifetime: Duration) -> Self {
        let until = now.saturating_add(lifetime).saturating_add(LEEWAY);
        Self { digest: digest(text.as_bytes()), until }
    }
}

/// The bound cookie of a request: a well-formed value, of which only the SHA-256 is kept.
///
/// ```
/// use kvolt_session::DeviceCookie;
///
/// let cookie = DeviceCookie::parse("A".repeat(DeviceCookie::LEN));
/// assert!(cookie.is_some());
/// assert!(DeviceCookie::parse("short").is_none());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct DeviceCookie(SecretDigest);

impl DeviceCookie {
    /// The length of the text, in characters: 256 bits in base64url.
    pub const LEN: usize = 43;

    /// Takes the text of a cookie. `None` if it has another length.
    pub fn parse(text: impl AsRef<[u8]>) -> Option<Self> {
        let text = text.as_ref();
        (text.len() == Self::LEN).then(|| Self(digest(text)))
    }
}

fn digest(text: &[u8]) -> SecretDigest {
    SecretDigest(Sha256::digest(text).into())
}

impl<T> crate::SessionSnapshot<T> {
    /// Whether a request may use the session, by its bound cookie and the manager's time: whether it
    /// comes from the device that the session is bound to, or the session is bound to none. For
    /// adapters: no read of a manager checks it.
    ///
    /// A near cache's copy may be older than the cookie: if the answer is no and the request has a
    /// cookie, read the session [strictly](crate::Access::strict) and ask again.
    ///
    /// ```
    /// use kvolt_cache::MemoryStore;
    /// use kvolt_session::Manager;
    ///
    /// # pollster::block_on(async {
    /// let manager = Manager::<String>::new(MemoryStore::new());
    /// let token = manager.create(String::from("Ada")).await?;
    /// let mut session = manager.get(&token).await?.expect("it was just created");
    /// assert!(session.check_device(None, manager.clock().now()), "it is not bound");
    /// assert_eq!((session.device_bound(), session.device_proved()), (None, None));
    /// assert!(!session.is_device_proven());
    /// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
    /// ```
    pub fn check_device(&mut self, cookie: Option<&DeviceCookie>, now: Timestamp) -> bool {
        let Some(device) = self.envelope().device_binding() else { return true };
        self.device_proof = device.proof_of(cookie, self.store_time(now));
        self.is_device_proven()
    }

    /// Whether the last [check](Self::check_device) found that the request comes from the session's
    /// device.
    pub fn is_device_proven(&self) -> bool {
        self.device_proof != DeviceBinding::NO_PROOF
    }

    /// When the session was bound to a device, by the store's clock; `None` if it is not.
    pub fn device_bound(&self) -> Option<Timestamp> {
        self.envelope().device_binding().map(|device| device.since)
    }

    /// When the device last proved that it has its key, by the store's clock; `None` if the session
    /// is not bound to one.
    pub fn device_proved(&self) -> Option<Timestamp> {
        self.envelope().device_binding().map(|device| device.proved)
    }
}
