//! OpenID Connect Back-Channel Logout 1.0: the provider reports that a user has signed out, and the
//! sessions here end too.
//!
//! A logout token names the provider's session (`sid`), the user (`sub`), or both. The sessions of a
//! user are those of an owner. Those of a `sid` are found by notes: an entry for each session, whose
//! owner is the `sid`, because one browser may sign in several times within one session there.
//!
//! The session's id is in a note before the session has a user: see `callback`. So no id must be
//! chosen before the session is created, and a server may die at any moment. A note lives as long as
//! a session does from its sign-in. `reauthenticate` restarts that time: if you add it, write the
//! note again after it.

use std::time::Duration;

use axum::Form;
use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use kvolt::cache::{
    AnyStore, Error, Expiry, Freshness, InsertOutcome, Key, NewEntry, ReplaceOutcome, Store,
    Timestamp,
};
use kvolt::{Manager, Owner, SessionId};
use serde::{Deserialize, Serialize};

use crate::provider::{Identity, Provider, part};
use crate::{App, LATER, Page, SIGN_IN_TIME, Visit, owner};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// How far the clocks of the provider and of other servers may be from this one, in seconds.
pub(crate) const CLOCK_SKEW: u64 = 60;
/// How long a logout is kept for sign-ins under way: longer than one takes, with its callback.
const KEPT: Duration = SIGN_IN_TIME.saturating_mul(2);

const MAX_ATTEMPTS: usize = 16;

/// An entry in the store of logouts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Note {
    /// A session of a `sid`.
    Session(SessionId),
    /// A logout, with the time when it arrived, in milliseconds since 1970.
    Ended(u64),
    /// A logout token that has been used.
    Used,
}

#[derive(Clone)]
pub(crate) struct Logouts(AnyStore<Note>);

impl Logouts {
    pub(crate) fn new(notes: AnyStore<Note>) -> Self {
        Self(notes)
    }

    /// Notes that a session belongs to the provider's session.
    pub(crate) async fn note_session(
        &self,
        issuer: &str,
        identity: &Identity,
        id: SessionId,
        lifetime: Duration,
    ) -> Result<(), Error> {
        let owner = notes_of(issuer, &name(identity.sid.as_deref(), &identity.subject))?;
        let key = self.0.place(Key::of(format!("session {id}")), Some(&owner));
        let expiry = Expiry::after(lifetime.saturating_add(KEPT));
        let note = NewEntry::new(Note::Session(id), expiry).owner(owner);
        self.0.insert(key, note).await.map(drop)
    }

