//! The start page.

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use kvolt::middleware::{Result, Session, local_path};
use serde::Deserialize;

use crate::pages::{Frame, Home, Message, SignIn, page};
use crate::state::App;
use crate::users::User;

#[derive(Deserialize)]
pub(super) struct HomeQuery {
    #[serde(default)]
    next: String,
    #[serde(default)]
    message: String,
}

pub(super) async fn show(
    State(app): State<App>,
    headers: HeaderMap,
    session: Option<Session<User>>,
    Query(query): Query<HomeQuery>,
) -> Result<Response> {
    let Some(session) = session else {
        let next = local_path(&query.next).unwrap_or_default();
        let message = match Message::named(&query.message) {
            Some(message) => Some(message),
            // A cookie without a session: it has ended, here or on another device.
            None if app.has_cookie(&headers) => Some(Message::SessionEnded),
            None if !next.is_empty() => Some(Message::SignInToContinue),
            None => None,
        };
        return Ok(page(StatusCode::OK, &SignIn { next, message, ..app.sign_in() }));
    };
    let all = session.list().await?;
    let frame = Frame::new(&app, &session, "/").await?;
    let now = app.manager().clock().now();
    let home = Home::new(frame, session.snapshot(), &all, now, app.accounts());
    Ok(page(StatusCode::OK, &home))
}
