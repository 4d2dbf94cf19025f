//! Connections that stay open, and must know when their session ends.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use kvolt_cache::{Freshness, Notice, Watch};
use tokio::time::{Instant, timeout_at};

use crate::{Manager, SessionSnapshot};

/// A session that an open connection belongs to: notifies when it changes, and when it ends.
///
/// Waiting does not keep the session alive. A rotation of its token is no end. It ends with the
/// session, for whatever reason and on whichever server, at a change of credentials, and when the
/// session can't be read any more. It notices a change that this process makes at once, and one of
/// another process as soon as the store pushes it, where a near cache listens to the store. Where
/// nothing is pushed it checks every [`live_interval`](crate::ManagerBuilder::live_interval), and begins
/// to do so when pushes have been lost for the near cache's bound. A store that can't answer is no
/// end: it is asked again.
///
/// The session it shows has the rights that it had when the connection was opened: what its user
/// proves later is for the token that is given to the client then.
///
/// Needs a Tokio runtime with its timer.
#[must_use = "a live session does nothing until it is waited for"]
pub struct LiveSession<T> {
    manager: Manager<T>,
    watch: Watch,
    session: SessionSnapshot<T>,
    /// When to check without being notified, which outlives a wait that was given up; `None` if
    /// something may have happened since the last check.
    next_check: Option<NextCheck>,
    /// How often in a row the session was live after its time: by the store's clock it is earlier.
    late_checks: u32,
    /// How often in a row the store could not answer.
    failures: u32,
}

#[derive(Clone, Copy)]
struct NextCheck {
    at: Instant,
    reason: CheckReason,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CheckReason {
    /// The interval has passed, or a pause after the store could not answer.
    Time,
    /// The session ends then by its deadlines.
    End,
    /// Until then the store pushes every change, as far as is known.
    Pushes,
}

/// At the end of its time a session is not checked more often than this.
const CHECK_MIN: Duration = Duration::from_millis(10);

/// Far enough for a wait without end, and near enough to be a moment.
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest pause before a store is asked again that could not answer.
const MAX_PAUSE: Duration = Duration::from_secs(5);

impl<T: Send + Sync + 'static> Manager<T> {
    /// Follows a session for a connection that stays open.
    pub fn live(&self, session: &SessionSnapshot<T>) -> LiveSession<T> {
        LiveSession {
            manager: self.clone(),
            watch: self.changes().watch(*session.key()),
            session: session.clone(),
            next_check: None,
            late_checks: 0,
            failures: 0,
        }
    }
}

