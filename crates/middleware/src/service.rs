use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use tower_service::Service;

use crate::admit::Admission;
use crate::{ResponseFuture, SessionLayer};

/// The service of a [`SessionLayer`].
pub struct SessionService<S, T> {
    inner: S,
    layer: Arc<SessionLayer<T>>,
}

impl<S, T> SessionService<S, T> {
    pub(crate) fn new(inner: S, layer: SessionLayer<T>) -> Self {
        Self { inner, layer: Arc::new(layer) }
    }
}

impl<S, T, RequestBody, ResponseBody> Service<Request<RequestBody>> for SessionService<S, T>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>> + Clone,
    ResponseBody: From<Bytes>,
    T: Send + Sync + 'static,
{
    type Response = Response<ResponseBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S, T, RequestBody>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> Self::Future {
        match self.layer.examine(&request) {
            Admission::Pass(slot) => {
                request.extensions_mut().insert(slot.clone());
                ResponseFuture::inner(self.inner.call(request), slot)
            }
            Admission::Answer(response) => ResponseFuture::answered(response),
            Admission::Wait(wait) => {
                // The service that was polled ready is the one to call.
                let clone = self.inner.clone();
                let inner = mem::replace(&mut self.inner, clone);
                ResponseFuture::waiting(wait, inner, Arc::clone(&self.layer), request)
            }
        }
    }
}

impl<S: Clone, T> Clone for SessionService<S, T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: Arc::clone(&self.layer) }
    }
}

impl<S: fmt::Debug, T> fmt::Debug for SessionService<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService")
            .field("inner", &self.inner)
            .field("layer", &self.layer)
            .finish()
    }
}
