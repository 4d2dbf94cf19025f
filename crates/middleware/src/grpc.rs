//! Answers to gRPC requests: a status in a response without messages (`Trailers-Only`).

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::head::{RequestHead, begins_with, names};
use crate::message::RETRY_AFTER_SECONDS;

/// The codes of gRPC that the layer answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    InvalidArgument = 3,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// The content types of gRPC and of gRPC-Web, which may have a suffix, such as `+proto`, and
/// parameters.
const CONTENT_TYPES: [&str; 3] =
    ["application/grpc-web-text", "application/grpc-web", "application/grpc"];

/// The bytes that are escaped in a message, besides those that are not ASCII.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// The content type of the response to a gRPC request. `None` for other requests.
#[inline]
pub(crate) fn content_type<H: RequestHead + ?Sized>(request: &H) -> Option<&'static str> {
    // A call is a `POST`, so that other requests need no search for their type.
    if request.method() != "POST" {
        return None;
    }
    let content_type = request.first(&names::CONTENT_TYPE)?;
    CONTENT_TYPES.into_iter().find(|grpc| {
        let ends = |rest: &[u8]| rest.first().is_none_or(|next| b"+; \t".contains(next));
        begins_with(content_type, grpc) && ends(&content_type[grpc.len()..])
    })
}

/// The trailers of a response, which are the headers of one without messages.
pub(crate) fn trailers(code: Code, message: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(STATUS, HeaderValue::from(code as u32));
    let message = utf8_percent_encode(message, ESCAPED).to_string();
    trailers.extend(HeaderValue::try_from(message).map(|message| (MESSAGE, message)));
    if code == Code::Unavailable {
        trailers.insert(PUSHBACK, HeaderValue::from(RETRY_AFTER_SECONDS * 1000));
    }
    trailers
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn call_is_known_by_its_method_and_content_type() {
        let answered = |method, content_type| {
            let request = Request::builder().method(method).header("content-type", content_type);
            super::content_type(&request.body(()).unwrap())
        };
        for (sent, expected) in [
            ("application/grpc", "application/grpc"),
            ("application/grpc+proto", "application/grpc"),
            ("Application/GRPC;charset=utf-8", "application/grpc"),
            ("application/grpc ; charset=utf-8", "application/grpc"),
            ("application/grpc-web", "application/grpc-web"),
            ("application/grpc-web;charset=utf-8", "application/grpc-web"),
            ("application/grpc-web-text", "application/grpc-web-text"),
            ("application/grpc-web+proto", "application/grpc-web"),
            ("application/grpc-web-text+proto", "application/grpc-web-text"),
        ] {
            assert_eq!(answered("POST", sent), Some(expected), "{sent}");
            assert_eq!(answered("GET", sent), None, "{sent}");
        }
        for sent in [
            "",
            "application/grp",
            "application/json",
            "text/plain, application/grpc",
            "application/grpcfoo",
            "application/grpc-foo",
            "application/grpc-webfoo",
            "application/grpc-web-textual",
        ] {
            assert_eq!(answered("POST", sent), None, "{sent}");
        }
    }

    #[test]
    fn message_is_escaped() {
        let trailers = trailers(Code::Internal, "100 % \"ä\"\n");
        assert_eq!(trailers["grpc-message"], "100 %25 \"%C3%A4\"%0A");
        assert_eq!(trailers["grpc-status"], "13");
    }
}
