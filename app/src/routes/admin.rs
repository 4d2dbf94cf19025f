//! Administration: list and end the sessions of all users.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use kvolt::cache::Cursor;
use kvolt::middleware::{Result, Session, local_path};
use kvolt::session::{Manager, NewSession, SessionSnapshot};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::reauthenticate::{Action, require_recent_password};
use super::sessions::{Row, answer_ended, flash, not_found, sign_out, unreadable};
use crate::accounts::CheckedUser;
use crate::devices::RequestDevice;
use crate::forms::{CheckedAction, CheckedForm};
use crate::negotiate::{Wants, error};
use crate::pages::{self, Frame, Message, Notice, page};
use crate::state::{App, owner};
use crate::users::{Role, User, normalized};

const PATH: &str = "/admin";

/// The number of sessions on a page.
const PAGE_LEN: usize = 50;

/// The session of an administrator, by the account's current role.
pub(super) struct Admin(pub(super) Session<User>);

/// An action of an administrator, who gave the password recently or gives it now.
pub(super) struct AdminAction {
    session: Session<User>,
    /// The page to go to afterwards.
    next: String,
}

#[derive(Deserialize)]
struct ActionForm {
    #[serde(default)]
    next: String,
    password: Option<String>,
}

impl FromRequestParts<App> for Admin {
    type Rejection = Response;

    async fn from_request_parts(
        parts: &mut Parts,
        app: &App,
    ) -> std::result::Result<Self, Response> {
        let Ok(wants) = Wants::from_request_parts(parts, app).await;
        let session = Session::from_request_parts(parts, app).await;
        let session: Session<User> = session.map_err(IntoResponse::into_response)?;
        if app.accounts().role(&session) == Some(Role::Admin) {
            return Ok(Self(session));
        }
        let (status, text) = (StatusCode::FORBIDDEN, "This page is for administrators only");
        if wants == Wants::Json {
            return Err(error(status, text));
        }
        let frame = Frame::new(app, &session, PATH).await.map_err(IntoResponse::into_response)?;
        Err(page(status, &Notice::error(status, text).with_frame(frame)))
    }
}

impl FromRequest<App> for AdminAction {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> std::result::Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let Ok(wants) = Wants::from_request_parts(&mut parts, app).await;
        let Ok(RequestDevice(device)) = RequestDevice::from_request_parts(&mut parts, app).await;
        let Admin(_) = Admin::from_request_parts(&mut parts, app).await?;
        let path = parts.uri.path().to_owned();
        let request = Request::from_parts(parts, body);
        let CheckedForm(session, form) =
            CheckedForm::<ActionForm>::from_request(request, app).await?;
        let next = local_path(&form.next).unwrap_or(PATH);
        let action = Action { path: &path, next, password: form.password.as_deref() };
        require_recent_password(app, wants, &session, &device, action).await?;
        Ok(Self { session, next: next.to_owned() })
    }
}

#[derive(Deserialize)]
pub(super) struct ListQuery {
    /// The name of a user, for the sessions of that user only.
    #[serde(default)]
    user: String,
    /// The place in the list after which the page starts.
    #[serde(default)]
    after: String,
}

/// A session in the JSON list, with its user.
#[derive(Serialize)]
struct UserRow<'a> {
    user: &'a str,
    #[serde(flatten)]
    row: Row,
}

pub(super) async fn list(
    State(app): State<App>,
    Query(query): Query<ListQuery>,
    wants: Wants,
    Admin(session): Admin,
) -> Result<Response> {
    let user = normalized(&query.user);
    let user_id = app.accounts().id(&user);
    let (mut list, next) = if let Some(id) = user_id {
        (app.manager().list(&owner(id)).await?, None)
    } else if !user.is_empty() {
        Default::default()
    } else {
        let after = match query.after.is_empty() {
            true => None,
            false => match cursor(&query.after) {
                Some(cursor) => Some(cursor),
                None => return Ok(error(StatusCode::BAD_REQUEST, "the list has no such page")),
            },
        };
        let page = app.manager().list_all(after.as_ref(), PAGE_LEN).await?;
        (page.listing, page.next.map(|next| text(&next)))
    };
    list.sessions.sort_by_key(|session| std::cmp::Reverse(session.last_seen()));
    if wants == Wants::Json {
        let row = |of: &SessionSnapshot<User>| {
            json!(UserRow { user: &of.name, row: Row::new(of, session.id(), app.accounts()) })
        };
        let rows = list.sessions.iter().map(row);
        let sessions: Vec<_> = rows.chain(list.unreadable.iter().map(unreadable)).collect();
        return Ok(Json(json!({ "sessions": sessions, "next": next })).into_response());
    }
    let frame = Frame::new(&app, &session, PATH).await?;
    let now = app.manager().clock().now();
    let shown = pages::Admin::new(frame, &list, session.id(), now, app.accounts())
        .of_user(&user, user_id, app.accounts())
        .before(next.as_deref());
    Ok(page(StatusCode::OK, &shown))
}

