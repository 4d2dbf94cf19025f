//! What the clones of a store share, and how a call runs.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{Key, Namespace, Owner, Result};
use tokio::time::sleep;

use crate::cleaner::Cleaner;
use crate::connections::Pool;
use crate::dialect::{Dialect, in_time, lock};
use crate::failure::{Kind, Outcome};
use crate::row::fresh_number;
use crate::settings::Settings;
use crate::statements::Statements;

/// What the clones of a store share.
pub(crate) struct Core<D: Dialect> {
    pub(crate) namespace: Namespace,
    pub(crate) read: Arc<Pool<D>>,
    /// The same, or the one connection that may write.
    pub(crate) write: Arc<Pool<D>>,
    pub(crate) sql: Arc<Statements>,
    pub(crate) settings: Settings,
    /// Ends with the store.
    pub(crate) cleaner: Option<Cleaner>,
}

/// How often a call is tried again that others got in the way of.
const MAX_TRIES: u32 = 10;

/// How much longer than any other call `clear` and `count` may take.
const LONG_TIMEOUTS: u32 = 30;

impl<D: Dialect> Core<D> {
    /// Runs a call within the time limit, again where others got in its way.
    ///
    /// A call that can be done twice, such as one that only reads, is also tried again on another
    /// connection where the one it had turned out to be dead.
    pub(crate) async fn call<T, F>(&self, repeatable: bool, step: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Outcome<T>>,
    {
        self.call_within(self.settings.timeout, repeatable, step).await
    }

    pub(crate) async fn call_within<T, F>(
        &self,
        limit: Duration,
        repeatable: bool,
        step: impl Fn() -> F,
    ) -> Result<T>
    where
        F: Future<Output = Outcome<T>>,
    {
        let tries = async {
            for number in 1.. {
                match step().await {
                    Err(failure) if number < MAX_TRIES && failure.kind == Kind::Again => {
                        // After a random pause, or they meet again.
                        let millis = fresh_number()?.cast_unsigned() % (4 << number.min(5));
                        sleep(Duration::from_millis(millis)).await;
                    }
                    Err(failure) if number < 3 && repeatable && failure.kind == Kind::Lost => {}
                    outcome => return outcome,
                }
            }
            unreachable!("the last try returns")
        };
        in_time::<D, _>(limit, tries).await.map_err(|failure| failure.error)
    }

    /// How long a call may take whose cost grows with all that the table holds.
    pub(crate) fn long(&self) -> Duration {
        self.settings.timeout * LONG_TIMEOUTS
    }

    pub(crate) fn owner_lock(&self, owner: &Owner) -> u64 {
        // The table is part of it, because a lock may be one of the whole database.
        lock(&Key::of(format!("{}\0{owner}", self.sql.table))) % D::LOCKS
    }

    /// Reports entries that have expired and were removed by a call, and not by the cleaner.
    pub(crate) fn report_expired<'a>(&self, keys: impl IntoIterator<Item = &'a Key>) {
        if let Some(callback) = self.cleaner.as_ref().and_then(|cleaner| cleaner.callback.get()) {
            keys.into_iter().for_each(|key| callback(key));
        }
    }
}
