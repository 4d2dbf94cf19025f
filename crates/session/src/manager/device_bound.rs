//! Sessions that are bound to a device: the offer, the registration of its key, and its proofs.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac;
use kvolt_cache::{Freshness, Timestamp};
use p256::ecdsa::VerifyingKey;

use super::Manager;
use super::presented::Presented;
use super::reading::Found;
use super::token_status::TokenStatus;
use crate::device_binding::fault::DeviceFault;
use crate::device_binding::{BoundValue, DeviceBinding, Nonce, Proof};
use crate::events::{EventKind, RefusalReason};
use crate::new_session::NewSession;
use crate::policy::TokenReuse;
use crate::random::{Seed, mac};
use crate::record::Content;
use crate::{Result, SessionSnapshot, Token};

/// The time in which a browser may answer an offer. Chromium answers at once. It is short, because
/// a client that has stolen the cookie of a session that is not bound could bind it to itself.
const OFFER_LASTS: Duration = Duration::from_secs(60);

/// After a sign-in, how long a browser may be asked with a later response.
const OFFER_LATER: Duration = Duration::from_secs(5 * 60);

/// A challenge lives for two lifetimes of the cookie, and at least for this.
const MIN_CHALLENGE_LIFE: Duration = Duration::from_secs(2 * 60);

/// The challenge by which a browser registers its key for a session: valid for one minute, for one
/// session. The store keeps nothing for it.
///
/// ```
/// use kvolt_cache::MemoryStore;
/// use kvolt_session::{DeviceOutcome, Manager, NewSession};
/// use std::time::Duration;
///
/// # pollster::block_on(async {
/// let manager = Manager::<String>::new(MemoryStore::new());
/// let lifetime = Duration::from_secs(600);
/// let old = None::<&kvolt_session::Token>;
/// let (token, offer) = manager.login_with_offer(old, NewSession::new(String::from("Ada"))).await?;
/// assert!(offer.challenge().len() < 64);
///
/// // A registration, and a refresh, whose proofs are no signatures:
/// let outcome = manager.bind_device(&token, b"forged", lifetime).await?;
/// assert!(matches!(outcome, DeviceOutcome::Invalid));
/// let outcome = manager.prove_device(&token, b"an id", None, lifetime).await?;
/// assert!(matches!(outcome, DeviceOutcome::Unknown), "the session is not bound");
/// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
/// ```
pub struct DeviceOffer(String);

impl DeviceOffer {
    /// The text to sign: letters, digits, `-`, `_` and a full stop.
    pub fn challenge(&self) -> &str {
        &self.0
    }

    fn new(seed: &Seed, now: Timestamp) -> Self {
        Self::at(seed, &now.as_millis().to_string())
    }

    /// The offer of a session that was made at this time.
    fn at(seed: &Seed, time: &str) -> Self {
        let tag = mac(seed, &[b"kvolt device offer 1", time.as_bytes()]).finalize().into_bytes();
        Self(format!("{time}.{}", URL_SAFE_NO_PAD.encode(&tag[..16])))
    }

    /// Whether the session made this challenge, at most a minute ago.
    fn is_open(seed: &Seed, challenge: &str, now: Timestamp) -> bool {
        let Some((time, _)) = challenge.split_once('.') else { return false };
        let Ok(made) = time.parse().map(Timestamp::from_millis) else { return false };
        is_same(Self::at(seed, time).0.as_bytes(), challenge.as_bytes())
            && now.since(made) < OFFER_LASTS
    }
}

/// Compares in constant time.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let difference = one.iter().zip(other).fold(0, |difference, (a, b)| difference | (a ^ b));
    zeroize::optimization_barrier(&difference);
    one.len() == other.len() && difference == 0
}

/// What a browser gets for a proof of its key.
///
/// ```
/// use kvolt_session::DeviceGrant;
///
/// /// The cookie and the challenge in the answer to a refresh.
/// fn headers(grant: &DeviceGrant) -> [(&'static str, String); 2] {
///     let DeviceGrant { id, challenge, cookie } = grant;
///     let cookie = format!("__Host-session_bound={cookie}; Path=/; Max-Age=600; HttpOnly; Secure");
///     [("set-cookie", cookie), ("secure-session-challenge", format!("\"{challenge}\";id=\"{id}\""))]
/// }
/// ```
pub struct DeviceGrant {
    /// The browser's name for the binding (`session_identifier`).
    pub id: String,
    /// What the next proof must sign.
    pub challenge: String,
    /// The new value of the bound cookie.
    pub cookie: String,
}

