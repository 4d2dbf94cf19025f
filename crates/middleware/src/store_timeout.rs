//! A limit on how long a store may take.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use kvolt_session::{Error, Result};

/// Fails as unavailable when an operation takes longer than `limit`.
///
/// The timer exists only once the operation waits: a store that answers at once needs none.
pub(crate) async fn bounded<R>(
    limit: Duration,
    operation: impl Future<Output = Result<R>>,
) -> Result<R> {
    let mut operation = pin!(operation);
    let first = poll_fn(|context| Poll::Ready(operation.as_mut().poll(context))).await;
    if let Poll::Ready(result) = first {
        return result;
    }
    let limited = tokio::time::timeout(limit, operation).await;
    limited.unwrap_or_else(|_| Err(Error::timed_out(limit)))
}
