//! Extractors and responses for axum 0.8.

mod csrf_form;

use std::any::type_name;

use axum::body::Body;
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;

use crate::head::RequestHead;
use crate::layer::layered_types;
use crate::message::INTERNAL_ERROR;
use crate::sessions::help;
use crate::{Error, Session, SessionHandle};

pub use csrf_form::{Csrf, CsrfForm, CsrfRejection};

/// A handler asks for a session on a route without a layer: 500, and an error in the log.
///
/// Not 401: the client can't do anything about it.
///
/// ```
/// use kvolt_middleware::{LayerMissing, SessionHandle};
///
/// async fn status(client: Result<SessionHandle<String>, LayerMissing>) -> &'static str {
///     if client.is_ok() { "ready" } else { "the session layer is missing" }
/// }
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct LayerMissing;

impl LayerMissing {
    fn log<T>(request: &Parts) -> Self {
        tracing::error!(
            target: "kvolt::http",
            path = request.path(),
            layers = ?layered_types(),
            help = help!("no-layer-is-around-the-route"),
            "a handler asks for the session of a {0}, but no layer for Session<{0}> is around the route: add `.route_layer(sessions.layer())` after the route, or `.optional()` for a route that signs in",
            type_name::<T>(),
        );
        Self
    }
}

impl IntoResponse for LayerMissing {
    fn into_response(self) -> Response {
        INTERNAL_ERROR.marked().map(Body::from)
    }
}

/// Why a handler did not get the [`Session`] it asked for.
///
/// ```
/// use axum::http::StatusCode;
/// use axum::response::{IntoResponse, Response};
/// use kvolt_middleware::{Session, SessionRejection};
///
/// async fn page(user: Result<Session<String>, SessionRejection>) -> Response {
///     match user {
///         Ok(user) => user.to_string().into_response(),
///         Err(SessionRejection::NoSession(_)) => (StatusCode::OK, "a visitor").into_response(),
///         Err(rejection) => rejection.into_response(),
///     }
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum SessionRejection {
    /// The request has no session. The response is the layer's refusal.
    NoSession(http::Response<Bytes>),
    /// The request has a session that can't be read: 500, and an error in the log.
    Unreadable,
    /// The session is bound to a device, and the request does not prove that it comes from there. The
    /// response is the layer's refusal. A browser that loads a page gets [`NoSession`](Self::NoSession).
    Unproven(http::Response<Bytes>),
    /// No layer is around the route.
    LayerMissing(LayerMissing),
}

impl IntoResponse for SessionRejection {
    fn into_response(self) -> Response {
        match self {
            Self::NoSession(response) | Self::Unproven(response) => response.map(Body::from),
            Self::Unreadable | Self::LayerMissing(_) => LayerMissing.into_response(),
        }
    }
}

#[cfg(feature = "device-bound")]
impl<T: Send + Sync + 'static> crate::Sessions<T> {
    /// Returns the routes to which browsers send what is about the [binding](crate::DeviceBound) of a
    /// session to its device. None if sessions are not bound.
    ///
    /// A router with a session layer around the two paths, such as one layer around all its routes,
    /// does without them.
    ///
    /// ```
    /// use axum::Router;
    /// use axum::routing::get;
    /// use kvolt_middleware::{Session, Sessions};
    ///
    /// async fn name(user: Session<String>) -> String {
    ///     user.to_string()
    /// }
    ///
    /// fn app(sessions: &Sessions<String>) -> Router {
    ///     let pages = Router::new().route("/", get(name)).route_layer(sessions.layer());
    ///     pages.merge(sessions.device_bound_routes())
    /// }
    /// ```
    pub fn device_bound_routes<S: Clone + Send + Sync + 'static>(&self) -> axum::Router<S> {
        let routes = axum::Router::new();
        let Some(settings) = &self.0.device_bound else { return routes };
        // The layer answers.
        let absent = || axum::routing::any(async || http::StatusCode::NOT_FOUND);
        let routes = routes.route(&settings.set.register, absent());
        routes.route(&settings.set.refresh, absent()).route_layer(self.layer().optional())
    }
}

impl<S: Sync, T: Send + Sync + 'static> FromRequestParts<S> for SessionHandle<T> {
    type Rejection = LayerMissing;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, LayerMissing> {
        Self::from_extensions(&parts.extensions).map_err(|_| LayerMissing::log::<T>(parts))
    }
}

impl<S: Sync, T: Send + Sync + 'static> OptionalFromRequestParts<S> for Session<T> {
    type Rejection = SessionRejection;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> Result<Option<Self>, SessionRejection> {
        match SessionHandle::from_extensions(&parts.extensions) {
            Ok(handle) if handle.slot.session().is_none() => {
                rejection(&handle, parts).map_or(Ok(None), Err)
            }
            Ok(handle) => Ok(handle.into_session()),
            Err(_) => Err(SessionRejection::LayerMissing(LayerMissing::log::<T>(parts))),
        }
    }
}

/// The rejection of a client that has a session which handlers don't see.
#[cold]
fn rejection<T: Send + Sync + 'static>(
    handle: &SessionHandle<T>,
    parts: &Parts,
) -> Option<SessionRejection> {
    if handle.is_unreadable() {
        return Some(SessionRejection::Unreadable);
    }
    // Sessions without settings know nothing of the request.
    let is_navigation = parts.headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
    let must_prove = handle.must_prove() && !is_navigation;
    must_prove.then(|| SessionRejection::Unproven(handle.refuse(parts)))
}

impl<S: Sync, T: Send + Sync + 'static> FromRequestParts<S> for Session<T> {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, SessionRejection> {
        let session =
            <Self as OptionalFromRequestParts<S>>::from_request_parts(parts, state).await?;
        session.ok_or_else(|| {
            let handle = SessionHandle::<T>::from_extensions(&parts.extensions);
            let handle = handle.expect("without a layer, the rejection was another one");
            SessionRejection::NoSession(handle.refuse(parts))
        })
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.to_response().map(Body::from)
    }
}
