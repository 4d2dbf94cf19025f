//! Sessions that are bound to a device: the offer, the registration of its key, and its proofs.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use kvolt_cache::{Freshness, Timestamp};
use sha2::Sha256;

use super::Manager;
use super::presented::{HashedToken, Presented};
use super::reading::Found;
use super::token_status::TokenStatus;
use crate::device_binding::fault::DeviceFault;
use crate::device_binding::{BoundValue, DeviceBinding, Nonce, Proof};
use crate::events::{EventKind, RefusalReason};
use crate::new_session::NewSession;
use crate::policy::TokenReuse;
use crate::random::{Seed, mac};
use crate::{Result, SessionSnapshot, Token};

/// The time in which a browser may answer an offer. Chromium answers at once. It is short, because
/// a client that has stolen the cookie of a session that is not bound could bind it to itself.
const OFFER_LASTS: Duration = Duration::from_secs(60);

/// After a sign-in, how long a browser may be asked with a later response.
const OFFER_LATER: Duration = Duration::from_secs(5 * 60);

/// A challenge lives for two lifetimes of the cookie, and at least for this.
const MIN_CHALLENGE_LIFE: Duration = Duration::from_secs(2 * 60);

/// Whether the session made this challenge, at most a minute ago.
fn is_open_offer(seed: &Seed, challenge: &str, now: Timestamp) -> bool {
    let Some((time, tag)) = challenge.split_once('.') else { return false };
    let Ok(made) = time.parse().map(Timestamp::from_millis) else { return false };
    let tag = URL_SAFE_NO_PAD.decode(tag);
    tag.is_ok_and(|tag| offer_mac(seed, time).verify_slice(&tag).is_ok())
        && now.since(made) < OFFER_LASTS
}

fn offer_mac(seed: &Seed, time: &str) -> Hmac<Sha256> {
    mac(seed, &[b"kvolt device offer 1", time.as_bytes()])
}

/// The answer to a browser whose session is bound.
///
/// ```
/// use kvolt_session::DeviceAnswer;
///
/// fn headers(answer: &DeviceAnswer) -> Vec<(&'static str, String)> {
///     let DeviceAnswer { id, challenge, cookie } = answer;
///     let mut headers = vec![("secure-session-challenge", format!("\"{challenge}\";id=\"{id}\""))];
///     if let Some(value) = cookie {
///         headers.push(("set-cookie", format!("__Host-session_bound={value}; Path=/; Secure")));
///     }
///     headers
/// }
/// ```
pub struct DeviceAnswer {
    /// The browser's name for the binding (`session_identifier`).
    pub id: String,
    /// The text that the next proof must sign.
    pub challenge: String,
    /// The new value of the bound cookie. `None` if there was no proof, or none that is good.
    pub cookie: Option<String>,
}

/// Outcome of [`Manager::bind_device`] and [`Manager::prove_device`].
#[derive(Debug)]
#[must_use = "the browser must get its cookie, or the challenge"]
pub enum DeviceOutcome {
    /// The session is bound to the device, and the browser gets this answer.
    Bound(DeviceAnswer),
    /// A registration for a session that is bound already.
    AlreadyBound,
    /// The token has no such session, the session has no binding of this name, or the proof of a
    /// registration is not good.
    Refused,
}

/// What a step changes of the binding, its answer, and why that is a refusal.
type Step = (Option<DeviceBinding>, DeviceOutcome, Option<RefusalReason>);

