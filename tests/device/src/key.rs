use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use p256::elliptic_curve::Generate;
use serde_json::{Value, json};

/// A device's key pair, for ES256.
#[derive(Debug)]
pub struct DeviceKey(SigningKey);

impl DeviceKey {
    /// A new random key.
    pub fn generate() -> Self {
        Self(SigningKey::generate())
    }

    /// The public key as JSON (RFC 7517).
    pub fn public(&self) -> Value {
        let point = self.0.verifying_key().to_sec1_point(false);
        let part = |part: Option<&_>| encode(part.map(AsRef::as_ref).expect("an affine point"));
        json!({ "kty": "EC", "crv": "P-256", "x": part(point.x().map(|x| &**x)), "y": part(point.y().map(|y| &**y)) })
    }

    /// The header of a registration's proof: it has the key.
    pub fn registration_header(&self) -> Value {
        json!({ "alg": "ES256", "typ": "dbsc+jwt", "jwk": self.public() })
    }

    /// The header of a refresh's proof.
    pub fn refresh_header() -> Value {
        json!({ "alg": "ES256", "typ": "dbsc+jwt" })
    }

    /// A signed proof (a JWT) for a challenge.
    pub fn proof(&self, header: &Value, challenge: &str) -> String {
        let text = unsigned(header, challenge);
        let signature: Signature = self.0.sign(text.trim_end_matches('.').as_bytes());
        text + &encode(&signature.to_bytes())
    }
}

/// A proof without a signature.
pub(crate) fn unsigned(header: &Value, challenge: &str) -> String {
    let payload = json!({ "jti": challenge });
    format!("{}.{}.", encode(header.to_string().as_bytes()), encode(payload.to_string().as_bytes()))
}

fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
