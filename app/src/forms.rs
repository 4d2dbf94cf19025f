//! Extractors for requests that change something: they check the form token and read the fields.

use axum::body::Bytes;
use axum::extract::{Form, FromRequest, FromRequestParts, Json, Request};
use axum::http::header::{CONTENT_TYPE, ORIGIN, REFERER, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use kvolt::middleware::{CSRF_HEADER, Csrf, CsrfForm, Session};
use serde::de::{Deserialize, DeserializeOwned, Deserializer};

use crate::negotiate::error;
use crate::state::App;
use crate::users::User;

const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// The session of a request without fields, once its whole body is received.
pub(crate) struct CheckedAction(pub(crate) Session<User>);

/// The session and the fields of a request, as a form or as JSON.
pub(crate) struct CheckedForm<F>(pub(crate) Session<User>, pub(crate) F);

impl FromRequest<App> for CheckedAction {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        #[derive(serde::Deserialize)]
        struct NoFields {}

        let (mut parts, body) = request.into_parts();
        if may_be_from_a_browser(&parts.headers) && !parts.headers.contains_key(CSRF_HEADER) {
            let request = Request::from_parts(parts, body);
            let checked = CsrfForm::<User, NoFields>::from_request(request, app).await;
            return checked
                .map(|CsrfForm(session, _)| Self(session))
                .map_err(IntoResponse::into_response);
        }
        let session = session(&mut parts, app).await?;
        let request = Request::from_parts(parts, body);
        let _all = Bytes::from_request(request, app).await.map_err(IntoResponse::into_response)?;
        Ok(Self(session))
    }
}

impl<F: DeserializeOwned> FromRequest<App> for CheckedForm<F> {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let headers = &parts.headers;
        let needs_field = may_be_from_a_browser(headers) && !headers.contains_key(CSRF_HEADER);
        if needs_field && !is_json(headers) {
            let request = Request::from_parts(parts, body);
            let checked = CsrfForm::<User, F>::from_request(request, app).await;
            return checked
                .map(|CsrfForm(session, form)| Self(session, form))
                .map_err(IntoResponse::into_response);
        }
        let session = session(&mut parts, app).await?;
        let fields = read(Request::from_parts(parts, body), app).await?;
        Ok(Self(session, fields))
    }
}

/// The session of a request whose form token is in a header, or that no browser sent.
async fn session(parts: &mut Parts, app: &App) -> Result<Session<User>, Response> {
    let headers = &parts.headers;
    if may_be_from_a_browser(headers) || headers.contains_key(CSRF_HEADER) {
        let checked = Csrf::<User>::from_request_parts(parts, app).await;
        return checked.map(|Csrf(session)| session).map_err(IntoResponse::into_response);
    }
    Session::from_request_parts(parts, app).await.map_err(IntoResponse::into_response)
}

/// Whether a browser may have sent a request, so that another site may have caused it.
///
/// A browser names the page that caused a request (`Origin`, `Sec-Fetch-*`, `Referer`), and its
/// `User-Agent` starts with "Mozilla/": no page can suppress all of these. A request without them
/// comes from a program with its own cookies, which no site can use: it needs no form token.
fn may_be_from_a_browser(headers: &HeaderMap) -> bool {
    let has = |name: &str| headers.contains_key(name);
    let agent = headers.get(USER_AGENT).map(|agent| agent.as_bytes());
    has(ORIGIN.as_str())
        || has(REFERER.as_str())
        || has("sec-fetch-site")
        || has("sec-fetch-mode")
        || agent.is_some_and(|agent| agent.starts_with(b"Mozilla/"))
}

pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    let kind = kind.and_then(|kind| kind.split(|byte| *byte == b';').next());
    kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"application/json"))
}

/// Reads the fields of a form or of JSON. A body without a type is a form.
pub(crate) async fn read<F: DeserializeOwned>(
    mut request: Request,
    app: &App,
) -> Result<F, Response> {
    request.headers_mut().entry(CONTENT_TYPE).or_insert(FORM);
    let read = if is_json(request.headers()) {
        let parsed = Json::<F>::from_request(request, app).await;
        parsed.map(|Json(fields)| fields).map_err(|error| (error.status(), error.body_text()))
    } else {
        let parsed = Form::<F>::from_request(request, app).await;
        parsed.map(|Form(fields)| fields).map_err(|error| (error.status(), error.body_text()))
    };
    read.map_err(|(status, text)| match status {
        StatusCode::UNSUPPORTED_MEDIA_TYPE => error(
            status,
            "send a form (application/x-www-form-urlencoded) or JSON (application/json)",
        ),
        _ => error(status, &text),
    })
}

/// Deserializes a checkbox: a form has any text or nothing, JSON has a bool.
pub(crate) fn checkbox<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Checkbox {
        Json(bool),
        Form(String),
    }
    Ok(match Checkbox::deserialize(deserializer)? {
        Checkbox::Json(checked) => checked,
        Checkbox::Form(text) => !matches!(&*text, "" | "0" | "false" | "off"),
    })
}
