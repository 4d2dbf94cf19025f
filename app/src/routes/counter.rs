//! A number in the session's data, which concurrent requests change.

use axum::Json;
use axum::response::Response;
use kvolt::middleware::{Result, Session};
use serde_json::{Value, json};

use crate::forms::Act;
use crate::negotiate::Wants;
use crate::users::User;

pub(super) async fn show(session: Session<User>) -> Json<Value> {
    Json(json!({ "counter": session.counter }))
}

/// Counts a request once all of it is here: one that is cut off counts nothing.
pub(super) async fn add(wants: Wants, Act(mut session): Act) -> Result<Response> {
    let session = session.update(|user| user.counter += 1).await?;
    Ok(wants.answer("/", json!({ "counter": session.counter })))
}
