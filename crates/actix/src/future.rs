//! The future of the middleware.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, RETRY_AFTER};
use actix_web::{Error, HttpMessage, HttpResponse};
use bytes::Bytes;
use kvolt_middleware::SessionLayer;
use kvolt_middleware::adapter::{PendingResponse, RequestSession, StoreWait};
use pin_project_lite::pin_project;

use crate::error::{CompletedError, Marked};
use crate::extract::Stops;
use crate::head::{self, Fields, Head};

pin_project! {
    /// The response of a [`SessionService`](crate::middleware::SessionService).
    pub struct ResponseFuture<S, T>
    where
        S: Service<ServiceRequest>,
    {
        #[pin]
        pub(crate) state: State<S, T>,
    }
}

pin_project! {
    #[project = StateProjection]
    pub(crate) enum State<S, T>
    where
        S: Service<ServiceRequest>,
    {
        /// Boxed, so that the future of a request whose store answers at once stays small.
        Waiting { waiting: Option<Box<Waiting<S, T>>> },
        /// The request has passed.
        Inner {
            #[pin]
            future: S::Future,
            pending: PendingResponse<T>,
            // If the client has a session that handlers don't get.
            stops: Option<Stops<T>>,
        },
        /// The layer has answered itself.
        Answered { response: Option<ServiceResponse> },
    }
}

/// A request that waits for the store.
pub(crate) struct Waiting<S, T> {
    pub(crate) wait: StoreWait<T>,
    pub(crate) inner: Rc<S>,
    pub(crate) layer: Arc<SessionLayer<T>>,
    pub(crate) request: ServiceRequest,
}

impl<S: Service<ServiceRequest>, T: Send + Sync + 'static> State<S, T> {
    /// Calls the inner service.
    pub(crate) fn passed(inner: &S, session: RequestSession<T>, request: ServiceRequest) -> Self {
        let stops = {
            let mut extensions = request.extensions_mut();
            extensions.insert(session.clone());
            session.is_withheld().then(|| Stops::of(&mut extensions))
        };
        let pending = PendingResponse::new(session);
        Self::Inner { future: inner.call(request), pending, stops }
    }
}

impl<S, T, B> Future for ResponseFuture<S, T>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
    T: Send + Sync + 'static,
{
    type Output = Result<ServiceResponse<EitherBody<B>>, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Waiting { waiting } => {
                    let wait = &mut waiting.as_mut().expect("it waits until it passes").wait;
                    let decision = ready!(wait.as_mut().poll(context));
                    let waited = waiting.take().expect("it waits until it passes");
                    let Waiting { inner, layer, request, .. } = *waited;
                    let next = match decision {
                        Ok(session) => State::passed(&*inner, session, request),
                        Err(denied) => {
                            let answer = layer.answer(denied, &Head(request.request()));
                            let response = request.into_response(head::response(&answer));
                            State::Answered { response: Some(response) }
                        }
                    };
                    this.state.set(next);
                }
                StateProjection::Inner { future, pending, stops } => {
                    let polled = future.poll(context);
                    let stopped = stops.as_ref().and_then(|stops| stops.take(context));
                    if let Some((request, error)) = stopped {
                        let mut response = head::response(&pending.error_response(&error));
                        pending.finish(&mut Fields(response.headers_mut()));
                        let response = Some(ServiceResponse::new(request, response));
                        // Drops the handler.
                        this.state.set(State::Answered { response });
                        continue;
                    }
                    return Poll::Ready(match ready!(polled) {
                        Ok(response) => Ok(completed(response, pending)),
                        Err(error) => Err(completed_error(error, pending)),
                    });
                }
                StateProjection::Answered { response } => {
                    let response = response.take().expect("polled after it had completed");
                    return Poll::Ready(Ok(response.map_into_right_body()));
                }
            }
        }
    }
}

/// Completes the response of a handler.
fn completed<T: Send + Sync + 'static, B>(
    mut response: ServiceResponse<B>,
    pending: &mut PendingResponse<T>,
) -> ServiceResponse<EitherBody<B>> {
    let answer = reformat(response.response_mut(), pending);
    pending.finish(&mut Fields(response.headers_mut()));
    match answer {
        None => response.map_into_left_body(),
        Some(answer) => response.map_body(|_, _| EitherBody::right(BoxBody::new(answer))),
    }
}

/// Completes the response of an error that an inner middleware has returned in place of one.
#[cold]
fn completed_error<T: Send + Sync + 'static>(
    error: Error,
    pending: &mut PendingResponse<T>,
) -> Error {
    let mut response = error.error_response();
    let answer = reformat(&mut response, pending);
    pending.finish(&mut Fields(response.headers_mut()));
    let response = match answer {
        None => response,
        Some(answer) => response.set_body(BoxBody::new(answer)),
    };
    CompletedError::new(error, response).into()
}

/// Gives the response of an error the form that the request asks for, if that is not text, and
/// returns its body.
fn reformat<T: Send + Sync + 'static, B>(
    response: &mut HttpResponse<B>,
    pending: &PendingResponse<T>,
) -> Option<Bytes> {
    if response.status().is_success() {
        return None;
    }
    let marked = response.extensions_mut().remove::<Marked>()?;
    let (head, body) = pending.reformatted(&marked.0)?.into_parts();
    *response.status_mut() = head::status(head.status);
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    // A middleware within this one may have compressed the text.
    headers.remove(CONTENT_ENCODING);
    headers.remove(RETRY_AFTER);
    for (name, value) in &head.headers {
        head::replace(headers, name, value);
    }
    Some(body)
}

impl<S: Service<ServiceRequest>, T> fmt::Debug for ResponseFuture<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
