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
use crate::service::Found;
use crate::slot::Slot;

/// A store's answer under way. Boxed: it exists only where there is I/O to wait for.
pub(crate) type Ask<T> = Pin<Box<dyn Future<Output = Found<T>> + Send>>;

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
        /// The store has been asked and has not answered. Boxed, so that the future of a request
        /// whose store answers at once stays small.
        Asking { asking: Box<Asking<S, T, B>> },
        /// The request has gone on.
        Inner { #[pin] future: S::Future, slot: Arc<Slot<T>> },
        /// The layer has answered itself.
        Answered { response: Option<Box<Response<Bytes>>> },
    }
}

/// The question, and the request that waits for the answer.
struct Asking<S, T, B> {
    ask: Ask<T>,
    waiting: Option<Waiting<S, T, B>>,
}

struct Waiting<S, T, B> {
    inner: S,
    layer: Arc<SessionLayer<T>>,
    request: Request<B>,
}

impl<S, T, B> ResponseFuture<S, T, B>
where
    S: Service<Request<B>>,
{
    pub(crate) fn asking(
        ask: Ask<T>,
        inner: S,
        layer: Arc<SessionLayer<T>>,
        request: Request<B>,
    ) -> Self {
        let waiting = Some(Waiting { inner, layer, request });
        Self { state: State::Asking { asking: Box::new(Asking { ask, waiting }) } }
    }

    pub(crate) fn inner(future: S::Future, slot: Arc<Slot<T>>) -> Self {
        Self { state: State::Inner { future, slot } }
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
                StateProjection::Asking { asking } => {
                    let found = ready!(asking.ask.as_mut().poll(context));
                    let waiting = asking.waiting.take().expect("the store answers once");
                    let Waiting { mut inner, layer, mut request } = waiting;
                    let next = match layer.answer(found, &request) {
                        Ok(slot) => {
                            request.extensions_mut().insert(Arc::clone(&slot));
                            State::Inner { future: inner.call(request), slot }
                        }
                        Err(response) => State::Answered { response: Some(response) },
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
            State::Asking { .. } => "ResponseFuture::Asking",
            State::Inner { .. } => "ResponseFuture::Inner",
            State::Answered { .. } => "ResponseFuture::Answered",
        })
    }
}
