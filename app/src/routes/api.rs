//! Sign-in and sign-out by header, for programs.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use kvolt::middleware::{Result, SessionHandle};
use serde_json::json;

use super::login::{Credentials, create_session};
use crate::devices::RequestDevice;
use crate::state::App;
use crate::users::User;

/// The response has the token in the header `X-Session-ID`, which the next requests send.
pub(super) async fn sign_in(
    State(app): State<App>,
    handle: SessionHandle<User>,
    RequestDevice(device): RequestDevice,
    credentials: Credentials,
) -> Result<Response> {
    Ok(match create_session(&app, &handle, device, &credentials).await? {
        Ok((set_token, profile)) => (set_token, Json(profile)).into_response(),
        Err(denied) => denied.into_response(),
    })
}

/// Also succeeds without a session.
pub(super) async fn sign_out(handle: SessionHandle<User>) -> Result<Response> {
    let set_token = handle.logout().await?;
    Ok((set_token, Json(json!({ "signed_out": true }))).into_response())
}
