//! A limit on how long a store may take.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use kvolt_session::{Error, Result};

pin_project! {
    /// A session operation that fails as unavailable when it takes too long.
    ///
    /// The timer exists only once the operation has to wait, so a store that
    /// answers at once needs none.
    pub(crate) struct Bounded<F> {
        #[pin]
        operation: F,
        #[pin]
        timer: Option<Sleep>,
        limit: Duration,
    }
}

pub(crate) fn bounded<F, R>(limit: Duration, operation: F) -> Bounded<F>
where
    F: Future<Output = Result<R>>,
{
    Bounded { operation, timer: None, limit }
}

impl<F, R> Future for Bounded<F>
where
    F: Future<Output = Result<R>>,
{
    type Output = Result<R>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<R>> {
        let mut this = self.project();
        if let Poll::Ready(result) = this.operation.poll(context) {
            return Poll::Ready(result);
        }
        if this.timer.is_none() {
            this.timer.set(Some(sleep(*this.limit)));
        }
        match this.timer.as_pin_mut().map(|timer| timer.poll(context)) {
            Some(Poll::Ready(())) => Poll::Ready(Err(Error::timed_out(*this.limit))),
            _ => Poll::Pending,
        }
    }
}
