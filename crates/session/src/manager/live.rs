//! Sessions of connections that stay open and must know when the session ends.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use kvolt_cache::{Freshness, Notice, Watch};
use tokio::time::{Instant, timeout_at};

use super::Manager;
use crate::SessionSnapshot;

/// The session of an open connection: notifies when the session changes, and when it ends.
///
/// Waiting does not keep the session alive. The session ends for any reason and on any server: by
/// a logout, a revocation or a timeout, at a change of credentials, and when it can't be read any
/// longer. A rotation does not end it, and neither does a store that is unavailable, which is asked
/// again.
///
/// A change by this process is noticed at once. A change by another process is noticed as soon as
/// the store pushes it, with a near cache. Otherwise the session is checked every
/// [`live_interval`](crate::ManagerBuilder::live_interval), which defaults to one second, also when
/// pushes were lost for as long as the near cache's bound.
///
/// The session has the rights that it had when the connection was opened: what its user proves
/// later counts for the new token only.
///
/// Needs a Tokio runtime with its timer.
///
/// ```
/// use kvolt_cache::MemoryStore;
/// use kvolt_session::Manager;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let manager = Manager::<String>::new(MemoryStore::new());
/// let token = manager.create(String::from("Ada")).await?;
/// let session = manager.get(&token).await?.expect("it was just created");
///
/// let mut live = manager.live(&session);
/// manager.update(&token, |name| name.push('!')).await?;
/// assert_eq!(live.changed().await.map(|session| session.data().as_str()), Some("Ada!"));
/// assert_eq!(*live.session().data(), "Ada!");
/// manager.logout(&token).await?;
/// live.ended().await;
/// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
/// ```
#[must_use = "a live session does nothing until it is awaited"]
pub struct LiveSession<T> {
    manager: Manager<T>,
    watch: Watch,
    /// Of the administrator's own session, on which an impersonation depends.
    own: Option<Watch>,
    session: SessionSnapshot<T>,
    /// When to check without a notification. It outlives a wait that was cancelled. `None` if
    /// something may have happened since the last check.
    next_check: Option<(Instant, CheckReason)>,
    /// How many checks in a row must be repeated: the store was unavailable, or the session was
    /// live after its time, because the store's clock is behind.
    retries: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CheckReason {
    /// The interval has passed, or a pause after the store was unavailable.
    Interval,
    /// The session ends then by its deadlines.
    End,
    /// Until then the store pushes every change, as far as is known.
    Pushes,
}

/// The shortest time between checks of a session at the end of its time.
const MIN_WAIT: Duration = Duration::from_millis(10);

/// The longest wait. It keeps a time without end within what an `Instant` can hold.
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest pause before an unavailable store is asked again.
const MAX_PAUSE: Duration = Duration::from_secs(5);

impl<T: Send + Sync + 'static> Manager<T> {
    /// Follows a session for a connection that stays open.
    pub fn live(&self, session: &SessionSnapshot<T>) -> LiveSession<T> {
        let own = session.envelope().impersonator().map(|by| by.session.key(self.namespace()));
        LiveSession {
            manager: self.clone(),
            watch: self.0.changes.watch(session.key),
            own: own.map(|key| self.0.changes.watch(key)),
            session: session.clone(),
            next_check: None,
            retries: 0,
        }
    }
}

