//! Extractors and responses for axum 0.8.

use std::any::type_name;

use axum::body::Body;
use axum::extract::{FromRef, FromRequestParts, OptionalFromRequestParts, OriginalUri};
use axum::response::{IntoResponse, IntoResponseParts, Response, ResponseParts};
use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;

use crate::error::plain;
use crate::{Error, Refused, Session, SessionHandle, Sessions, SetToken};

/// A handler asks for a session, and no layer looked for one: 500, and an error in the log.
///
/// Not 401: the client can do nothing about it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct LayerMissing;

impl LayerMissing {
    fn log<T>(uri: &http::Uri) -> Self {
        tracing::error!(
            target: "kvolt::http",
            path = uri.path(),
            "a handler asks for Session<{}>, but the route is not behind the session layer: add `.route_layer(sessions.layer())` after the route",
            type_name::<T>(),
        );
        Self
    }
}

impl IntoResponse for LayerMissing {
    fn into_response(self) -> Response {
        internal_error()
    }
}

fn internal_error() -> Response {
    plain(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n").map(Body::from)
}

/// Why a handler did not get the [`Session`] it asked for.
#[derive(Debug)]
#[non_exhaustive]
pub enum SessionRejection {
    /// The request has no session. The response is the layer's refusal.
    NoSession(http::Response<Bytes>),
    /// The request has a session that can't be decoded: 500, and an error in the log.
    Unreadable,
    /// The route is not behind the layer.
    LayerMissing(LayerMissing),
}

impl IntoResponse for SessionRejection {
    fn into_response(self) -> Response {
        match self {
            Self::NoSession(response) => response.map(Body::from),
            Self::Unreadable => internal_error(),
            Self::LayerMissing(missing) => missing.into_response(),
        }
    }
}

impl<S: Sync, T: Send + Sync + 'static> FromRequestParts<S> for Session<T> {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionRejection> {
        let Some(handle) = SessionHandle::from_extensions(&parts.extensions) else {
            return Err(SessionRejection::LayerMissing(LayerMissing::log::<T>(&parts.uri)));
        };
        if handle.is_unreadable() {
            return Err(SessionRejection::Unreadable);
        }
        if handle.slot.session().is_none() {
            let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |uri| &uri.0);
            let refused = Refused::new(&parts.method, uri, &parts.headers);
            return Err(SessionRejection::NoSession(handle.refuse(refused)));
        }
        Ok(Self { handle })
    }
}

impl<S: Sync, T: Send + Sync + 'static> OptionalFromRequestParts<S> for Session<T> {
    type Rejection = SessionRejection;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> Result<Option<Self>, SessionRejection> {
        match SessionHandle::from_extensions(&parts.extensions) {
            Some(handle) if handle.is_unreadable() => Err(SessionRejection::Unreadable),
            Some(handle) => Ok(handle.into_session()),
            None => Err(SessionRejection::LayerMissing(LayerMissing::log::<T>(&parts.uri))),
        }
    }
}

/// Behind a layer it is that request's; elsewhere it is made of the state.
impl<S, T> FromRequestParts<S> for SessionHandle<T>
where
    S: Send + Sync,
    Sessions<T>: FromRef<S>,
    T: Send + Sync + 'static,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match Self::from_extensions(&parts.extensions) {
            Some(handle) => Ok(handle),
            None => Sessions::from_ref(state).handle(parts).await,
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.to_response().map(Body::from)
    }
}

impl IntoResponseParts for SetToken {
    type Error = std::convert::Infallible;

    fn into_response_parts(
        self,
        mut response: ResponseParts,
    ) -> Result<ResponseParts, Self::Error> {
        self.apply(response.headers_mut());
        Ok(response)
    }
}

impl IntoResponse for SetToken {
    fn into_response(self) -> Response {
        (self, ()).into_response()
    }
}
