//! The answers to a registration and to a refresh.
//!
//! Any status from 400 to 499 but 403 makes the browser drop its key, and 403 makes it sign the
//! challenge and try again. So a failure that may pass is always a 503.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, SET_COOKIE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use kvolt_session::{DeviceGrant, DeviceOutcome, Manager, Token};

use super::Settings;
use crate::Result;
use crate::head::RequestHead;
use crate::message::RETRY_AFTER_SECONDS;

const PROOF: HeaderName = HeaderName::from_static("secure-session-response");
const ID: HeaderName = HeaderName::from_static("sec-secure-session-id");
const CHALLENGE: HeaderName = HeaderName::from_static("secure-session-challenge");

/// A request to one of the two paths.
pub(crate) enum Endpoint {
    Register { proof: Option<Vec<u8>> },
    Refresh { id: Vec<u8>, proof: Option<Vec<u8>> },
}

/// A longer value of one of the fields is none.
const MAX_LEN: usize = 4_096;

impl<T: Send + Sync + 'static> Settings<T> {
    /// The endpoint that a request is for.
    pub(crate) fn endpoint(&self, request: &impl RequestHead) -> Option<Endpoint> {
        if request.method() != "POST" {
            return None;
        }
        let path = request.path();
        let field = |name| {
            // Structured fields (RFC 9651): the values are tokens or strings.
            let value = request.first(&name)?;
            let bare = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
            Some(bare.unwrap_or(value)).filter(|value| value.len() <= MAX_LEN).map(<[u8]>::to_vec)
        };
        if path == &*self.refresh {
            Some(Endpoint::Refresh { id: field(ID).unwrap_or_default(), proof: field(PROOF) })
        } else if path == &*self.register {
            Some(Endpoint::Register { proof: field(PROOF) })
        } else {
            None
        }
    }

    /// Answers a request with this token.
    pub(crate) async fn serve(
        &self,
        endpoint: &Endpoint,
        manager: &Manager<T>,
        token: &Token,
    ) -> kvolt_session::Result<DeviceOutcome> {
        match endpoint {
            Endpoint::Register { proof } => {
                let proof = proof.as_deref().unwrap_or_default();
                manager.bind_device(token, proof, self.lifetime).await
            }
            Endpoint::Refresh { id, proof } => {
                manager.prove_device(token, id, proof.as_deref(), self.lifetime).await
            }
        }
    }

    /// The response.
    pub(crate) fn respond(
        &self,
        endpoint: &Endpoint,
        outcome: Result<DeviceOutcome>,
    ) -> Box<Response<Bytes>> {
        let is_refresh = matches!(endpoint, Endpoint::Refresh { .. });
        let mut response = Response::new(Bytes::new());
        let status = match outcome {
            Ok(DeviceOutcome::Granted(DeviceGrant { id, challenge: next, cookie })) => {
                let max_age = Some(self.lifetime.as_secs());
                let cookie = self.policy.header(&self.cookie, &cookie, max_age);
                let headers = response.headers_mut();
                headers.insert(SET_COOKIE, cookie);
                headers.insert(CHALLENGE, challenge(&id, &next));
                // Instructions would replace the binding in the browser.
                if !is_refresh {
                    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                    let start = format!("{{\"session_identifier\":\"{id}");
                    *response.body_mut() = Bytes::from(start + &self.instructions);
                }
                StatusCode::OK
            }
            Ok(DeviceOutcome::Challenged { id, challenge: current }) => {
                response.headers_mut().insert(CHALLENGE, challenge(&id, &current));
                StatusCode::FORBIDDEN
            }
            Ok(DeviceOutcome::AlreadyBound) => StatusCode::CONFLICT,
            Ok(DeviceOutcome::Unknown) if is_refresh => StatusCode::NOT_FOUND,
            Ok(DeviceOutcome::Unknown | DeviceOutcome::Invalid) => StatusCode::BAD_REQUEST,
            Err(error) => {
                if !error.is_ambiguous() {
                    error.log();
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

fn challenge(id: &str, challenge: &str) -> HeaderValue {
    let value = format!("\"{challenge}\";id=\"{id}\"");
    HeaderValue::try_from(value).expect("both are base64url")
}