    /// Whether the provider's session has ended, or a logout of the user has arrived since this
    /// sign-in began.
    ///
    /// A session that has ended never comes back. A user does, so for a user times are compared,
    /// which may be of two servers: their clocks must differ by less than [`CLOCK_SKEW`]. A sign-in
    /// within that time after the logout is refused too.
    pub(crate) async fn have_ended(
        &self,
        issuer: &str,
        identity: &Identity,
    ) -> Result<bool, Error> {
        let session = ended(issuer, &name(identity.sid.as_deref(), &identity.subject));
        for key in [session, ended(issuer, &of_user(&identity.subject))] {
            let note = self.0.get(&key, Freshness::Strict).await?;
            let began = identity.began.as_millis();
            if let Some(Note::Ended(at)) = note.map(|note| note.value)
                && (began <= at.saturating_add(CLOCK_SKEW * 1000)
                    || (key == session && identity.sid.is_some()))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Leaves a note of a logout, for sign-ins under way.
    async fn note_logout(&self, key: Key, arrived: Timestamp) -> Result<(), Error> {
        let (expiry, value) = (Expiry::after(KEPT), Note::Ended(arrived.as_millis()));
        for _ in 0..MAX_ATTEMPTS {
            let note = NewEntry::new(value.clone(), expiry);
            if let InsertOutcome::Inserted { .. } = self.0.insert(key, note).await? {
                return Ok(());
            }
            let Some(old) = self.0.get(&key, Freshness::Strict).await? else { continue };
            let at = (&key).into();
            let replaced = self.0.replace(at, old.version, value.clone(), Some(expiry)).await?;
            if let ReplaceOutcome::Replaced { .. } = replaced {
                return Ok(());
            }
        }
        Err(Error::unavailable("other logouts of the same session or user have won each time"))
    }

    /// Ends the sessions that a logout token names. Returns `false` if the token was used before.
    ///
    /// The token counts as used at the end: after a failure in between, the provider may send it
    /// again. Until then, a copy of it ends the same sessions.
    async fn end(&self, manager: &Manager<Visit>, logout: &Claims) -> Result<bool, Page> {
        let (issuer, now) = (&logout.iss, manager.clock().now());
        let used = Key::of(format!("jti {issuer} {}", logout.jti));
        if self.0.get(&used, Freshness::Strict).await?.is_some() {
            return Ok(false);
        }
        match (&logout.sid, &logout.sub) {
            (Some(sid), sub) => {
                self.end_session(manager, issuer, &name(Some(sid), "")).await?;
                // Of the same user, those for which the provider has named no session.
                if let Some(sub) = sub {
                    self.end_session(manager, issuer, &name(None, sub)).await?;
                }
            }
            (None, Some(sub)) => {
                self.note_logout(ended(issuer, &of_user(sub)), now).await?;
                manager.revoke_owner(&owner(issuer, sub)?).await?;
            }
            (None, None) => {}
        }
        let valid = logout.exp.saturating_sub(seconds(now)).max(0).unsigned_abs();
        let expiry = Expiry::after(Duration::from_secs(valid + 2 * CLOCK_SKEW));
        self.0.insert(used, NewEntry::new(Note::Used, expiry)).await.map(drop)?;
        Ok(true)
    }

    /// Ends the sessions that have a note under this name.
    async fn end_session(
        &self,
        manager: &Manager<Visit>,
        issuer: &str,
        name: &str,
    ) -> Result<(), Page> {
        // First, so that a sign-in finds it, or has left its own note before.
        self.note_logout(ended(issuer, name), manager.clock().now()).await?;
        let list = self.0.list(&notes_of(issuer, name)?).await?;
        for entry in list.entries {
            if let Note::Session(id) = entry.value {
                manager.revoke(id).await?;
            }
        }
        // Such as a newer program's, on another server.
        if list.unreadable.is_empty() { Ok(()) } else { Err(LATER) }
    }
}

/// The name of a provider's session. Those that it does not name have one for each user.
fn name(sid: Option<&str>, sub: &str) -> String {
    sid.map_or_else(|| format!("without sid {sub}"), |sid| format!("sid {sid}"))
}

/// The name of all of a user's sessions.
fn of_user(sub: &str) -> String {
    format!("sub {sub}")
}

/// The owner of the notes under a name. A digest, as a name may have any length.
fn notes_of(issuer: &str, name: &str) -> Result<Owner, Error> {
    Owner::new(Key::of(format!("{issuer} {name}")).to_string())
}

/// The key of a logout.
fn ended(issuer: &str, name: &str) -> Key {
    Key::of(format!("ended {issuer} {name}"))
}

/// A time as in claims.
fn seconds(time: Timestamp) -> i64 {
    (time.as_millis() / 1000).cast_signed()
}

/// The claims of a logout token. Others are ignored, a claim that appears twice is an error.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    iat: i64,
    exp: i64,
    jti: String,
    events: serde_json::Map<String, serde_json::Value>,
    sub: Option<String>,
    sid: Option<String>,
    #[serde(default, deserialize_with = "is_present")]
    nonce: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

fn is_present<'de, D: serde::Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(value).map(|_| true)
}

impl Claims {
    fn are_valid(&self, provider: &Provider, now: i64) -> bool {
        let skew = CLOCK_SKEW as i64;
        let is_for_us = match &self.aud {
            Audience::One(client) => client == provider.client_id(),
            Audience::Several(clients) => clients.iter().any(|one| one == provider.client_id()),
        };
        is_for_us
            && self.iss == provider.issuer()
            && self.iat <= now + skew
            && now < self.exp.saturating_add(skew)
            && self.events.get(EVENT).is_some_and(serde_json::Value::is_object)
            // An ID token has one, and is no logout token.
            && !self.nonce
            && (self.sid.is_some() || self.sub.is_some())
    }
}

#[derive(Deserialize)]
pub(crate) struct LogoutRequest {
    logout_token: String,
}

/// The endpoint that the provider calls. If a store fails, it answers 503, so that the provider
/// tries again.
pub(crate) async fn logout(
    State(app): State<App>,
    form: Result<Form<LogoutRequest>, FormRejection>,
) -> Response {
    let ended = match form {
        Ok(Form(request)) => end(&app, &request.logout_token).await,
        Err(_) => Ok(false),
    };
    let status = match ended {
        Ok(true) => StatusCode::OK,
        Ok(false) => StatusCode::BAD_REQUEST,
        Err(Page(status, _)) => status,
    };
    (status, [(header::CACHE_CONTROL, "no-store")]).into_response()
}

async fn end(app: &App, token: &str) -> Result<bool, Page> {
    let now = app.manager.clock().now();
    let verified = app.provider.verify(token, now).await?;
    // An older provider may send `JWT`, or nothing: then accept that here.
    let is_typed = verified.and_then(|(header, _)| header.typ).is_some_and(|typ| {
        let typ = typ.to_ascii_lowercase();
        typ.strip_prefix("application/").unwrap_or(&typ) == "logout+jwt"
    });
    match part::<Claims>(token, 1) {
        Some(claims) if is_typed && claims.are_valid(&app.provider, seconds(now)) => {
            app.logouts.end(&app.manager, &claims).await
        }
        _ => Ok(false),
    }
}
