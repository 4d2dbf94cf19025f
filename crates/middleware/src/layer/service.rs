//! The tower service.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum_core::BoxError;
use axum_core::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use tower_service::Service;

use super::future::{State, Waiting};
use crate::adapter::{Admission, PendingResponse, RequestSession};
use crate::{ResponseFuture, SessionLayer};

/// The service of a [`SessionLayer`].
///
/// It goes around any service whose response body is an [`http_body::Body`] of [`Bytes`]. Its own response
/// body is the one of axum, which contains any other.
///
/// ```
/// use std::convert::Infallible;
/// use http::{Request, Response};
/// use kvolt_middleware::{ResponseFuture, Sessions};
/// use tower::{Layer, Service, service_fn};
///
/// type Answer = Result<Response<String>, Infallible>;
///
/// fn serve(sessions: &Sessions<String>, request: Request<String>) {
///     let inner = service_fn(async |_: Request<String>| -> Answer { Ok(Response::default()) });
///     let mut service = sessions.layer().optional().layer(inner);
///     let future: ResponseFuture<_, String, String> = service.call(request);
/// }
/// ```
pub struct SessionService<S, T> {
    inner: S,
    layer: Arc<SessionLayer<T>>,
}

impl<S, T> SessionService<S, T> {
    pub(super) fn new(inner: S, layer: SessionLayer<T>) -> Self {
        Self { inner, layer: Arc::new(layer) }
    }
}

impl<S, T, B, ResponseBody> Service<Request<B>> for SessionService<S, T>
where
    S: Service<Request<B>, Response = Response<ResponseBody>> + Clone,
    ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    ResponseBody::Error: Into<BoxError>,
    T: Send + Sync + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = ResponseFuture<S, T, B>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let outer = request.extensions().get::<RequestSession<T>>();
        let state = match self.layer.admit(&request, outer) {
            Admission::Pass(session) => {
                request.extensions_mut().insert(session.clone());
                let pending = PendingResponse::new(session);
                State::Inner { future: self.inner.call(request), pending }
            }
            Admission::Answer(response) => State::Answered { response: Some(response) },
            Admission::Wait(wait) => {
                // The service that was polled ready is the one to call.
                let clone = self.inner.clone();
                let inner = mem::replace(&mut self.inner, clone);
                let layer = Arc::clone(&self.layer);
                let waiting = Some(Box::new(Waiting { wait, inner, layer, request }));
                State::Waiting { waiting }
            }
        };
        ResponseFuture { state }
    }
}

impl<S: Clone, T> Clone for SessionService<S, T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: Arc::clone(&self.layer) }
    }
}

impl<S: fmt::Debug, T> fmt::Debug for SessionService<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService").field("inner", &self.inner).finish_non_exhaustive()
    }
}
