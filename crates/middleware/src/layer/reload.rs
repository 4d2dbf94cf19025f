//! Answers that make a browser prove its device.

use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Response, StatusCode};

use super::admission::Reason;
use crate::device_request::DeviceRequest;
use crate::error::Kind;
use crate::head::{RequestHead, names};
use crate::message::Format;
use crate::{Error, Missing, SessionLayer, local_path};

/// A page that loads itself again. The browser takes its next request for one of this origin, and
/// proves the device first; after a redirect or a `Refresh` header it would not. Where the script
/// can't run, the user follows the link, to the same address.
const PAGE: &str = "<!doctype html><html lang=\"en\"><title>One moment</title>\
    <p><a href=\"\">Continue</a><script>location.reload()</script>\n";

/// Only that script runs, and nothing is loaded.
const POLICY: &str =
    "default-src 'none'; script-src 'sha256-9gOBGqEQINNDuds+tkXbNzih6klbz+KeCyxEj4KRLeM='";

pub(super) fn page() -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(PAGE.as_bytes()));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

impl DeviceRequest {
    /// Why a request that does not prove its device may not pass.
    pub(super) fn refusal(&self) -> Reason {
        if self.must_reload {
            Reason::Reload
        } else if self.is_delayed {
            Reason::Failed(Error(Kind::ProofDelayed))
        } else if self.has_cookie {
            // The browser takes its cookie for valid, such as after a store's failover: it would not
            // prove the device before the cookie expires.
            Reason::ProveAgain
        } else {
            Reason::Missing(Missing::DeviceProof)
        }
    }
}

impl<T: Send + Sync + 'static> SessionLayer<T> {
    /// Removes the bound cookie, and sends a browser to the same address again: it proves the device
    /// first. Other clients get an error.
    pub(super) fn prove_again(&self, request: &impl RequestHead) -> Response<Bytes> {
        let is_browser = request.header("sec-fetch-mode").is_some();
        let is_upgrade = request.first(&names::UPGRADE).is_some();
        let here = local_path(request.path_and_query()).filter(|_| is_browser && !is_upgrade);
        let mut response = Error(Kind::ProofTooOld).message().response(Format::of(request));
        if let Some(here) = here.and_then(|here| HeaderValue::from_str(here).ok()) {
            // With its method and its body.
            *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
            response.headers_mut().insert(LOCATION, here);
        }
        #[cfg(feature = "device-bound")]
        if let Some(settings) = &self.sessions.0.device_bound {
            let (name, value) = settings.clearing_header();
            response.headers_mut().append(name, value);
        }
        response
    }
}