/// Ends one session of any user.
pub(super) async fn end(
    State(app): State<App>,
    Path(id): Path<String>,
    wants: Wants,
    AdminAction { session, next }: AdminAction,
) -> Result<Response> {
    let Ok(id) = id.parse() else {
        return Ok(not_found());
    };
    if id == session.id() {
        return sign_out(wants, &session).await;
    }
    let ended = by(&app, &session).revoke(id).await?;
    answer_ended(wants, &session, ended, &next).await
}

/// Ends all sessions of a user, by the user's id.
pub(super) async fn revoke_owner(
    State(app): State<App>,
    Path(id): Path<u32>,
    wants: Wants,
    AdminAction { session, next }: AdminAction,
) -> Result<Response> {
    if id == session.id {
        session.revoke_all().await?;
        let page = Message::SignedOutEverywhere.path();
        return Ok(wants.answer(&page, json!({ "signed_out": true })));
    }
    let ended = by(&app, &session).revoke_owner(&owner(id)).await?;
    let name = app.accounts().owner_name(&owner(id));
    flash(wants, &session, &format!("{name} was signed out. Ended sessions: {ended}.")).await?;
    Ok(wants.answer(&next, json!({ "ended": ended })))
}

/// Ends all sessions, including the administrator's.
pub(super) async fn revoke_everyone(
    State(app): State<App>,
    wants: Wants,
    AdminAction { session, .. }: AdminAction,
) -> Result<Response> {
    by(&app, &session).revoke_everyone().await?;
    session.logout().await?;
    Ok(wants.answer(&Message::EveryoneSignedOut.path(), json!({ "signed_out": true })))
}

/// The manager, with the administrator as the actor, for the log and the audit log.
fn by(app: &App, administrator: &Session<User>) -> Manager<User> {
    app.manager().by(&owner(administrator.id))
}

/// Acts for a user, by the user's id: for support. Another administrator can't be acted for, whose
/// rights this one might not have.
pub(super) async fn act(
    State(app): State<App>,
    RequestDevice(device): RequestDevice,
    Path(id): Path<u32>,
    wants: Wants,
    AdminAction { session, .. }: AdminAction,
) -> Result<Response> {
    let Some(CheckedUser { user, version }) = app.accounts().user(id) else {
        return Ok(error(StatusCode::NOT_FOUND, "the account does not exist"));
    };
    if user.role == Role::Admin {
        return Ok(error(StatusCode::FORBIDDEN, "you can't act for an administrator"));
    }
    let acting_for = user.name.clone();
    let session_of_user = NewSession::new(user).device(device).bound_to(version);
    session.impersonate(app.fresh(), session_of_user).await?;
    Ok(wants.answer("/", json!({ "acting_for": acting_for })))
}

/// Returns from acting for a user to the administrator's own session.
pub(super) async fn stop_acting(
    wants: Wants,
    CheckedAction(session): CheckedAction,
) -> Result<Response> {
    session.end_impersonation().await?;
    Ok(wants.answer("/", json!({ "acting_for": null })))
}

/// A place in the list, as hexadecimal digits for an address.
fn text(cursor: &Cursor) -> String {
    cursor.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn cursor(text: &str) -> Option<Cursor> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let bytes = text.as_bytes().chunks(2).map(|digits| {
        let digits = std::str::from_utf8(digits).ok()?;
        u8::from_str_radix(digits, 16).ok()
    });
    bytes.collect::<Option<Vec<u8>>>().map(Cursor::from_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_an_address() {
        let place = Cursor::from_bytes([0, 1, 0x7f, 0xff]);
        assert_eq!(text(&place), "00017fff");
        assert_eq!(cursor("00017fff"), Some(place));
        for wrong in ["0", "0g", "é", "+1", "-1"] {
            assert_eq!(cursor(wrong), None, "{wrong}");
        }
    }
}
