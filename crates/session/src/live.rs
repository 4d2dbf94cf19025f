//! Connections that stay open, and have to know when their session ends.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use kvolt_cache::{Access, Watch};
use tokio::time::{Instant, timeout_at};

use crate::reading::Standing;
use crate::{LIVE_INTERVAL_DEFAULT, Manager, Result, Session};

/// A session that an open connection belongs to: tells when it changes, and when it ends.
///
/// Waiting does not keep it alive. It follows the session when its token is rotated. It
/// ends with the session, for whatever reason and on whichever server: at once for what
/// this process does; elsewhere as soon as the store pushes the change, where it is listened to
/// (by a near cache, or a watched store), and in any case within the bound of
/// that, or else within [`live_interval`](crate::Builder::live_interval), by
/// looking. A store that can't be asked is no end: it is asked again.
///
/// Needs a Tokio runtime with its timer.
#[must_use = "a live session does nothing until it is waited for"]
pub struct Live<T> {
    manager: Manager<T>,
    watch: Watch,
    session: Session<T>,
    /// Whether something may have happened that was not looked at: it stays so until a look has answered.
    is_due: bool,
    /// When it is looked at unasked, and whether that is for its end. It outlives a wait that was given up.
    patience: Option<(Instant, bool)>,
    /// How often in a row it was looked at after its time, and was there: by the store's clock it is earlier.
    overtime: u32,
}

/// At the end of its time a session is not looked at more often than this.
const LOOK_MIN: Duration = Duration::from_millis(10);

impl<T: Send + Sync + 'static> Manager<T> {
    /// Follows a session for a connection that stays open.
    pub fn live(&self, session: &Session<T>) -> Live<T> {
        let watch = self.changes().watch(*session.id().key());
        Live {
            manager: self.clone(),
            watch,
            session: session.clone(),
            is_due: true,
            patience: None,
            overtime: 0,
        }
    }
}

impl<T: Send + Sync + 'static> Live<T> {
    /// The session as it was last seen.
    pub fn session(&self) -> &Session<T> {
        &self.session
    }

    /// Waits until the session has changed, or its token has, and returns it as it is
    /// then; `None` once it has ended, and from then on.
    ///
    /// Several changes in a row may be told as one. Use is no change.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost with a future that was dropped before it has finished.
    pub async fn changed(&mut self) -> Option<&Session<T>> {
        loop {
            let mut strict = false;
            if !self.is_due {
                let patience = self.patience();
                let (until, ends) = *self.patience.get_or_insert(patience);
                // At the end of its time the store itself is asked, and no copy of it.
                strict = timeout_at(until, self.watch.changed()).await.is_err() && ends;
                (self.is_due, self.patience) = (true, None);
            }
            match self.look(strict).await {
                Ok(Some(session)) => {
                    self.is_due = false;
                    self.overtime =
                        if self.left(&session).is_zero() { self.overtime + 1 } else { 0 };
                    let (id, version) = (session.id(), session.version());
                    let is_other = (id, version) != (self.session.id(), self.session.version());
                    if id != self.session.id() {
                        self.watch = self.manager.changes().watch(*id.key());
                        // What came between the look and the watch is looked for once more.
                        self.is_due = true;
                    }
                    self.session = session;
                    if is_other {
                        return Some(&self.session);
                    }
                }
                Ok(None) => return None,
                Err(error) => {
                    self.complain(&error);
                    tokio::time::sleep(self.pause()).await;
                }
            }
        }
    }

    /// Waits until the session has ended.
    pub async fn ended(mut self) {
        while self.changed().await.is_some() {}
    }

    /// The items of a stream for as long as the session lives.
    ///
    /// When the session ends, the stream does, even if an item is ready.
    pub fn limit<S: Stream>(self, stream: S) -> WhileLive<S>
    where
        T: 'static,
    {
        WhileLive { ended: Some(Box::pin(self.ended())), stream: Box::pin(stream) }
    }

    fn complain(&self, error: &crate::Error) {
        let (id, error) = (self.session.id(), error as &(dyn std::error::Error + 'static));
        tracing::warn!(target: "kvolt::session", %id, error, "a live session can't be looked at, and is looked at again");
    }

    /// When to look unasked, and whether that is for the session's end.
    fn patience(&self) -> (Instant, bool) {
        let policy = self.manager.policy();
        let told = self.manager.changes().complete_for();
        let wait = if told.is_zero() { policy.live_interval } else { told };
        // Clocks differ by little, mostly. By how much is found out in longer and longer steps.
        let overtime = LOOK_MIN.saturating_mul(1 << self.overtime.min(20));
        let left = self.left(&self.session).max(overtime);
        // Far enough for a wait without end, and near enough to be a moment.
        let wait = wait.min(left).clamp(LOOK_MIN, Duration::from_secs(24 * 60 * 60));
        (Instant::now() + wait, left <= wait)
    }

    /// How long a session has left by this process's clock.
    fn left(&self, session: &Session<T>) -> Duration {
        session.expires_at().since(self.manager.policy().clock.now())
    }

    /// How long to wait before a store is asked again that did not answer.
    fn pause(&self) -> Duration {
        (self.manager.policy().live_interval / 4).clamp(LOOK_MIN, LIVE_INTERVAL_DEFAULT)
    }

    async fn look(&self, strict: bool) -> Result<Option<Session<T>>> {
        let access = Access::PEEK.strict_if(strict);
        let found = self.manager.entry(self.session.id().key(), access).await?;
        // By a former key it is followed, however long ago that was its.
        Ok(found.and_then(|(session, standing)| match standing {
            Standing::Good | Standing::Spent | Standing::Replaced => Some(session.whole()),
            Standing::Foreign | Standing::Unbound => None,
        }))
    }
}

/// The items of a stream while a session lives. Made by [`Live::limit`].
#[must_use = "a stream does nothing until it is polled"]
pub struct WhileLive<S> {
    ended: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    stream: Pin<Box<S>>,
}

impl<S: Stream> Stream for WhileLive<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let Some(ended) = &mut self.ended else {
            return Poll::Ready(None);
        };
        if ended.as_mut().poll(context).is_ready() {
            self.ended = None;
            return Poll::Ready(None);
        }
        let next = self.stream.as_mut().poll_next(context);
        if let Poll::Ready(None) = next {
            self.ended = None;
        }
        next
    }
}

impl<T> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("session", &self.session).finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for WhileLive<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WhileLive").field("ended", &self.ended.is_none()).finish_non_exhaustive()
    }
}
