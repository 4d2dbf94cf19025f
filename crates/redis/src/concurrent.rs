//! Calls that run at the same time.

use std::future::Future;

use kvolt_cache::{Error, Result};
use tokio::task::JoinSet;

/// Runs calls at the same time, so that they share round trips. Their outcomes are in any order.
pub(crate) async fn join_all<T, F>(calls: impl Iterator<Item = F>) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let mut tasks: JoinSet<Result<T>> = calls.collect();
    let mut outcomes = Vec::with_capacity(tasks.len());
    while let Some(outcome) = tasks.join_next().await {
        let aborted = |_| Error::unavailable("the runtime is shutting down");
        outcomes.push(outcome.map_err(aborted)??);
    }
    Ok(outcomes)
}
