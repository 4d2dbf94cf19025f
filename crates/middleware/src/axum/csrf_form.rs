//! Extractors that check a form token.

use axum::body::{Body, Bytes};
use axum::extract::{Form, FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::Method;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::{CSRF_FIELD, CSRF_HEADER, Error, Result, Session, SessionRejection};

/// The session of a request that carries a form token of it in the header [`CSRF_HEADER`]. For
/// requests that a script sends.
///
/// ```
/// use kvolt_middleware::Csrf;
///
/// async fn delete(Csrf(user): Csrf<String>) -> String {
///     format!("deleted the account of {}", *user)
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Csrf<T>(pub Session<T>);

/// The session and the form of a request that carries a form token of the session in the form's
/// field [`CSRF_FIELD`] or in the header [`CSRF_HEADER`]. The form is parsed like [`axum::Form`],
/// from the body.
///
/// For forms as browsers send them by default (`application/x-www-form-urlencoded`). The token is
/// checked before the form is parsed.
///
/// ```
/// use kvolt_middleware::CsrfForm;
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Rename { name: String }
///
/// async fn rename(CsrfForm(user, form): CsrfForm<String, Rename>) -> String {
///     format!("{} is now {}", *user, form.name)
/// }
/// ```
#[derive(Debug, Clone)]
pub struct CsrfForm<T, F>(pub Session<T>, pub F);

/// Why a handler did not get the form it asked for.
///
/// ```
/// use axum::response::{IntoResponse, Response};
/// use kvolt_middleware::{Csrf, CsrfRejection};
///
/// async fn delete(user: Result<Csrf<String>, CsrfRejection>) -> Response {
///     match user {
///         Ok(Csrf(user)) => format!("deleted {}", *user).into_response(),
///         Err(CsrfRejection::Token(_)) => "load the page again".into_response(),
///         Err(rejection) => rejection.into_response(),
///     }
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum CsrfRejection {
    /// The request has no session.
    Session(SessionRejection),
    /// The form token is missing, or not one of this session.
    Token(Error),
    /// The body could not be read, or is not such a form. The response is axum's.
    Form(Response),
}

impl<S: Sync, T: Send + Sync + 'static> FromRequestParts<S> for Csrf<T> {
    type Rejection = CsrfRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, CsrfRejection> {
        let session = Session::from_request_parts(parts, state).await;
        let session: Session<T> = session.map_err(CsrfRejection::Session)?;
        session.verify_csrf(header(parts)).map_err(CsrfRejection::Token)?;
        Ok(Self(session))
    }
}

impl<S, T, F> FromRequest<S> for CsrfForm<T, F>
where
    S: Send + Sync,
    T: Send + Sync + 'static,
    F: DeserializeOwned,
{
    type Rejection = CsrfRejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, CsrfRejection> {
        let (mut parts, body) = request.into_parts();
        let session = Session::from_request_parts(&mut parts, state).await;
        let session: Session<T> = session.map_err(CsrfRejection::Session)?;
        let request = Request::from_parts(parts.clone(), body);
        let body = Bytes::from_request(request, state).await.map_err(form)?;
        let token = header(&parts).map_or_else(|| field(&parts, &body), |token| Some(token.into()));
        session.verify_csrf(token.as_deref()).map_err(CsrfRejection::Token)?;
        // For a `GET`, axum would parse the query instead of the body that carried the token.
        parts.method = Method::POST;
        let request = Request::from_parts(parts, Body::from(body));
        let Form(fields) = Form::from_request(request, state).await.map_err(form)?;
        Ok(Self(session, fields))
    }
}

fn form(rejection: impl IntoResponse) -> CsrfRejection {
    CsrfRejection::Form(rejection.into_response())
}

fn header(parts: &Parts) -> Option<&[u8]> {
    parts.headers.get(CSRF_HEADER).map(|token| token.as_bytes())
}

/// The one field of that name. Of several, none is accepted.
fn field(parts: &Parts, body: &[u8]) -> Option<Vec<u8>> {
    let kind = parts.headers.get(CONTENT_TYPE)?.as_bytes();
    let kind = kind.split(|byte| *byte == b';').next()?.trim_ascii();
    if !kind.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        return None;
    }
    let mut tokens = form_urlencoded::parse(body).filter(|(name, _)| name == CSRF_FIELD);
    let (_, token) = tokens.next()?;
    tokens.next().is_none().then(|| token.into_owned().into_bytes())
}

impl IntoResponse for CsrfRejection {
    fn into_response(self) -> Response {
        match self {
            Self::Session(rejection) => rejection.into_response(),
            Self::Token(error) => error.into_response(),
            Self::Form(response) => response,
        }
    }
}
