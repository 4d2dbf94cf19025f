//! Signing in and out with a header, for programs.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use kvolt::middleware::{Handle, Result, Session};

use super::login::{Credentials, make};
use crate::devices::From;
use crate::negotiate::Wants;
use crate::state::App;
use crate::users::User;

/// The token goes back in the header that it is to come in.
pub(super) async fn sign_in(
    State(app): State<App>,
    handle: Handle<User>,
    From(device): From,
    credentials: Credentials,
) -> Result<Response> {
    Ok(match make(&app, &handle, device, &credentials).await? {
        Ok((set_token, profile)) => (set_token, Json(profile)).into_response(),
        Err(denied) => denied.answer(Wants::Json, |status, _| status.into_response()),
    })
}

pub(super) async fn sign_out(session: Session<User>) -> Result<Response> {
    let set_token = session.logout().await?;
    Ok((set_token, Json(serde_json::json!({ "signed_out": true }))).into_response())
}
