use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use tower_service::Service;

use kvolt_session::{Session, Token};

use crate::bounded::bounded;
use crate::lookup::Place;
use crate::slot::{self, Slot};
use crate::{Error, Refused, ResponseFuture, SessionLayer};

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
        let lookup = &layer.sessions.inner().lookup;
        let found = lookup.find_with_place(request.headers(), request.uri());
        let came_by = found.as_ref().map(|(_, place)| lookup.source(*place));
        if !layer.sessions.admits_origin(
            request.method(),
            request.uri(),
            request.headers(),
            came_by,
        ) {
            return ResponseFuture::answered(layer.respond(Error::cross_origin().to_response()));
        }
        let Some((token, place)) = found else {
            let admitted = layer.admit(None, None, &request);
            return go_on(&mut self.inner, admitted, request);
        };
        let manager = layer.sessions.manager();
        let outer = request.extensions().get::<Arc<Slot<T>>>();
        let access = layer.access.strict_if(outer.is_some_and(|slot| slot.is_strict()));
        match manager.get_ready(&token, access) {
            Some(result) => {
                let admitted = layer.answer(result, token, place, &request);
                go_on(&mut self.inner, admitted, request)
            }
            None => {
                // The service that was polled ready is the one to call.
                let clone = self.inner.clone();
                let inner = mem::replace(&mut self.inner, clone);
                let manager = manager.clone();
                let timeout = layer.sessions.inner().store_timeout;
                let ask = async move {
                    let result = bounded(timeout, manager.get_with(&token, access)).await;
                    (result, token)
                };
                ResponseFuture::asking(Box::pin(ask), place, inner, Arc::clone(layer), request)
            }
        }
    }
}

/// A request that may pass, with what it passes on; or the answer of one that may not.
pub(crate) type Admitted<T> = Result<Arc<Slot<T>>, Box<Response<Bytes>>>;

fn go_on<S, T, B>(
    inner: &mut S,
    admitted: Admitted<T>,
    mut request: Request<B>,
) -> ResponseFuture<S, T, B>
where
    S: Service<Request<B>>,
    T: Send + Sync + 'static,
{
    match admitted {
        Ok(slot) => {
            request.extensions_mut().insert(Arc::clone(&slot));
            ResponseFuture::inner(inner.call(request), slot)
        }
        Err(response) => ResponseFuture::answered(response),
    }
}

impl<T: Send + Sync + 'static> SessionLayer<T> {
    /// What follows from the store's answer.
    pub(crate) fn answer<B>(
        self: &Arc<Self>,
        result: kvolt_session::Result<Option<Session<T>>>,
        token: Token,
        place: Place,
        request: &Request<B>,
    ) -> Admitted<T> {
        match result {
            Ok(session) => self.admit(session, Some((token, place)), request),
            Err(error) => Err(self.respond(Error::from(error).to_response())),
        }
    }

    /// Whether a request may pass. Every path comes through here.
    fn admit<B>(
        self: &Arc<Self>,
        session: Option<Session<T>>,
        found: Option<(Token, Place)>,
        request: &Request<B>,
    ) -> Admitted<T> {
        if session.is_none() && self.required {
            let uri = original_uri(request);
            let refused = Refused::new(request.method(), uri, request.headers());
            let lookup = &self.sessions.inner().lookup;
            return Err(self.respond(self.refusal.response(refused, lookup)));
        }
        Ok(Arc::new(Slot::new(Arc::clone(self), found, session)))
    }

    /// Marks an answer of the layer's own.
    fn respond(&self, mut response: Response<Bytes>) -> Box<Response<Bytes>> {
        slot::vary(response.headers_mut(), &self.sessions.inner().vary);
        Box::new(response)
    }
}

/// Where a request was going before a router took off what it is nested under.
fn original_uri<B>(request: &Request<B>) -> &http::Uri {
    #[cfg(feature = "axum")]
    if let Some(original) = request.extensions().get::<axum::extract::OriginalUri>() {
        return &original.0;
    }
    request.uri()
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
