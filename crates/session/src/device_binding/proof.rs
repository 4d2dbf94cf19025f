//! The proofs that a browser sends: a JSON Web Token (RFC 7519) in compact form, signed by ES256
//! (RFC 7518, section 3.4).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::Sec1Point;
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use serde::Deserialize;

use super::PublicKey;

/// A well-formed proof. Its signature is not verified.
pub(crate) struct Proof {
    /// The header and the payload as they were signed.
    signed: Vec<u8>,
    signature: Signature,
    /// What the browser was asked to sign.
    pub(crate) challenge: String,
    /// The new public key, in a registration.
    pub(crate) key: Option<PublicKey>,
}

/// The maximum length of a proof, in bytes. Chromium's longest has 324.
const MAX_LEN: usize = 2_048;

#[derive(Deserialize)]
struct Header<'a> {
    typ: &'a str,
    alg: &'a str,
    #[serde(borrow)]
    jwk: Option<Jwk<'a>>,
}

/// A public key (RFC 7517; RFC 7518, section 6.2).
#[derive(Deserialize)]
struct Jwk<'a> {
    kty: &'a str,
    crv: &'a str,
    x: &'a str,
    y: &'a str,
}

#[derive(Deserialize)]
struct Payload<'a> {
    jti: &'a str,
}

impl Proof {
    /// Reads the value of the header field. `None` for anything but a JWT of this kind.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > MAX_LEN {
            return None;
        }
        let mut parts = text.split(|byte| *byte == b'.');
        let (header, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let signed = &text[..header.len() + 1 + payload.len()];
        let [header, payload] =
            [header, payload].map(|part| String::from_utf8(decoded(part)?).ok());
        let (header, payload) = (header?, payload?);
        let Header { typ, alg, jwk } = serde_json::from_str(&header).ok()?;
        let Payload { jti } = serde_json::from_str(&payload).ok()?;
        if typ != "dbsc+jwt" || alg != "ES256" {
            return None;
        }
        Some(Self {
            signed: signed.to_vec(),
            signature: Signature::from_slice(&decoded(signature)?).ok()?,
            challenge: jti.to_owned(),
            key: match jwk {
                Some(jwk) => Some(jwk.key()?),
                None => None,
            },
        })
    }

    /// Whether it is signed by this key.
    pub(crate) fn is_signed_by(&self, key: &PublicKey) -> bool {
        let key = VerifyingKey::from_sec1_bytes(key);
        key.is_ok_and(|key| key.verify(&self.signed, &self.signature).is_ok())
    }
}

impl Jwk<'_> {
    fn key(&self) -> Option<PublicKey> {
        if self.kty != "EC" || self.crv != "P-256" {
            return None;
        }
        let coordinate = |text: &str| <[u8; 32]>::try_from(decoded(text.as_bytes())?).ok();
        let (x, y) = (coordinate(self.x)?, coordinate(self.y)?);
        let point = Sec1Point::from_affine_coordinates(&x.into(), &y.into(), false);
        let key = VerifyingKey::from_sec1_point(&point).ok()?;
        key.to_sec1_point(true).as_bytes().try_into().ok()
    }
}

fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
