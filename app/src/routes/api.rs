//! Signing in and out with a header, for programs.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use kvolt::middleware::{Result, SessionHandle};

use super::login::{Credentials, make};
use crate::devices::From;
use crate::negotiate::Wants;
use crate::state::App;
use crate::users::User;

/// The token goes back in the header that it is to come in.
pub(super) async fn sign_in(
    State(app): State<App>,
    handle: SessionHandle<User>,
    From(device): From,
    credentials: Credentials,
) -> Result<Response> {
    Ok(match make(&app, &handle, device, &credentials).await? {
        Ok(profile) => Json(profile).into_response(),
        Err(denied) => denied.answer(Wants::Json, |status, _| status.into_response()),
    })
}

/// A client that has no session is signed out already, and one whose session can't be read is
/// signed out too.
pub(super) async fn sign_out(handle: SessionHandle<User>) -> Result<Response> {
    handle.logout().await?;
    Ok(Json(serde_json::json!({ "signed_out": true })).into_response())
}
