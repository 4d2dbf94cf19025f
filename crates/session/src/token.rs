use std::fmt;
use std::str;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use kvolt_cache::Namespace;
use sha2::{Digest, Sha256};
use zeroize::optimization_barrier;

use crate::random::{Random, Seed, mac};
use crate::secret_digest::SecretDigest;
use crate::{Result, SessionId};

/// The client's secret text: 36 bytes in 48 characters of base64url (RFC 4648, section 5).
///
/// A token is the session's public id (12 bytes), a random number (18 bytes, 144 bits) and a
/// mark (6 bytes), by which the session recognises any token that was ever issued for it. The
/// length leaves no spare bits, so each token has exactly one spelling.
///
/// Only a [`Manager`](crate::Manager) makes tokens. A token has no `Display`, and its `Debug` shows
/// nothing: [`expose`](Self::expose) is the only way to the text. Its memory is wiped when it is
/// dropped. The server keeps only a SHA-256 of it.
///
/// ```
/// use kvolt_cache::MemoryStore;
/// use kvolt_session::{Manager, Token};
///
/// # pollster::block_on(async {
/// let manager = Manager::<String>::new(MemoryStore::new());
/// let token = manager.create(String::from("Ada")).await?;
///
/// // To the client, and back with its next request:
/// let presented = Token::parse(token.expose()).expect("it has the form of a token");
/// assert_eq!(presented.id(), token.id());
/// assert!(manager.get(&presented).await?.is_some());
/// assert!(Token::parse("guessed").is_none());
/// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
#[must_use = "a session whose token is not given to the client can't be used"]
pub struct Token {
    bytes: [u8; Self::BYTES],
    text: [u8; Self::LEN],
}

impl Token {
    /// The length of the text, in characters.
    pub const LEN: usize = 48;

    const BYTES: usize = SessionId::LEN + SECRET_LEN;

    /// Parses a token from a client. `None` if the text does not have exactly the form of one.
    ///
    /// The form does not show whether the session exists.
    pub fn parse(text: impl AsRef<[u8]>) -> Option<Self> {
        let text: [u8; Self::LEN] = text.as_ref().try_into().ok()?;
        let mut token = Self { bytes: [0; Self::BYTES], text };
        // Rejects other alphabets and padding.
        match URL_SAFE_NO_PAD.decode_slice(token.text, &mut token.bytes) {
            Ok(Self::BYTES) => Some(token),
            _ => None,
        }
    }

    /// The secret text, for the client only.
    pub fn expose(&self) -> &str {
        str::from_utf8(&self.text).unwrap_or_default()
    }

    /// The public id of the session that the token names, whether or not the session exists and the
    /// token is valid.
    pub fn id(&self) -> SessionId {
        let mut id = [0; SessionId::LEN];
        id.copy_from_slice(&self.bytes[..SessionId::LEN]);
        SessionId::from_bytes(id)
    }

    /// Makes a new token of a session.
    pub(crate) fn generate(
        id: SessionId,
        seed: &Seed,
        namespace: &Namespace,
        random: Random,
    ) -> Result<Self> {
        let mut token = Self { bytes: [0; Self::BYTES], text: [0; Self::LEN] };
        token.bytes[..SessionId::LEN].copy_from_slice(id.as_bytes());
        random(&mut token.bytes[SessionId::LEN..MARK_START])?;
        let mark = token.mark(seed, namespace).finalize().into_bytes();
        token.bytes[MARK_START..].copy_from_slice(&mark[..MARK_LEN]);
        // 36 bytes are exactly 48 characters, so it always fits.
        let _ = URL_SAFE_NO_PAD.encode_slice(token.bytes, &mut token.text);
        Ok(token)
    }

    /// The digest that the session's record keeps. One block of SHA-256 (52 bytes of at most 55).
    pub(crate) fn digest(&self, namespace: &Namespace) -> SecretDigest {
        let (id, secret) = self.bytes.split_at(SessionId::LEN);
        let mut block = [0; Self::BYTES + 16];
        block[..SessionId::LEN].copy_from_slice(id);
        block[SessionId::LEN..][..16].copy_from_slice(&namespace.tag()[..16]);
        block[SessionId::LEN + 16..].copy_from_slice(secret);
        SecretDigest(Sha256::digest(block).into())
    }

    /// Whether the token was issued for the session with this seed, now or earlier.
    pub(crate) fn was_issued(&self, seed: &Seed, namespace: &Namespace) -> bool {
        self.mark(seed, namespace).verify_truncated_left(&self.bytes[MARK_START..]).is_ok()
    }

    fn mark(&self, seed: &Seed, namespace: &Namespace) -> Hmac<Sha256> {
        let (id, secret) = self.bytes.split_at(SessionId::LEN);
        mac(seed, &[b"kvolt issued 1", &namespace.tag()[..], id, &secret[..RANDOM_LEN]])
    }
}

