use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::SessionLayer;
use crate::admit::{Admission, Wait};
use crate::shared::{Shared, Unfinished};

pin_project! {
    /// The response of a [`SessionService`](crate::SessionService).
    pub struct ResponseFuture<S, T, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, T, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, T, B>
    where
        S: Service<Request<B>>,
    {
        /// Boxed, so that the future of a request whose store answers at once stays small.
        Waiting { waiting: Option<Box<Waiting<S, T, B>>> },
        /// The request has gone on.
        Inner { #[pin] future: S::Future, slot: Unfinished<T> },
        /// The layer has answered itself.
        Answered { response: Option<Box<Response<Bytes>>> },
    }
}

/// A request that waits for the store.
struct Waiting<S, T, B> {
    wait: Wait<T>,
    inner: S,
    layer: Arc<SessionLayer<T>>,
    request: Request<B>,
}

impl<S, T, B> ResponseFuture<S, T, B>
where
    S: Service<Request<B>>,
{
    pub(crate) fn waiting(
        wait: Wait<T>,
        inner: S,
        layer: Arc<SessionLayer<T>>,
        request: Request<B>,
    ) -> Self {
        let waiting = Some(Box::new(Waiting { wait, inner, layer, request }));
        Self { state: State::Waiting { waiting } }
    }

    #[inline]
    pub(crate) fn inner(future: S::Future, slot: Shared<T>) -> Self {
        Self { state: State::Inner { future, slot: Unfinished::new(slot) } }
    }

    pub(crate) fn answered(response: Box<Response<Bytes>>) -> Self {
        Self { state: State::Answered { response: Some(response) } }
    }
}

impl<S, T, B, ResponseBody> Future for ResponseFuture<S, T, B>
where
    S: Service<Request<B>, Response = Response<ResponseBody>>,
    ResponseBody: From<Bytes>,
    T: Send + Sync + 'static,
{
    type Output = Result<Response<ResponseBody>, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Waiting { waiting } => {
                    let mut gone_on = waiting.take().expect("it waits until it goes on");
                    let Poll::Ready(found) = gone_on.wait.as_mut().poll(context) else {
                        *waiting = Some(gone_on);
                        return Poll::Pending;
                    };
                    let next = match gone_on.layer.resume(found, &gone_on.request) {
                        Admission::Pass(slot) => {
                            let Waiting { mut inner, mut request, .. } = *gone_on;
                            request.extensions_mut().insert(slot.clone());
                            let future = inner.call(request);
                            State::Inner { future, slot: Unfinished::new(slot) }
                        }
                        Admission::Answer(response) => State::Answered { response: Some(response) },
                        Admission::Wait(wait) => {
                            gone_on.wait = wait;
                            State::Waiting { waiting: Some(gone_on) }
                        }
                    };
                    this.state.set(next);
                }
                StateProjection::Inner { future, slot } => {
                    let mut response = ready!(future.poll(context))?;
                    slot.finish(response.headers_mut());
                    return Poll::Ready(Ok(response));
                }
                StateProjection::Answered { response } => {
                    let response = response.take().expect("polled after it had completed");
                    return Poll::Ready(Ok(response.map(ResponseBody::from)));
                }
            }
        }
    }
}

impl<S, T, B> fmt::Debug for ResponseFuture<S, T, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Waiting { .. } => "ResponseFuture::Waiting",
            State::Inner { .. } => "ResponseFuture::Inner",
            State::Answered { .. } => "ResponseFuture::Answered",
        })
    }
}
