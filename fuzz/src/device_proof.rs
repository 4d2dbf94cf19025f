use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use kvolt_cache::{ManualClock, MemoryStore};
use kvolt_session::{DeviceOutcome, Manager, NewSession, Token};
use kvolt_testkit::device::DeviceKey;
use pollster::block_on;

const LIFETIME: Duration = Duration::from_secs(600);

/// A session that may be bound, and one that is.
struct Sessions {
    manager: Manager<()>,
    offered: Token,
    offer: String,
    bound: Token,
    id: String,
    challenge: String,
    /// The browser's proofs for the offer and for the challenge.
    registration: String,
    proof: String,
}

/// The key of the browser.
pub(crate) fn device() -> &'static DeviceKey {
    static DEVICE: OnceLock<DeviceKey> = OnceLock::new();
    DEVICE.get_or_init(|| DeviceKey::new(1))
}

/// The first byte chooses what the others are: a proof; changes to a good one, as in
/// [`csrf`](crate::csrf); or the header and the payload of one with a valid signature, on a line each,
/// in which `$` is the challenge.
///
/// Only a proof of the right kind, with a valid signature of the right challenge, is granted. Nothing
/// else ends or changes a binding.
///
/// # Panics
///
/// If that does not hold.
pub fn device_proof(data: &[u8]) {
    static SESSIONS: OnceLock<Mutex<Sessions>> = OnceLock::new();
    let sessions = SESSIONS.get_or_init(|| Mutex::new(sessions()));
    let mut sessions = sessions.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((choice, data)) = data.split_first() else { return };
    let (is_refresh, device) = (choice & 1 == 1, device());
    let challenge = if is_refresh { &sessions.challenge } else { &sessions.offer };
    let good = if is_refresh { &sessions.proof } else { &sessions.registration };
    let (proof, is_good) = match (choice >> 1) % 3 {
        0 => (data.to_vec(), data == good.as_bytes()),
        1 => {
            let changed = changed(good.as_bytes(), data);
            let is_good = changed == good.as_bytes();
            (changed, is_good)
        }
        _ => {
            let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
            let header = filled(&data[..end], challenge);
            let payload = filled(data.get(end + 1..).unwrap_or_default(), challenge);
            let is_good = is_right(&header, &payload, challenge, is_refresh);
            (device.sign(header, payload).into_bytes(), is_good)
        }
    };
    let is_granted = sessions.present(is_refresh, &proof);
    assert!(!is_granted || is_good, "it was granted: {}", String::from_utf8_lossy(&proof));
}

impl Sessions {
    fn present(&mut self, is_refresh: bool, proof: &[u8]) -> bool {
        let (manager, id) = (&self.manager, self.id.as_bytes());
        let outcome = match is_refresh {
            true => block_on(manager.prove_device(&self.bound, id, proof, LIFETIME)),
            false => block_on(manager.bind_device(&self.offered, proof, LIFETIME)),
        };
        match outcome.expect("it is in memory") {
            DeviceOutcome::Bound(grant) if is_refresh && grant.cookie.is_some() => {
                assert_eq!(grant.id, self.id);
                self.proof = device().proof(&grant.challenge);
                self.challenge = grant.challenge;
                true
            }
            DeviceOutcome::Bound(grant) if grant.cookie.is_some() => {
                // Another session, so that each grant is the first.
                *self = sessions();
                true
            }
            DeviceOutcome::Bound(refusal) => {
                assert!(is_refresh && refusal.id == self.id);
                assert_eq!(refusal.challenge, self.challenge);
                false
            }
            DeviceOutcome::Refused => {
                assert!(!is_refresh);
                false
            }
            other => panic!("{other:?}"),
        }
    }
}

fn sessions() -> Sessions {
    let store = MemoryStore::builder().clock(ManualClock::new().clock()).build();
    let manager = Manager::new(store);
    let sign_in = || {
        let mut session = NewSession::new(());
        let offer = manager.offer_device(&mut session).expect("there is randomness");
        (block_on(manager.create(session)).expect("it is in memory"), offer)
    };
    let (bound, offer) = sign_in();
    let proof = device().registration(&offer);
    let granted = block_on(manager.bind_device(&bound, proof.as_bytes(), LIFETIME));
    let Ok(DeviceOutcome::Bound(grant)) = granted else { panic!("a good proof: {granted:?}") };
    let (offered, offer) = sign_in();
    let (registration, proof) = (device().registration(&offer), device().proof(&grant.challenge));
    let (id, challenge) = (grant.id, grant.challenge);
    Sessions { manager, offered, offer, bound, id, challenge, registration, proof }
}

/// A good text with changes, three bytes for each: where, in two of them, and what is put there.
fn changed(good: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut text = good.to_vec();
    for change in changes.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]]));
        match text.get_mut(at) {
            Some(character) => *character = change[2],
            None if at > 0xff00 => text.truncate(text.len().saturating_sub(change[2].into())),
            None => text.push(change[2]),
        }
    }
    text
}

fn filled(text: &[u8], challenge: &str) -> Vec<u8> {
    let pieces: Vec<&[u8]> = text.split(|byte| *byte == b'$').collect();
    pieces.join(challenge.as_bytes())
}

/// Whether a proof with a valid signature says what it must, by its text: of texts with escapes that is
/// not known.
fn is_right(header: &[u8], payload: &[u8], challenge: &str, is_refresh: bool) -> bool {
    let [Ok(header), Ok(payload)] = [header, payload].map(str::from_utf8) else { return false };
    let is_escaped = header.contains('\\') || payload.contains('\\');
    let has = |text: &str, quoted: &str| text.contains(&format!("\"{quoted}\""));
    is_escaped
        || (has(header, "dbsc+jwt")
            && has(header, "ES256")
            && has(payload, "jti")
            && has(payload, challenge)
            && (is_refresh || has(header, "jwk")))
}
