use serde_json::{Value, json};

use super::driver::send;

/// An authenticator of passkeys in a [`Browser`](super::Browser), of which the user consents to
/// everything. [`Browser::add_authenticator`](super::Browser::add_authenticator) returns it.
#[derive(Debug)]
pub struct VirtualAuthenticator {
    port: u16,
    path: String,
}

impl VirtualAuthenticator {
    /// One with room for discoverable passkeys. It verifies its user. A `synced` one copies its
    /// passkeys to other devices.
    pub(super) fn add(port: u16, session: &str, synced: bool) -> Self {
        let path = format!("{session}/webauthn/authenticator");
        let settings = json!({
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": true,
            "hasUserVerification": true,
            "isUserVerified": true,
            "defaultBackupEligibility": synced,
            "defaultBackupState": synced,
        });
        let id = send(port, "POST", &path, &settings);
        Self { port, path: format!("{path}/{}", id.as_str().expect("an id")) }
    }

    /// The passkeys, with their private keys, as the protocol has them.
    #[track_caller]
    pub fn credentials(&self) -> Vec<Value> {
        let all = send(self.port, "GET", &format!("{}/credentials", self.path), &Value::Null);
        all.as_array().cloned().unwrap_or_default()
    }

    /// Adds one of the [`credentials`](Self::credentials) of an authenticator, as it was then.
    #[track_caller]
    pub fn add_credential(&self, credential: &Value) {
        send(self.port, "POST", &format!("{}/credential", self.path), credential);
    }

    /// Takes the authenticator away from the browser.
    #[track_caller]
    pub fn remove(self) {
        send(self.port, "DELETE", &self.path, &Value::Null);
    }
}
