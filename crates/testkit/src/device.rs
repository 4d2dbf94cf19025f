//! The browser's part of device-bound sessions (DBSC): a key, and the proofs that it signs.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};

/// The key of a device. It signs as Chromium does, without a browser.
///
/// ```
/// use kvolt_testkit::device::DeviceKey;
///
/// let device = DeviceKey::new(1);
/// let proof = device.proof("a challenge");
/// assert_eq!(proof.split('.').count(), 3);
/// assert_ne!(proof, device.registration("a challenge"));
/// // The same number gives the same key.
/// assert_eq!(proof, DeviceKey::new(1).proof("a challenge"));
/// ```
#[derive(Clone)]
pub struct DeviceKey(SigningKey);

impl DeviceKey {
    /// The key with this number.
    pub fn new(number: u8) -> Self {
        let mut secret = [1; 32];
        secret[0] = number;
        // Below the order of the curve, which begins with 32 set bits and zeros.
        secret[1] = 0;
        Self(SigningKey::from_slice(&secret).expect("it is above zero and below the order"))
    }

    /// The proof of a registration: it carries the public key.
    pub fn registration(&self, challenge: &str) -> String {
        self.sign(self.registration_header(), payload(challenge))
    }

    /// The proof of a refresh.
    pub fn proof(&self, challenge: &str) -> String {
        self.sign(r#"{"alg":"ES256","typ":"dbsc+jwt"}"#, payload(challenge))
    }

    /// The first part of a registration, as JSON.
    pub fn registration_header(&self) -> String {
        let point = self.0.verifying_key().to_sec1_point(false);
        let [x, y] = [&point.as_bytes()[1..33], &point.as_bytes()[33..]];
        let [x, y] = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
        let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        format!(r#"{{"alg":"ES256","jwk":{jwk},"typ":"dbsc+jwt"}}"#)
    }

    /// A JSON Web Token of any header and payload, with a valid signature.
    pub fn sign(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        let [header, payload] =
            [header.as_ref(), payload.as_ref()].map(|part| URL_SAFE_NO_PAD.encode(part));
        let signed = format!("{header}.{payload}");
        let signature: Signature = self.0.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }
}

fn payload(challenge: &str) -> String {
    format!(r#"{{"jti":"{challenge}"}}"#)
}

/// The challenge in an offer (`Secure-Session-Registration`), or in `Secure-Session-Challenge`.
///
/// ```
/// use kvolt_testkit::device::challenge_in;
///
/// let offer = r#"(ES256);path="/dbsc/register";challenge="one""#;
/// assert_eq!(challenge_in(offer), Some("one"));
/// assert_eq!(challenge_in(r#""two";id="3""#), Some("two"));
/// assert_eq!(challenge_in("two"), None);
/// ```
pub fn challenge_in(header: &str) -> Option<&str> {
    let quoted = match header.split_once("challenge=") {
        Some((_, challenge)) => challenge,
        None => header,
    };
    quoted.strip_prefix('"')?.split('"').next()
}

/// The key itself is not shown.
impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceKey(..)")
    }
}
