//! Sign-in with passkeys, without names and passwords.
//!
//! The state of a ceremony (the challenge) is in the session of the browser that has asked for it:
//! a visitor gets an anonymous session. A request that finishes the ceremony first takes the state
//! out of the session, so that it is good once.
//!
//! After `cargo run -p passkeys`, open <http://localhost:3000/>.

mod accounts;
mod answer;
mod ceremony;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Json, Router};
use kvolt::cache::Store;
use kvolt::session::{AnonymousSessions, Record};
use kvolt::{
    Level, Manager, MemoryStore, NewSession, Owner, Session, SessionHandle, Sessions, StepUp,
};
use serde::{Deserialize, Serialize};
use webauthn_rs::prelude::{
    CreationChallengeResponse, CredentialID, PublicKeyCredential, RegisterPublicKeyCredential,
    RequestChallengeResponse, Url, Uuid, Webauthn, WebauthnBuilder,
};
use webauthn_rs_proto::{AllowCredentials, ResidentKeyRequirement};

use accounts::{Account, Accounts, NotProved, Proof};
use answer::{Answer, Failed, INTERNAL, NO_CEREMONY, NOT_PROVED};
use ceremony::{CEREMONY, Ceremony, Pending, start, take};

/// A new passkey opens the account from then on, so adding one needs a recent proof.
const RECENT: StepUp = StepUp::within(Duration::from_secs(5 * 60)).and_level(Level::Two);

/// The data of a session.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Data {
    /// `None` for a visitor.
    account: Option<Uuid>,
    /// At most one: the next one replaces it.
    ceremony: Option<Ceremony>,
}

struct Application {
    webauthn: Webauthn,
    accounts: Accounts,
}

type Shared = State<Arc<Application>>;

