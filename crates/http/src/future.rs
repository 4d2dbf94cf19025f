use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::admit::Found;
use crate::shared::{Shared, Unfinished};
use crate::{Handle, SessionLayer};

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
    step: Step<T>,
    inner: S,
    layer: Arc<SessionLayer<T>>,
    request: Request<B>,
}

/// What is waited for.
pub(crate) enum Step<T> {
    /// The request's session.
    Ask(Pin<Box<dyn Future<Output = Found<T>> + Send>>),
    /// A new token for the session of a request that may pass.
    Rotate(Pin<Box<dyn Future<Output = Shared<T>> + Send>>),
}

/// Changes the token of a session. The request goes on with the old one if that fails.
pub(crate) async fn rotated<T: Send + Sync + 'static>(slot: Shared<T>) -> Shared<T> {
    if let Some(session) = Handle::behind(slot.clone()).into_session() {
        slot.sessions().note_rotation(&session.rotate_read().await);
    }
    slot
}

impl<S, T, B> ResponseFuture<S, T, B>
where
    S: Service<Request<B>>,
    T: Send + Sync + 'static,
{
    pub(crate) fn waiting(
        step: Step<T>,
        inner: S,
        layer: Arc<SessionLayer<T>>,
        request: Request<B>,
    ) -> Self {
        let waiting = Some(Box::new(Waiting { step, inner, layer, request }));
        Self { state: State::Waiting { waiting } }
    }

    /// Lets a request go on that may pass.
    pub(crate) fn inner(inner: &mut S, slot: Shared<T>, request: Request<B>) -> Self {
        Self { state: State::inner(inner, slot, request) }
    }

    pub(crate) fn answered(response: Box<Response<Bytes>>) -> Self {
        Self { state: State::Answered { response: Some(response) } }
    }
}

impl<S, T, B> State<S, T, B>
where
    S: Service<Request<B>>,
    T: Send + Sync + 'static,
{
    #[inline]
    fn inner(inner: &mut S, slot: Shared<T>, mut request: Request<B>) -> Self {
        request.extensions_mut().insert(slot.clone());
        Self::Inner { future: inner.call(request), slot: Unfinished::new(slot) }
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
                StateProjection::Waiting { waiting: this_waiting } => {
                    let waiting = this_waiting.as_mut().expect("it waits until it goes on");
                    let admitted = match &mut waiting.step {
                        Step::Ask(ask) => {
                            let found = ready!(ask.as_mut().poll(context));
                            match waiting.layer.admit_found(found, &waiting.request) {
                                Ok(slot) if slot.is_rotation_due() => {
                                    waiting.step = Step::Rotate(Box::pin(rotated(slot)));
                                    continue;
                                }
                                admitted => admitted,
                            }
                        }
                        Step::Rotate(rotate) => Ok(ready!(rotate.as_mut().poll(context))),
                    };
                    let next = match (admitted, this_waiting.take().map(|waiting| *waiting)) {
                        (Ok(slot), Some(Waiting { mut inner, request, .. })) => {
                            State::inner(&mut inner, slot, request)
                        }
                        (admitted, _) => State::Answered { response: admitted.err() },
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
