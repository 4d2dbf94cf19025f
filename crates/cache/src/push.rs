use std::future::Future;
use std::time::Duration;

use crate::{Error, Key, Timestamp};

/// A store that tells what was changed in it, for those who keep copies of its entries.
pub trait Push: Send + Sync + 'static {
    /// Tells `listener` of every change, and at least every `interval` that it is
    /// still being told, until it can't; the error says why.
    ///
    /// Whoever listens starts it again. Nothing may be said to have been heard
    /// that this call, from its beginning, would not have told.
    ///
    /// An entry is changed when it is replaced, renamed (both keys), removed,
    /// made, or ends early, by whomever. A deadline that moved, or that was
    /// reached, need not be told.
    ///
    /// # Cancellation
    ///
    /// Dropping the future ends the listening.
    fn watch(
        &self,
        interval: Duration,
        listener: &dyn Listener,
    ) -> impl Future<Output = Error> + Send;
}

/// Whoever is told what was changed in a store.
pub trait Listener: Send + Sync {
    /// The entry under `key` was changed, or may have been.
    fn changed(&self, key: &Key);

    /// Any entry may have been changed.
    fn all_changed(&self);

    /// Now, by the listener's clock: to be asked before the store is, for [`heard`](Self::heard).
    fn now(&self) -> Timestamp;

    /// Every change that was done before `asked` has been told.
    ///
    /// `store_time` is the store's clock, read at `asked` or later.
    fn heard(&self, asked: Timestamp, store_time: Timestamp);
}
