//! Deleting what has ended, and telling of it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kvolt_cache::{Key, OnExpired};
use tokio::task::{AbortHandle, yield_now};
use tokio::time::{sleep, timeout};

use crate::dialect::{Argument, Dialect};
use crate::failure::Outcome;
use crate::pool::Pool;
use crate::remove::remove_rows;
use crate::row::{self, fresh_number};
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
pub(crate) struct Cleaner {
    task: AbortHandle,
    told: Arc<OnceLock<OnExpired>>,
}

impl Cleaner {
    pub(crate) fn start<D: Dialect>(
        read: Arc<Pool<D>>,
        write: Arc<Pool<D>>,
        sql: &Arc<Statements>,
        cleaning: Cleaning,
        limit: Duration,
    ) -> Self {
        let sql = Arc::clone(sql);
        let told = Arc::new(OnceLock::new());
        let telling = Arc::clone(&told);
        let task = tokio::spawn(async move {
            let Some(interval) = cleaning.interval else { return };
            loop {
                sleep(jittered(interval)).await;
                read.trim();
                write.trim();
                let rows_max = cleaning.rows_max;
                loop {
                    let batch = async {
                        match telling.get() {
                            Some(told) => batch_telling(&write, &sql, rows_max, limit, told).await,
                            None => batch(&write, &sql, rows_max).await,
                        }
                    };
                    let Ok(deleted) = timeout(limit, batch).await else { break };
                    match deleted {
                        Ok(deleted) if deleted >= u64::from(rows_max) => yield_now().await,
                        Ok(_) => break,
                        Err(failure) => {
                            tracing::warn!(error = %failure.error, "what has ended was not deleted");
                            break;
                        }
                    }
                }
            }
        });
        Self { task: task.abort_handle(), told }
    }

    /// From now on tells the keys of the entries that it deletes; `false` if somebody is told already.
    pub(crate) fn tell(&self, told: OnExpired) -> bool {
        self.told.set(told).is_ok()
    }
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Deletes a batch, and says how many rows that were.
async fn batch<D: Dialect>(pool: &Pool<D>, sql: &Statements, rows_max: u32) -> Outcome<u64> {
    let mut lease = pool.lease().await?;
    lease.execute(&sql.clean, &[Argument::from(i64::from(rows_max))]).await
}

/// The same, and tells which of them were entries, once they are surely gone.
async fn batch_telling<D: Dialect>(
    pool: &Pool<D>,
    sql: &Statements,
    rows_max: u32,
    limit: Duration,
    told: &OnExpired,
) -> Outcome<u64> {
    let mut lease = pool.lease().await?;
    let finds = D::FIND_ENDED.is_some();
    if finds {
        lease.begin(&sql.table, Vec::new(), limit).await?;
    }
    let rows = lease.fetch(&sql.clean_telling, &[Argument::from(i64::from(rows_max))]).await?;
    let keys: Vec<Key> = rows.iter().map(row::key::<D>).collect::<kvolt_cache::Result<_>>()?;
    if finds {
        remove_rows(&mut lease, sql, &keys).await?;
        lease.commit().await?;
    }
    for (key, row) in keys.iter().zip(&rows) {
        // A former key is none, and was told of with its entry if that has ended.
        if matches!(D::bytes(row, 1), Ok(None)) {
            told(key);
        }
    }
    Ok(rows.len() as u64)
}

/// Between half of it and one and a half.
fn jittered(interval: Duration) -> Duration {
    let drawn = fresh_number().map_or(500, |number| number.cast_unsigned() % 1_000);
    interval.mul_f64(0.5 + drawn as f64 / 1_000.0)
}
