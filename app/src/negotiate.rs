//! Pages for browsers, and JSON for programs: answers and errors.

use std::convert::Infallible;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request};
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Serialize;
use serde_json::json;

use crate::pages::{Notice, page};

/// The maximum length of the text of an error. Longer ones are replaced by the status's own.
const MAX_TEXT_LEN: usize = 4 * 1024;

/// The form of the answer: a page if the client accepts `text/html`, as browsers do when a user
/// follows a link or submits a form, or else JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    Page,
    Json,
}

impl Wants {
    fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get(ACCEPT).map(|accept| accept.as_bytes());
        let page = accept.is_some_and(|accept| accept.windows(9).any(|part| part == b"text/html"));
        if page { Self::Page } else { Self::Json }
    }

    /// A redirect to the next page, or the JSON.
    pub(crate) fn answer(self, page: &str, json: impl Serialize) -> Response {
        match self {
            Self::Page => Redirect::to(page).into_response(),
            Self::Json => Json(json).into_response(),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Wants {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

/// An error, to which [`format_errors`] gives its form. A text such as `code: text` has this code;
/// otherwise the code is the status's, such as `not_found`.
pub(crate) fn error(status: StatusCode, text: &str) -> Response {
    (status, text.to_owned()).into_response()
}

/// Makes a page or JSON of every error that is plain text: the application's own, the session
/// layer's, and axum's. Errors that are a page already, such as a form, stay as they are.
///
/// The session layer makes JSON of its own errors for a client that accepts JSON first.
pub(crate) async fn format_errors(mut request: Request, next: Next) -> Response {
    let wants = Wants::of(request.headers());
    if wants == Wants::Json {
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
    }
    let response = next.run(request).await;
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) || !is_plain(response.headers()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let text = to_bytes(body, MAX_TEXT_LEN).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let (code, text) = code_and_text(status, text.trim_end().trim_end_matches('.'));
    let formatted = match wants {
        Wants::Page => page(status, &Notice::error(status, &text)),
        Wants::Json => Json(json!({ "error": code, "message": text })).into_response(),
    };
    let (formatted, body) = formatted.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    if let Some(kind) = formatted.headers.get(CONTENT_TYPE) {
        parts.headers.insert(CONTENT_TYPE, kind.clone());
    }
    parts.headers.append(VARY, HeaderValue::from_static("accept"));
    Response::from_parts(parts, Body::new(body))
}

/// Whether a response has plain text or no body.
fn is_plain(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"))
}

/// The code for programs and the text for people.
fn code_and_text(status: StatusCode, text: &str) -> (String, String) {
    if let Some((code, text)) = text.split_once(": ")
        && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    {
        return (code.to_owned(), text.to_owned());
    }
    let name = status.canonical_reason().unwrap_or("error").to_lowercase();
    let text = if text.is_empty() { name.clone() } else { text.to_owned() };
    (name.replace(' ', "_"), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_its_own_code_or_the_status_s() {
        let of = |status, text| {
            let (code, text) = code_and_text(status, text);
            format!("{code}|{text}")
        };
        let unauthorized = StatusCode::UNAUTHORIZED;
        let step_up = "insufficient_user_authentication: authenticate again, acr_values=1";
        let expected = "insufficient_user_authentication|authenticate again, acr_values=1";
        assert_eq!(of(unauthorized, step_up), expected);
        assert_eq!(of(unauthorized, "sign in first"), "unauthorized|sign in first");
        let text = "the form token is missing: load the page again";
        assert_eq!(of(StatusCode::FORBIDDEN, text), format!("forbidden|{text}"));
        assert_eq!(of(StatusCode::METHOD_NOT_ALLOWED, ""), "method_not_allowed|method not allowed");
    }
}