/// Outcome of [`Manager::bind_device`] and [`Manager::prove_device`].
#[derive(Debug)]
#[must_use = "the browser must get its cookie, or the challenge"]
pub enum DeviceOutcome {
    /// The proof is good.
    Granted(DeviceGrant),
    /// There is no proof, or it is not good: the browser must sign this challenge.
    Challenged {
        /// The browser's name for the binding.
        id: String,
        /// The current challenge.
        challenge: String,
    },
    /// A registration for a session that is bound already.
    AlreadyBound,
    /// A registration whose proof is not good.
    Invalid,
    /// The token has no such session, or the session has no binding of this name.
    Unknown,
}

impl<T: Send + Sync + 'static> Manager<T> {
    /// [`login`](Self::login), with an offer to the browser to bind the session to its device.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`login`](Self::login).
    pub async fn login_with_offer<'a>(
        &self,
        old: Option<impl Into<Presented<'a, T>>>,
        session: impl Into<NewSession<T>>,
    ) -> Result<(Token, DeviceOffer)> {
        let content = self.content(session.into())?;
        let offer = self.offer(&content.envelope.seed);
        Ok((self.login_content(old, content).await?, offer))
    }

    /// Whether the browser of a session is to be asked now: see
    /// [`NewSession::offer_device_later`]. For five minutes after the sign-in.
    #[inline]
    pub fn is_device_offer_due(&self, session: &SessionSnapshot<T>) -> bool {
        let envelope = session.envelope();
        envelope.rare.as_ref().is_some_and(|rare| rare.offer_due)
            && self.clock().now().since(envelope.created) < OFFER_LATER
    }

    /// Takes the offer that is [due](Self::is_device_offer_due). Of several concurrent calls, one
    /// gets it. Costs the store two commands, or one with the session as it was read.
    ///
    /// ```
    /// use kvolt_cache::MemoryStore;
    /// use kvolt_session::{Manager, NewSession};
    ///
    /// # pollster::block_on(async {
    /// let manager = Manager::<String>::new(MemoryStore::new());
    /// let ada = NewSession::new(String::from("Ada")).owner(42u64);
    /// let token = manager.create(ada.offer_device_later()).await?;
    ///
    /// // With a later request:
    /// let session = manager.get(&token).await?.expect("it was just created");
    /// assert!(manager.is_device_offer_due(&session));
    /// assert!(manager.take_device_offer((&token, session.clone())).await?.is_some());
    /// assert!(manager.take_device_offer((&token, session)).await?.is_none(), "the browser was asked");
    /// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`update`](Self::update).
    pub async fn take_device_offer<'a>(
        &self,
        presented: impl Into<Presented<'a, T>>,
    ) -> Result<Option<DeviceOffer>> {
        let found =
            self.session_of(presented, Freshness::Bounded, TokenStatus::is_accepted).await?;
        let Some((token, session)) = found else { return Ok(None) };
        let seed = session.envelope().seed;
        let taken = self.change(&token, session, |session, status, _| {
            if !status.is_accepted() || !self.is_device_offer_due(session) {
                return Ok(None);
            }
            let mut content = session.content().clone();
            content.envelope.edit_rare(|rare| rare.offer_due = false);
            Ok(Some((content, None)))
        });
        Ok(taken.await?.map(|_| self.offer(&seed)))
    }

    fn offer(&self, seed: &Seed) -> DeviceOffer {
        #[cfg(feature = "metrics")]
        metrics::counter!(crate::events::metrics::OFFERED).increment(1);
        DeviceOffer::new(seed, self.clock().now())
    }

    /// Binds a session to the device whose key has signed an [offer](DeviceOffer). `proof` is the
    /// JWT of the browser's registration, and `lifetime` that of the bound cookie.
    ///
    /// A session is bound once: no other key can take its place. Until the first refresh, the same
    /// registration is granted again: Chromium repeats one whose answer was lost, and without a grant
    /// it would never use the session again. Costs the store two commands.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]) or full
    /// ([`Error::is_full`]), if the session's envelope can't be read ([`Error::is_corrupt`]), if
    /// other changes leave no turn ([`Error::is_contended`]), or if the system's random generator
    /// fails ([`Error::is_unavailable`]).
    pub async fn bind_device(
        &self,
        token: &Token,
        proof: &[u8],
        lifetime: Duration,
    ) -> Result<DeviceOutcome> {
        match self.try_bind_device(token, proof, lifetime).await {
            // Its answer may be lost, and the session bound.
            Err(error) if error.is_unavailable() => {
                self.try_bind_device(token, proof, lifetime).await
            }
            outcome => outcome,
        }
    }

    async fn try_bind_device(
        &self,
        token: &Token,
        proof: &[u8],
        lifetime: Duration,
    ) -> Result<DeviceOutcome> {
        let found = self.session_of(token, Freshness::Strict, TokenStatus::is_accepted).await?;
        let Some((token, session)) = found else { return Ok(DeviceOutcome::Unknown) };
        let read = session.clone();
        let refused = |reason, outcome| {
            self.report_refusal(Some(&read), reason);
            Ok(outcome)
        };
        let proof = Proof::parse(proof);
        let Some((proof, key)) = proof.as_ref().and_then(|proof| Some((proof, proof.key?))) else {
            return refused(RefusalReason::ProofInvalid, DeviceOutcome::Invalid);
        };
        if !DeviceOffer::is_open(&session.envelope().seed, &proof.challenge, self.clock().now()) {
            return refused(RefusalReason::ProofOutdated, DeviceOutcome::Invalid);
        }
        let is_of_user = !session.is_anonymous() && session.acting_for().is_none();
        if !is_of_user || !proof.is_signed_by(&key) {
            return refused(RefusalReason::ProofInvalid, DeviceOutcome::Invalid);
        }
        let (id, mut otherwise) = (self.nonce()?, DeviceOutcome::Unknown);
        let mut granted = None;
        let changed = self.change_as_read(&token, session, |session, status, now| {
            (granted, otherwise) = (None, DeviceOutcome::Unknown);
            if !status.is_accepted() {
                return Ok(None);
            }
            let bound = session.envelope().device_binding();
            let ((challenge, grant), current) =
                self.grant(bound.map_or(&id, |it| &it.id), now, lifetime)?;
            let device = match bound {
                None => DeviceBinding {
                    id,
                    key: compressed(&key),
                    challenge,
                    challenged: now,
                    since: now,
                    proved: now,
                    current,
                    previous: None,
                },
                // The browser repeats a registration whose answer was lost.
                Some(bound) if bound.key == compressed(&key) && bound.proved == bound.since => {
                    let previous = Some(bound.current);
                    DeviceBinding { challenge, challenged: now, current, previous, ..bound.clone() }
                }
                Some(_) => {
                    otherwise = DeviceOutcome::AlreadyBound;
                    return Ok(None);
                }
            };
            granted = Some(grant);
            Ok(Some((with_device(session, device), None)))
        });
        let Some((session, grant)) = changed.await?.zip(granted) else {
            return match otherwise {
                DeviceOutcome::AlreadyBound => refused(RefusalReason::AlreadyBound, otherwise),
                _ => Ok(otherwise),
            };
        };
        self.report(EventKind::DeviceBound, session.id(), &session);
        Ok(DeviceOutcome::Granted(grant))
    }

    /// Checks a proof of the device that a session is bound to, and gives its browser a new value of
    /// the bound cookie. `id` is the browser's name for the binding, and `proof` the JWT of its
    /// refresh, if it has sent one.
    ///
    /// A proof is good once. A refusal changes nothing, unless the challenge is older than two
    /// lifetimes and two minutes. A token that was replaced a short time ago is challenged, so that
    /// the browser comes back with its new one. Costs the store two commands, or one for a refusal.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`bind_device`](Self::bind_device).
    pub async fn prove_device(
        &self,
        token: &Token,
        id: &[u8],
        proof: Option<&[u8]>,
        lifetime: Duration,
    ) -> Result<DeviceOutcome> {
        let hashed = self.hashed(token);
        let Some(Found { session, status, .. }) = self.found(&hashed, Freshness::Strict).await?
        else {
            self.refused::<()>(token.id(), None, RefusalReason::Unknown)?;
            return Ok(DeviceOutcome::Unknown);
        };
        let names = |device: &&DeviceBinding| text(&device.id).as_bytes() == id;
        let device = session.envelope().device_binding().filter(names);
        let device = match status {
            TokenStatus::Valid | TokenStatus::InGrace(_) if self.is_backed(&session).await? => {
                device
            }
            TokenStatus::Replaced(_) => {
                return Ok(device.map_or(DeviceOutcome::Unknown, challenge));
            }
            TokenStatus::Reused => {
                self.refuse(&session, status).await?;
                // Without a grace, a refresh that a rotation has overtaken comes with such a token.
                let device = device.filter(|_| self.0.policy.reuse != TokenReuse::EndSession);
                return Ok(device.map_or(DeviceOutcome::Unknown, challenge));
            }
            _ => None,
        };
        let Some(device) = device else {
            self.refused::<()>(session.id(), None, RefusalReason::Unknown)?;
            return Ok(DeviceOutcome::Unknown);
        };
        let bound_id = device.id;
        let parsed = proof.map(Proof::parse);
        let read = session.clone();
        let mut otherwise = (RefusalReason::Unknown, DeviceOutcome::Unknown);
        let mut granted = None;
        let changed = self.change_as_read(&hashed, session, |session, status, now| {
            (granted, otherwise) = (None, (RefusalReason::Unknown, DeviceOutcome::Unknown));
            let device = session.envelope().device_binding().filter(|device| device.id == bound_id);
            let Some(device) = device.filter(|_| status.is_accepted()) else { return Ok(None) };
            let life = lifetime.saturating_mul(2).max(MIN_CHALLENGE_LIFE);
            let is_fresh = now.since(device.challenged) < life;
            let reason = match &parsed {
                None => Some(RefusalReason::ProofMissing),
                Some(None) => Some(RefusalReason::ProofInvalid),
                Some(Some(proof)) => check(proof, device, is_fresh),
            };
            let mut next = device.clone();
            if let Some(reason) = reason {
                if is_fresh && !self.has_fault(DeviceFault::NewChallengeOnRefusal) {
                    otherwise = (reason, challenge(device));
                    return Ok(None);
                }
                (next.challenge, next.challenged) = (self.nonce()?, now);
                otherwise = (reason, challenge(&next));
                return Ok(Some((with_device(session, next), None)));
            }
            let ((nonce, mut grant), current) = self.grant(&bound_id, now, lifetime)?;
            (next.challenge, next.challenged, next.proved) = (nonce, now, now);
            (next.previous, next.current) = (Some(device.current), current);
            if self.has_fault(DeviceFault::ReusableChallenge) {
                (next.challenge, grant.challenge) = (device.challenge, text(&device.challenge));
            }
            granted = Some(grant);
            Ok(Some((with_device(session, next), None)))
        });
        let changed = changed.await?;
        let Some((session, grant)) = changed.zip(granted) else {
            let (reason, outcome) = otherwise;
            self.report_refusal(Some(&read), reason);
            return Ok(outcome);
        };
        self.report(EventKind::DeviceProved, session.id(), &session);
        Ok(DeviceOutcome::Granted(grant))
    }

    /// A new challenge and a new value of the bound cookie.
    fn grant(
        &self,
        id: &Nonce,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<((Nonce, DeviceGrant), BoundValue)> {
        let (challenge, mut value) = (self.nonce()?, [0; 32]);
        (self.0.policy.random)(&mut value)?;
        let cookie = URL_SAFE_NO_PAD.encode(value);
        let current = BoundValue::new(&cookie, now, lifetime);
        let grant = DeviceGrant { id: text(id), challenge: text(&challenge), cookie };
        Ok(((challenge, grant), current))
    }

    /// Whether a test has broken a rule on purpose.
    fn has_fault(&self, fault: DeviceFault) -> bool {
        #[cfg(feature = "testing")]
        let set = self.0.policy.device_fault;
        #[cfg(not(feature = "testing"))]
        let set = None;
        set == Some(fault)
    }

    fn nonce(&self) -> Result<Nonce> {
        let mut nonce = [0; 16];
        (self.0.policy.random)(&mut nonce)?;
        Ok(nonce)
    }
}

