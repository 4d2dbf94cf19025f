//! What is sent to change something, and that a page of this site sent it.

use axum::body::Bytes;
use axum::extract::{Form, FromRequest, FromRequestParts, Json, Request};
use axum::http::header::{CONTENT_TYPE, ORIGIN, REFERER, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use kvolt::middleware::{CSRF_HEADER, Csrf, CsrfForm, Session};
use serde::de::{Deserialize, DeserializeOwned, Deserializer};

use crate::negotiate::refuse;
use crate::state::App;
use crate::users::User;

/// An act that needs nothing but the session: once all of it is here, and with the session's
/// form token where a browser may have sent it.
pub(crate) struct Act(pub(crate) Session<User>);

/// The same with what was filled in, as a form or as JSON.
pub(crate) struct Sent<F>(pub(crate) Session<User>, pub(crate) F);

impl FromRequest<App> for Act {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        #[derive(serde::Deserialize)]
        struct Nothing {}

        let (mut parts, body) = request.into_parts();
        if may_be_of_a_browser(&parts.headers) && !parts.headers.contains_key(CSRF_HEADER) {
            let request = Request::from_parts(parts, body);
            let checked = CsrfForm::<User, Nothing>::from_request(request, app).await;
            return checked.map(|checked| Self(checked.0)).map_err(IntoResponse::into_response);
        }
        let session = session(&mut parts, app).await?;
        let request = Request::from_parts(parts, body);
        let _all = Bytes::from_request(request, app).await.map_err(IntoResponse::into_response)?;
        Ok(Self(session))
    }
}

impl<F: DeserializeOwned> FromRequest<App> for Sent<F> {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let headers = &parts.headers;
        let by_form = may_be_of_a_browser(headers) && !headers.contains_key(CSRF_HEADER);
        if by_form && !is_json(headers) {
            let request = Request::from_parts(parts, body);
            let checked = CsrfForm::<User, F>::from_request(request, app).await;
            let CsrfForm(session, fields) = checked.map_err(IntoResponse::into_response)?;
            return Ok(Self(session, fields));
        }
        let session = session(&mut parts, app).await?;
        let fields = read(Request::from_parts(parts, body), app).await?;
        Ok(Self(session, fields))
    }
}

/// The session of a request that carries its token in a header, or was sent by no browser.
async fn session(parts: &mut Parts, app: &App) -> Result<Session<User>, Response> {
    let headers = &parts.headers;
    if may_be_of_a_browser(headers) || headers.contains_key(CSRF_HEADER) {
        let checked = Csrf::<User>::from_request_parts(parts, app).await;
        return checked.map(|Csrf(session)| session).map_err(IntoResponse::into_response);
    }
    Session::from_request_parts(parts, app).await.map_err(IntoResponse::into_response)
}

/// Whether a browser may have sent this, so that any site may have made it do so.
///
/// Browsers say by which page a request that changes something was caused (`Origin`, `Sec-Fetch-*`,
/// `Referer`), and no page can keep all of them from calling themselves Mozilla.
/// What says none of this comes from a program with a cookie jar of its own, which no site
/// can use: it need not fetch a form token first.
fn may_be_of_a_browser(headers: &HeaderMap) -> bool {
    let tells = |name: &str| headers.contains_key(name);
    let agent = headers.get(USER_AGENT).map(|agent| agent.as_bytes());
    tells(ORIGIN.as_str())
        || tells(REFERER.as_str())
        || tells("sec-fetch-site")
        || tells("sec-fetch-mode")
        || agent.is_some_and(|agent| agent.starts_with(b"Mozilla/"))
}

/// Whether a request says that its body is JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    let kind = kind.and_then(|kind| kind.split(|byte| *byte == b';').next());
    kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"application/json"))
}

/// What was filled in, as a form or as JSON.
pub(crate) async fn read<F: DeserializeOwned>(request: Request, app: &App) -> Result<F, Response> {
    let read = if is_json(request.headers()) {
        let parsed = Json::<F>::from_request(request, app).await;
        parsed.map(|Json(fields)| fields).map_err(|error| (error.status(), error.body_text()))
    } else {
        let parsed = Form::<F>::from_request(request, app).await;
        parsed.map(|Form(fields)| fields).map_err(|error| (error.status(), error.body_text()))
    };
    read.map_err(|(status, text)| match status {
        StatusCode::UNSUPPORTED_MEDIA_TYPE => refuse(
            status,
            "send a form (application/x-www-form-urlencoded) or JSON (application/json)",
        ),
        _ => refuse(status, &text),
    })
}

/// A checkbox, which is sent as some text or not at all; or true or false in JSON.
pub(crate) fn checked<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Box {
        Json(bool),
        Form(String),
    }
    Ok(match Box::deserialize(deserializer)? {
        Box::Json(checked) => checked,
        Box::Form(text) => !matches!(&*text, "" | "0" | "false" | "off"),
    })
}
