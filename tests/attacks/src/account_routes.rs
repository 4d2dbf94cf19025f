//! The attacked application's routes around a login.

use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use kvolt_middleware::{Csrf, CsrfForm, Result, Session, SessionHandle, Sessions};
use kvolt_session::{Flash, Level, StepUp};
use serde::Deserialize;

use crate::user::{User, signed_in};

/// Sensitive actions require an authentication within this time.
pub(crate) const FRESH: Duration = Duration::from_secs(2);

/// The routes.
pub(crate) fn routes(sessions: &Sessions<User>) -> Router<Sessions<User>> {
    let needed = Router::new()
        .route("/account/form", get(form).post(submitted))
        .route("/account/script", post(scripted))
        .route("/account/prove/{level}", post(prove))
        .route("/account/credentials", post(change_credentials))
        .route("/account/flash/{text}", post(flash))
        .route("/account/page", get(page))
        .route("/account/stream", get(stream))
        .route_layer(sessions.layer());
    let fresh = Router::new()
        .route("/account/fresh", post(|| async { "done" }))
        .route_layer(sessions.layer().strict().require(StepUp::within(FRESH)));
    let strong = Router::new()
        .route("/account/strong", post(|| async { "done" }))
        .route_layer(sessions.layer().strict().require(StepUp::at_level(Level::Two)));
    let known = Router::new()
        .route("/account/remembered/{name}", post(remembered))
        .route("/account/visit", post(visit))
        .route_layer(sessions.layer().optional());
    let shop = Router::new()
        .route("/account/basket/{item}", post(basket))
        .route_layer(sessions.layer().anonymous());
    needed.merge(fresh).merge(strong).merge(known).merge(shop)
}

#[derive(Deserialize)]
struct Empty {}

/// Returns a form token, as a page contains it.
async fn form(session: Session<User>) -> Result<String> {
    Ok(session.csrf_token()?.as_str().to_owned())
}

async fn submitted(CsrfForm(session, Empty {}): CsrfForm<User, Empty>) -> String {
    session.name.clone()
}

async fn scripted(Csrf(session): Csrf<User>) -> String {
    session.name.clone()
}

async fn prove(Path(level): Path<u8>, session: Session<User>) -> Result<&'static str> {
    let level = Level::from_number(level).unwrap_or_default();
    session.reauthenticate(level).await?;
    Ok("thank you")
}

async fn change_credentials(session: Session<User>) -> Result<&'static str> {
    session.change_credentials(None).await?;
    Ok("changed")
}

async fn flash(Path(text): Path<String>, session: Session<User>) -> Result<&'static str> {
    session.flash(Flash::new("info", &text)).await?;
    Ok("left")
}

/// Shows the waiting messages, one on each line.
async fn page(session: Session<User>) -> Result<String> {
    let flashes = session.take_flashes().await?;
    Ok(flashes.iter().map(Flash::text).collect::<Vec<_>>().join("\n"))
}

/// Responds when the session ends.
async fn stream(session: Session<User>) -> &'static str {
    session.live().ended().await;
    "over"
}

async fn remembered(Path(name): Path<String>, handle: SessionHandle<User>) -> Result<&'static str> {
    handle.login(signed_in(&name).remember(true)).await?;
    Ok("in")
}

async fn visit(handle: SessionHandle<User>) -> Result<&'static str> {
    handle.create_anonymous(User::new("visitor")).await?;
    Ok("welcome")
}

async fn basket(Path(item): Path<String>, mut session: Session<User>) -> Result<String> {
    session.update(|user| user.put(&item)).await?;
    Ok(session.note.clone())
}
