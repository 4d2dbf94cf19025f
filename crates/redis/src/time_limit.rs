//! Time limits.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::timeout;

use crate::errors::Fault;

/// Runs `work`; an error if the server does not reply within the limit.
pub(crate) async fn in_time<T, E: From<Fault>>(
    limit: Duration,
    server: impl Display,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    timeout(limit, work).await.unwrap_or_else(|_| {
        Err(Fault::unavailable(format!("{server} did not reply within {limit:?}")).into())
    })
}
