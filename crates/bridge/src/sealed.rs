//! Secrets in the store that only a client's own secret opens.

use aes_gcm::aead::Aead;
use aes_gcm::{Aes256Gcm, Key, KeyInit, Nonce};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

const SALT_LEN: usize = 32;

/// A text that is encrypted under a client's secret: 32 random bytes, then the text under
/// AES-256-GCM; in base64url.
///
/// The key is the HMAC-SHA-256 of the secret, keyed with the random bytes. So each key encrypts one
/// text, and the nonce can be zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sealed(String);

impl Sealed {
    pub(crate) fn new(text: &str, secret: &str) -> Result<Self, getrandom::Error> {
        let mut sealed = vec![0; SALT_LEN];
        getrandom::fill(&mut sealed)?;
        let cipher = cipher(&sealed, secret);
        let text = cipher.encrypt(&Nonce::default(), text.as_bytes());
        sealed.extend(text.expect("a short text can be encrypted"));
        Ok(Self(URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// The text; `None` if the secret is another one.
    pub(crate) fn open(&self, secret: &str) -> Option<String> {
        let sealed = URL_SAFE_NO_PAD.decode(&self.0).ok()?;
        let (salt, text) = sealed.split_at_checked(SALT_LEN)?;
        String::from_utf8(cipher(salt, secret).decrypt(&Nonce::default(), text).ok()?).ok()
    }
}

fn cipher(salt: &[u8], secret: &str) -> Aes256Gcm {
    let mac = Hmac::<Sha256>::new_from_slice(salt).expect("a key may have any length");
    let key = mac.chain_update("kvolt bridge 1\0").chain_update(secret).finalize().into_bytes();
    Aes256Gcm::new(&Key::<Aes256Gcm>::from(<[u8; 32]>::from(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_secret_opens_a_sealed_text() {
        let sealed = Sealed::new("a token", "a cookie").unwrap();
        assert_eq!(sealed.open("a cookie").as_deref(), Some("a token"));
        assert_eq!(sealed.open("another cookie"), None);
        assert_ne!(sealed, Sealed::new("a token", "a cookie").unwrap());
        for broken in ["", "A", "not base64!", &sealed.0[..60], &format!("{}A", sealed.0)] {
            assert_eq!(Sealed(broken.to_owned()).open("a cookie"), None, "{broken}");
        }
    }
}
