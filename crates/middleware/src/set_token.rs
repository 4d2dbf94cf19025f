use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

use kvolt_session::Token;

use crate::slot;

/// The part of a response that gives the client its new token, or takes it away.
///
/// Return it from the handler. Behind the [layer](crate::SessionLayer) the
/// header is set in any case, also when the handler fails after it, and this is
/// only how to get at the token itself.
#[must_use = "outside the layer, the client gets its token only if this is part of the response"]
pub struct SetToken {
    header: Option<(HeaderName, HeaderValue)>,
    token: Option<Token>,
}

impl SetToken {
    pub(crate) fn new(header: Option<(HeaderName, HeaderValue)>, token: Option<Token>) -> Self {
        Self { header, token }
    }

    pub(crate) fn by_layer(token: Option<Token>) -> Self {
        Self::new(None, token)
    }

    /// The new token, for a handler that hands it to the client in its own way, or goes on with the
    /// new session: see [`Manager`](kvolt_session::Manager). None after a logout.
    pub fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// Sets the header by hand, where no extractor and no layer does.
    pub fn apply(self, headers: &mut HeaderMap) {
        if let Some((name, value)) = self.header {
            slot::set(headers, &name, value);
            headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
    }
}

/// A response part for a logout that makes the browser also drop what it has
/// kept of this site: caches and storage (`Clear-Site-Data`). Over HTTPS only.
///
/// It does not name cookies: all of the site's would go, not the session's alone.
pub fn clear_site_data() -> [(HeaderName, HeaderValue); 1] {
    let value = HeaderValue::from_static("\"cache\", \"storage\"");
    [(HeaderName::from_static("clear-site-data"), value)]
}

impl fmt::Debug for SetToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetToken").field("token", &self.token).finish_non_exhaustive()
    }
}
