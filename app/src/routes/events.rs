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

use crate::devices::rfc3339;
use crate::state::App;
use crate::users::User;

/// How often the session is looked at: the stream ends this long after it.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Tells the counter and when the session ends unless used, whenever either changes; and the end.
///
/// Looking is not using: an open stream does not keep an idle session alive.
pub(super) async fn stream(
    State(app): State<App>,
    session: Session<User>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let watch = Watch { app, session, told: String::new(), ended: false };
    Sse::new(stream::unfold(watch, Watch::next)).keep_alive(KeepAlive::default())
}

struct Watch {
    app: App,
    session: Session<User>,
    told: String,
    ended: bool,
}

impl Watch {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        let mut shutdown = pin!(self.app.shutdown().asked());
        while !self.ended {
            match self.session.peek().await {
                Ok(Some(session)) => {
                    let expires_at = rfc3339(session.expires_at());
                    let now = json!({ "counter": session.counter, "expires_at": expires_at });
                    let now = now.to_string();
                    if now != self.told {
                        let event = Event::default().event("counter").data(&now);
                        self.told = now;
                        return Some((Ok(event), self));
                    }
                }
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
