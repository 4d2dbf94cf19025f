//! The application that is attacked over HTTP.

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect};
use axum::routing::{get, post};
use http::StatusCode;
use http::header::CACHE_CONTROL;
use kvolt_middleware::{Result, Session, SessionHandle, Sessions};

use crate::account;
use crate::user::{User, guest, signed_in};

/// Its routes: some that need a session, some that merely know about one, some without a layer.
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
        .merge(account::routes(&sessions))
        .route("/nested/login/{name}", post(login).route_layer(within).route_layer(around))
        .with_state(sessions)
}

async fn profile(session: Session<User>) -> String {
    session.name.clone()
}

async fn home(session: Option<Session<User>>) -> String {
    session.map_or_else(|| String::from("nobody"), |session| session.name.clone())
}

/// A handler that says what it must not.
async fn cacheable(session: Session<User>) -> impl IntoResponse {
    ([(CACHE_CONTROL, "public, max-age=600")], session.name.clone())
}

async fn login(Path(name): Path<String>, handle: SessionHandle<User>) -> Result<impl IntoResponse> {
    Ok((handle.login(signed_in(&name)).await?, "in"))
}

/// A visitor who has signed in nowhere fills a basket.
async fn visit(Path(bytes): Path<usize>, handle: SessionHandle<User>) -> Result<impl IntoResponse> {
    Ok((handle.login(guest("x".repeat(bytes))).await?, "welcome"))
}

async fn counted(session: Session<User>) -> String {
    session.count.to_string()
}

async fn count(mut session: Session<User>) -> Result<String> {
    let session = session.update(|user| user.count += 1).await?;
    Ok(session.count.to_string())
}

async fn note(Path(bytes): Path<usize>, mut session: Session<User>) -> Result<&'static str> {
    session.update(|user| user.note = "x".repeat(bytes)).await?;
    Ok("noted")
}

async fn rotate(session: Session<User>) -> Result<impl IntoResponse> {
    Ok((session.rotate().await?, "rotated"))
}

async fn rotate_and_fail(session: Session<User>) -> Result<StatusCode> {
    session.rotate().await?;
    Ok(StatusCode::INTERNAL_SERVER_ERROR)
}

/// What belongs to a change of the password: the others end, and this one gets another token.
async fn change_password(session: Session<User>) -> Result<impl IntoResponse> {
    let others = session.revoke_others().await?;
    Ok((session.rotate().await?, others.to_string()))
}

async fn revoke_all(session: Session<User>) -> Result<impl IntoResponse> {
    Ok((session.revoke_all().await?, "all out"))
}

async fn logout(session: Session<User>) -> Result<impl IntoResponse> {
    Ok((session.logout().await?, "out"))
}

async fn handle_logout(handle: SessionHandle<User>) -> Result<impl IntoResponse> {
    Ok((handle.logout().await?, "out"))
}
