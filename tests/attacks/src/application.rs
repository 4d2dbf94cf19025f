//! The application that the attacks call over HTTP.

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect};
use axum::routing::{get, post};
use http::StatusCode;
use http::header::CACHE_CONTROL;
use kvolt_middleware::{Result, Session, SessionHandle, Sessions};

use crate::account_routes;
use crate::user::{User, guest, signed_in};

/// Routes that require a session, and routes that use one if it exists.
pub fn router(sessions: Sessions<User>) -> Router {
    let needed = Router::new()
        .route("/profile", get(profile).post(profile))
        .route("/cacheable", get(cacheable))
        .route("/missing", get(|| async { StatusCode::NOT_FOUND }))
        .route("/broken", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .route("/moved", get(|| async { Redirect::to("/profile") }))
        .route("/count", get(counted).post(count))
        .route("/note/{bytes}", post(note))
        .route("/rotate", post(rotate))
        .route("/rotate-and-fail", post(rotate_and_fail))
        .route("/password", post(change_password))
        .route("/revoke-all", post(revoke_all))
        .route("/deep/down/below/logout", post(logout))
        .route_layer(sessions.layer());
    let known = Router::new()
        .route("/", get(home))
        .route("/login/{name}", post(login))
        .route("/guest/{bytes}", post(visit))
        .route("/logout", post(handle_logout))
        .route_layer(sessions.layer().optional());
    let strict =
        Router::new().route("/strict/profile", get(profile)).route_layer(sessions.layer().strict());
    let polled = Router::new().route("/poll", get(profile)).route_layer(sessions.layer().peek());
    let (within, around) = (sessions.layer().optional(), sessions.layer().optional());
    needed
        .merge(known)
        .merge(strict)
        .merge(polled)
        .merge(account_routes::routes(&sessions))
        .route("/nested/login/{name}", post(login).route_layer(within).route_layer(around))
        .with_state(sessions)
}

async fn profile(session: Session<User>) -> String {
    session.name.clone()
}

async fn home(session: Option<Session<User>>) -> String {
    session.map_or_else(|| String::from("nobody"), |session| session.name.clone())
}

/// Claims that a private page may be cached.
async fn cacheable(session: Session<User>) -> impl IntoResponse {
    ([(CACHE_CONTROL, "public, max-age=600")], session.name.clone())
}

async fn login(Path(name): Path<String>, handle: SessionHandle<User>) -> Result<&'static str> {
    handle.login(signed_in(&name)).await?;
    Ok("in")
}

/// Creates a session for a visitor, with data.
async fn visit(Path(bytes): Path<usize>, handle: SessionHandle<User>) -> Result<&'static str> {
    handle.login(guest("x".repeat(bytes))).await?;
    Ok("welcome")
}

async fn counted(session: Session<User>) -> String {
    session.count.to_string()
}

async fn count(mut session: Session<User>) -> Result<String> {
    session.update(|user| user.count += 1).await?;
    Ok(session.count.to_string())
}

async fn note(Path(bytes): Path<usize>, mut session: Session<User>) -> Result<&'static str> {
    session.update(|user| user.note = "x".repeat(bytes)).await?;
    Ok("noted")
}

async fn rotate(session: Session<User>) -> Result<&'static str> {
    session.rotate().await?;
    Ok("rotated")
}

async fn rotate_and_fail(session: Session<User>) -> Result<StatusCode> {
    session.rotate().await?;
    Ok(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Ends the other sessions, and gives this one a new token.
async fn change_password(session: Session<User>) -> Result<String> {
    let others = session.revoke_others().await?;
    session.rotate().await?;
    Ok(others.to_string())
}

async fn revoke_all(session: Session<User>) -> Result<&'static str> {
    session.revoke_all().await?;
    Ok("all out")
}

async fn logout(session: Session<User>) -> Result<&'static str> {
    session.logout().await?;
    Ok("out")
}

async fn handle_logout(handle: SessionHandle<User>) -> Result<&'static str> {
    handle.logout().await?;
    Ok("out")
}
