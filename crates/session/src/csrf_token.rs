use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac;

use crate::Result;
use crate::random::{Random, Seed, mac};

const LABEL: &[u8] = b"kvolt csrf 1";
const NONCE_LEN: usize = 16;
const MAC_LEN: usize = 32;
const LEN: usize = NONCE_LEN + MAC_LEN;

/// A token that a form or a script sends, to prove that a page of this session made the request.
///
/// It is a random number and the HMAC-SHA-256 (RFC 2104) of it, keyed with the session's seed. Each
/// one is different, so a compressed page reveals nothing (BREACH). All of a session's form tokens
/// are valid until its next login.
///
/// ```
/// use kvolt_cache::MemoryStore;
/// use kvolt_session::Manager;
///
/// # pollster::block_on(async {
/// let manager = Manager::<String>::new(MemoryStore::new());
/// let token = manager.create(String::from("Ada")).await?;
/// let session = manager.get(&token).await?.expect("it was just created");
///
/// let in_the_form = session.csrf_token()?;
/// assert!(session.verifies_csrf(in_the_form.as_str()));
/// assert!(!session.verifies_csrf("forged"));
/// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct CsrfToken(String);

impl CsrfToken {
    /// The length of the text, in characters.
    pub const LEN: usize = 64;

    /// The text, of letters, digits, `-` and `_`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn new(seed: &Seed, random: Random) -> Result<Self> {
        let mut token = [0; LEN];
        let (nonce, tag) = token.split_at_mut(NONCE_LEN);
        random(nonce)?;
        tag.copy_from_slice(&mac(seed, &[LABEL, nonce]).finalize().into_bytes());
        Ok(Self(URL_SAFE_NO_PAD.encode(token)))
    }

    /// Whether `text` is a form token of the session. Compares in constant time.
    pub(crate) fn verify(seed: &Seed, text: &[u8]) -> bool {
        let mut token = [0; LEN + 2];
        if text.len() != Self::LEN {
            return false;
        }
        let Ok(LEN) = URL_SAFE_NO_PAD.decode_slice(text, &mut token) else {
            return false;
        };
        let (nonce, tag) = token[..LEN].split_at(NONCE_LEN);
        mac(seed, &[LABEL, nonce]).verify_slice(tag).is_ok()
    }
}

impl fmt::Display for CsrfToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CsrfToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CsrfToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::system_random;

    fn seed(random: Random) -> Result<Seed> {
        let mut seed = Seed::default();
        random(&mut seed)?;
        Ok(seed)
    }

    #[test]
    fn form_token_is_valid_for_its_session_only() {
        let (ours, theirs) = (seed(system_random).unwrap(), seed(system_random).unwrap());
        let (one, other) = (
            CsrfToken::new(&ours, system_random).unwrap(),
            CsrfToken::new(&ours, system_random).unwrap(),
        );
        assert_ne!(one.as_str(), other.as_str());
        for token in [&one, &other] {
            assert_eq!(token.as_str().len(), CsrfToken::LEN);
            assert!(CsrfToken::verify(&ours, token.as_str().as_bytes()));
            assert!(!CsrfToken::verify(&theirs, token.as_str().as_bytes()));
        }
        assert_eq!(format!("{one:?}"), "CsrfToken(..)");
    }

    #[test]
    fn form_token_is_made_as_documented() {
        let zeros = |bytes: &mut [u8]| {
            bytes.fill(0);
            Ok(())
        };
        let token = CsrfToken::new(&[0; 16], zeros).unwrap();
        // By another implementation: Python's `hmac`.
        let expected = "AAAAAAAAAAAAAAAAAAAAAMYLVk8deHluAbCSraqkEDjY_EMjPO3N1Kbg5YGF5fL-";
        assert_eq!(token.as_str(), expected);
    }

    #[test]
    fn changed_form_token_is_rejected() {
        let seed = seed(system_random).unwrap();
        let token = CsrfToken::new(&seed, system_random).unwrap().0;
        for place in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            assert!(!CsrfToken::verify(&seed, &bytes), "{place}");
        }
        for wrong in [&token[..63], "", &format!("{token}A"), &"=".repeat(64), &"A".repeat(64)] {
            assert!(!CsrfToken::verify(&seed, wrong.as_bytes()));
        }
    }
}
