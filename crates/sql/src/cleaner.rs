//! Deleting expired rows, and reporting them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kvolt_cache::{Key, OnExpired};
use tokio::task::{AbortHandle, yield_now};
use tokio::time::{sleep, timeout};

use crate::connections::Pool;
use crate::dialect::{Argument, Dialect};
use crate::row::{Removed, fresh_number};
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
    pub(crate) callback: Callback,
}

/// What the keys of expired entries are reported to.
#[derive(Clone, Default)]
pub(crate) struct Callback(Arc<OnceLock<OnExpired>>);

impl Callback {
    /// `false` if there is one already.
    pub(crate) fn set(&self, callback: OnExpired) -> bool {
        self.0.set(callback).is_ok()
    }

    pub(crate) fn report<'a>(&self, keys: impl IntoIterator<Item = &'a Key>) {
        if let Some(callback) = self.0.get() {
            keys.into_iter().for_each(|key| callback(key));
        }
    }
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
        let callback = Callback::default();
        let reporting = callback.clone();
        let task = tokio::spawn(async move {
            loop {
                sleep(jittered(interval)).await;
                read.trim();
                write.trim();
                while let Some(removed) = clean(&write, &sql, cleaning.max_rows, limit).await {
                    reporting.report(removed.iter().map(|row| &row.key));
                    if removed.len() < cleaning.max_rows as usize {
                        break;
                    }
                    yield_now().await;
                }
            }
        });
        Some(Self { task: task.abort_handle(), callback })
    }
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Deletes some expired rows, and returns them once they are surely gone.
async fn clean<D: Dialect>(
    pool: &Pool<D>,
    sql: &Statements,
    max_rows: u32,
    limit: Duration,
) -> Option<Vec<Removed>> {
    let arguments = [Argument::from(i64::from(max_rows))];
    let removed = timeout(limit, pool.remove(sql, &sql.clean, &arguments, None)).await.ok()?;
    if let Err(failure) = &removed {
        tracing::warn!(error = %failure.error, "expired rows were not deleted");
    }
    removed.ok()
}

/// Between half of it and one and a half.
fn jittered(interval: Duration) -> Duration {
    let drawn = fresh_number().map_or(500, |number| number.cast_unsigned() % 1_000);
    (interval / 2).saturating_add(interval / 1_000 * u32::try_from(drawn).unwrap_or(500))
}
