//! Building blocks for an adapter to another framework.
//!
//! The layer decides and answers by plain header names and values, so that every framework gets the
//! same rules. An adapter does five things:
//!
//! 1. It implements [`Headers`], [`RequestHead`] and [`ResponseHead`] for the framework's requests
//!    and responses. Those of the crate `http` 1 have them.
//! 2. It calls [`SessionLayer::admit`](crate::SessionLayer::admit), with the [`RequestSession`] of
//!    an outer layer if the request has one.
//! 3. It sends an [`Admission::Answer`] as it is. It awaits an [`Admission::Wait`]; a request that
//!    is [`Denied`] then gets [`SessionLayer::answer`](crate::SessionLayer::answer).
//! 4. It puts the [`RequestSession`] of an admitted request among the request's extensions, from
//!    where extractors get a [`SessionHandle`](crate::SessionHandle), and calls the handler.
//! 5. It completes the response with [`PendingResponse::finish`], and drops the [`PendingResponse`]
//!    if the handler fails or the client disconnects.
//!
//! An [`Error`](crate::Error) that a handler returns becomes a response with
//! [`PendingResponse::error_response`]. Where the framework makes a response of it first,
//! [`PendingResponse::reformatted`] gives that response the form that the request asks for.
//!
//! [`HeaderName`] and [`HeaderValue`] are those of the crate `http` 1. An adapter for a framework
//! with other types needs only their `as_str` and `as_bytes`.
//!
//! ```
//! use std::sync::Arc;
//! use http::{HeaderMap, Request, Response};
//! use kvolt_middleware::adapter::{Admission, Denied, PendingResponse};
//! use kvolt_middleware::{Result, SessionHandle, SessionLayer};
//!
//! /// A framework with one handler, on the types of the crate `http`.
//! async fn serve(layer: Arc<SessionLayer<String>>, request: Request<()>) -> Response<String> {
//!     let admitted = match layer.admit(&request, None) {
//!         Admission::Pass(session) => Ok(session),
//!         Admission::Answer(answer) => Err(answer),
//!         Admission::Wait(wait) => {
//!             wait.await.map_err(|denied: Denied| layer.answer(denied, &request))
//!         }
//!     };
//!     let response = match admitted {
//!         Ok(session) => {
//!             let mut pending = PendingResponse::new(session.clone());
//!             let mut response = match handle(session.handle()).await {
//!                 Ok(text) => Response::new(text.into()),
//!                 Err(error) => pending.error_response(&error),
//!             };
//!             pending.finish(response.headers_mut());
//!             response
//!         }
//!         Err(answer) => *answer,
//!     };
//!     response.map(|body| String::from_utf8_lossy(&body).into_owned())
//! }
//!
//! async fn handle(client: SessionHandle<String>) -> Result<String> {
//!     Ok(client.session().map_or_else(|| String::from("a visitor"), |name| name.data().clone()))
//! }
//! ```
//!
//! The heads of a framework with types of its own:
//!
//! ```
//! use kvolt_middleware::adapter::{
//!     HeaderName, HeaderValue, Headers, RequestHead, RequestSession, ResponseHead,
//! };
//!
//! struct Head { method: String, target: String, fields: Vec<(String, Vec<u8>)> }
//!
//! impl Headers for Head {
//!     fn each<'a>(&'a self, name: &HeaderName, visit: &mut dyn FnMut(&'a [u8])) {
//!         let same = self.fields.iter().filter(|(other, _)| other == name.as_str());
//!         same.for_each(|(_, value)| visit(value));
//!     }
//! }
//!
//! impl RequestHead for Head {
//!     fn method(&self) -> &str { &self.method }
//!     fn authority(&self) -> Option<&str> { None }
//!     fn path_and_query(&self) -> &str { &self.target }
//! }
//!
//! impl ResponseHead for Head {
//!     fn append(&mut self, name: &HeaderName, value: HeaderValue) -> bool {
//!         let had_one = self.first(name).is_some();
//!         self.fields.push((name.to_string(), value.as_bytes().to_vec()));
//!         had_one
//!     }
//!
//!     fn retain(&mut self, name: &HeaderName, keep: &mut dyn FnMut(&[u8]) -> bool) {
//!         self.fields.retain(|(other, value)| other != name.as_str() || keep(value));
//!     }
//! }
//!
//! /// The extractor's part.
//! fn name(session: &RequestSession<String>) -> Option<String> {
//!     session.handle().session().map(|name| name.data().clone())
//! }
//! ```

pub use http::{HeaderName, HeaderValue};

pub use crate::bridge::{BridgeOutcome, SessionBridge};
pub use crate::head::{Headers, RequestHead, ResponseHead};
pub use crate::layer::admission::{Admission, Denied, StoreWait};
pub use crate::layer::layered_types;
pub use crate::layer::shared::{PendingResponse, RequestSession};
