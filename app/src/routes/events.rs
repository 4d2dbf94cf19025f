//! Server-sent events that end with the session.

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::stream::{Stream, StreamExt};
use kvolt::middleware::Session;

use super::live::{AllowedConnection, Update, updates};
use crate::state::App;
use crate::users::User;

/// Sends `counter` at each change, and `end` when the session ends.
pub(super) async fn stream(
    State(app): State<App>,
    session: Session<User>,
    allowed: AllowedConnection,
) -> Sse<impl Stream<Item = Result<Event, axum::Error>>> {
    let events = updates(&session, allowed).map(|update| match update {
        Update::Counter(counter) => Event::default().event("counter").json_data(&counter),
        Update::End => Ok(Event::default().event("end").data("the session has ended")),
    });
    let events = events.take_until(app.shutdown().requested());
    Sse::new(events).keep_alive(KeepAlive::default())
}
