//! Deleting expired rows, and reporting them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kvolt_cache::{Key, OnExpired};
use tokio::task::{AbortHandle, yield_now};
use tokio::time::{sleep, timeout};

use crate::connections::Pool;
use crate::dialect::{Argument, Dialect};
use crate::row::fresh_number;
use crate::statements::Statements;

/// How often, and how much at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cleaning {
    pub(crate) interval: Option<Duration>,
    pub(crate) max_rows: u32,
}

impl Default for Cleaning {
    fn default() -> Self {
        Self { interval: Some(Duration::from_secs(60)), max_rows: 1_000 }
    }
}

/// A task that deletes expired rows, until it is dropped.
///
/// Only the size of the table depends on it: an expired row is absent to every statement. Each
/// batch is a transaction of its own, so that no lock is held for long, and rows that others have
/// locked are left for the next time.
pub(crate) struct Cleaner {
    task: AbortHandle,
    callback: Arc<OnceLock<OnExpired>>,
}

impl Cleaner {
    /// Starts the task, if there is an interval.
    pub(crate) fn start<D: Dialect>(
        read: &Arc<Pool<D>>,
        write: &Arc<Pool<D>>,
        sql: &Arc<Statements>,
        cleaning: Cleaning,
        limit: Duration,
    ) -> Option<Self> {
        let interval = cleaning.interval?;
        let (read, write, sql) = (Arc::clone(read), Arc::clone(write), Arc::clone(sql));
        let callback = Arc::new(OnceLock::new());
        let reporting = Arc::clone(&callback);
        let task = tokio::spawn(async move {
            loop {
                sleep(jittered(interval)).await;
                read.trim();
                write.trim();
                clean(&write, &sql, cleaning.max_rows, limit, &reporting).await;
            }
        });
        Some(Self { task: task.abort_handle(), callback })
    }

    /// Reports the keys of expired entries from now on; `false` if there is a callback already.
    pub(crate) fn set_callback(&self, callback: OnExpired) -> bool {
        self.callback.set(callback).is_ok()
    }

    /// Reports these.
    pub(crate) fn report<'a>(&self, keys: impl IntoIterator<Item = &'a Key>) {
        if let Some(callback) = self.callback.get() {
            keys.into_iter().for_each(|key| callback(key));
        }
    }
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Deletes what has expired, and reports what is surely gone.
async fn clean<D: Dialect>(
    pool: &Pool<D>,
    sql: &Statements,
    max_rows: u32,
    limit: Duration,
    callback: &OnceLock<OnExpired>,
) {
    let arguments = [Argument::from(i64::from(max_rows))];
    loop {
        let batch = pool.remove(sql, &sql.clean, &arguments, None);
        let Ok(removed) = timeout(limit, batch).await else { return };
        match removed {
            Ok(removed) => {
                if let Some(callback) = callback.get() {
                    removed.iter().for_each(|row| callback(&row.key));
                }
                if removed.len() < max_rows as usize {
                    return;
                }
                yield_now().await;
            }
            Err(failure) => {
                tracing::warn!(error = %failure.error, "expired rows were not deleted");
                return;
            }
        }
    }
}

/// Between half of it and one and a half.
fn jittered(interval: Duration) -> Duration {
    let drawn = fresh_number().map_or(500, |number| number.cast_unsigned() % 1_000);
    (interval / 2).saturating_add(interval / 1_000 * u32::try_from(drawn).unwrap_or(500))
}
