//! The audit log, for administrators.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kvolt::middleware::Result;
use serde_json::json;

use super::admin::Admin;
use crate::devices::name;
use crate::negotiate::Wants;
use crate::pages::{AuditLog, Frame, page};
use crate::state::App;
use crate::times::rfc3339;

pub(super) async fn show(
    State(app): State<App>,
    wants: Wants,
    Admin(session): Admin,
) -> Result<Response> {
    let entries = app.audit().latest();
    if wants == Wants::Page {
        let frame = Frame::new(&app, &session, "/audit").await?;
        return Ok(page(StatusCode::OK, &AuditLog::new(frame, &entries, app.accounts())));
    }
    let rows = entries.iter().map(|entry| {
        let address = entry.device.as_ref().and_then(|device| device.address());
        json!({
            "at": rfc3339(entry.at),
            "event": entry.event,
            "reason": entry.reason,
            "session": entry.session.map(|id| id.to_string()),
            "user": entry.owner.as_ref().map(|owner| app.accounts().owner_name(owner)),
            "acting_for": entry.acting_for.as_ref().map(|user| app.accounts().owner_name(user)),
            "actor": entry.actor.as_ref().map(|actor| app.accounts().actor_name(actor)),
            "device": entry.device.as_ref().map(name),
            "address": address.map(|address| address.to_string()),
        })
    });
    Ok(Json(rows.collect::<Vec<_>>()).into_response())
}
