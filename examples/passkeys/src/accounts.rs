//! The accounts and their passkeys: the part of a database.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kvolt::Level;
use serde::{Deserialize, Serialize};
use webauthn_rs::prelude::{
    CredentialID, DiscoverableAuthentication, Passkey, PublicKeyCredential, Uuid, Webauthn,
    WebauthnError,
};

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Account {
    /// Random, and stored in the passkey: the user handle of WebAuthn.
    pub(crate) id: Uuid,
    pub(crate) name: String,
}

#[derive(Default)]
pub(crate) struct Accounts(Mutex<Tables>);

#[derive(Default)]
struct Tables {
    names: HashMap<Uuid, String>,
    /// By the credential's id, which is unique in the whole application: an id names one account.
    passkeys: HashMap<Vec<u8>, Registered>,
}

struct Registered {
    account: Uuid,
    passkey: Passkey,
    /// Two authenticators may have this key. It proves nothing from then on.
    is_cloned: bool,
}

/// The result of a ceremony that succeeded.
#[derive(Debug)]
pub(crate) struct Proof {
    pub(crate) account: Uuid,
    pub(crate) level: Level,
}

#[derive(Debug)]
pub(crate) enum NotProved {
    Refused,
    /// The counter did not rise, so another device has a copy of the account's key.
    Cloned(Uuid),
}

#[derive(Debug, PartialEq)]
pub(crate) enum NotAdded {
    NameTaken,
    PasskeyKnown,
}

impl Accounts {
    /// Creates an account with its first passkey.
    pub(crate) fn create(&self, account: &Account, passkey: Passkey) -> Result<(), NotAdded> {
        let mut tables = self.lock();
        if tables.names.values().any(|name| *name == account.name) {
            return Err(NotAdded::NameTaken);
        }
        tables.add(account.id, passkey)?;
        tables.names.insert(account.id, account.name.clone());
        Ok(())
    }

    /// Adds another passkey to an account.
    pub(crate) fn add(&self, account: Uuid, passkey: Passkey) -> Result<(), NotAdded> {
        self.lock().add(account, passkey)
    }

    pub(crate) fn name(&self, account: Uuid) -> String {
        self.lock().names.get(&account).cloned().unwrap_or_default()
    }

    pub(crate) fn passkeys(&self, account: Uuid) -> Vec<CredentialID> {
        let tables = self.lock();
        let own = tables.passkeys.values().filter(|each| each.account == account);
        own.map(|each| each.passkey.cred_id().clone()).collect()
    }

    /// Verifies what an authenticator has signed, and notes its counter. `known` is the account of a
    /// user who is signed in.
    ///
    /// The lock is held from the comparison of the counter to its change. With a database, it is a
    /// lock on the row (`SELECT … FOR UPDATE`).
    pub(crate) fn prove(
        &self,
        webauthn: &Webauthn,
        state: DiscoverableAuthentication,
        given: &PublicKeyCredential,
        known: Option<Uuid>,
    ) -> Result<Proof, NotProved> {
        let mut tables = self.lock();
        let found = tables.passkeys.get_mut(given.get_credential_id());
        let found = found.ok_or(NotProved::Refused)?;
        let account = found.account;
        let is_handle_right = match given.get_user_unique_id() {
            Some(handle) => handle == account.as_bytes(),
            // An authenticator may leave it out only where the account is known.
            None => known.is_some(),
        };
        if !is_handle_right || known.is_some_and(|known| known != account) {
            return Err(NotProved::Refused);
        }
        match webauthn.finish_discoverable_authentication_v2(given, state, &found.passkey) {
            // Each proof with a copied key ends the account's sessions, so that it is repeated if the
            // store has failed. After the signature: the id of a passkey is no secret.
            Ok(_) if found.is_cloned => Err(NotProved::Cloned(account)),
            Ok(result) => {
                found.passkey.update_credential(&result);
                // A key that is copied between devices is not bound to hardware. This is the
                // authenticator's word: only an attestation would prove it.
                let level = if result.backup_eligible() { Level::Two } else { Level::Three };
                Ok(Proof { account, level })
            }
            Err(WebauthnError::CredentialPossibleCompromise) => {
                found.is_cloned = true;
                Err(NotProved::Cloned(account))
            }
            Err(_) => Err(NotProved::Refused),
        }
    }

    pub(crate) fn is_cloned(&self, passkey: &PublicKeyCredential) -> bool {
        let tables = self.lock();
        let found = tables.passkeys.get(passkey.get_credential_id());
        found.is_none_or(|found| found.is_cloned)
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn add(&mut self, account: Uuid, passkey: Passkey) -> Result<(), NotAdded> {
        let id = passkey.cred_id().to_vec();
        if self.passkeys.contains_key(&id) {
            return Err(NotAdded::PasskeyKnown);
        }
        self.passkeys.insert(id, Registered { account, passkey, is_cloned: false });
        Ok(())
    }
}
