//! What is told to a connection that stays open, for as long as its session lives.

use futures_util::stream::{self, Stream};
use kvolt::middleware::Session;
use kvolt::session::Live;
use serde::Serialize;

use crate::metrics::Connection;
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

/// The counter now and whenever it changes, and the end of the session.
///
/// Looking is not using: an open connection does not keep an idle session alive.
pub(super) fn follow(session: &Session<User>) -> impl Stream<Item = Told> + Send + use<> {
    let live = session.live();
    let following = Following { live, told: None, ended: false, _connection: Connection::open() };
    stream::unfold(following, Following::next)
}

struct Following {
    live: Live<User>,
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
