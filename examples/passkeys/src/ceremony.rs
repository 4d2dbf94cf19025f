//! The state of a ceremony, between its start and its end: in the session of the browser that has
//! asked for it, and good once.

use std::time::Duration;

use kvolt::cache::Timestamp;
use kvolt::{Session, SessionHandle};
use serde::{Deserialize, Serialize};
use webauthn_rs::prelude::{DiscoverableAuthentication, PasskeyRegistration};

use crate::Data;
use crate::accounts::Account;
use crate::answer::{Answer, NO_CEREMONY};

/// From the challenge to the answer. Browsers give their users this long.
pub(crate) const CEREMONY: Duration = Duration::from_secs(5 * 60);

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Ceremony {
    started: Timestamp,
    state: Pending,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Pending {
    /// The first passkey of a new account.
    Create(Account, PasskeyRegistration),
    /// Another passkey of the account.
    Add(PasskeyRegistration),
    /// A sign-in, or a new proof of a user who is signed in.
    Prove(DiscoverableAuthentication),
}

/// Keeps the state of a ceremony in the client's session. A visitor gets one.
pub(crate) async fn start(client: &SessionHandle<Data>, state: Pending) -> Answer<()> {
    let ceremony = Some(Ceremony { started: client.manager().clock().now(), state });
    match client.session() {
        Some(mut session) => {
            session.update(|data| data.ceremony.clone_from(&ceremony)).await?;
        }
        None => {
            if client.is_unreadable() {
                // Such as a session of a newer program. It would bar the way to a new one.
                match client.logout().await {
                    Err(error) if error.is_unavailable() => return Err(error.into()),
                    _ => {}
                }
            }
            client.create_anonymous(Data { account: None, ceremony }).await?;
        }
    }
    Ok(())
}

/// Takes the state of a ceremony out of the session. An update is a compare-and-swap, so that of
/// concurrent requests, on any server, one gets it.
pub(crate) async fn take(session: &mut Session<Data>) -> Answer<Pending> {
    let mut taken = None;
    session.update(|data| taken = data.ceremony.take()).await?;
    let age =
        |ceremony: &Ceremony| session.handle().manager().clock().now().since(ceremony.started);
    let live = taken.filter(|ceremony| age(ceremony) < CEREMONY);
    Ok(live.ok_or(NO_CEREMONY)?.state)
}
