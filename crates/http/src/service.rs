use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use kvolt_cache::Access;
use tower_service::Service;

use kvolt_session::{RefusalReason, Rotated, Session, Token};

use crate::bounded::bounded;
use crate::lookup::Place;
use crate::sessions::Keep;
use crate::slot::{self, Outgoing, Slot};
use crate::{Error, Missing, Refused, ResponseFuture, SessionLayer};

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
            let admitted = layer.admit(None, None, layer.access, None, &request);
            return go_on(&mut self.inner, admitted, request);
        };
        let outer = request.extensions().get::<Arc<Slot<T>>>();
        let (token, told) = match outer.and_then(|outer| layer.taken_over(outer)) {
            Some((token, told)) => (token, Some(told)),
            None => (token, None),
        };
        let manager = layer.sessions.manager();
        let access = layer.access_for(&request, outer.is_some_and(|outer| outer.is_strict()));
        let ready = manager.get_ready(&token, access);
        let due = layer.rotates && layer.is_due(ready.as_ref(), access, place);
        match ready {
            // The usual one.
            Some(Ok(session)) if !due => {
                let found = Some((token, place));
                let admitted = layer.admit(session, found, access, told, &request);
                go_on(&mut self.inner, admitted, request)
            }
            Some(result) if !due => {
                let admitted =
                    layer.answer(Found { result, token, place, access, new: told }, &request);
                go_on(&mut self.inner, admitted, request)
            }
            ready => {
                // The service that was polled ready is the one to call.
                let clone = self.inner.clone();
                let inner = mem::replace(&mut self.inner, clone);
                let ask = Box::pin(Arc::clone(layer).ask(ready, token, place, access, told));
                ResponseFuture::asking(ask, inner, Arc::clone(layer), request)
            }
        }
    }
}

/// What came of looking for a request's session.
pub(crate) struct Found<T> {
    result: kvolt_session::Result<Option<Session<T>>>,
    /// The token that is good now.
    token: Token,
    place: Place,
    /// How the store was asked.
    access: Access,
    /// How the client is told of it, where it is another than it came with.
    new: Option<Outgoing>,
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
    /// How the store is to be asked for a request's session.
    #[inline]
    fn access_for<B>(&self, request: &Request<B>, strict: bool) -> Access {
        let peeks = self
            .peeks
            .as_ref()
            .is_some_and(|peeks| peeks(request.method(), request.uri(), request.headers()));
        let access =
            if peeks { Access::PEEK.strict_if(self.access.is_strict()) } else { self.access };
        access.strict_if(strict)
    }

    /// Whether the token of a session that was found is to be changed now. Looking never does that.
    fn is_due(
        &self,
        found: Option<&kvolt_session::Result<Option<Session<T>>>>,
        access: Access,
        place: Place,
    ) -> bool {
        let Some(Ok(Some(session))) = found else { return false };
        access.slides()
            && self.sessions.manager().is_rotation_due(session)
            && (self.anonymous || !session.is_anonymous())
            && self.sessions.channel(Some(self.sessions.inner().lookup.source(place))).is_ok()
    }

    /// The token that a layer around this one has changed, and how the client is told of
    /// it. From here on that is up to this layer, behind which it may be changed once more.
    fn taken_over(&self, outer: &Slot<T>) -> Option<(Token, Outgoing)> {
        outer.sessions().is(&self.sessions).then(|| outer.hand_over())?
    }

    /// Asks the store, where it has not answered at once, and changes the token where it is time.
    async fn ask(
        self: Arc<Self>,
        ready: Option<kvolt_session::Result<Option<Session<T>>>>,
        token: Token,
        place: Place,
        access: Access,
        told: Option<Outgoing>,
    ) -> Found<T> {
        let found = self.find(ready, token, place, access).await;
        Found { new: found.new.or(told), ..found }
    }

    async fn find(
        &self,
        ready: Option<kvolt_session::Result<Option<Session<T>>>>,
        token: Token,
        place: Place,
        access: Access,
    ) -> Found<T> {
        let (manager, timeout) = (self.sessions.manager(), self.sessions.inner().store_timeout);
        let result = match ready {
            Some(result) => result,
            None => bounded(timeout, manager.get_with(&token, access)).await,
        };
        if !self.rotates || !self.is_due(Some(&result), access, place) {
            return Found { result, token, place, access, new: None };
        }
        match result {
            Ok(Some(session)) => self.rotate(session, token, place, access).await,
            result => Found { result, token, place, access, new: None },
        }
    }