impl<T: Send + Sync + 'static> LiveSession<T> {
    /// The session as it was last read.
    pub fn session(&self) -> &SessionSnapshot<T> {
        &self.session
    }

    /// Waits until the session or its token has changed, and returns the session after the change.
    /// Returns `None` once the session has ended, and from then on.
    ///
    /// Several changes in a row may be reported as one. Use is no change.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses no change.
    pub async fn changed(&mut self) -> Option<&SessionSnapshot<T>> {
        loop {
            let mut freshness = Freshness::Bounded;
            if let Some((at, reason)) = self.next_check {
                let notice = either(&mut self.watch, self.own.as_mut());
                match (timeout_at(at, notice).await, reason) {
                    (Ok(Notice::Changed), _) | (Err(_), CheckReason::Interval) => {}
                    // At the end of its time the store itself is asked, and no copy.
                    (Err(_), CheckReason::End) => freshness = Freshness::Strict,
                    (Err(_), CheckReason::Pushes) if !self.pushed_for().is_zero() => {
                        // Nothing was pushed, so the store has no change. The session's binding
                        // may have changed: the store does not know of it.
                        if !self.manager.is_bound(self.session.content()) {
                            return None;
                        }
                        // That of the administrator is in the other session, which is read.
                        if self.own.is_none() {
                            self.next_check = Some(self.after_check());
                            continue;
                        }
                    }
                    (Ok(Notice::Interrupted) | Err(_), _) => {
                        self.next_check = Some(self.after_interruption(at, reason));
                        continue;
                    }
                }
                self.next_check = None;
            }
            match self.manager.peek_session(&self.session, freshness).await {
                Ok(Some(session)) => {
                    let is_late = self.left(&session).is_zero();
                    self.retries = if is_late { self.retries + 1 } else { 0 };
                    let is_changed = session.version != self.session.version;
                    self.session = session;
                    self.next_check = Some(self.after_check());
                    if is_changed {
                        return Some(&self.session);
                    }
                }
                Ok(None) => return None,
                Err(error) if error.is_corrupt() => return None,
                Err(error) => {
                    let reporter = &self.manager.0.reporter;
                    reporter.warn(
                        &reporter.check_failures,
                        self.session.id(),
                        &error,
                        "the store could not check the sessions of open connections: they stay open until it can",
                    );
                    self.next_check = Some(self.after_failure());
                    self.retries += 1;
                }
            }
        }
    }

    /// Waits until the session has ended.
    pub async fn ended(mut self) {
        while self.changed().await.is_some() {}
    }

    /// Returns the items of a stream until the session has ended.
    ///
    /// When the session ends, the stream ends, even if an item is ready.
    ///
    /// ```
    /// use futures_util::{StreamExt, stream};
    /// use kvolt_cache::MemoryStore;
    /// use kvolt_session::{Manager, UntilEnded};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let manager = Manager::<String>::new(MemoryStore::new());
    /// let token = manager.create(String::from("Ada")).await?;
    /// let session = manager.get(&token).await?.expect("it was just created");
    ///
    /// let mut ticks: UntilEnded<_> = manager.live(&session).take_until_ended(stream::repeat("tick"));
    /// assert_eq!(ticks.next().await, Some("tick"));
    /// manager.logout(&token).await?;
    /// assert_eq!(ticks.next().await, None);
    /// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
    /// ```
    pub fn take_until_ended<S: Stream>(self, stream: S) -> UntilEnded<S> {
        UntilEnded { ended: Some(Box::pin(self.ended())), stream: Box::pin(stream), last: None }
    }

    /// The next check after one that found the session live.
    fn after_check(&self) -> (Instant, CheckReason) {
        let (wait, reason) = match self.pushed_for() {
            Duration::ZERO => (self.manager.0.policy.live_interval, CheckReason::Interval),
            pushed_for => (pushed_for, CheckReason::Pushes),
        };
        // Clocks mostly differ by little. By how much is found out in longer and longer steps.
        let late = MIN_WAIT.saturating_mul(1 << self.retries.min(20));
        let left = self.left(&self.session).max(late);
        let wait = wait.min(left).clamp(MIN_WAIT, MAX_WAIT);
        (Instant::now() + wait, if left <= wait { CheckReason::End } else { reason })
    }

    /// For how long the store pushes every change, as far as is known.
    fn pushed_for(&self) -> Duration {
        self.manager.0.changes.current_for()
    }

    /// The next check after pushes were lost or resumed: at some moment within the interval, so
    /// that connections, which are all notified, do not ask the store at once.
    fn after_interruption(&self, at: Instant, reason: CheckReason) -> (Instant, CheckReason) {
        let interval = self.manager.0.policy.live_interval.min(MAX_WAIT);
        let soon = Instant::now() + self.part_of(interval);
        let is_earlier = at <= soon && reason != CheckReason::Pushes;
        if is_earlier { (at, reason) } else { (soon, CheckReason::Interval) }
    }

    /// The next check after a failure. The pause doubles each time, and is spread over half of
    /// that, so that connections do not ask at once when the store returns.
    fn after_failure(&self) -> (Instant, CheckReason) {
        let first = (self.manager.0.policy.live_interval / 4).clamp(MIN_WAIT, MAX_PAUSE);
        let pause = first.saturating_mul(1 << self.retries.min(16)).min(MAX_PAUSE);
        (Instant::now() + pause - self.part_of(pause / 2), CheckReason::Interval)
    }

    /// A random part of a duration; zero without randomness.
    fn part_of(&self, duration: Duration) -> Duration {
        let mut random = [0];
        let _ = (self.manager.0.policy.random)(&mut random);
        duration / 255 * u32::from(random[0])
    }

    /// How long a session has left by the manager's clock.
    fn left(&self, session: &SessionSnapshot<T>) -> Duration {
        session.expires_at().since(self.manager.clock().now())
    }
}

