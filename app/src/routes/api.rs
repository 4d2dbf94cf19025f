//! Signing in and out with a header, for programs.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kvolt::middleware::{Handle, Result, Session};
use kvolt::session::NewSession;

use super::login::{Credentials, WRONG, check};
use crate::devices::From;
use crate::negotiate::refuse;
use crate::state::App;
use crate::users::{Profile, User};

/// The token goes back in the header that it is to come in.
pub(super) async fn sign_in(
    State(app): State<App>,
    handle: Handle<User>,
    From(device): From,
    credentials: Credentials,
) -> Result<Response> {
    let Some(user) = check(&app, &credentials).await else {
        return Ok(refuse(StatusCode::UNAUTHORIZED, WRONG));
    };
    let answer = Json(Profile::from(&user));
    let set_token = handle.login(NewSession::new(user).device(device)).await?;
    Ok((set_token, answer).into_response())
}

pub(super) async fn sign_out(session: Session<User>) -> Result<Response> {
    let set_token = session.logout().await?;
    Ok((set_token, Json(serde_json::json!({ "signed_out": true }))).into_response())
}