    async fn rotate(
        &self,
        session: Session<T>,
        token: Token,
        place: Place,
        access: Access,
    ) -> Found<T> {
        let (manager, timeout) = (self.sessions.manager(), self.sessions.inner().store_timeout);
        let keep = Keep::rest(manager, &session);
        let rotated = bounded(timeout, manager.rotate_if_due(&token, &session)).await;
        let as_it_was =
            |token| Found { result: Ok(Some(session.clone())), token, place, access, new: None };
        let token = match rotated {
            Ok(Some(Rotated::Token(token))) => token,
            Ok(Some(Rotated::Absent)) => {
                return Found { result: Ok(None), token, place, access, new: None };
            }
            // Another request of this client's is being given the new one.
            Ok(Some(Rotated::AlreadyRotated) | None) => return as_it_was(token),
            Err(error) => {
                let error: &(dyn std::error::Error + 'static) = &error;
                tracing::warn!(target: "kvolt::http", error, "a token was not changed though it was time");
                return as_it_was(token);
            }
        };
        let channel = self.sessions.inner().lookup.source(place);
        let new = self.sessions.header(channel, &token, keep).ok().map(Box::new);
        let result = match bounded(timeout, manager.peek(&token)).await {
            Err(error) if error.is_unavailable() => Ok(Some(session.clone())),
            result => result,
        };
        Found { result, token, place, access, new }
    }

    /// What follows from the store's answer.
    pub(crate) fn answer<B>(
        self: &Arc<Self>,
        found: Found<T>,
        request: &Request<B>,
    ) -> Admitted<T> {
        let Found { result, token, place, access, new } = found;
        match result {
            Ok(session) => self.admit(session, Some((token, place)), access, new, request),
            // Whoever has a session that can't be decoded must be able to sign in, and out.
            Err(error) if error.is_corrupt() && !self.required => {
                Error::from(error).log();
                Ok(Arc::new(
                    Slot::new(Arc::clone(self), Some((token, place)), access, None).unreadable(),
                ))
            }
            Err(error) => {
                let error = Error::from(error);
                if error.is_unavailable() {
                    let manager = self.sessions.manager();
                    manager.report_refusal(None, RefusalReason::Unavailable);
                }
                let mut response = self.respond(error.to_response());
                if let Some(new) = new {
                    let (name, value) = *new;
                    slot::set(response.headers_mut(), &name, value);
                }
                Err(response)
            }
        }
    }

    /// Whether a request may pass. Every path comes through here.
    #[inline]
    fn admit<B>(
        self: &Arc<Self>,
        session: Option<Session<T>>,
        found: Option<(Token, Place)>,
        access: Access,
        new: Option<Outgoing>,
        request: &Request<B>,
    ) -> Admitted<T> {
        let session = session.filter(|session| self.anonymous || !session.is_anonymous());
        let missing = match (&session, &self.step_up) {
            (None, _) if self.required => Some(Missing::Session),
            // Who has proved nothing can't prove it again.
            (Some(session), Some(_)) if session.is_anonymous() => Some(Missing::Session),
            (Some(session), Some(step_up)) => {
                let manager = self.sessions.manager();
                let is_met = session.meets(step_up, manager.clock().now());
                if !is_met {
                    manager.report_refusal(Some(session), RefusalReason::StepUp);
                }
                (!is_met).then_some(Missing::StepUp(*step_up))
            }
            _ => None,
        };
        let slot = Slot::new(Arc::clone(self), found, access, session);
        let slot = match new {
            Some(new) => slot.renewed(new),
            None => slot,
        };
        if let Some(missing) = missing {
            let uri = original_uri(request);
            let refused = Refused::new(request.method(), uri, request.headers()).lacking(missing);
            let lookup = &self.sessions.inner().lookup;
            let mut response = self.refusal.response(refused, lookup);
            // Its token may have been changed all the same.
            slot.finish(response.headers_mut());
            return Err(Box::new(response));
        }
        Ok(Arc::new(slot))
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
