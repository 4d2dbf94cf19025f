//! The layer's own answers: a short text, JSON where the request asked for it, or a status of gRPC.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use kvolt_session::StepUp;

use crate::grpc::{self, Code};
use crate::head::{Headers, RequestHead, begins_with, names};

/// The number of seconds after which a client may try again when the store is unavailable: the
/// value of `Retry-After` (RFC 9110, section 10.2.3). gRPC clients get it in milliseconds, as
/// `grpc-retry-pushback-ms`.
pub const RETRY_AFTER_SECONDS: u32 = 5;

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
    /// A gRPC response without messages, of this content type.
    Grpc(&'static str),
}

impl Format {
    /// The form that a request asks for.
    #[inline]
    pub(crate) fn of<H: RequestHead + ?Sized>(request: &H) -> Self {
        if let Some(content_type) = grpc::content_type(request) {
            return Self::Grpc(content_type);
        }
        let accept = request.first(&names::ACCEPT);
        if accept.is_some_and(|accept| begins_with(accept, "application/json")) {
            Self::Json
        } else {
            Self::Text
        }
    }
}

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

    /// The response as text, marked so that the layer gives it the form that the request asks for.
    pub(crate) fn marked(self) -> Response<Bytes> {
        let mut response = self.response(Format::Text);
        response.extensions_mut().insert(self);
        response
    }

    pub(crate) fn response(&self, format: Format) -> Response<Bytes> {
        let Self { status, code, text, .. } = *self;
        let (status, content_type, body) = match format {
            Format::Text => (status, "text/plain; charset=utf-8", self.text() + "\n"),
            Format::Json => {
                let parameters = self.parameters([",\"", "\":\"", "\""]);
                let body = format!("{{\"error\":\"{code}\",\"message\":\"{text}\"{parameters}}}\n");
                (status, "application/json", body)
            }
            Format::Grpc(content_type) => (StatusCode::OK, content_type, String::new()),
        };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if matches!(format, Format::Grpc(_)) {
            headers.extend(self.trailers());
            return response;
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        self.challenge(headers);
        response
    }

    /// The trailers of a gRPC response, which are the headers of one without messages.
    pub(crate) fn trailers(&self) -> HeaderMap {
        let code = match self.status {
            _ if self.missing.is_some() => Code::PermissionDenied,
            StatusCode::UNAUTHORIZED => Code::Unauthenticated,
            StatusCode::FORBIDDEN => Code::PermissionDenied,
            StatusCode::BAD_REQUEST => Code::InvalidArgument,
            StatusCode::CONFLICT | StatusCode::PAYLOAD_TOO_LARGE => Code::ResourceExhausted,
            StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
            _ => Code::Internal,
        };
        let mut trailers = grpc::trailers(code, &self.text());
        self.challenge(&mut trailers);
        trailers
    }

    /// The text for people, with the parameters of RFC 9470 if authentication is missing.
    fn text(&self) -> String {
        let start = if self.missing.is_some() { [self.code, ": "] } else { [""; 2] }.concat();
        [&start, self.text, &self.parameters([", ", "=", ""])].concat()
    }

    fn challenge(&self, headers: &mut HeaderMap) {
        if self.bearer {
            let error = if self.missing.is_some() {
                " error=\"insufficient_user_authentication\""
            } else {
                ""
            };
            let challenge = ["Bearer", error, &self.parameters([", ", "=\"", "\""])].concat();
            headers.extend(HeaderValue::try_from(challenge).map(|value| (WWW_AUTHENTICATE, value)));
        }
    }
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