/// Options with which a browser creates a passkey that signs in without a name.
fn discoverable(mut options: CreationChallengeResponse) -> Json<CreationChallengeResponse> {
    if let Some(selection) = &mut options.public_key.authenticator_selection {
        selection.resident_key = Some(ResidentKeyRequirement::Required);
        selection.require_resident_key = true;
    }
    Json(options)
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

async fn start_account(
    State(app): Shared,
    client: SessionHandle<Data>,
    Json(Name { name }): Json<Name>,
) -> Answer<Json<CreationChallengeResponse>> {
    if client.session().is_some_and(|session| session.account.is_some()) {
        return Err(Failed::Refused(StatusCode::CONFLICT, "sign out first"));
    }
    if name.trim().is_empty() || name.len() > 64 {
        return Err(Failed::Refused(StatusCode::BAD_REQUEST, "a name has 1 to 64 bytes"));
    }
    let account = Account { id: Uuid::new_v4(), name };
    let started =
        app.webauthn.start_passkey_registration(account.id, &account.name, &account.name, None);
    let (options, state) = started.map_err(|_| INTERNAL)?;
    start(&client, Pending::Create(account, state)).await?;
    Ok(discoverable(options))
}

async fn create_account(
    State(app): Shared,
    mut session: Session<Data>,
    Json(given): Json<RegisterPublicKeyCredential>,
) -> Answer<()> {
    let Pending::Create(account, state) = take(&mut session).await? else {
        return Err(NO_CEREMONY);
    };
    let passkey = app.webauthn.finish_passkey_registration(&given, &state);
    app.accounts.create(&account, passkey.map_err(|_| NOT_PROVED)?)?;
    // The authenticator has verified its user: two factors. Whether it is hardware that no one can
    // copy, the next proof says.
    Ok(session.handle().login(signed_in(account.id, Level::Two)).await?)
}

fn signed_in(account: Uuid, level: Level) -> NewSession<Data> {
    let data = Data { account: Some(account), ceremony: None };
    NewSession::new(data).owner(account.to_string()).level(level)
}

async fn start_passkey(
    State(app): Shared,
    session: Session<Data>,
) -> Answer<Json<CreationChallengeResponse>> {
    let id = session.account.ok_or(INTERNAL)?;
    let (name, known) = (app.accounts.name(id), app.accounts.passkeys(id));
    let started = app.webauthn.start_passkey_registration(id, &name, &name, Some(known));
    let (options, state) = started.map_err(|_| INTERNAL)?;
    start(session.handle(), Pending::Add(state)).await?;
    Ok(discoverable(options))
}

async fn add_passkey(
    State(app): Shared,
    mut session: Session<Data>,
    Json(given): Json<RegisterPublicKeyCredential>,
) -> Answer<()> {
    let Pending::Add(state) = take(&mut session).await? else { return Err(NO_CEREMONY) };
    let passkey = app.webauthn.finish_passkey_registration(&given, &state);
    let account = session.account.ok_or(INTERNAL)?;
    Ok(app.accounts.add(account, passkey.map_err(|_| NOT_PROVED)?)?)
}

/// For a sign-in, the browser asks the user which passkey to take. For a new proof, it takes one of
/// the account.
async fn start_proof(
    State(app): Shared,
    client: SessionHandle<Data>,
) -> Answer<Json<RequestChallengeResponse>> {
    let started = app.webauthn.start_discoverable_authentication();
    let (mut options, state) = started.map_err(|_| INTERNAL)?;
    // The page calls it at the press of a button, not while a name is typed.
    options.mediation = None;
    if let Some(account) = client.session().and_then(|session| session.account) {
        let allow = |id: CredentialID| AllowCredentials {
            type_: "public-key".to_owned(),
            id: id.to_vec(),
            transports: None,
        };
        let known = app.accounts.passkeys(account);
        options.public_key.allow_credentials = known.into_iter().map(allow).collect();
    }
    start(&client, Pending::Prove(state)).await?;
    Ok(Json(options))
}

/// Verifies the answer of an authenticator. After a sign of a copied key, the account's sessions
/// end: one of them may be the thief's.
async fn prove(
    app: &Application,
    session: &mut Session<Data>,
    given: &PublicKeyCredential,
    known: Option<Uuid>,
) -> Answer<Proof> {
    let Pending::Prove(state) = take(session).await? else { return Err(NO_CEREMONY) };
    match app.accounts.prove(&app.webauthn, state, given, known) {
        Ok(proof) => Ok(proof),
        Err(NotProved::Refused) => Err(NOT_PROVED),
        Err(NotProved::Cloned(account)) => {
            let manager = session.handle().manager();
            let owner = Owner::new(account.to_string()).map_err(|_| INTERNAL)?;
            manager.revoke_owner(&owner).await?;
            Err(NOT_PROVED)
        }
    }
}

async fn sign_in(
    State(app): Shared,
    mut session: Session<Data>,
    Json(given): Json<PublicKeyCredential>,
) -> Answer<()> {
    let proof = prove(&app, &mut session, &given, None).await?;
    Ok(session.handle().login(signed_in(proof.account, proof.level)).await?)
}

async fn confirm(
    State(app): Shared,
    mut session: Session<Data>,
    Json(given): Json<PublicKeyCredential>,
) -> Answer<()> {
    let account = session.account.ok_or(INTERNAL)?;
    let proof = prove(&app, &mut session, &given, Some(account)).await?;
    Ok(session.reauthenticate(proof.level).await?)
}

#[derive(Serialize)]
struct Profile {
    name: String,
    level: Option<u8>,
    passkeys: usize,
}

async fn profile(State(app): Shared, session: Session<Data>) -> Answer<Json<Profile>> {
    let account = session.account.ok_or(INTERNAL)?;
    let (name, passkeys) = (app.accounts.name(account), app.accounts.passkeys(account).len());
    Ok(Json(Profile { name, level: session.snapshot().level().map(Level::number), passkeys }))
}

async fn logout(client: SessionHandle<Data>) -> kvolt::Result<()> {
    client.logout().await
}

/// `origin` is what browsers show in their address line. A passkey is made for its host.
fn app(sessions: &Sessions<Data>, origin: &str) -> Result<Router, Box<dyn Error>> {
    let origin = Url::parse(origin)?;
    let host = origin.host_str().ok_or("the origin has no host")?;
    let webauthn = WebauthnBuilder::new(host, &origin)?.rp_name("Passkeys").timeout(CEREMONY);
    let shared = Application { webauthn: webauthn.build()?, accounts: Accounts::default() };
    let open = Router::new()
        .route("/", get(Html(include_str!("page.html"))))
        .route("/account/start", post(start_account))
        .route("/account", post(create_account))
        .route("/proof/start", post(start_proof))
        .route("/sign-in", post(sign_in))
        .route("/logout", post(logout))
        .route_layer(sessions.layer().optional().anonymous());
    let signed_in = Router::new()
        .route("/profile", get(profile))
        .route("/confirm", post(confirm))
        .route_layer(sessions.layer());
    let sensitive = Router::new()
        .route("/passkeys/start", post(start_passkey))
        .route("/passkeys", post(add_passkey))
        .route_layer(sessions.layer().strict().require(RECENT));
    Ok(open.merge(signed_in).merge(sensitive).with_state(Arc::new(shared)))
}

/// Any client can start a ceremony, so the number of visitors' sessions is bounded.
fn sessions(store: impl Store<Record<Data>>) -> kvolt::session::Result<Sessions<Data>> {
    let visitors = AnonymousSessions::new(100_000);
    Ok(Sessions::new(Manager::builder(store).anonymous(visitors).build()?))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let app = app(&sessions(MemoryStore::new())?, "http://localhost:3000")?;
    Ok(axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app).await?)
}

#[cfg(test)]
#[cfg(feature = "browser")]
mod browser_tests;
#[cfg(test)]
mod tests;
