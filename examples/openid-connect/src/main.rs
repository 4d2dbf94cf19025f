//! Sign-in at an OpenID Connect provider: Keycloak, Auth0, Entra, Google or another.
//!
//! | file | |
//! |---|---|
//! | `main.rs` | the routes, and the data of a session |
//! | `provider.rs` | the requests to the provider, and the verification of what it signs |
//! | `tokens.rs` | the provider's access token, refreshed once for all requests and servers |
//! | `back_channel.rs` | a logout that the provider reports, also against a sign-in under way |
//!
//! Register the application at the provider with the redirect URI `ORIGIN/callback`, the post-logout
//! redirect URI `ORIGIN/` and the back-channel logout URI `ORIGIN/back-channel-logout`. Then:
//!
//! ```console
//! $ export ORIGIN=https://shop.example ISSUER=https://login.example
//! $ export CLIENT_ID=shop CLIENT_SECRET=… SESSION_KEY=$(openssl rand -hex 32)
//! $ export REDIS_URL=redis://127.0.0.1:6379
//! $ cargo run -p openid-connect
//! ```
//!
//! Some providers give a refresh token only after the user's consent: then set `ASK_FOR_CONSENT`.

mod back_channel;
mod provider;
mod tokens;

use std::env;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use kvolt::cache::codec::{Encrypted, EncryptionKey, EncryptionKeys, Json};
use kvolt::cache::{AnyStore, Key, Store, Timestamp};
use kvolt::middleware::{DEFAULT_STORE_TIMEOUT, clear_site_data, local_path};
use kvolt::session::{AnonymousSessions, Record};
use kvolt::{
    Encoded, Manager, NearCache, NewSession, Owner, RecordJson, RedisStore, Refusal, Session,
    SessionHandle, Sessions, Timeouts,
};
use serde::{Deserialize, Serialize};

use back_channel::{Logouts, Note};
use provider::{Provider, Settings, SignIn};
use tokens::Tokens;

/// How long a user may take at the provider.
const SIGN_IN_TIME: Duration = Duration::from_secs(10 * 60);
/// How many sign-ins one browser may have under way, in as many tabs.
const MAX_SIGN_INS: usize = 8;
/// The longest path to return to, in bytes: any visitor can have one stored.
const MAX_RETURN_PATH: usize = 1024;

/// The data of a session: a visitor's, and a user's.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Visit {
    /// The sign-ins under way, one for each tab, oldest first.
    sign_ins: Vec<SignIn>,
    /// Set once the provider's answer was verified.
    user: Option<User>,
}

#[derive(Clone, Serialize, Deserialize)]
struct User {
    /// The provider's id of the user, `sub`.
    subject: String,
    /// For the provider, at the sign-out.
    id_token: String,
    tokens: Tokens,
}

impl Visit {
    fn begin(&mut self, sign_in: SignIn, now: Timestamp) {
        self.sign_ins.retain(|each| now.since(each.began()) < SIGN_IN_TIME);
        if self.sign_ins.len() == MAX_SIGN_INS {
            self.sign_ins.remove(0);
        }
        self.sign_ins.push(sign_in);
    }

    /// Removes a sign-in, so that its answer is good once.
    fn take(&mut self, state: &str, now: Timestamp) -> Option<SignIn> {
        let at = self.sign_ins.iter().position(|each| each.state() == state)?;
        let sign_in = self.sign_ins.remove(at);
        (now.since(sign_in.began()) < SIGN_IN_TIME).then_some(sign_in)
    }
}

/// The owner of a user's sessions. An issuer has no space, so two different users have two different
/// names. A digest of the two if they are too long for a name.
fn owner(issuer: &str, subject: &str) -> Result<Owner, kvolt::cache::Error> {
    let name = format!("{issuer} {subject}");
    Owner::new(if name.len() > 255 { Key::of(name).to_string() } else { name })
}

#[derive(Clone)]
struct App {
    provider: Arc<Provider>,
    manager: Manager<Visit>,
    logouts: Logouts,
}

/// A session with a user, for handlers that need one.
struct SignedIn(Session<Visit>, User);

impl<S: Send + Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let client = SessionHandle::<Visit>::from_extensions(&parts.extensions);
        let client = client.map_err(IntoResponse::into_response)?;
        let session = client.clone().try_into_session().map_err(IntoResponse::into_response)?;
        match session.and_then(|session| session.user.clone().map(|user| Self(session, user))) {
            Some(signed_in) => Ok(signed_in),
            None => Err(client.refuse(&*parts).map(Into::into)),
        }
    }
}