impl<T: Send + Sync + 'static> LiveSession<T> {
    /// The session as it was last seen.
    pub fn session(&self) -> &SessionSnapshot<T> {
        &self.session
    }

    /// Waits until the session has changed, or its token has, and returns it as it is
    /// then; `None` once it has ended, and from then on.
    ///
    /// Several changes in a row may be reported as one. Use is no change.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost with a future that is dropped before it has finished.
    pub async fn changed(&mut self) -> Option<&SessionSnapshot<T>> {
        loop {
            let mut freshness = Freshness::Bounded;
            if let Some(next) = self.next_check {
                match (timeout_at(next.at, self.watch.changed()).await, next.reason) {
                    (Ok(Notice::Changed), _) | (Err(_), CheckReason::Time) => {}
                    // At the end of its time the store itself is asked, and no copy of it.
                    (Err(_), CheckReason::End) => freshness = Freshness::Strict,
                    (Err(_), CheckReason::Pushes) if !self.pushed_for().is_zero() => {
                        // Nothing was pushed, so nothing has changed in the store. What the
                        // session is bound to is no part of it.
                        if !self.manager.is_bound(self.session.content()) {
                            return None;
                        }
                        self.next_check = Some(self.after_check());
                        continue;
                    }
                    (Ok(Notice::Interrupted) | Err(_), _) => {
                        self.next_check = Some(self.after_interruption(next));
                        continue;
                    }
                }
                self.next_check = None;
            }
            match self.manager.peek_session(&self.session, freshness).await {
                Ok(Some(session)) => {
                    self.failures = 0;
                    let is_late = self.left(&session).is_zero();
                    self.late_checks = if is_late { self.late_checks + 1 } else { 0 };
                    let is_other = session.version() != self.session.version();
                    self.session = session;
                    self.next_check = Some(self.after_check());
                    if is_other {
                        return Some(&self.session);
                    }
                }
                Ok(None) => return None,
                Err(error) if error.is_corrupt() => return None,
                Err(error) => {
                    self.manager.events().check_failed(self.session.id(), &error);
                    self.next_check = Some(self.after_failure());
                    self.failures = self.failures.saturating_add(1);
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
    pub fn take_until_ended<S: Stream>(self, stream: S) -> UntilEnded<S>
    where
        T: 'static,
    {
        UntilEnded { ended: Some(Box::pin(self.ended())), stream: Box::pin(stream) }
    }

    /// When to check again after a check.
    fn after_check(&self) -> NextCheck {
        let (wait, reason) = match self.pushed_for() {
            Duration::ZERO => (self.manager.policy().live_interval, CheckReason::Time),
            pushed_for => (pushed_for, CheckReason::Pushes),
        };
        // Clocks differ by little, mostly. By how much is found out in longer and longer steps.
        let late = CHECK_MIN.saturating_mul(1 << self.late_checks.min(20));
        let left = self.left(&self.session).max(late);
        let wait = wait.min(left).clamp(CHECK_MIN, MAX_WAIT);
        let reason = if left <= wait { CheckReason::End } else { reason };
        NextCheck { at: Instant::now() + wait, reason }
    }

    /// For how long the store pushes every change, as far as is known.
    fn pushed_for(&self) -> Duration {
        self.manager.changes().current_for()
    }

    /// When to check after pushes were lost, or are back: at some moment within the interval, so
    /// that connections, which are all notified, do not ask the store all at once.
    fn after_interruption(&self, next: NextCheck) -> NextCheck {
        let interval = self.manager.policy().live_interval.min(MAX_WAIT);
        let at = Instant::now() + self.part_of(interval);
        let is_earlier = next.at <= at && next.reason != CheckReason::Pushes;
        if is_earlier { next } else { NextCheck { at, reason: CheckReason::Time } }
    }

    /// A random part of a duration.
    fn part_of(&self, duration: Duration) -> Duration {
        let mut random = [0];
        // Without randomness, none of it.
        let _ = (self.manager.policy().random)(&mut random);
        duration / 255 * u32::from(random[0])
    }

    /// How long a session has left by this process's clock.
    fn left(&self, session: &SessionSnapshot<T>) -> Duration {
        session.expires_at().since(self.manager.policy().clock.now())
    }

    /// When to check again after the store could not answer: after twice as long each time, spread
    /// over half of that, so that connections do not ask all at once when the store tries to come
    /// back.
    fn after_failure(&self) -> NextCheck {
        let first = (self.manager.policy().live_interval / 4).clamp(CHECK_MIN, MAX_PAUSE);
        let pause = first.saturating_mul(1 << self.failures.min(16)).min(MAX_PAUSE);
        let at = Instant::now() + pause - self.part_of(pause / 2);
        NextCheck { at, reason: CheckReason::Time }
    }
}

/// The items of a stream while a session lives. Made by [`LiveSession::take_until_ended`].
#[must_use = "a stream does nothing until it is polled"]
pub struct UntilEnded<S> {
    ended: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    stream: Pin<Box<S>>,
}

impl<S: Stream> Stream for UntilEnded<S> {
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

impl<T> fmt::Debug for LiveSession<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("session", &self.session).finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for UntilEnded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WhileLive").field("ended", &self.ended.is_none()).finish_non_exhaustive()
    }
}
