use std::fmt;
use std::str;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use zeroize::optimization_barrier;

use kvolt_cache::Key;

use crate::{Error, Result};

/// The client's secret: 256 random bits, written as 43 characters of base64url
/// without padding (RFC 4648, section 5).
///
/// Only a [`Manager`](crate::Manager) makes one. It has no `Display` and its
/// `Debug` shows nothing; [`expose`](Self::expose) is the one way to the text.
/// Its memory is wiped when it is dropped. The server keeps only its SHA-256.
#[must_use = "a token that is not given to the client is a session nobody can use"]
pub struct Token {
    /// The bits; the last byte is room that the decoder asks for, and zero.
    bytes: [u8; Self::BYTES_DECODED],
    text: [u8; Self::LEN],
}

impl Token {
    /// How many characters a token has.
    pub const LEN: usize = 43;

    const BYTES: usize = 32;
    const BYTES_DECODED: usize = Self::BYTES + 1;

    /// A token from a client. `None` unless it has exactly the form of one.
    ///
    /// The form is canonical: of the texts that decode to the same bits, one is
    /// accepted. That it has the form says nothing about whether there is such a session.
    pub fn parse(text: impl AsRef<[u8]>) -> Option<Self> {
        let text: [u8; Self::LEN] = text.as_ref().try_into().ok()?;
        let mut token = Self { bytes: [0; Self::BYTES_DECODED], text };
        // Refuses other alphabets and set bits beyond the 256th.
        match URL_SAFE_NO_PAD.decode_slice(token.text, &mut token.bytes) {
            Ok(Self::BYTES) => Some(token),
            _ => None,
        }
    }

    /// The secret text, to be given to the client and to nobody else.
    pub fn expose(&self) -> &str {
        str::from_utf8(&self.text).unwrap_or_default()
    }

    pub(crate) fn generate(random: Random) -> Result<Self> {
        let mut bytes = [0; Self::BYTES];
        random(&mut bytes)?;
        let mut token = Self { bytes: [0; Self::BYTES_DECODED], text: [0; Self::LEN] };
        token.bytes[..Self::BYTES].copy_from_slice(&bytes);
        // The length is 32 * 4 / 3 rounded up, so it always fits.
        let _ = URL_SAFE_NO_PAD.encode_slice(bytes, &mut token.text);
        bytes = [0; Self::BYTES];
        optimization_barrier(&bytes);
        Ok(token)
    }

    /// What a store knows it by: its SHA-256, after that of the manager's kind where it has one.
    ///
    /// Either way one block of the hash function.
    pub(crate) fn key(&self, kind: &Kind) -> Key {
        let bytes = &self.bytes[..Self::BYTES];
        let digest = match kind {
            Kind::Plain => Sha256::digest(bytes),
            Kind::Named { tag, .. } => {
                Sha256::new().chain_update(tag).chain_update(bytes).finalize()
            }
        };
        Key::from_bytes(digest.into())
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.bytes = [0; Self::BYTES_DECODED];
        self.text = [0; Self::LEN];
        // Or the compiler would leave out what nobody reads.
        optimization_barrier(self);
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Fills the bytes with randomness, or says that there is none.
pub(crate) type Random = fn(&mut [u8; 32]) -> Result<()>;

/// The operating system's generator.
pub(crate) fn system_random(bytes: &mut [u8; 32]) -> Result<()> {
    getrandom::fill(bytes).map_err(Error::no_randomness)
}

/// What sort of session a manager keeps. Tokens of one kind mean nothing to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    Named { name: String, tag: [u8; 16] },
}

impl Kind {
    pub(crate) fn new(name: &str) -> Self {
        if name.is_empty() {
            return Self::Plain;
        }
        let digest: [u8; 32] = Sha256::digest(name.as_bytes()).into();
        let mut tag = [0; 16];
        tag.copy_from_slice(&digest[..16]);
        Self::Named { name: name.to_owned(), tag }
    }

    /// Its name; empty for the plain one.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Plain => "",
            Self::Named { name, .. } => name,
        }
    }

    /// A number for it, to be kept in each record.
    pub(crate) fn number(&self) -> u64 {
        match self {
            Self::Plain => 0,
            Self::Named { tag, .. } => {
                u64::from_le_bytes([tag[0], tag[1], tag[2], tag[3], tag[4], tag[5], tag[6], tag[7]])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_nothing_in_debug_output() {
        let token = Token::generate(system_random).unwrap();
        assert_eq!(format!("{token:?} {:?}", Some(&token)), "Token(..) Some(Token(..))");
    }

    #[test]
    fn a_token_survives_its_text_form() {
        let token = Token::generate(system_random).unwrap();
        let parsed = Token::parse(token.expose()).unwrap();
        assert_eq!(parsed.key(&Kind::Plain), token.key(&Kind::Plain));
        assert_eq!(parsed.expose().len(), Token::LEN);
    }

    #[test]
    fn what_has_not_exactly_the_form_of_a_token_is_refused() {
        let good = "A".repeat(43);
        assert!(Token::parse(&good).is_some());
        for bad in [
            String::new(),
            "A".repeat(42),
            "A".repeat(44),
            format!("{}=", "A".repeat(42)),
            format!("{}+", "A".repeat(42)),
            format!("{}/", "A".repeat(42)),
            format!("{} ", "A".repeat(42)),
            format!("{}\0", "A".repeat(42)),
            // Two bits beyond the 256th are set: the same bytes as the good one.
            format!("{}B", "A".repeat(42)),
            "é".repeat(21) + "A",
        ] {
            assert!(Token::parse(&bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_store_knows_a_token_by_its_sha_256_and_by_another_key_for_each_kind() {
        let token = Token::parse("A".repeat(43)).unwrap();
        // SHA-256 of 32 zero bytes.
        let expected = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925";
        assert_eq!(token.key(&Kind::Plain).to_string(), expected);
        assert_ne!(token.key(&Kind::new("admin")), token.key(&Kind::new("user")));
        assert_ne!(token.key(&Kind::new("admin")), token.key(&Kind::Plain));
    }

    #[test]
    fn tokens_use_the_whole_alphabet_at_every_place() {
        let mut seen = [[false; 128]; Token::LEN];
        for _ in 0..2_000 {
            let token = Token::generate(system_random).unwrap();
            for (place, character) in token.text.iter().enumerate() {
                seen[place][usize::from(*character)] = true;
            }
        }
        for (place, seen) in seen.iter().enumerate() {
            // The last character carries four bits, the others six.
            let expected = if place == Token::LEN - 1 { 16 } else { 64 };
            assert_eq!(seen.iter().filter(|seen| **seen).count(), expected, "place {place}");
        }
    }

    #[test]
    fn without_randomness_there_is_an_error_and_no_token() {
        let error = Token::generate(|_| Err(Error::no_randomness("out of order"))).unwrap_err();
        assert!(error.to_string().contains("random"));
    }
}
