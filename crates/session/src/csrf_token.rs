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

/// What a form, or a script's request, carries to show that a page of this session made it.
///
/// A random number and, keyed by a secret of the session, an HMAC-SHA-256 of it
/// over fields that are prefixed by their length (RFC 2104). It is another each time, so
/// that a compressed page tells nothing about it (BREACH), and all of a session's are
/// good until its next login.
#[derive(Clone)]
pub struct CsrfToken(String);

impl CsrfToken {
    /// How many characters it has.
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

    /// Whether `text` is one of the session's, compared in constant time.
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
    fn a_form_token_is_good_for_its_session_alone_and_never_the_same() {
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
    fn a_form_token_is_made_as_documented() {
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
    fn no_character_of_a_form_token_may_change() {
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
