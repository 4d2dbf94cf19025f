//! What has happened to sessions lately.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kvolt::middleware::Result;
use serde_json::json;

use super::admin::Admin;
use crate::audit::reason;
use crate::negotiate::Wants;
use crate::pages::{Audit, Frame, page};
use crate::state::App;
use crate::times::rfc3339;

pub(super) async fn show(
    State(app): State<App>,
    wants: Wants,
    Admin(session): Admin,
) -> Result<Response> {
    let events = app.audit().latest();
    if wants == Wants::Page {
        let frame = Frame::new(&app, &session).await?;
        let now = app.manager().clock().now();
        return Ok(page(StatusCode::OK, &Audit::new(frame, &events, app.accounts(), now)));
    }
    let rows = events.iter().map(|event| {
        json!({
            "at": rfc3339(event.at),
            "what": event.kind.name(),
            "reason": reason(event),
            "id": event.id.map(|id| id.to_string()),
            "user": event.owner.as_ref().map(|owner| app.accounts().owner_name(owner)),
        })
    });
    Ok(Json(rows.collect::<Vec<_>>()).into_response())
}
