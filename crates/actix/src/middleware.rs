//! The middleware for routes.

use std::fmt;
use std::future::{Ready, ready};
use std::rc::Rc;
use std::sync::Arc;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::{Error, HttpMessage};
use kvolt_middleware::SessionLayer;
use kvolt_middleware::adapter::{Admission, RequestSession};

use crate::future::{ResponseFuture, State, Waiting};
use crate::head::{self, Head};

/// Adds a request's session to the request: a [`SessionLayer`] for actix-web. Its page lists the
/// order of its steps, which are the same here.
///
/// It goes around an application, a scope or a resource, and around any other middleware, in any
/// order, but CORS must be the outer one (the last `wrap`): a preflight carries no cookie, and a
/// required layer answers 401 to it.
///
/// ```
/// use actix_web::{App, web};
/// use kvolt_actix::{Session, SessionMiddleware};
/// use kvolt_cache::MemoryStore;
/// use kvolt_middleware::Sessions;
/// use kvolt_session::Manager;
///
/// async fn name(user: Session<String>) -> String {
///     user.to_string()
/// }
///
/// let sessions = Sessions::new(Manager::<String>::new(MemoryStore::new()));
/// let open = SessionMiddleware::new(sessions.layer().optional());
/// let strict = SessionMiddleware::new(sessions.layer().strict());
/// let pay = web::scope("/pay").wrap(strict).route("/now", web::post().to(name));
/// let app = App::new().service(pay).route("/name", web::get().to(name)).wrap(open);
/// ```
pub struct SessionMiddleware<T>(Arc<SessionLayer<T>>);

impl<T> SessionMiddleware<T> {
    /// Makes a middleware of a layer.
    pub fn new(layer: SessionLayer<T>) -> Self {
        Self(Arc::new(layer))
    }
}

impl<S, T, B> Transform<S, ServiceRequest> for SessionMiddleware<T>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody,
    T: Send + Sync + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = SessionService<S, T>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(SessionService { inner: Rc::new(service), layer: Arc::clone(&self.0) }))
    }
}

/// The service of a [`SessionMiddleware`].
pub struct SessionService<S, T> {
    inner: Rc<S>,
    layer: Arc<SessionLayer<T>>,
}

impl<S, T, B> Service<ServiceRequest> for SessionService<S, T>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
    T: Send + Sync + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = ResponseFuture<S, T>;

    forward_ready!(inner);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        // A copy, since the application's checks may use the request's extensions.
        let outer = request.extensions().get::<RequestSession<T>>().cloned();
        let state = match self.layer.admit(&Head(request.request()), outer.as_ref()) {
            Admission::Pass(session) => State::passed(&*self.inner, session, request),
            Admission::Answer(answer) => {
                let response = request.into_response(head::response(&answer));
                State::Answered { response: Some(response) }
            }
            Admission::Wait(wait) => {
                let (inner, layer) = (Rc::clone(&self.inner), Arc::clone(&self.layer));
                State::Waiting { waiting: Some(Box::new(Waiting { wait, inner, layer, request })) }
            }
        };
        ResponseFuture { state }
    }
}

impl<T> Clone for SessionMiddleware<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for SessionMiddleware<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionMiddleware").field(&self.0).finish()
    }
}

impl<S, T> fmt::Debug for SessionService<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService").field("layer", &self.layer).finish_non_exhaustive()
    }
}