/// The random part of a token: ASVS 7.2.3 asks for 128 bits.
const RANDOM_LEN: usize = 18;
/// A random try has the right mark once in 2^48, and a right mark opens nothing.
const MARK_LEN: usize = 6;
const SECRET_LEN: usize = RANDOM_LEN + MARK_LEN;
const MARK_START: usize = SessionId::LEN + RANDOM_LEN;

impl Drop for Token {
    fn drop(&mut self) {
        self.bytes = [0; Self::BYTES];
        self.text = [0; Self::LEN];
        // Or the compiler would leave out writes that nothing reads.
        optimization_barrier(self);
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::random::system_random;

    const SEED: Seed = [7; 16];

    fn shop() -> Namespace {
        Namespace::new("shop").unwrap()
    }

    fn token() -> Token {
        let mut id = [0; SessionId::LEN];
        system_random(&mut id).unwrap();
        Token::generate(SessionId::from_bytes(id), &SEED, &shop(), system_random).unwrap()
    }

    #[test]
    fn debug_output_shows_nothing_of_a_token() {
        let token = token();
        let shown = format!("{token:?} {:?} {:?}", Some(&token), token.digest(&shop()));
        assert_eq!(shown, "Token(..) Some(Token(..)) SecretDigest(..)");
    }

    #[test]
    fn token_survives_its_text_form() {
        let token = token();
        let parsed = Token::parse(token.expose()).unwrap();
        assert_eq!(parsed.digest(&shop()), token.digest(&shop()));
        assert_eq!(parsed.id(), token.id());
        assert_eq!(parsed.expose().len(), Token::LEN);
    }

    #[test]
    fn text_in_any_other_form_is_rejected() {
        assert!(Token::parse("A".repeat(48)).is_some());
        for bad in [
            String::new(),
            "A".repeat(47),
            "A".repeat(49),
            format!("{}=", "A".repeat(47)),
            format!("{}+", "A".repeat(47)),
            format!("{}/", "A".repeat(47)),
            format!("{} ", "A".repeat(47)),
            format!("{}\0", "A".repeat(47)),
            "é".repeat(24),
        ] {
            assert!(Token::parse(&bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn each_token_has_one_spelling() {
        let token = token();
        for place in 0..Token::LEN {
            let mut text = token.expose().as_bytes().to_vec();
            text[place] = if text[place] == b'A' { b'B' } else { b'A' };
            let other = Token::parse(&text).unwrap();
            let same = other.digest(&shop()) == token.digest(&shop()) && other.id() == token.id();
            assert!(!same, "place {place}");
        }
    }

    #[test]
    fn digest_is_bound_to_the_namespace() {
        let (token, other) = (token(), Namespace::new("shop_admin").unwrap());
        assert_ne!(token.digest(&shop()), token.digest(&other));
        assert!(token.was_issued(&SEED, &shop()) && !token.was_issued(&SEED, &other));
    }

    #[test]
    fn mark_is_bound_to_seed_id_and_random_part() {
        let token = token();
        assert!(token.was_issued(&SEED, &shop()));
        assert!(!token.was_issued(&[8; 16], &shop()));
        for place in [0, SessionId::LEN, MARK_START - 1, MARK_START, Token::BYTES - 1] {
            let mut bytes = token.bytes;
            bytes[place] ^= 1;
            let other = Token::parse(URL_SAFE_NO_PAD.encode(bytes)).unwrap();
            assert!(!other.was_issued(&SEED, &shop()), "byte {place}");
        }
    }

    #[test]
    fn token_and_digest_are_as_documented() {
        let id = SessionId::from_bytes(std::array::from_fn(|place| place as u8));
        let random: Random = |bytes| {
            bytes.fill(0xab);
            Ok(())
        };
        let token = Token::generate(id, &SEED, &shop(), random).unwrap();
        // By a second implementation: Python's `hashlib` and `hmac`.
        assert_eq!(token.expose(), "AAECAwQFBgcICQoLq6urq6urq6urq6urq6urq6uruGXhXYTb");
        let digest = "b990b775b7d4e88836581089645df4ec8a36c296adebfb7f184127a68c427579";
        let SecretDigest(bytes) = token.digest(&shop());
        assert_eq!(bytes.map(|byte| format!("{byte:02x}")).concat(), digest);
    }

    #[test]
    fn tokens_use_the_whole_alphabet_at_every_place() {
        let mut seen = [[false; 128]; Token::LEN];
        for _ in 0..2_000 {
            for (place, character) in token().text.iter().enumerate() {
                seen[place][usize::from(*character)] = true;
            }
        }
        for (place, seen) in seen.iter().enumerate() {
            assert_eq!(seen.iter().filter(|seen| **seen).count(), 64, "place {place}");
        }
    }

    #[test]
    fn without_randomness_there_is_no_token() {
        let id = SessionId::from_bytes([0; SessionId::LEN]);
        let failing: Random = |_| Err(Error::no_randomness("out of order"));
        let error = Token::generate(id, &SEED, &shop(), failing).unwrap_err();
        assert!(error.to_string().contains("random"));
    }
}
