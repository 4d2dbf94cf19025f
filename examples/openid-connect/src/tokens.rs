//! The provider's access token, refreshed once however many requests and servers find it expired.
//!
//! A refresh token is often good once: providers end the whole grant at its second use. So a server
//! takes a *lease* in the session before it asks, by a compare-and-swap that one of all servers wins.
//! The others wait, and read the session again. A server that dies keeps its lease until that ends.

use std::sync::Arc;
use std::time::Duration;

use kvolt::Session;
use kvolt::cache::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use crate::provider::{Provider, Refreshed};
use crate::{EXPIRED, LATER, Page, SIGNED_OUT, User, Visit};

/// How long before its end an access token counts as expired: it must reach the service that it is for.
const MARGIN: Duration = Duration::from_secs(10);
/// How long a server may refresh: the provider's answer, and the time to store it. Clocks of servers
/// must differ by less.
pub(crate) const fn lease(time_limit: Duration) -> Duration {
    time_limit.saturating_mul(3)
}

const PAUSE: Duration = Duration::from_millis(50);

/// Times are in milliseconds since 1970.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Tokens {
    access: String,
    refresh: Option<String>,
    expires: u64,
    /// The end of the lease of the server that refreshes. It also names that lease: the next one
    /// begins when this one has ended, so it ends later.
    lease: Option<u64>,
}

impl Tokens {
    pub(crate) fn new(access: String, refresh: Option<String>, expires: Timestamp) -> Self {
        Self { access, refresh, expires: expires.as_millis(), lease: None }
    }

    fn is_expired(&self, now: Timestamp) -> bool {
        now.saturating_add(MARGIN).as_millis() >= self.expires
    }

    fn is_leased(&self, now: Timestamp) -> bool {
        self.lease.is_some_and(|end| now.as_millis() < end)
    }

    /// Takes the lease, and returns it with the refresh token, if the access token is expired and no
    /// server refreshes it.
    fn lease(&mut self, now: Timestamp, length: Duration) -> Option<(u64, String)> {
        if !self.is_expired(now) || self.is_leased(now) {
            return None;
        }
        let end = now.saturating_add(length).as_millis();
        self.lease = Some(end);
        Some((end, self.refresh.clone()?))
    }
}

/// Returns an access token that is valid for at least some seconds.
pub(crate) async fn access_token(
    provider: &Arc<Provider>,
    session: &Session<Visit>,
    user: &User,
) -> Result<String, Page> {
    let now = || session.handle().manager().clock().now();
    // The copy in this process may be a second old, but a token that is valid stays valid.
    if !user.tokens.is_expired(now()) {
        return Ok(user.tokens.access.clone());
    }
    let refreshed = async {
        loop {
            // From the store itself, not from a copy.
            let latest = session.confirm().await?;
            let tokens = &latest.user.as_ref().ok_or(SIGNED_OUT)?.tokens;
            if !tokens.is_expired(now()) {
                return Ok(tokens.access.clone());
            }
            if tokens.refresh.is_none() {
                return Err(EXPIRED); // the session goes on, without the provider's services
            }
            if tokens.is_leased(now()) {
                sleep(PAUSE).await;
            } else {
                // A task of its own: if the client goes away, the answer is stored all the same.
                let refresh = refresh(provider.clone(), session.clone());
                tokio::spawn(refresh).await.map_err(|_| LATER)??;
            }
        }
    };
    // How long a request waits for a refresh by another one.
    let wait = lease(provider.time_limit()).saturating_add(provider.time_limit());
    timeout(wait, refreshed).await.unwrap_or(Err(LATER))
}

/// Refreshes the tokens, if this call gets the lease.
async fn refresh(provider: Arc<Provider>, mut session: Session<Visit>) -> Result<(), Page> {
    let clock = session.handle().manager().clock().clone();
    let (length, mut taken) = (lease(provider.time_limit()), None);
    let take = |visit: &mut Visit| {
        taken = visit.user.as_mut().and_then(|user| user.tokens.lease(clock.now(), length));
    };
    session.update(take).await?;
    let Some((lease, used)) = taken else { return Ok(()) };
    match provider.refresh(&used, clock.now()).await {
        Refreshed::Tokens(new) => loop {
            // Also if the lease has ended meanwhile: only this answer has the next refresh token.
            let store = |visit: &mut Visit| match &mut visit.user {
                Some(user) if user.tokens.refresh.as_ref() == Some(&used) => {
                    let refresh = new.refresh.clone().or_else(|| Some(used.clone()));
                    user.tokens = Tokens { refresh, ..new.clone() };
                }
                _ => {}
            };
            match session.update(store).await {
                Err(error) if error.is_unavailable() && clock.now().as_millis() < lease => {
                    sleep(PAUSE).await;
                }
                stored => return Ok(stored.map(drop)?),
            }
        },
        Refreshed::Ended => {
            let latest = session.confirm().await?;
            let tokens = latest.user.as_ref().map(|user| &user.tokens);
            if tokens.is_some_and(|tokens| tokens.refresh.as_ref() == Some(&used)) {
                session.handle().manager().revoke(session.id()).await?;
            }
            Ok(()) // the next read finds no session, or newer tokens
        }
        Refreshed::Unavailable => {
            let release = |visit: &mut Visit| match &mut visit.user {
                Some(user) if user.tokens.lease == Some(lease) => user.tokens.lease = None,
                _ => {}
            };
            session.update(release).await?;
            Err(LATER)
        }
    }
}
