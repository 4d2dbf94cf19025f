use std::future::Future;
use std::time::Duration;

use crate::{Error, Key, Timestamp};

/// A store that notifies a listener of the changes made in it, for a near cache that keeps copies
/// of its entries.
pub trait ChangeFeed: Send + Sync + 'static {
    /// Notifies `listener` of every change, and reports by [`heard`](ChangeObserver::confirmed) at least
    /// every `interval` up to when it has, until it can't; the error says why.
    ///
    /// The listener calls it again after an error. `heard` must not vouch for a change that this
    /// call, from its beginning, would not have notified.
    ///
    /// An entry is changed when it is replaced, removed, inserted or evicted, by any process. A
    /// deadline that moved, or that was reached, need not be notified.
    ///
    /// # The same server
    ///
    /// The notifications must come from the server that answers the store's reads. A store that
    /// opens a connection of its own for them must compare the identity of both servers (on Redis
    /// the `run_id`, on PostgreSQL the start of the server with its timeline) whenever it has
    /// opened either connection, and return an error if they differ, before it calls `heard`
    /// again. One host name, or one proxy, can lead to two servers during a failover. A listener
    /// can't find that out: both answer it, and the copies of removed entries would be used for as
    /// long as both do.
    ///
    /// # Cancellation
    ///
    /// Dropping the future ends the notifications.
    fn run(
        &self,
        interval: Duration,
        listener: &dyn ChangeObserver,
    ) -> impl Future<Output = Error> + Send;
}

/// What a store notifies of its changes: see [`ChangeFeed::run`].
pub trait ChangeObserver: Send + Sync {
    /// The entry under `key` was changed, or may have been.
    fn changed(&self, key: &Key);

    /// Any entry may have been changed.
    fn all_changed(&self);

    /// The time now, by the listener's clock: read before the store is asked, for
    /// [`heard`](Self::heard).
    fn now(&self) -> Timestamp;

    /// Every change that was made before `asked` has been notified.
    ///
    /// `store_time` is the store's clock, read at `asked` or later.
    fn confirmed(&self, asked: Timestamp, store_time: Timestamp);
}
