//! The session's form token, for scripts.

use axum::Json;
use kvolt::middleware::{Result, Session};
use serde_json::{Value, json};

use crate::users::User;

/// A script sends it as the header `X-CSRF-Token`. Other sites can't read this response.
pub(super) async fn show(session: Session<User>) -> Result<Json<Value>> {
    let token = session.csrf_token()?;
    Ok(Json(json!({ "csrf_token": token.as_str() })))
}
