//! The user's sessions: seeing and ending them.

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kvolt::middleware::{Result, Session};
use kvolt::session::{Flash, SessionId, SessionList};
use serde::Serialize;
use serde_json::{Value, json};

use crate::devices::name;
use crate::forms::Act;
use crate::negotiate::{Wants, refuse};
use crate::times::rfc3339;
use crate::users::User;

/// A session as its user and administrators see it. The id is public: it is no token.
#[derive(Serialize)]
pub(super) struct Row {
    id: String,
    created: String,
    last_seen: String,
    expires_at: String,
    device: String,
    user_agent: Option<String>,
    address: Option<String>,
    remembered: bool,
    current: bool,
}

impl Row {
    pub(super) fn new(session: &kvolt::session::SessionSnapshot<User>, current: SessionId) -> Self {
        Self {
            id: session.id().to_string(),
            created: rfc3339(session.created()),
            last_seen: rfc3339(session.last_seen()),
            expires_at: rfc3339(session.expires_at()),
            device: name(session.device()),
            user_agent: session.device().user_agent().map(str::to_owned),
            address: session.device().address().map(|address| address.to_string()),
            remembered: session.is_remembered(),
            current: session.id() == current,
        }
    }
}

/// A session that can't be read. It can be ended by its id.
pub(super) fn unreadable(id: &SessionId) -> Value {
    json!({ "id": id.to_string(), "unreadable": true })
}

pub(super) async fn list(session: Session<User>) -> Result<Response> {
    let SessionList { sessions, unreadable: ids, .. } = session.list().await?;
    let rows = sessions.iter().map(|other| json!(Row::new(other, session.id())));
    let rows: Vec<Value> = rows.chain(ids.iter().map(unreadable)).collect();
    Ok(Json(rows).into_response())
}

/// Ends one of the user's own. What is not theirs is not there for them.
pub(super) async fn end(
    Path(id): Path<String>,
    wants: Wants,
    Act(session): Act,
) -> Result<Response> {
    let Ok(id) = id.parse() else {
        return Ok(refuse(StatusCode::NOT_FOUND, "there is no such session"));
    };
    if id == session.id() {
        session.logout().await?;
        return Ok(wants.answer("/", json!({ "ended": 1 })).into_response());
    }
    let ended = session.revoke(id).await?;
    tell(wants, &session, if ended { "That session was ended." } else { "It had ended before." })
        .await?;
    if ended || wants == Wants::Page {
        return Ok(wants.answer("/", json!({ "ended": 1 })));
    }
    Ok(refuse(StatusCode::NOT_FOUND, "there is no such session"))
}

pub(super) async fn revoke_others(wants: Wants, Act(session): Act) -> Result<Response> {
    let ended = session.revoke_others().await?;
    tell(wants, &session, &format!("{} ended.", others(ended))).await?;
    Ok(wants.answer("/", json!({ "ended": ended })))
}

pub(super) async fn revoke_all(wants: Wants, Act(session): Act) -> Result<Response> {
    session.revoke_all().await?;
    Ok(wants.answer("/", json!({ "signed_out": true })).into_response())
}

/// Leaves a message for the next page, where pages are shown.
pub(super) async fn tell(wants: Wants, session: &Session<User>, text: &str) -> Result<()> {
    match wants {
        Wants::Page => session.flash(Flash::new("success", text)).await,
        Wants::Json => Ok(()),
    }
}

/// How many other sessions, and that they were.
pub(super) fn others(number: usize) -> String {
    match number {
        0 => String::from("No other session was"),
        1 => String::from("1 other session was"),
        number => format!("{number} other sessions were"),
    }
}
