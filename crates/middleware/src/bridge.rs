//! The interface to the sessions of another library.

use std::future::Future;
use std::pin::Pin;

use http::HeaderValue;
use kvolt_session::{Result, SessionSnapshot, Token};

/// Takes over the sessions of another library. Implemented by `Bridge` of the crate `kvolt-bridge`,
/// and set with [`SessionsBuilder::bridge`](crate::SessionsBuilder::bridge).
///
/// ```
/// use std::future::Future;
/// use std::pin::Pin;
/// use http::HeaderValue;
/// use kvolt_middleware::adapter::{BridgeOutcome, SessionBridge};
/// use kvolt_session::{Manager, NewSession, Result, SessionSnapshot, Token};
///
/// /// Signs in each client that shows a voucher, and takes the voucher away.
/// struct Vouchers(Manager<String>);
///
/// impl SessionBridge<String> for Vouchers {
///     fn cookie_name(&self) -> &str {
///         "voucher"
///     }
///
///     fn resolve<'a>(
///         &'a self,
///         old: Option<&'a str>,
///         current: Option<(&'a Token, &'a SessionSnapshot<String>)>,
///     ) -> Pin<Box<dyn Future<Output = Result<BridgeOutcome>> + Send + 'a>> {
///         Box::pin(async move {
///             match (old, current) {
///                 (Some("spring"), None) => {
///                     let session = NewSession::new(String::from("a guest"));
///                     Ok(BridgeOutcome::SignedIn(self.0.create(session).await?))
///                 }
///                 (Some(_), Some(_)) => {
///                     Ok(BridgeOutcome::RemoveOldCookie(HeaderValue::from_static("voucher=; Max-Age=0")))
///                 }
///                 _ => Ok(BridgeOutcome::Unchanged),
///             }
///         })
///     }
/// }
/// ```
pub trait SessionBridge<T>: Send + Sync + 'static {
    /// The name of the other library's cookie.
    fn cookie_name(&self) -> &str;

    /// Decides about a request that carries the other library's cookie, or a session, or both.
    ///
    /// `old` is the value of that cookie, without percent-encoding. It is `None` if the request has
    /// no such cookie, or several with different values. `current` is the session of the request's valid token, also if
    /// it is bound to a device that the request does not prove.
    /// The layer calls it once for each request, after it has read the session, within the
    /// [time limit](crate::SessionsBuilder::store_timeout) of a store. A request whose session
    /// can't be read, or that has several different tokens, is not asked about.
    ///
    /// # Errors
    ///
    /// Returns an error if the question can't be answered. The request then gets the response of
    /// that error: 503 if it is [unavailable](kvolt_session::Error::is_unavailable).
    fn resolve<'a>(
        &'a self,
        old: Option<&'a str>,
        current: Option<(&'a Token, &'a SessionSnapshot<T>)>,
    ) -> Pin<Box<dyn Future<Output = Result<BridgeOutcome>> + Send + 'a>>;
}

/// The decision of a [`SessionBridge`].
#[derive(Debug)]
pub enum BridgeOutcome {
    /// The request keeps the session that it came with, or has none.
    Unchanged,
    /// The request has the session of this token, and the response gives the client the token as the
    /// first cookie of the lookup. An anonymous session that the request came with ends.
    SignedIn(Token),
    /// The request keeps the session that it came with, or has none. The response has this
    /// `Set-Cookie` header, which removes the other library's cookie.
    RemoveOldCookie(HeaderValue),
    /// The request's session has ended. The response has this `Set-Cookie` header, which removes
    /// the other library's cookie.
    SignedOut(HeaderValue),
}
