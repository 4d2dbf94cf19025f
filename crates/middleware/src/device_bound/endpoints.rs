//! The answers to a registration and to a refresh.
//!
//! Any status from 400 to 499 but 403 makes the browser drop its key, and 403 makes it sign the
//! challenge and try again. So a failure that may pass is always a 503.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, SET_COOKIE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use kvolt_session::{DeviceAnswer, DeviceOutcome};

use super::Settings;
use crate::head::RequestHead;
use crate::lookup::Presented;
use crate::message::RETRY_AFTER_SECONDS;
use crate::store_timeout::bounded;
use crate::{Error, Sessions};

const PROOF: HeaderName = HeaderName::from_static("secure-session-response");
const ID: HeaderName = HeaderName::from_static("sec-secure-session-id");
const CHALLENGE: HeaderName = HeaderName::from_static("secure-session-challenge");

/// How often a registration is tried. Its answer may be lost after the session is bound, and the
/// browser would not try again.
const REGISTRATION_ATTEMPTS: usize = 3;

/// A request to one of the two paths.
pub(crate) struct Endpoint {
    /// The browser's name for the binding, in a refresh.
    refreshes: Option<Vec<u8>>,
    /// Empty if there is none.
    proof: Vec<u8>,
}

impl<T> Settings<T> {
    /// The endpoint that a request is for.
    pub(crate) fn endpoint(&self, request: &impl RequestHead) -> Option<Endpoint> {
        let path = request.path();
        let is_refresh = path == self.set.refresh;
        if request.method() != "POST" || !(is_refresh || path == self.set.register) {
            return None;
        }
        // Structured fields (RFC 9651): the values are tokens or strings.
        let field = |name| {
            let value = request.first(&name).unwrap_or_default();
            let bare = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
            bare.unwrap_or(value).to_vec()
        };
        Some(Endpoint { refreshes: is_refresh.then(|| field(ID)), proof: field(PROOF) })
    }
}

impl<T: Send + Sync + 'static> Settings<T> {
    /// Answers a request with these tokens.
    pub(crate) async fn serve(
        self: Arc<Self>,
        sessions: &Sessions<T>,
        endpoint: Endpoint,
        presented: Presented,
    ) -> Box<Response<Bytes>> {
        let Endpoint { refreshes, proof } = endpoint;
        let (manager, limit) = (sessions.manager(), sessions.0.store_timeout);
        let lifetime = self.set.lifetime;
        let outcome = match (&presented, &refreshes) {
            (Presented::Nothing, _) => Ok(DeviceOutcome::Refused),
            // Another site of the same domain may have added one, and must not end the binding.
            (Presented::Several(..), _) => {
                sessions.report_ambiguous();
                Err(None)
            }
            (Presented::One(token, _), Some(id)) => {
                let proved = manager.prove_device(token, id, &proof, lifetime);
                bounded(limit, proved).await.map_err(Some)
            }
            (Presented::One(token, _), None) => {
                let mut outcome = Err(None);
                for _ in 0..REGISTRATION_ATTEMPTS {
                    let bound = manager.bind_device(token, &proof, lifetime);
                    outcome = bounded(limit, bound).await.map_err(Some);
                    if !matches!(&outcome, Err(Some(error)) if error.is_unavailable()) {
                        break;
                    }
                }
                outcome
            }
        };
        let mut response = Response::new(Bytes::new());
        let status = match outcome {
            Ok(DeviceOutcome::Bound(DeviceAnswer { id, challenge, cookie })) => {
                let challenge = format!("\"{challenge}\";id=\"{id}\"");
                let challenge = HeaderValue::try_from(challenge).expect("both are base64url");
                response.headers_mut().insert(CHALLENGE, challenge);
                // In the answer to a refresh, instructions would replace the binding in the browser.
                if refreshes.is_none() {
                    let json = HeaderValue::from_static("application/json");
                    response.headers_mut().insert(CONTENT_TYPE, json);
                    let start = format!("{{\"session_identifier\":\"{id}");
                    *response.body_mut() = Bytes::from(start + &self.instructions);
                }
                let max_age = Some(lifetime.as_secs());
                let cookie =
                    cookie.map(|value| self.policy.header(&self.set.cookie, &value, max_age));
                let status = if cookie.is_some() { StatusCode::OK } else { StatusCode::FORBIDDEN };
                response.headers_mut().extend(cookie.map(|cookie| (SET_COOKIE, cookie)));
                status
            }
            Ok(DeviceOutcome::AlreadyBound) => StatusCode::CONFLICT,
            Ok(DeviceOutcome::Refused) if refreshes.is_some() => StatusCode::NOT_FOUND,
            Ok(DeviceOutcome::Refused) => StatusCode::BAD_REQUEST,
            Err(error) => {
                if let Some(error) = error {
                    Error::from(error).log();
                }
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        *response.status_mut() = status;
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Box::new(response)
    }
}
