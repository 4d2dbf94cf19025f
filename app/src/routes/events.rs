//! Server-sent events that end with their session.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::stream::{self, Stream};
use kvolt::middleware::Session;
use serde_json::json;

use crate::state::App;
use crate::users::User;

/// How often the session is looked at: the stream ends this long after it.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Tells the counter whenever it changes, and the end.
///
/// Looking is not using: an open stream does not keep an idle session alive.
pub(super) async fn stream(
    State(app): State<App>,
    session: Session<User>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let watch = Watch { app, session, told: None, ended: false };
    Sse::new(stream::unfold(watch, Watch::next)).keep_alive(KeepAlive::default())
}

struct Watch {
    app: App,
    session: Session<User>,
    told: Option<u64>,
    ended: bool,
}

impl Watch {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        let mut shutdown = pin!(self.app.shutdown().asked());
        while !self.ended {
            match self.session.peek().await {
                Ok(Some(session)) if self.told != Some(session.counter) => {
                    self.told = Some(session.counter);
                    let data = json!({ "counter": session.counter }).to_string();
                    return Some((Ok(Event::default().event("counter").data(data)), self));
                }
                Ok(Some(_)) => {}
                Ok(None) => {
                    self.ended = true;
                    return Some((
                        Ok(Event::default().event("end").data("the session has ended")),
                        self,
                    ));
                }
                // Whether it lives can't be said now: asked again, and nobody is logged out.
                Err(error) => tracing::warn!(%error, "the session can't be looked at"),
            }
            tokio::select! {
                () = &mut shutdown => return None,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        None
    }
}