/// The next notice of a session, or of the one that it depends on.
async fn either(watch: &mut Watch, own: Option<&mut Watch>) -> Notice {
    let Some(own) = own else { return watch.changed().await };
    let (mut first, mut second) = (pin!(watch.changed()), pin!(own.changed()));
    poll_fn(|context| match first.as_mut().poll(context) {
        Poll::Pending => second.as_mut().poll(context),
        ready => ready,
    })
    .await
}

/// The items of a stream until a session has ended. Made by [`LiveSession::take_until_ended`].
#[must_use = "a stream does nothing until it is polled"]
pub struct UntilEnded<S: Stream> {
    /// `None` once the session or the stream has ended.
    ended: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    stream: Pin<Box<S>>,
    /// The item that follows when the session ends.
    last: Option<Box<S::Item>>,
}

impl<S: Stream> UntilEnded<S> {
    /// Adds an item that follows when the session ends, such as the status of a gRPC stream or the
    /// close frame of a WebSocket. A stream that ends before its session does not get it.
    ///
    /// ```
    /// use futures_util::{StreamExt, stream};
    /// use kvolt_cache::MemoryStore;
    /// use kvolt_session::Manager;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let manager = Manager::<String>::new(MemoryStore::new());
    /// let token = manager.create(String::from("Ada")).await?;
    /// let session = manager.get(&token).await?.expect("it was just created");
    ///
    /// let ticks = stream::repeat(Ok("tick"));
    /// let mut ticks = manager.live(&session).take_until_ended(ticks).ending_with(Err("signed out"));
    /// assert_eq!(ticks.next().await, Some(Ok("tick")));
    /// manager.logout(&token).await?;
    /// assert_eq!(ticks.next().await, Some(Err("signed out")));
    /// assert_eq!(ticks.next().await, None);
    /// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
    /// ```
    pub fn ending_with(mut self, last: S::Item) -> Self {
        self.last = Some(Box::new(last));
        self
    }
}

impl<S: Stream> Stream for UntilEnded<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        if let Some(ended) = &mut self.ended
            && ended.as_mut().poll(context).is_pending()
        {
            let next = self.stream.as_mut().poll_next(context);
            if !matches!(next, Poll::Ready(None)) {
                return next;
            }
            self.last = None;
        }
        self.ended = None;
        Poll::Ready(self.last.take().map(|last| *last))
    }
}

impl<T> fmt::Debug for LiveSession<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveSession").field("session", &self.session).finish_non_exhaustive()
    }
}

impl<S: Stream> fmt::Debug for UntilEnded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UntilEnded").field("ended", &self.ended.is_none()).finish_non_exhaustive()
    }
}
