//! What is told to a connection that stays open, for as long as its session lives.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use kvolt::middleware::Session;
use kvolt::session::LiveSession;
use serde::Serialize;

use crate::connections::Connection;
use crate::negotiate::refuse;
use crate::state::App;
use crate::times::rfc3339;
use crate::users::User;

pub(super) enum Told {
    Counter(Counter),
    /// The session has ended: nothing follows.
    End,
}

#[derive(Serialize)]
pub(super) struct Counter {
    counter: u64,
    /// When the session ends unless it is used.
    expires_at: String,
}

/// The connection of a request that is to stay open, or the answer where its user has too many.
pub(super) struct Allowed(Connection);

impl FromRequestParts<App> for Allowed {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let session = Session::<User>::from_request_parts(parts, app).await;
        let session = session.map_err(IntoResponse::into_response)?;
        app.connections()
            .open(&session)
            .map(Self)
            .ok_or_else(|| refuse(StatusCode::TOO_MANY_REQUESTS, "too many connections are open"))
    }
}

/// The counter now and whenever it changes, and the end of the session.
///
/// Looking is not using: an open connection does not keep an idle session alive.
pub(super) fn follow(
    session: &Session<User>,
    Allowed(connection): Allowed,
) -> impl Stream<Item = Told> + Send + use<> {
    let live = session.live();
    let following = Following { live, told: None, ended: false, _connection: connection };
    stream::unfold(following, Following::next)
}

struct Following {
    live: LiveSession<User>,
    told: Option<u64>,
    ended: bool,
    _connection: Connection,
}

impl Following {
    async fn next(mut self) -> Option<(Told, Self)> {
        if self.ended {
            return None;
        }
        let mut session = self.told.is_none().then(|| self.live.session().clone());
        loop {
            match session {
                Some(session) if self.told != Some(session.counter) => {
                    self.told = Some(session.counter);
                    let expires_at = rfc3339(session.expires_at());
                    return Some((
                        Told::Counter(Counter { counter: session.counter, expires_at }),
                        self,
                    ));
                }
                _ => {}
            }
            session = self.live.changed().await.cloned();
            if session.is_none() {
                self.ended = true;
                return Some((Told::End, self));
            }
        }
    }
}
