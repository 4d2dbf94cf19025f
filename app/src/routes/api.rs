//! Sign-in and sign-out by header, for programs.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use kvolt::middleware::{Result, SessionHandle};
use serde_json::{Value, json};

use super::login::{Credentials, create_session};
use crate::devices::RequestDevice;
use crate::state::App;
use crate::users::User;

/// The layer adds the token to the response, in the header `X-Session-ID`.
pub(super) async fn sign_in(
    State(app): State<App>,
    handle: SessionHandle<User>,
    RequestDevice(device): RequestDevice,
    credentials: Credentials,
) -> Result<Response> {
    Ok(match create_session(&app, &handle, device, &credentials).await? {
        Ok(profile) => Json(profile).into_response(),
        Err(denied) => denied.into_response(),
    })
}

/// Also succeeds without a session.
pub(super) async fn sign_out(handle: SessionHandle<User>) -> Result<Json<Value>> {
    handle.logout().await?;
    Ok(Json(json!({ "signed_out": true })))
}
