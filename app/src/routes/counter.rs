//! A number in the session's data, which concurrent requests change.

use axum::Json;
use axum::response::Response;
use kvolt::middleware::{Result, Session};
use serde_json::{Value, json};

use crate::negotiate::Wants;
use crate::users::User;

pub(super) async fn show(session: Session<User>) -> Json<Value> {
    Json(json!({ "counter": session.counter }))
}

pub(super) async fn add(session: Session<User>, wants: Wants) -> Result<Response> {
    let session = session.update(|user| user.counter += 1).await?;
    Ok(wants.answer("/", json!({ "counter": session.counter })))
}
