//! The users and their second factors: the part of a database.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kvolt::cache::Timestamp;
use sha2::{Digest, Sha256};
use totp_rs::{Secret, Totp};

/// Wrong codes in a row without a pause. Each further one doubles the pause.
const FREE_ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);
const RECOVERY_CODES: usize = 10;
/// The longest code that is compared, in bytes.
const MAX_CODE: usize = 64;

/// By name. A user is absent until the second factor is confirmed.
#[derive(Default)]
pub(crate) struct Users(Mutex<HashMap<String, SecondFactor>>);

struct SecondFactor {
    totp: Totp,
    /// Of the code that was used last. Its code and older ones are not accepted again.
    last_step: u64,
    /// Digests of the recovery codes that are left. The codes are random, so no slow hash is needed.
    recovery: Vec<[u8; 32]>,
    /// Wrong codes in a row. The user has one count for all sessions, of which an attacker with the
    /// password can have many.
    wrong: u32,
    next_attempt: Timestamp,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Checked {
    Right,
    Wrong,
    /// Too many codes were wrong, and this one was compared with the recovery codes only. The next
    /// attempt is possible after this time.
    TooMany(Duration),
}

impl Users {
    pub(crate) fn has_second_factor(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }

    /// Stores a second factor whose first code was right, and returns its recovery codes. `None` if
    /// meanwhile another request has stored one, which `replaces` did not know of.
    pub(crate) fn enroll(
        &self,
        name: &str,
        totp: Totp,
        last_step: u64,
        replaces: bool,
    ) -> Option<Vec<String>> {
        let mut users = self.lock();
        if users.contains_key(name) != replaces {
            return None;
        }
        let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| random::<10>().to_base32()).collect();
        let recovery = codes.iter().map(|code| digest(code)).collect();
        let next_attempt = Timestamp::from_millis(0);
        let second = SecondFactor { totp, last_step, recovery, wrong: 0, next_attempt };
        users.insert(name.to_owned(), second);
        Some(codes)
    }

    /// Checks a code of the authenticator, or a recovery code. Each is good once.
    ///
    /// The lock is held from the comparison to the change, so that concurrent attempts are counted,
    /// and of two with one code, one is right. With a database, it is a lock on the user's row
    /// (`SELECT … FOR UPDATE`).
    pub(crate) fn check(&self, name: &str, code: &str, now: Timestamp) -> Checked {
        if code.len() > MAX_CODE {
            return Checked::Wrong;
        }
        let mut users = self.lock();
        let Some(second) = users.get_mut(name) else { return Checked::Wrong };
        // Before the pause: an attacker with the password, who sends wrong codes for ever, must not
        // lock the user out. 80 random bits need no limit.
        if second.use_recovery_code(code) {
            second.next_attempt = now;
        } else if now < second.next_attempt {
            return Checked::TooMany(second.next_attempt.since(now));
        } else if !second.use_code(code, now) {
            second.wrong += 1;
            second.next_attempt = now.saturating_add(pause(second.wrong));
            return Checked::Wrong;
        }
        second.wrong = 0;
        Checked::Right
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, SecondFactor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SecondFactor {
    /// RFC 6238, section 5.2: the verifier must not accept a code a second time.
    fn use_code(&mut self, code: &str, now: Timestamp) -> bool {
        let step = self.totp.check(code, seconds(now)).filter(|step| *step > self.last_step);
        self.last_step = step.unwrap_or(self.last_step);
        step.is_some()
    }

    fn use_recovery_code(&mut self, code: &str) -> bool {
        let digest = digest(code);
        let found = self.recovery.iter().position(|known| *known == digest);
        found.map(|at| self.recovery.swap_remove(at)).is_some()
    }
}

/// Of the authenticator's clock. Codes of the step before and the step after are accepted too.
pub(crate) fn seconds(now: Timestamp) -> u64 {
    now.as_millis() / 1_000
}

/// A secret from the system's random numbers.
pub(crate) fn random<const N: usize>() -> Secret {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    Secret::from(bytes)
}

fn digest(code: &str) -> [u8; 32] {
    Sha256::digest(code.trim().to_ascii_uppercase()).into()
}

fn pause(wrong: u32) -> Duration {
    match wrong.checked_sub(FREE_ATTEMPTS) {
        None => Duration::ZERO,
        Some(more) => LONGEST_PAUSE.min(FIRST_PAUSE * 2u32.pow(more.min(10))),
    }
}
