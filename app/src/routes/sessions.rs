//! The user's sessions: seeing and ending them.

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kvolt::middleware::{Result, Session};
use serde::Serialize;
use serde_json::json;

use crate::devices::rfc3339;
use crate::negotiate::{Wants, refuse};
use crate::users::User;

/// A session as its user sees it. The id is public: it is no token.
#[derive(Serialize)]
struct Row {
    id: String,
    created: String,
    last_seen: String,
    expires_at: String,
    user_agent: Option<String>,
    address: Option<String>,
    current: bool,
}

pub(super) async fn list(session: Session<User>) -> Result<Response> {
    let rows = session.list().await?.into_iter().map(|other| Row {
        id: other.id().to_string(),
        created: rfc3339(other.created()),
        last_seen: rfc3339(other.last_seen()),
        expires_at: rfc3339(other.expires_at()),
        user_agent: other.device().user_agent().map(str::to_owned),
        address: other.device().address().map(|address| address.to_string()),
        current: other.id() == session.id(),
    });
    Ok(Json(rows.collect::<Vec<_>>()).into_response())
}

/// Ends one of the user's own. What is not theirs is not there for them.
pub(super) async fn end(
    session: Session<User>,
    wants: Wants,
    Path(id): Path<String>,
) -> Result<Response> {
    let Ok(id) = id.parse() else {
        return Ok(refuse(StatusCode::NOT_FOUND, "there is no such session"));
    };
    if id == session.id() {
        let set_token = session.logout().await?;
        return Ok((set_token, wants.answer("/", json!({ "ended": 1 }))).into_response());
    }
    if session.end(id).await? || wants == Wants::Page {
        return Ok(wants.answer("/", json!({ "ended": 1 })));
    }
    Ok(refuse(StatusCode::NOT_FOUND, "there is no such session"))
}

pub(super) async fn revoke_others(session: Session<User>, wants: Wants) -> Result<Response> {
    let ended = session.end_others().await?;
    Ok(wants.answer("/", json!({ "ended": ended })))
}

pub(super) async fn revoke_all(session: Session<User>, wants: Wants) -> Result<Response> {
    let set_token = session.end_all().await?;
    Ok((set_token, wants.answer("/", json!({ "signed_out": true }))).into_response())
}
