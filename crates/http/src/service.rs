use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use kvolt_session::{Access, Ready};
use tower_service::Service;

use crate::admit::Admitted;
use crate::future::{Step, rotated};
use crate::lookup::Presented;
use crate::shared::Shared;
use crate::{Error, ResponseFuture, SessionLayer};

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

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let layer = &self.layer;
        let sessions = &layer.sessions;
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        let presented = sessions.inner().lookup.presented(headers, uri);
        if !sessions.admits_origin(method, uri, headers, presented.place()) {
            return ResponseFuture::answered(layer.respond(Error::cross_origin().to_response()));
        }
        let outer = request.extensions().get::<Shared<T>>();
        let access = layer.access_for(&request, outer.is_some_and(|outer| outer.is_strict()));
        if let Some(outer) = outer.filter(|outer| outer.sessions().is(sessions)) {
            let outer = outer.clone();
            return self.within(outer, access, request);
        }
        let admitted = match &presented {
            Presented::One(token, _) => match sessions.manager().get_ready(token, access) {
                Ready::Yes(result) => layer.admit(presented, result, access, None, &request),
                Ready::No(unread) => {
                    let ask = Arc::clone(layer).ask(unread, presented, access, None);
                    return self.wait(Step::Ask(Box::pin(ask)), request);
                }
            },
            Presented::Nothing => layer.admit(presented, Ok(None), access, None, &request),
            Presented::Several(..) => {
                sessions.report_ambiguous();
                layer.admit(presented, Ok(None), access, None, &request)
            }
        };
        self.go_on(admitted, request)
    }
}

impl<S, T> SessionService<S, T>
where
    T: Send + Sync + 'static,
{
    /// Goes on with what a layer of the same sessions around this one has found.
    #[cold]
    fn within<B>(
        &mut self,
        outer: Shared<T>,
        access: Access,
        request: Request<B>,
    ) -> ResponseFuture<S, T, B>
    where
        S: Service<Request<B>> + Clone,
    {
        let layer = &self.layer;
        let presented = outer.presented();
        let admitted = match (outer.read_for(access), &presented) {
            (Some(access), _) => layer.admit_within(outer, access, &request),
            (None, Presented::One(token, _)) => {
                match layer.sessions.manager().get_ready(token, access) {
                    Ready::Yes(result) => {
                        layer.admit(presented, result, access, Some(outer), &request)
                    }
                    Ready::No(unread) => {
                        let ask = Arc::clone(layer).ask(unread, presented, access, Some(outer));
                        return self.wait(Step::Ask(Box::pin(ask)), request);
                    }
                }
            }
            (None, _) => layer.admit(presented, Ok(None), access, Some(outer), &request),
        };
        self.go_on(admitted, request)
    }

    #[inline(always)]
    fn go_on<B>(&mut self, admitted: Admitted<T>, request: Request<B>) -> ResponseFuture<S, T, B>
    where
        S: Service<Request<B>> + Clone,
    {
        match admitted {
            Ok(slot) if slot.is_rotation_due() => {
                self.wait(Step::Rotate(Box::pin(rotated(slot))), request)
            }
            Ok(slot) => ResponseFuture::inner(&mut self.inner, slot, request),
            Err(response) => ResponseFuture::answered(response),
        }
    }

    fn wait<B>(&mut self, step: Step<T>, request: Request<B>) -> ResponseFuture<S, T, B>
    where
        S: Service<Request<B>> + Clone,
    {
        // The service that was polled ready is the one to call.
        let clone = self.inner.clone();
        let inner = mem::replace(&mut self.inner, clone);
        ResponseFuture::waiting(step, inner, Arc::clone(&self.layer), request)
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
