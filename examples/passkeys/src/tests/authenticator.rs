use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use p256::elliptic_curve::Generate;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::ORIGIN;

const PRESENT: u8 = 0x01;
const VERIFIED: u8 = 0x04;
const BACKUP_ELIGIBLE: u8 = 0x08;
const HAS_KEY: u8 = 0x40;

/// An authenticator with one passkey, in software. A clone has a copy of the key.
#[derive(Clone)]
pub(crate) struct Authenticator {
    key: SigningKey,
    id: Vec<u8>,
    user: String,
    pub(crate) counter: u32,
    /// Whether it counts its signatures. Few synced passkeys do.
    pub(crate) counts: bool,
    pub(crate) is_synced: bool,
    pub(crate) verifies_user: bool,
    /// The page's origin, as the browser reports it.
    pub(crate) origin: &'static str,
}

impl Authenticator {
    pub(crate) fn new(id: &str) -> Self {
        Self {
            key: SigningKey::generate(),
            id: id.as_bytes().to_vec(),
            user: String::new(),
            counter: 0,
            counts: true,
            is_synced: false,
            verifies_user: true,
            origin: ORIGIN,
        }
    }

    /// The answer to the options of a registration.
    pub(crate) fn create(&mut self, options: &Value) -> Value {
        let options = &options["publicKey"];
        self.user = options["user"]["id"].as_str().unwrap().to_owned();
        let mut data = self.data(HAS_KEY);
        data.extend([0; 16]);
        data.extend((self.id.len() as u16).to_be_bytes());
        data.extend(&self.id);
        let point = self.key.verifying_key().to_sec1_point(false);
        // COSE: an EC2 key for ES256 on P-256, then its coordinates.
        data.extend([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20]);
        data.extend(point.x().unwrap());
        data.extend([0x22, 0x58, 0x20]);
        data.extend(point.y().unwrap());
        // CBOR: the format `none`, without a statement.
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58".to_vec();
        object.push(data.len().try_into().unwrap());
        object.extend(&data);
        let client = self.client_data("webauthn.create", options);
        self.credential(json!({
            "attestationObject": encode(&object),
            "clientDataJSON": encode(client.as_bytes()),
        }))
    }

    /// The answer to the options of a sign-in.
    pub(crate) fn prove(&mut self, options: &Value) -> Value {
        self.counter += u32::from(self.counts);
        let client = self.client_data("webauthn.get", &options["publicKey"]);
        let data = self.data(0);
        let signed = [&data[..], &Sha256::digest(&client)].concat();
        let signature: Signature = self.key.sign(&signed);
        self.credential(json!({
            "authenticatorData": encode(&data),
            "clientDataJSON": encode(client.as_bytes()),
            "signature": encode(signature.to_der().as_bytes()),
            "userHandle": self.user,
        }))
    }

    fn data(&self, flags: u8) -> Vec<u8> {
        let mut data = Sha256::digest("localhost").to_vec();
        let verified = if self.verifies_user { VERIFIED } else { 0 };
        let synced = if self.is_synced { BACKUP_ELIGIBLE } else { 0 };
        data.push(flags | PRESENT | verified | synced);
        data.extend(self.counter.to_be_bytes());
        data
    }

    fn client_data(&self, kind: &str, options: &Value) -> String {
        let challenge = &options["challenge"];
        json!({ "type": kind, "challenge": challenge, "origin": self.origin }).to_string()
    }

    fn credential(&self, response: Value) -> Value {
        let id = encode(&self.id);
        json!({ "id": id, "rawId": id, "type": "public-key", "response": response })
    }
}

fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
