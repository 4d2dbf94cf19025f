//! The state that clones of a store share, and how a call runs.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{Key, Namespace, Owner, Result};
use tokio::time::sleep;

use crate::cleaner::Cleaner;
use crate::connections::Pool;
use crate::dialect::{Dialect, in_time, lock};
use crate::failure::{Kind, Outcome};
use crate::row::random_number;
use crate::settings::Settings;
use crate::statements::Statements;

/// The state that clones of a store share.
pub(crate) struct Core<D: Dialect> {
    pub(crate) namespace: Namespace,
    pub(crate) read: Arc<Pool<D>>,
    /// The pool `read`, or the one connection that may write.
    pub(crate) write: Arc<Pool<D>>,
    pub(crate) sql: Arc<Statements>,
    pub(crate) settings: Settings,
    /// Runs as long as the store.
    pub(crate) cleaner: Option<Cleaner>,
}

/// How many times a call is tried if other calls conflict with it.
const MAX_TRIES: u32 = 10;

/// By how much `clear` and `count` may take longer than other calls.
const LONG_TIMEOUTS: u32 = 30;

impl<D: Dialect> Core<D> {
    /// Runs a call within the time limit, and retries it if another call conflicts with it.
    ///
    /// A call that is repeatable, such as a read, is also retried on another connection if its own
    /// turns out to be dead.
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
                        // After a random pause, or the same calls conflict again.
                        let millis = random_number()?.cast_unsigned() % (4 << number.min(5));
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

    /// The time limit of calls whose cost grows with the table.
    pub(crate) fn long(&self) -> Duration {
        self.settings.timeout * LONG_TIMEOUTS
    }

    pub(crate) fn owner_lock(&self, owner: &Owner) -> u64 {
        // With the table's name, because locks may belong to the whole database.
        lock(&Key::of(format!("{}\0{owner}", self.sql.table))) % D::LOCKS
    }

    /// Reports expired entries that a call has removed, rather than the cleaner.
    pub(crate) fn report_expired<'a>(&self, keys: impl IntoIterator<Item = &'a Key>) {
        if let Some(callback) = self.cleaner.as_ref().and_then(|cleaner| cleaner.callback.get()) {
            keys.into_iter().for_each(|key| callback(key));
        }
    }
}