/// A page in place of the one that the user wanted.
struct Page(StatusCode, &'static str);

const STALE: Page = Page(StatusCode::BAD_REQUEST, "This sign-in has ended. Please start again.");
const SIGNED_OUT: Page = Page(StatusCode::FORBIDDEN, "You were signed out.");
const EXPIRED: Page = Page(
    StatusCode::FORBIDDEN,
    "You are signed in here, but the provider wants you to sign in again.",
);
const LATER: Page = Page(StatusCode::SERVICE_UNAVAILABLE, "Please try again in a minute.");

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let Self(status, text) = self;
        (status, Html(format!("<p>{text} <a href=\"/sign-in\">Sign in</a></p>"))).into_response()
    }
}

/// A failure of the store.
impl From<kvolt::Error> for Page {
    fn from(error: kvolt::Error) -> Self {
        if error.is_ended() {
            return SIGNED_OUT;
        }
        eprintln!("the session can't be used: {error}");
        LATER
    }
}

impl From<kvolt::session::Error> for Page {
    fn from(error: kvolt::session::Error) -> Self {
        kvolt::Error::from(error).into()
    }
}

impl From<kvolt::cache::Error> for Page {
    fn from(error: kvolt::cache::Error) -> Self {
        eprintln!("the store of logouts can't be used: {error}");
        LATER
    }
}

#[derive(Deserialize)]
struct Wanted {
    next: Option<String>,
}

/// Sends the browser to the provider. State, nonce and PKCE verifier stay in the session.
async fn sign_in(
    State(app): State<App>,
    client: SessionHandle<Visit>,
    Query(wanted): Query<Wanted>,
) -> Result<Redirect, Page> {
    let now = app.manager.clock().now();
    // Only a path of this site: not `//evil.example`.
    let wanted = wanted.next.as_deref().and_then(local_path);
    let return_to = wanted.filter(|path| path.len() <= MAX_RETURN_PATH).unwrap_or("/");
    let (sign_in, url) = app.provider.begin(return_to, now);
    match client.session() {
        Some(mut session) => {
            session.update(|visit| visit.begin(sign_in.clone(), now)).await?;
        }
        None => {
            if client.is_unreadable() {
                // Such as a session of a newer program. It would bar the way to a new one.
                match client.logout().await {
                    Err(error) if error.is_unavailable() => return Err(error.into()),
                    _ => {}
                }
            }
            client.create_anonymous(Visit { sign_ins: vec![sign_in], user: None }).await?;
        }
    }
    Ok(Redirect::to(url.as_str()))
}

/// The provider's answer, as the browser brings it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    state: String,
    code: Option<String>,
    error: Option<String>,
    iss: Option<String>,
}

async fn callback(
    State(app): State<App>,
    client: SessionHandle<Visit>,
    Query(answer): Query<Answer>,
) -> Result<Redirect, Page> {
    let now = app.manager.clock().now();
    // Another browser's answer finds no sign-in here. So an attacker can't sign this one in as
    // someone else by a link with their own answer.
    let mut session = client.session().ok_or(STALE)?;
    let mut taken = None;
    session.update(|visit| taken = visit.take(&answer.state, now)).await?;
    let sign_in = taken.ok_or(STALE)?;
    let issuer = app.provider.issuer();
    if answer.iss.is_some_and(|iss| iss != issuer) {
        return Err(STALE); // another provider's
    }
    let code = match (answer.error.as_deref(), answer.code) {
        (None, Some(code)) => code,
        (Some("access_denied"), _) => {
            return Err(Page(StatusCode::FORBIDDEN, "The sign-in was cancelled."));
        }
        (Some("temporarily_unavailable"), _) => return Err(LATER),
        // The text of other errors is for developers, and anyone can write such a link.
        _ => return Err(Page(StatusCode::BAD_GATEWAY, "The provider can't sign you in.")),
    };
    let return_to = sign_in.return_to().to_owned();
    let identity = app.provider.finish(sign_in, code, now).await?;
    let owner = owner(issuer, &identity.subject)?;

    // A new session replaces the visitor's. It has no user yet, and so no rights, until it is known
    // that the provider has not ended this sign-in meanwhile. A logout that arrives
    // - before the check has left a note of itself, which the check finds;
    // - after it finds the id of this session in a note, and revokes it: the user has no session to
    //   be stored in.
    // A server that dies in between leaves a session without a user.
    //
    // Of a visitor, the login carries the sign-ins of other tabs over, as they are then. Those of a
    // user are as this request has read them.
    let other_tabs = Visit { sign_ins: session.sign_ins.clone(), user: None };
    client.login(NewSession::new(other_tabs).owner(owner)).await?;
    let token = client.token().ok_or(SIGNED_OUT)?;
    let lifetime = app.manager.timeouts().lifetime;
    app.logouts.note_session(issuer, &identity, token.id(), lifetime).await?;
    if app.logouts.have_ended(issuer, &identity).await? {
        client.logout().await?;
        return Err(SIGNED_OUT);
    }
    let user =
        User { subject: identity.subject, id_token: identity.id_token, tokens: identity.tokens };
    let updated = app.manager.update(&token, |visit| visit.user = Some(user.clone())).await?;
    updated.map(|_| Redirect::to(&return_to)).ok_or(SIGNED_OUT)
}

