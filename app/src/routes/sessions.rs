//! The user's own sessions: list and end them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kvolt::middleware::{Result, Session};
use kvolt::session::{Flash, SessionId, SessionList, SessionSnapshot};
use serde::Serialize;
use serde_json::{Value, json};

use crate::accounts::Accounts;
use crate::devices::name;
use crate::forms::CheckedAction;
use crate::negotiate::{Wants, error};
use crate::pages::Message;
use crate::state::App;
use crate::times::rfc3339;
use crate::users::User;

/// A session in a JSON list. The id is public: it is not a token.
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
    /// The administrator that acts for the user.
    administrator: Option<String>,
    current: bool,
}

impl Row {
    pub(super) fn new(
        session: &SessionSnapshot<User>,
        current: SessionId,
        accounts: &Accounts,
    ) -> Self {
        let by = session.acting_for().and(session.owner());
        Self {
            id: session.id().to_string(),
            created: rfc3339(session.created()),
            last_seen: rfc3339(session.last_seen()),
            expires_at: rfc3339(session.expires_at()),
            device: name(session.device()),
            user_agent: session.device().user_agent().map(str::to_owned),
            address: session.device().address().map(|address| address.to_string()),
            remembered: session.is_remembered(),
            administrator: by.map(|by| accounts.owner_name(by)),
            current: session.id() == current,
        }
    }
}

/// A session that can't be decoded. It can be ended by its id.
pub(super) fn unreadable(id: &SessionId) -> Value {
    json!({ "id": id.to_string(), "unreadable": true })
}

pub(super) async fn list(State(app): State<App>, session: Session<User>) -> Result<Response> {
    let SessionList { sessions, unreadable: ids, .. } = session.list().await?;
    let rows = sessions.iter().map(|other| json!(Row::new(other, session.id(), app.accounts())));
    let rows: Vec<Value> = rows.chain(ids.iter().map(unreadable)).collect();
    Ok(Json(rows).into_response())
}

/// Ends one of the user's sessions. Sessions of other users are not found.
pub(super) async fn end(
    Path(id): Path<String>,
    wants: Wants,
    CheckedAction(session): CheckedAction,
) -> Result<Response> {
    let Ok(id) = id.parse() else {
        return Ok(not_found());
    };
    if id == session.id() {
        return sign_out(wants, &session).await;
    }
    let ended = session.revoke(id).await?;
    answer_ended(wants, &session, ended, "/").await
}

pub(super) async fn revoke_others(
    wants: Wants,
    CheckedAction(session): CheckedAction,
) -> Result<Response> {
    let ended = session.revoke_others().await?;
    flash(wants, &session, &format!("{} ended.", other_sessions(ended))).await?;
    Ok(wants.answer("/", json!({ "ended": ended })))
}

pub(super) async fn revoke_all(
    wants: Wants,
    CheckedAction(session): CheckedAction,
) -> Result<Response> {
    session.revoke_all().await?;
    Ok(wants.answer(&Message::SignedOutEverywhere.path(), json!({ "signed_out": true })))
}

/// Ends the current session, when a request to end it names it by its id.
pub(super) async fn sign_out(wants: Wants, session: &Session<User>) -> Result<Response> {
    session.logout().await?;
    Ok(wants.answer(&Message::SignedOut.path(), json!({ "ended": 1 })))
}

/// The answer after one session was ended, or had ended before.
pub(super) async fn answer_ended(
    wants: Wants,
    session: &Session<User>,
    ended: bool,
    page: &str,
) -> Result<Response> {
    if !ended && wants == Wants::Json {
        return Ok(not_found());
    }
    let text = if ended { "The session was ended." } else { "The session had already ended." };
    flash(wants, session, text).await?;
    Ok(wants.answer(page, json!({ "ended": 1 })))
}

pub(super) fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "the session does not exist")
}

/// Leaves a message for the next page. Programs see no pages.
pub(super) async fn flash(wants: Wants, session: &Session<User>, text: &str) -> Result<()> {
    match wants {
        Wants::Page => session.flash(Flash::new("success", text)).await,
        Wants::Json => Ok(()),
    }
}

/// The start of a sentence: how many other sessions were (ended).
pub(super) fn other_sessions(count: usize) -> String {
    match count {
        0 => String::from("No other session was"),
        1 => String::from("1 other session was"),
        count => format!("{count} other sessions were"),
    }
}
