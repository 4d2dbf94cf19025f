//! Server-sent events that end with their session.

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::stream::{Stream, StreamExt};
use kvolt::middleware::Session;

use super::live::{Allowed, Told, follow};
use crate::state::App;
use crate::users::User;

/// Tells the counter whenever it changes, and when the session ends unless used; and the end.
pub(super) async fn stream(
    State(app): State<App>,
    session: Session<User>,
    allowed: Allowed,
) -> Sse<impl Stream<Item = Result<Event, axum::Error>>> {
    let events = follow(&session, allowed).map(|told| match told {
        Told::Counter(counter) => Event::default().event("counter").json_data(&counter),
        Told::End => Ok(Event::default().event("end").data("the session has ended")),
    });
    let events = events.take_until(app.shutdown().asked());
    Sse::new(events).keep_alive(KeepAlive::default())
}
