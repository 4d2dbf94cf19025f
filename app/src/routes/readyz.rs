//! Readiness, for load balancers: whether the store answers.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::negotiate::error;
use crate::state::{App, owner};

/// The store must answer within this time.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Lists the sessions of the user id 0, which does not exist: one cheap round trip to the store,
/// past a near cache, and without an event.
pub(super) async fn show(State(app): State<App>) -> Response {
    let owner = owner(0);
    match tokio::time::timeout(TIMEOUT, app.manager().list(&owner)).await {
        Ok(Ok(_)) => "ready\n".into_response(),
        Ok(Err(_)) | Err(_) => {
            error(StatusCode::SERVICE_UNAVAILABLE, "unavailable: the session store does not answer")
        }
    }
}
