//! Deleting what has ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, yield_now};
use tokio::time::{sleep, timeout};

use crate::dialect::{Argument, Dialect};
use crate::failure::Outcome;
use crate::pool::Pool;
use crate::row::fresh_number;
use crate::statements::Statements;

/// How often, and how much at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cleaning {
    pub(crate) interval: Option<Duration>,
    pub(crate) rows_max: u32,
}

impl Default for Cleaning {
    fn default() -> Self {
        Self { interval: Some(Duration::from_secs(60)), rows_max: 1_000 }
    }
}

/// A task that deletes what has ended, until it is dropped.
///
/// Nothing depends on it but the size of the table: what has ended is absent
/// to every statement. Each batch is a transaction of its own, so that no lock
/// is held for long, and rows that others have locked are left for the next time.
#[derive(Debug)]
pub(crate) struct Cleaner(AbortHandle);

impl Cleaner {
    pub(crate) fn start<D: Dialect>(
        read: Arc<Pool<D>>,
        write: Arc<Pool<D>>,
        sql: &Arc<Statements>,
        cleaning: Cleaning,
        limit: Duration,
    ) -> Self {
        let sql = Arc::clone(sql);
        let task = tokio::spawn(async move {
            let Some(interval) = cleaning.interval else { return };
            loop {
                sleep(jittered(interval)).await;
                read.trim();
                write.trim();
                while let Ok(done) = timeout(limit, batch(&write, &sql, cleaning.rows_max)).await {
                    match done {
                        Ok(true) => yield_now().await,
                        Ok(false) => break,
                        Err(failure) => {
                            tracing::warn!(error = %failure.error, "what has ended was not deleted");
                            break;
                        }
                    }
                }
            }
        });
        Self(task.abort_handle())
    }
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Deletes a batch; whether there may be more.
async fn batch<D: Dialect>(pool: &Pool<D>, sql: &Statements, rows_max: u32) -> Outcome<bool> {
    let mut lease = pool.lease().await?;
    let deleted = lease.execute(&sql.clean, &[Argument::from(i64::from(rows_max))]).await?;
    Ok(deleted >= u64::from(rows_max))
}

/// Between half of it and one and a half.
fn jittered(interval: Duration) -> Duration {
    let drawn = fresh_number().map_or(500, |number| number.cast_unsigned() % 1_000);
    interval.mul_f64(0.5 + drawn as f64 / 1_000.0)
}