impl<T: Send + Sync + 'static> Manager<T> {
    /// Returns the challenge by which a browser registers its key for a session that is about to be
    /// created: letters, digits, `-`, `_` and a full stop. It is valid for one minute, for that
    /// session. The store keeps nothing for it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_cache::MemoryStore;
    /// use kvolt_session::{DeviceOutcome, Manager, NewSession};
    ///
    /// # pollster::block_on(async {
    /// let manager = Manager::<String>::new(MemoryStore::new());
    /// let mut session = NewSession::new(String::from("Ada"));
    /// let challenge = manager.offer_device(&mut session)?;
    /// assert!(challenge.contains('.'));
    /// let token = manager.create(session).await?;
    ///
    /// // A registration and a refresh whose proofs are no signatures:
    /// let lifetime = Duration::from_secs(600);
    /// let outcome = manager.bind_device(&token, b"forged", lifetime).await?;
    /// assert!(matches!(outcome, DeviceOutcome::Refused));
    /// let outcome = manager.prove_device(&token, b"an id", b"", lifetime).await?;
    /// assert!(matches!(outcome, DeviceOutcome::Refused), "the session is not bound");
    /// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the system's random generator fails
    /// ([`Error::is_unavailable`](crate::Error::is_unavailable)).
    pub fn offer_device(&self, session: &mut NewSession<T>) -> Result<String> {
        let seed = self.random_bytes()?;
        session.seed = Some(seed);
        Ok(self.offer(&seed))
    }

    /// Notes that the browser of a session that is about to be created can only be asked with a later
    /// response. Then the offer is [due](Self::is_device_offer_due) for five minutes.
    ///
    /// ```
    /// use kvolt_cache::MemoryStore;
    /// use kvolt_session::{Manager, NewSession};
    ///
    /// # pollster::block_on(async {
    /// let manager = Manager::<String>::new(MemoryStore::new());
    /// let mut session = NewSession::new(String::from("Ada"));
    /// manager.offer_device_later(&mut session);
    /// let token = manager.create(session).await?;
    ///
    /// let session = manager.get(&token).await?.expect("it was just created");
    /// assert!(manager.is_device_offer_due(&session));
    /// assert!(manager.take_device_offer(&token).await?.is_some());
    /// assert!(manager.take_device_offer(&token).await?.is_none(), "it was taken");
    /// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
    /// ```
    pub fn offer_device_later(&self, session: &mut NewSession<T>) {
        session.offer_due = true;
    }

    /// Whether the browser of a session must be asked with the next response: see
    /// [`offer_device_later`](Self::offer_device_later).
    #[inline]
    pub fn is_device_offer_due(&self, session: &SessionSnapshot<T>) -> bool {
        let envelope = session.envelope();
        envelope.rare.as_ref().is_some_and(|rare| rare.offer_due)
            && self.clock().now().since(envelope.created) < OFFER_LATER
    }

    /// Takes the offer that is [due](Self::is_device_offer_due). Of several concurrent calls, one
    /// gets it. Costs the store two commands, or one with the session as it was read.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`update`](Self::update).
    pub async fn take_device_offer<'a>(
        &self,
        presented: impl Into<Presented<'a, T>>,
    ) -> Result<Option<String>> {
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

    fn offer(&self, seed: &Seed) -> String {
        #[cfg(feature = "metrics")]
        metrics::counter!(crate::events::metrics::OFFERED).increment(1);
        let time = self.clock().now().as_millis().to_string();
        let tag = offer_mac(seed, &time).finalize().into_bytes();
        format!("{time}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// Binds a session to the device whose key has signed an [offer](Self::offer_device). `proof` is the
    /// JWT of the browser's registration, and `lifetime` that of the bound cookie.
    ///
    /// A session is bound once: no other key can take its place. Until the first refresh, and while the
    /// offer is open, the same registration is granted again: Chromium repeats one whose answer was
    /// lost, and without a grant it would never use the session again. So after a time limit, or an error
    /// of the store, call it again. Costs the store two commands.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]) or full
    /// ([`Error::is_full`]), if the session's envelope can't be read ([`Error::is_corrupt`]), if
    /// other changes leave no turn ([`Error::is_contended`]), or if the system's random generator
    /// fails ([`Error::is_unavailable`]).
    ///
    /// [`Error::is_unavailable`]: crate::Error::is_unavailable
    /// [`Error::is_full`]: crate::Error::is_full
    /// [`Error::is_corrupt`]: crate::Error::is_corrupt
    /// [`Error::is_contended`]: crate::Error::is_contended
    pub async fn bind_device(
        &self,
        token: &Token,
        proof: &[u8],
        lifetime: Duration,
    ) -> Result<DeviceOutcome> {
        let found = self.session_of(token, Freshness::Strict, TokenStatus::is_accepted).await?;
        let Some((token, session)) = found else {
            self.refused::<()>(token.id(), None, RefusalReason::Unknown)?;
            return Ok(DeviceOutcome::Refused);
        };
        let proof = Proof::parse(proof);
        let step = |session: &SessionSnapshot<T>, now: Timestamp| -> Result<Step> {
            let refused = |reason| Ok((None, DeviceOutcome::Refused, Some(reason)));
            let Some((proof, key)) = proof.as_ref().and_then(|proof| Some((proof, proof.key?)))
            else {
                return refused(RefusalReason::DeviceProofInvalid);
            };
            if !is_open_offer(&session.envelope().seed, &proof.challenge, self.clock().now()) {
                return refused(RefusalReason::DeviceProofOutdated);
            }
            let is_of_user = !session.is_anonymous() && session.acting_for().is_none();
            if !is_of_user || !proof.is_signed_by(&key) {
                return refused(RefusalReason::DeviceProofInvalid);
            }
            let is_repeated =
                |bound: &DeviceBinding| bound.key == key && bound.proved == bound.since;
            let device = match session.envelope().device_binding() {
                None => DeviceBinding::new(self.random_bytes()?, key, now),
                Some(bound) if is_repeated(bound) => bound.clone(),
                Some(_) => {
                    let reason = RefusalReason::DeviceAlreadyBound;
                    return Ok((None, DeviceOutcome::AlreadyBound, Some(reason)));
                }
            };
            self.grant(device, now, lifetime)
        };
        self.change_device(&token, session, EventKind::DeviceBound, step).await
    }

    /// Checks a proof of the device that a session is bound to, and gives its browser a new value of
    /// the bound cookie. `id` is the browser's name for the binding, and `proof` the JWT of its
    /// refresh; empty if it has sent none.
    ///
    /// A proof is good once. A refusal changes nothing, unless the challenge is older than two
    /// lifetimes, at least two minutes. A token that was replaced is challenged, so that the browser
    /// comes back with its new one. Costs the store two commands, or one for a refusal.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`bind_device`](Self::bind_device).
    pub async fn prove_device(
        &self,
        token: &Token,
        id: &[u8],
        proof: &[u8],
        lifetime: Duration,
    ) -> Result<DeviceOutcome> {
        let token = self.hashed(token);
        let named = |session: &SessionSnapshot<T>| {
            let device = session.envelope().device_binding();
            device.filter(|device| text(&device.id).as_bytes() == id).cloned()
        };
        let Some(Found { session, status, .. }) = self.found(&token, Freshness::Strict).await?
        else {
            self.refused::<()>(token.token.id(), None, RefusalReason::Unknown)?;
            return Ok(DeviceOutcome::Refused);
        };
        if !status.is_accepted() {
            self.refuse(&session, status).await?;
            let ends = self.0.policy.reuse == TokenReuse::EndSession;
            // A refresh that a rotation has overtaken comes with such a token.
            let is_under_way = matches!(status, TokenStatus::Replaced(_))
                || (status == TokenStatus::Reused && !ends);
            let device = named(&session).filter(|_| is_under_way);
            return Ok(device.map_or(DeviceOutcome::Refused, |device| answer(&device, None)));
        }
        let parsed = Proof::parse(proof);
        let step = |session: &SessionSnapshot<T>, now: Timestamp| -> Result<Step> {
            let Some(mut device) = named(session) else {
                return Ok((None, DeviceOutcome::Refused, Some(RefusalReason::Unknown)));
            };
            let life = lifetime.saturating_mul(2).max(MIN_CHALLENGE_LIFE);
            let is_fresh = now.since(device.challenged) < life;
            let reason = match &parsed {
                None if proof.is_empty() => RefusalReason::DeviceProofMissing,
                Some(proof) if !is_fresh || proof.challenge != text(&device.challenge) => {
                    RefusalReason::DeviceProofOutdated
                }
                Some(proof) if proof.key.is_none() && proof.is_signed_by(&device.key) => {
                    device.proved = now;
                    return self.grant(device, now, lifetime);
                }
                _ => RefusalReason::DeviceProofInvalid,
            };
            if is_fresh && !self.has_fault(DeviceFault::NewChallengeOnRefusal) {
                return Ok((None, answer(&device, None), Some(reason)));
            }
            (device.challenge, device.challenged) = (self.random_bytes()?, now);
            let outcome = answer(&device, None);
            Ok((Some(device), outcome, Some(reason)))
        };
        self.change_device(&token, session, EventKind::DeviceProved, step).await
    }

    /// Changes the binding of a session as `step` says, and reports the outcome.
    async fn change_device(
        &self,
        token: &HashedToken<'_>,
        read: SessionSnapshot<T>,
        event: EventKind,
        mut step: impl FnMut(&SessionSnapshot<T>, Timestamp) -> Result<Step> + Send,
    ) -> Result<DeviceOutcome> {
        let ended = || (DeviceOutcome::Refused, Some(RefusalReason::Unknown));
        let mut answer = ended();
        let changed = self.change_from(token, read.clone(), false, |session, status, now| {
            answer = ended();
            if !status.is_accepted() {
                return Ok(None);
            }
            let (device, outcome, reason) = step(session, now)?;
            answer = (outcome, reason);
            Ok(device.map(|device| {
                let mut content = session.content().clone();
                content.envelope.bind(device);
                (content, None)
            }))
        });
        match (changed.await?, answer) {
            (Some(session), (outcome, None)) => {
                self.report(event, session.id(), &session);
                Ok(outcome)
            }
            (_, (outcome, Some(reason))) => {
                self.report_refusal(Some(&read), reason);
                Ok(outcome)
            }
            // It has ended meanwhile.
            (None, (_, None)) => Ok(DeviceOutcome::Refused),
        }
    }

    /// Gives the browser a new challenge, and a new value of the bound cookie beside the one before.
    fn grant(&self, mut device: DeviceBinding, now: Timestamp, lifetime: Duration) -> Result<Step> {
        let cookie = URL_SAFE_NO_PAD.encode(self.random_bytes::<32>()?);
        if !self.has_fault(DeviceFault::ReusableChallenge) || device.previous.is_none() {
            device.challenge = self.random_bytes()?;
        }
        device.challenged = now;
        device.replace_value(BoundValue::new(&cookie, now, lifetime), now);
        let outcome = answer(&device, Some(cookie));
        Ok((Some(device), outcome, None))
    }

    /// Whether a test has broken a rule on purpose.
    fn has_fault(&self, fault: DeviceFault) -> bool {
        #[cfg(feature = "testing")]
        let set = self.0.policy.device_fault;
        #[cfg(not(feature = "testing"))]
        let set = None;
        set == Some(fault)
    }
}

fn answer(device: &DeviceBinding, cookie: Option<String>) -> DeviceOutcome {
    let (id, challenge) = (text(&device.id), text(&device.challenge));
    DeviceOutcome::Bound(DeviceAnswer { id, challenge, cookie })
}

fn text(nonce: &Nonce) -> String {
    URL_SAFE_NO_PAD.encode(nonce)
}

/// Without its secrets.
impl fmt::Debug for DeviceAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceAnswer").field("id", &self.id).finish_non_exhaustive()
    }
}
