//! The layer's own answers: a short text, or JSON where the request asked for it.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use kvolt_session::StepUp;

use crate::head::{Headers, names};

/// The number of seconds after which a client may try again when the store is unavailable: the
/// value of `Retry-After` (RFC 9110, section 10.2.3).
pub const RETRY_AFTER_SECONDS: u32 = 5;

pub(crate) const INTERNAL_ERROR: Message =
    Message::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "internal error");

/// A status with a text for people and a code for programs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message {
    pub(crate) status: StatusCode,
    code: &'static str,
    text: &'static str,
    missing: Option<StepUp>,
    /// Whether the lookup has the `Bearer` scheme, so that a 401 has a challenge.
    bearer: bool,
}

impl Message {
    pub(crate) const fn new(status: StatusCode, code: &'static str, text: &'static str) -> Self {
        Self { status, code, text, missing: None, bearer: false }
    }

    pub(crate) const fn sign_in(bearer: bool) -> Self {
        Self { bearer, ..Self::new(StatusCode::UNAUTHORIZED, "no_session", "sign in first") }
    }

    /// The authentication that is missing, in the terms of RFC 9470.
    pub(crate) const fn step_up(missing: StepUp, bearer: bool) -> Self {
        let code = "insufficient_user_authentication";
        let message = Self::new(StatusCode::UNAUTHORIZED, code, "authenticate again");
        Self { missing: Some(missing), bearer, ..message }
    }

    /// The parameters of RFC 9470.
    fn parameters(&self, [before, between, after]: [&str; 3]) -> String {
        let Some(missing) = self.missing else { return String::new() };
        let max_age = missing.max_age().map(|max_age| ("max_age", max_age.as_secs()));
        let level = ("acr_values", u64::from(missing.level().number()));
        let both = max_age.into_iter().chain([level]);
        both.map(|(name, value)| [before, name, between, &value.to_string(), after].concat())
            .collect()
    }

    /// The response as text, marked so that the layer makes JSON of it where the request asks for
    /// that.
    pub(crate) fn marked(self) -> Response<Bytes> {
        let mut response = self.response(false);
        response.extensions_mut().insert(self);
        response
    }

    pub(crate) fn response(&self, json: bool) -> Response<Bytes> {
        let Self { status, code, text, .. } = *self;
        let (content_type, body) = if json {
            let parameters = self.parameters([",\"", "\":\"", "\""]);
            let body = format!("{{\"error\":\"{code}\",\"message\":\"{text}\"{parameters}}}\n");
            ("application/json", body)
        } else {
            let start = if self.missing.is_some() { [code, ": "].concat() } else { String::new() };
            let body = [&start, text, &self.parameters([", ", "=", ""]), "\n"].concat();
            ("text/plain; charset=utf-8", body)
        };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        if self.bearer {
            let error = if self.missing.is_some() {
                " error=\"insufficient_user_authentication\""
            } else {
                ""
            };
            let challenge = ["Bearer", error, &self.parameters([", ", "=\"", "\""])].concat();
            headers.extend(HeaderValue::try_from(challenge).map(|value| (WWW_AUTHENTICATE, value)));
        }
        response
    }
}

/// Whether the type that a request prefers is JSON.
#[inline]
pub(crate) fn asks_for_json<H: Headers + ?Sized>(request: &H) -> bool {
    const JSON: &[u8] = b"application/json";
    let accept = request.first(&names::ACCEPT);
    accept
        .and_then(|accept| accept.get(..JSON.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(JSON))
}

/// Whether a request asks for a page, as browsers do.
pub(crate) fn asks_for_page<H: Headers + ?Sized>(request: &H) -> bool {
    let mut is_page = false;
    request.each(&names::ACCEPT, &mut |accept| {
        let mut types = accept.split(|byte| matches!(byte, b',' | b';'));
        is_page |= types.any(|media| media.trim_ascii().eq_ignore_ascii_case(b"text/html"));
    });
    is_page
}