async fn home(session: Option<Session<Visit>>) -> Html<String> {
    Html(match session.as_ref().and_then(|session| session.user.as_ref()) {
        Some(_) => "<a href=\"/profile\">Profile</a> \
                    <form method=\"post\" action=\"/sign-out\"><button>Sign out</button></form>"
            .to_owned(),
        None => "<a href=\"/sign-in?next=/profile\">Sign in</a>".to_owned(),
    })
}

/// Asks the provider about the user, with the access token.
async fn profile(
    State(app): State<App>,
    SignedIn(session, user): SignedIn,
) -> Result<String, Page> {
    let token = tokens::access_token(&app.provider, &session, &user).await?;
    let subject = app.provider.user_info(token, user.subject).await?;
    Ok(format!("the provider knows you as {subject}\n"))
}

/// Ends the session here first. Whatever happens at the provider, the user is signed out of this
/// application.
async fn sign_out(
    State(app): State<App>,
    client: SessionHandle<Visit>,
) -> Result<impl IntoResponse, Page> {
    let session = client.session();
    let user = session.as_ref().and_then(|session| session.user.as_ref());
    let url = user.and_then(|user| app.provider.sign_out_url(&user.id_token));
    client.logout().await?;
    let next = url.map_or_else(|| Redirect::to("/"), |url| Redirect::to(url.as_str()));
    Ok((clear_site_data(), next))
}

/// How long the provider and the store may take to answer.
#[derive(Clone, Copy)]
struct Limits {
    provider: Duration,
    store: Duration,
}

const LIMITS: Limits = Limits { provider: Duration::from_secs(10), store: DEFAULT_STORE_TIMEOUT };

fn manager(
    store: impl Store<Record<Visit>>,
    limits: Limits,
) -> kvolt::session::Result<Manager<Visit>> {
    // Enough for a sign-in, which may begin late in a session.
    let visitors = Timeouts::new(2 * SIGN_IN_TIME, 2 * SIGN_IN_TIME);
    let visitors = AnonymousSessions::new(100_000)
        .timeouts(visitors)
        .carry_over(|visitor: &Visit, user| user.sign_ins.clone_from(&visitor.sign_ins));
    Manager::builder(store)
        .anonymous(visitors)
        // A request that refreshes tokens has read the session's token before, and another request
        // may replace it meanwhile. The answer must be stored all the same: no other has the next
        // refresh token.
        .rotation_grace(tokens::lease(limits.provider))
        .build()
}

fn app(
    provider: Arc<Provider>,
    manager: Manager<Visit>,
    notes: AnyStore<Note>,
    limits: Limits,
) -> Result<Router, Box<dyn Error>> {
    let sessions = Sessions::builder(manager.clone())
        .store_timeout(limits.store)
        .refusal(Refusal::redirect_browsers("/sign-in")?)
        .build()?;
    let logouts = Logouts::new(notes);
    Ok(Router::new()
        .route("/profile", get(profile))
        .layer(sessions.layer())
        .merge(
            Router::new()
                .route("/", get(home))
                .route("/sign-in", get(sign_in))
                .route("/callback", get(callback))
                .route("/sign-out", post(sign_out))
                .layer(sessions.layer().optional().anonymous()),
        )
        // The provider calls it, without a session.
        .route("/back-channel-logout", post(back_channel::logout))
        .layer(DefaultBodyLimit::max(16 * 1024))
        .with_state(App { provider, manager, logouts }))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let settings = Settings {
        origin: env::var("ORIGIN")?,
        issuer: env::var("ISSUER")?,
        client_id: env::var("CLIENT_ID")?,
        client_secret: env::var("CLIENT_SECRET")?,
        asks_for_consent: env::var_os("ASK_FOR_CONSENT").is_some(),
    };
    let url = env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let keys = EncryptionKeys::new(env::var("SESSION_KEY")?.parse::<EncryptionKey>()?);

    // The provider's tokens are in the sessions, so the store gets them encrypted.
    let codec = Encrypted::new(RecordJson::new(), keys);
    let redis = RedisStore::open(url.as_str(), "shop").await?;
    let store = NearCache::new(Encoded::new(redis, codec))?;
    let manager = manager(store, LIMITS)?;
    let notes = Encoded::new(RedisStore::open(url, "shop_logouts").await?, Json);

    let provider = Arc::new(Provider::discover(settings, LIMITS.provider).await?);
    let app = app(provider, manager, AnyStore::new(notes), LIMITS)?;
    let listener = tokio::net::TcpListener::bind(address).await?;
    Ok(axum::serve(listener, app).await?)
}

#[cfg(test)]
mod tests;
