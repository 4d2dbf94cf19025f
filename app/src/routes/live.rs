//! The updates of an open connection, until its session ends.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use kvolt::middleware::Session;
use kvolt::session::LiveSession;
use serde::Serialize;

use crate::connections::Connection;
use crate::negotiate::error;
use crate::state::App;
use crate::times::rfc3339;
use crate::users::User;

pub(super) enum Update {
    Counter(Counter),
    /// The session has ended. This is the last update.
    End,
}

#[derive(Serialize)]
pub(super) struct Counter {
    counter: u64,
    /// When the session ends without further use.
    expires_at: String,
}

/// The permit for an open connection. Extracting it is refused if the user has too many.
pub(super) struct AllowedConnection(Connection);

impl FromRequestParts<App> for AllowedConnection {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let session = Session::<User>::from_request_parts(parts, app).await;
        let session = session.map_err(IntoResponse::into_response)?;
        let text = "too_many_connections: close some of your open pages";
        let opened = app.connections().open(&session);
        opened.map(Self).ok_or_else(|| error(StatusCode::TOO_MANY_REQUESTS, text))
    }
}

/// The current counter, each change of it, and the end of the session. Does not extend the
/// session: an open connection is no use of it.
pub(super) fn updates(
    session: &Session<User>,
    AllowedConnection(connection): AllowedConnection,
) -> impl Stream<Item = Update> + Send + use<> {
    let state = State { live: session.live(), sent: None, ended: false, _connection: connection };
    stream::unfold(state, State::next)
}

struct State {
    live: LiveSession<User>,
    /// The last counter that was sent.
    sent: Option<u64>,
    ended: bool,
    _connection: Connection,
}

impl State {
    async fn next(mut self) -> Option<(Update, Self)> {
        if self.ended {
            return None;
        }
        let mut session = self.sent.is_none().then(|| self.live.session().clone());
        loop {
            match session {
                Some(session) if self.sent != Some(session.counter) => {
                    self.sent = Some(session.counter);
                    let expires_at = rfc3339(session.expires_at());
                    let counter = Counter { counter: session.counter, expires_at };
                    return Some((Update::Counter(counter), self));
                }
                _ => {}
            }
            session = self.live.changed().await.cloned();
            if session.is_none() {
                self.ended = true;
                return Some((Update::End, self));
            }
        }
    }
}
