use std::future::Future;
use std::time::Duration;

use crate::{Error, Key, Timestamp};

/// A store that pushes its changes to an observer, for a near cache that keeps copies of its
/// entries.
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::{ChangeFeed, ChangeObserver, Error};
///
/// struct Replica;
///
/// impl ChangeFeed for Replica {
///     async fn run(&self, _interval: Duration, observer: &dyn ChangeObserver) -> Error {
///         // The connection has just been opened, so any change may have been missed:
///         observer.all_changed();
///         Error::unavailable("the connection was closed")
///     }
/// }
/// # let _ = Replica;
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not push its changes, so it can't have a near cache",
    label = "has no `ChangeFeed`",
    note = "a near cache stands in front of a remote store, such as `RedisStore`, \
            `PostgresStore` or `SqliteStore`; a `MemoryStore` needs none"
)]
pub trait ChangeFeed: Send + Sync + 'static {
    /// Notifies `observer` of every change, until it fails. Returns the reason.
    ///
    /// At least every `interval` it calls [`confirmed`](ChangeObserver::confirmed), which must not
    /// cover a change from before this call began. The caller runs it again after an error.
    ///
    /// An entry is changed when any process replaces, removes, inserts or evicts it. A deadline
    /// that has moved or passed is not a change.
    ///
    /// # The same server
    ///
    /// The notifications must come from the server that answers the store's reads. A store that
    /// opens a connection of its own for them must compare the identity of both servers whenever it
    /// has opened either connection: the `run_id` on Redis, the start time and the timeline on
    /// PostgreSQL. If they differ, it must return an error before it calls `confirmed` again. One
    /// host name, or one proxy, can lead to two servers during a failover. The observer can't
    /// detect that: both servers answer, and copies of removed entries would stay in use.
    ///
    /// # Cancellation
    ///
    /// Dropping the future ends the notifications.
    fn run(
        &self,
        interval: Duration,
        observer: &dyn ChangeObserver,
    ) -> impl Future<Output = Error> + Send;
}

/// The receiver of a store's changes: see [`ChangeFeed::run`].
///
/// ```
/// use kvolt_cache::{ChangeObserver, Clock, Key, Timestamp};
///
/// struct Printer(Clock);
///
/// impl ChangeObserver for Printer {
///     fn changed(&self, key: &Key) {
///         println!("{key} was changed");
///     }
///     fn all_changed(&self) {
///         println!("any entry may have been changed");
///     }
///     fn now(&self) -> Timestamp {
///         self.0.now()
///     }
///     fn confirmed(&self, asked: Timestamp, _store_time: Timestamp) {
///         println!("every change from before {asked:?} was received");
///     }
/// }
///
/// let printer: &dyn ChangeObserver = &Printer(Clock::system());
/// printer.changed(&Key::of("greeting"));
/// ```
pub trait ChangeObserver: Send + Sync {
    /// The entry under `key` was changed, or may have been.
    fn changed(&self, key: &Key);

    /// Any entry may have been changed.
    fn all_changed(&self);

    /// The time by the observer's clock. A feed reads it before it sends a question to the store,
    /// for [`confirmed`](Self::confirmed).
    fn now(&self) -> Timestamp;

    /// The observer was notified of every change from before `asked`.
    ///
    /// `store_time` is the time by the store's clock, read at `asked` or later.
    fn confirmed(&self, asked: Timestamp, store_time: Timestamp);
}