/// Why a proof of a bound device is not good, if it is not.
fn check(proof: &Proof, device: &DeviceBinding, is_fresh: bool) -> Option<RefusalReason> {
    if proof.key.is_some() {
        return Some(RefusalReason::ProofInvalid);
    }
    if !is_fresh || !is_same(proof.challenge.as_bytes(), text(&device.challenge).as_bytes()) {
        return Some(RefusalReason::ProofOutdated);
    }
    let key = VerifyingKey::from_sec1_bytes(&device.key);
    let is_signed = key.is_ok_and(|key| proof.is_signed_by(&key));
    (!is_signed).then_some(RefusalReason::ProofInvalid)
}

fn challenge(device: &DeviceBinding) -> DeviceOutcome {
    DeviceOutcome::Challenged { id: text(&device.id), challenge: text(&device.challenge) }
}

fn text(nonce: &Nonce) -> String {
    URL_SAFE_NO_PAD.encode(nonce)
}

fn compressed(key: &VerifyingKey) -> [u8; 33] {
    let point = key.to_sec1_point(true);
    point.as_bytes().try_into().expect("a compressed point has 33 bytes")
}

fn with_device<T>(session: &SessionSnapshot<T>, device: DeviceBinding) -> Content<T> {
    let mut content = session.content().clone();
    content.envelope.edit_rare(|rare| {
        (rare.device_binding, rare.offer_due) = (Some(Box::new(device)), false);
    });
    content
}

/// Without its secrets.
impl fmt::Debug for DeviceGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceGrant").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for DeviceOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceOffer(..)")
    }
}
