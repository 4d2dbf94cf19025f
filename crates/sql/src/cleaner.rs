//! Deleting expired rows, and reporting them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kvolt_cache::OnExpired;
use tokio::task::{AbortHandle, yield_now};
use tokio::time::sleep;

use crate::connections::Pool;
use crate::dialect::{Argument, Dialect, in_time};
use crate::row::{Removed, random_number};
use crate::settings::Settings;
use crate::statements::Statements;

/// A task that deletes expired rows, until it is dropped.
///
/// Cleaning only makes the table smaller: to every other statement, an expired row is absent. Each
/// batch is a transaction of its own, so that no lock is held for long. Rows that other processes
/// have locked remain for the next time.
pub(crate) struct Cleaner {
    task: AbortHandle,
    pub(crate) callback: Arc<OnceLock<OnExpired>>,
}

impl Cleaner {
    /// Starts the task, if there is an interval.
    pub(crate) fn start<D: Dialect>(
        read: &Arc<Pool<D>>,
        write: &Arc<Pool<D>>,
        sql: &Arc<Statements>,
        settings: Settings,
    ) -> Option<Self> {
        let interval = settings.clean_every?;
        let (read, write, sql) = (Arc::clone(read), Arc::clone(write), Arc::clone(sql));
        let callback = Arc::<OnceLock<OnExpired>>::default();
        let reports_to = Arc::clone(&callback);
        let task = tokio::spawn(async move {
            loop {
                sleep(jittered(interval)).await;
                read.trim();
                write.trim();
                while let Some(removed) = clean(&write, &sql, &settings).await {
                    if let Some(callback) = reports_to.get() {
                        removed.iter().for_each(|row| callback(&row.key));
                    }
                    if removed.len() < settings.max_cleaned_rows as usize {
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

/// Deletes some expired rows, and returns them once the deletion is committed.
async fn clean<D: Dialect>(
    pool: &Pool<D>,
    sql: &Statements,
    settings: &Settings,
) -> Option<Vec<Removed>> {
    let arguments = [Argument::from(i64::from(settings.max_cleaned_rows))];
    let removing = pool.remove(sql, &sql.clean, &arguments, None);
    let removed = in_time::<D, _>(settings.timeout, removing).await;
    removed
        .inspect_err(
            |failure| tracing::warn!(error = %failure.error, "expired rows were not deleted"),
        )
        .ok()
}

/// A random duration between half and one and a half of the interval.
fn jittered(interval: Duration) -> Duration {
    let drawn = random_number().map_or(500, |number| number.cast_unsigned() % 1_000);
    (interval / 2).saturating_add(interval / 1_000 * u32::try_from(drawn).unwrap_or(500))
}
