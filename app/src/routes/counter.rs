//! A counter in the session's data, which concurrent requests increment.

use axum::Json;
use axum::response::Response;
use kvolt::middleware::{Result, Session};
use serde_json::{Value, json};

use crate::forms::CheckedAction;
use crate::negotiate::Wants;
use crate::users::User;

pub(super) async fn show(session: Session<User>) -> Json<Value> {
    Json(json!({ "counter": session.counter }))
}

/// Counts a request once its whole body is received: an aborted one does not count.
pub(super) async fn add(
    wants: Wants,
    CheckedAction(mut session): CheckedAction,
) -> Result<Response> {
    session.update(|user| user.counter += 1).await?;
    Ok(wants.answer("/", json!({ "counter": session.counter })))
}
