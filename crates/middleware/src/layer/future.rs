//! The future of the tower service.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum_core::BoxError;
use axum_core::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, RETRY_AFTER};
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::SessionLayer;
use crate::adapter::{PendingResponse, StoreWait};
use crate::message::{Format, Message};

pin_project! {
    /// The response of a [`SessionService`](crate::SessionService).
    pub struct ResponseFuture<S, T, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        pub(super) state: State<S, T, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    pub(super) enum State<S, T, B>
    where
        S: Service<Request<B>>,
    {
        /// Boxed, so that the future of a request whose store answers at once stays small.
        Waiting { waiting: Option<Box<Waiting<S, T, B>>> },
        /// The request has passed.
        Inner { #[pin] future: S::Future, pending: PendingResponse<T> },
        /// The layer has answered itself.
        Answered { response: Option<Box<Response<Bytes>>> },
    }
}

/// A request that waits for the store.
pub(super) struct Waiting<S, T, B> {
    pub(super) wait: StoreWait<T>,
    pub(super) inner: S,
    pub(super) layer: Arc<SessionLayer<T>>,
    pub(super) request: Request<B>,
}

impl<S, T, B, ResponseBody> Future for ResponseFuture<S, T, B>
where
    S: Service<Request<B>, Response = Response<ResponseBody>>,
    ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    ResponseBody::Error: Into<BoxError>,
    T: Send + Sync + 'static,
{
    type Output = Result<Response<Body>, S::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Waiting { waiting } => {
                    let wait = &mut waiting.as_mut().expect("it waits until it passes").wait;
                    let decision = ready!(wait.as_mut().poll(context));
                    let waited = waiting.take().expect("it waits until it passes");
                    let Waiting { mut inner, layer, mut request, .. } = *waited;
                    let next = match decision {
                        Ok(session) => {
                            request.extensions_mut().insert(session.clone());
                            let pending = PendingResponse::new(session);
                            State::Inner { future: inner.call(request), pending }
                        }
                        Err(denied) => {
                            let response = Some(layer.answer(denied, &request));
                            State::Answered { response }
                        }
                    };
                    this.state.set(next);
                }
                StateProjection::Inner { future, pending } => {
                    let mut response = ready!(future.poll(context))?.map(Body::new);
                    let message = response.extensions_mut().remove::<Message>();
                    let format = pending.format();
                    if let Some(message) = message.filter(|_| format != Format::Text) {
                        reformat(&mut response, message, format);
                    }
                    pending.finish(response.headers_mut());
                    return Poll::Ready(Ok(response));
                }
                StateProjection::Answered { response } => {
                    let response = response.take().expect("polled after it had completed");
                    return Poll::Ready(Ok(response.map(Body::from)));
                }
            }
        }
    }
}

/// Gives an error that a handler has returned as text another form.
#[cold]
fn reformat(response: &mut Response<Body>, message: Message, format: Format) {
    let (head, body) = message.response(format).into_parts();
    *response.status_mut() = head.status;
    *response.body_mut() = Body::from(body);
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    // A layer within this one may have compressed the text.
    headers.remove(CONTENT_ENCODING);
    if matches!(format, Format::Grpc(_)) {
        headers.remove(RETRY_AFTER);
    }
    headers.extend(head.headers);
}

impl<S, T, B> fmt::Debug for ResponseFuture<S, T, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
