//! What a request shows about its device and about the browser, before its session is read.

#[cfg(feature = "device-bound")]
use http::HeaderName;
use kvolt_session::DeviceCookie;

#[cfg(feature = "device-bound")]
use crate::head::{RequestHead, names};
#[cfg(feature = "device-bound")]
use crate::lookup::Unique;

/// By default, that of a request that shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DeviceRequest {
    pub(crate) cookie: Option<DeviceCookie>,
    /// Whether it has a bound cookie, of whatever value.
    pub(crate) has_cookie: bool,
    /// Whether a browser sent it for no page of another origin, and reads the answer's headers.
    #[cfg(feature = "device-bound")]
    pub(crate) is_own: bool,
    /// Whether a page of another site made the browser send it.
    #[cfg(feature = "device-bound")]
    pub(crate) is_cross_site: bool,
    /// Whether it is one of the methods with which no user signs in or out.
    pub(crate) is_read: bool,
    /// Whether the browser loads a page with it.
    pub(crate) is_navigation: bool,
    /// Whether it follows a link of another origin, which a browser may not refresh for. Once the
    /// page has loaded itself again, the request is this origin's own.
    pub(crate) must_reload: bool,
    /// Whether the browser says that it could not refresh now. Any client can say so.
    pub(crate) is_delayed: bool,
}

#[cfg(feature = "device-bound")]
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
#[cfg(feature = "device-bound")]
const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
#[cfg(feature = "device-bound")]
const SKIPPED: HeaderName = HeaderName::from_static("secure-session-skipped");

#[cfg(feature = "device-bound")]
impl DeviceRequest {
    pub(crate) fn of(request: &impl RequestHead, cookie: Unique<'_>) -> Self {
        let site = request.first(&SITE).unwrap_or_default();
        let is_navigation = request.first(&MODE) == Some(b"navigate");
        let is_foreign = matches!(site, b"cross-site" | b"same-site");
        let skipped = request.first(&SKIPPED).unwrap_or_default();
        let reasons = [&b"server_error"[..], b"unreachable", b"quota_exceeded"];
        let has_cookie = !matches!(cookie, Unique::None);
        let cookie = match cookie {
            Unique::One(value) => DeviceCookie::parse(value),
            _ => None,
        };
        Self {
            cookie,
            has_cookie,
            is_own: matches!(site, b"same-origin" | b"none")
                && request.first(&names::UPGRADE).is_none(),
            is_cross_site: site == b"cross-site",
            is_read: matches!(request.method(), "GET" | "HEAD"),
            is_navigation,
            must_reload: is_navigation && is_foreign && request.method() == "GET",
            is_delayed: reasons.iter().any(|reason| skipped.starts_with(reason)),
        }
    }
}
