//! The cookie of the other library, plain or as the crate `cookie` signs and encrypts it.

use std::fmt;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, Key, KeyInit, Nonce};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use http::HeaderValue;
use kvolt_session::{Error, Result};
use sha2::Sha256;

/// The cookie of the other library: its name, where browsers send it, and how its value is kept.
///
/// Name, path and domain must be those of the other library, or browsers would not remove the
/// cookie.
///
/// ```
/// use kvolt_bridge::OldCookie;
///
/// let key = [7; 64]; // `Key::master()` of the crate `cookie`
/// let plain = OldCookie::plain("id");
/// let signed = OldCookie::signed("id", &key)?;
/// let encrypted = OldCookie::encrypted("id", &key)?.path("/shop").domain("shop.example");
/// assert_eq!(plain.name(), encrypted.name());
/// assert_eq!(plain.open("a value").as_deref(), Some("a value"));
/// assert_eq!(signed.open("not signed"), None);
/// # Ok::<(), kvolt_session::Error>(())
/// ```
#[derive(Clone)]
pub struct OldCookie {
    name: String,
    path: String,
    domain: Option<String>,
    security: Security,
    meaning: Meaning,
}

/// What a cookie's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The session's name, which only its client knows.
    Id,
    /// A name that is a secret only if it is signed or encrypted.
    #[cfg(feature = "redis")]
    ProtectedId,
    /// All of the session.
    Content,
}

#[derive(Clone)]
enum Security {
    Plain,
    Signed(SubKey),
    Encrypted(SubKey),
}

/// One half of the 64 bytes of the crate `cookie`.
type SubKey = [u8; 32];

/// The length of a signature in base64.
const SIGNATURE_LEN: usize = 44;
const NONCE_LEN: usize = 12;

impl OldCookie {
    /// A cookie whose value is neither signed nor encrypted.
    pub fn plain(name: impl Into<String>) -> Self {
        Self::new(name.into(), Security::Plain)
    }

    /// A signed cookie (HMAC-SHA-256), with the 64 bytes of the key's `master()`.
    ///
    /// # Errors
    ///
    /// Returns an error if the key is shorter than 64 bytes ([`Error::is_misconfigured`]).
    pub fn signed(name: impl Into<String>, key: &[u8]) -> Result<Self> {
        Ok(Self::new(name.into(), Security::Signed(halves(key)?.0)))
    }

    /// An encrypted cookie (AES-256-GCM, *private* in the crate `cookie`), with the 64 bytes of the
    /// key's `master()`.
    ///
    /// # Errors
    ///
    /// Returns an error if the key is shorter than 64 bytes ([`Error::is_misconfigured`]).
    pub fn encrypted(name: impl Into<String>, key: &[u8]) -> Result<Self> {
        Ok(Self::new(name.into(), Security::Encrypted(halves(key)?.1)))
    }

    fn new(name: String, security: Security) -> Self {
        Self { name, path: String::from("/"), domain: None, security, meaning: Meaning::Id }
    }

    /// Sets the cookie's path. Defaults to `/`.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Sets the cookie's domain. Defaults to none.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn meaning(self, meaning: Meaning) -> Self {
        Self { meaning, ..self }
    }

    /// Whether no two clients have the same value. A signed cookie is a function of its content.
    pub(crate) fn is_of_one_client(&self) -> bool {
        self.meaning != Meaning::Content || matches!(self.security, Security::Encrypted(_))
    }

    /// Verifies or decrypts a value. `None` if it was not made with this key.
    pub fn open(&self, value: &str) -> Option<String> {
        match &self.security {
            Security::Plain => Some(value.to_owned()),
            Security::Signed(key) => {
                let (signature, value) = value.split_at_checked(SIGNATURE_LEN)?;
                let signature = STANDARD.decode(signature).ok()?;
                let mac = Hmac::<Sha256>::new_from_slice(key).ok()?.chain_update(value);
                mac.verify_slice(&signature).ok()?;
                Some(value.to_owned())
            }
            Security::Encrypted(key) => {
                let sealed = STANDARD.decode(value).ok()?;
                let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
                let nonce = Nonce::try_from(nonce).ok()?;
                let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key));
                let payload = Payload { msg: text, aad: self.name.as_bytes() };
                String::from_utf8(cipher.decrypt(&nonce, payload).ok()?).ok()
            }
        }
    }

    /// The `Set-Cookie` header that removes the cookie.
    pub(crate) fn removal(&self) -> Result<HeaderValue> {
        let Self { name, path, domain, .. } = self;
        if self.meaning != Meaning::Id && matches!(self.security, Security::Plain) {
            return Err(Error::store(kvolt_cache::Error::misconfigured(
                "a cookie of actix-session is signed or encrypted: any client could make a plain one",
            )));
        }
        let is_token =
            |byte: u8| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte);
        let is_text =
            |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b';');
        let domain = domain.as_deref().unwrap_or_default();
        if name.is_empty() || !name.bytes().all(is_token) || !is_text(path) || !is_text(domain) {
            return Err(Error::store(kvolt_cache::Error::misconfigured(
                "the old cookie's name, path or domain is not one of a cookie",
            )));
        }
        let mut header = format!("{name}=; Path={path}");
        if !domain.is_empty() {
            header.extend(["; Domain=", domain]);
        }
        header.push_str("; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT");
        let lower = name.to_ascii_lowercase();
        if lower.starts_with("__host-") || lower.starts_with("__secure-") {
            // Browsers reject such a name without it.
            header.push_str("; Secure");
        }
        Ok(HeaderValue::try_from(header).expect("its parts were checked to be visible ASCII"))
    }
}

/// The signing and the encryption key.
fn halves(key: &[u8]) -> Result<(SubKey, SubKey)> {
    let (signing, rest) = key.split_first_chunk().ok_or_else(short_key)?;
    Ok((*signing, *rest.first_chunk().ok_or_else(short_key)?))
}

fn short_key() -> Error {
    Error::store(kvolt_cache::Error::misconfigured("a key of cookies has 64 bytes"))
}

impl fmt::Debug for OldCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OldCookie")
            .field("name", &self.name)
            .field("path", &self.path)
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}
