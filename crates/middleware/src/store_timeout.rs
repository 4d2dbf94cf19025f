//! A limit on how long a store may take.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use kvolt_session::{Error, Result};
use pin_project_lite::pin_project;
use tokio::time::Sleep;

/// Fails as unavailable when an operation takes longer than `limit`.
///
/// The timer exists only once the operation waits: a store that answers at once needs none.
pub(crate) fn bounded<F: Future>(limit: Duration, operation: F) -> Bounded<F> {
    Bounded { operation, limit, timer: None }
}

pin_project! {
    /// The future of [`bounded`]. Written by hand: an `async fn` would keep `operation` twice, as its
    /// argument and pinned.
    pub(crate) struct Bounded<F> {
        #[pin]
        operation: F,
        limit: Duration,
        #[pin]
        timer: Option<Sleep>,
    }
}

impl<R, F: Future<Output = Result<R>>> Future for Bounded<F> {
    type Output = Result<R>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<R>> {
        let mut this = self.project();
        if let Poll::Ready(result) = this.operation.poll(context) {
            return Poll::Ready(result);
        }
        if this.timer.is_none() {
            this.timer.set(Some(tokio::time::sleep(*this.limit)));
        }
        let timer = this.timer.as_mut().as_pin_mut().expect("it was set above");
        timer.poll(context).map(|()| Err(Error::timed_out(*this.limit)))
    }
}
