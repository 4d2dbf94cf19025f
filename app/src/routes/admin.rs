//! Seeing and ending everybody's sessions.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use kvolt::cache::Cursor;
use kvolt::middleware::{Result, Session};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::sessions::{Row, tell, unreadable};
use crate::forms::Act;
use crate::negotiate::{Wants, refuse};
use crate::pages::{self, Frame, page};
use crate::state::{App, owner};
use crate::users::{Role, User};

/// How many sessions are on a page.
const PAGE_LEN: usize = 50;

/// The session of an administrator, by what the accounts say now.
pub(super) struct Admin(pub(super) Session<User>);

/// The same for an act, with the session's form token where a browser may have sent it.
pub(super) struct AdminAct(Session<User>);

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
        let text = "This is for administrators";
        Err(wants.refuse(StatusCode::FORBIDDEN, "Not for you", text))
    }
}

impl FromRequest<App> for AdminAct {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> std::result::Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let Admin(_) = Admin::from_request_parts(&mut parts, app).await?;
        let Act(session) = Act::from_request(Request::from_parts(parts, body), app).await?;
        Ok(Self(session))
    }
}

#[derive(Deserialize)]
pub(super) struct Asked {
    /// Of one user, by name.
    #[serde(default)]
    user: String,
    /// After those of the page before.
    #[serde(default)]
    after: String,
}

/// Somebody's session.
#[derive(Serialize)]
struct Theirs<'a> {
    user: &'a str,
    #[serde(flatten)]
    row: Row,
}

pub(super) async fn list(
    State(app): State<App>,
    Query(asked): Query<Asked>,
    wants: Wants,
    Admin(session): Admin,
) -> Result<Response> {
    let user_id = app.accounts().id(&asked.user);
    let (listing, next) = if let Some(id) = user_id {
        (Some(app.manager().list(&owner(id)).await?), None)
    } else if !asked.user.is_empty() {
        (None, None)
    } else {
        let after = match asked.after.is_empty() {
            true => None,
            false => match cursor(&asked.after) {
                Some(cursor) => Some(cursor),
                None => return Ok(refuse(StatusCode::BAD_REQUEST, "there is no such page")),
            },
        };
        let page = app.manager().list_all(after.as_ref(), PAGE_LEN).await?;
        (Some(page.listing), page.next.map(|next| text(&next)))
    };
    let mut listing = listing.unwrap_or_default();
    listing.sessions.sort_by_key(|session| std::cmp::Reverse(session.last_seen()));
    if wants == Wants::Json {
        let row = |theirs: &kvolt::session::SessionSnapshot<User>| {
            let theirs = Theirs { user: &theirs.name, row: Row::new(theirs, session.id()) };
            json!(theirs)
        };
        let rows = listing.sessions.iter().map(row);
        let sessions: Vec<_> = rows.chain(listing.unreadable.iter().map(unreadable)).collect();
        return Ok(Json(json!({ "sessions": sessions, "next": next })).into_response());
    }
    let frame = Frame::new(&app, &session).await?;
    let now = app.manager().clock().now();
    let shown = pages::Admin::new(frame, &listing, session.id(), now)
        .of(&asked.user, user_id)
        .followed_by(next.as_deref());
    Ok(page(StatusCode::OK, &shown))
}

/// Ends one session, whosever it is.
pub(super) async fn end(
    State(app): State<App>,
    Path(id): Path<String>,
    wants: Wants,
    AdminAct(session): AdminAct,
) -> Result<Response> {
    let Ok(id) = id.parse() else {
        return Ok(refuse(StatusCode::NOT_FOUND, "there is no such session"));
    };
    if id == session.id() {
        session.logout().await?;
        return Ok(wants.answer("/", json!({ "ended": 1 })).into_response());
    }
    let ended = app.manager().revoke(id).await?;
    tell(wants, &session, if ended { "That session was ended." } else { "It had ended before." })
        .await?;
    if ended || wants == Wants::Page {
        return Ok(wants.answer("/admin", json!({ "ended": 1 })));
    }
    Ok(refuse(StatusCode::NOT_FOUND, "there is no such session"))
}

/// Ends all sessions of a user, by their id.
pub(super) async fn end_user(
    State(app): State<App>,
    Path(id): Path<u32>,
    wants: Wants,
    AdminAct(session): AdminAct,
) -> Result<Response> {
    if id == session.id {
        session.revoke_all().await?;
        return Ok(wants.answer("/", json!({ "signed_out": true })).into_response());
    }
    let ended = app.manager().revoke_owner(&owner(id)).await?;
    let name = app.accounts().owner_name(&owner(id));
    tell(wants, &session, &format!("Sessions of {name} that were ended: {ended}.")).await?;
    Ok(wants.answer("/admin", json!({ "ended": ended })))
}

/// Ends everybody's sessions, the administrator's included.
pub(super) async fn revoke_everyone(
    State(app): State<App>,
    wants: Wants,
    AdminAct(session): AdminAct,
) -> Result<Response> {
    app.manager().revoke_everyone().await?;
    session.logout().await?;
    Ok(wants.answer("/", json!({ "signed_out": true })).into_response())
}

/// A place in the list, as it stands in an address.
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
    fn a_place_in_the_list_survives_an_address() {
        let place = Cursor::from_bytes([0, 1, 0x7f, 0xff]);
        assert_eq!(text(&place), "00017fff");
        assert_eq!(cursor("00017fff"), Some(place));
        for wrong in ["0", "0g", "é", "+1", "-1"] {
            assert_eq!(cursor(wrong), None, "{wrong}");
        }
    }
}
