//! The form token of a session, for pages and for those who check it.

use std::fmt;

use kvolt_session::{CsrfToken, RefusalReason};

use crate::{Error, Result, Session};

/// The name of the form field that carries the token.
pub const CSRF_FIELD: &str = "csrf_token";

/// The header that carries the token where a script sends the request.
pub const CSRF_HEADER: &str = "x-csrf-token";

/// The hidden field for a form: its `Display` is HTML that needs no escaping, and must not get any.
///
/// In an askama template: `{{ csrf_field|safe }}`.
#[derive(Debug, Clone)]
pub struct CsrfField(CsrfToken);

impl fmt::Display for CsrfField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token has letters, digits, `-` and `_` only.
        write!(f, "<input type=\"hidden\" name=\"{CSRF_FIELD}\" value=\"{}\">", self.0)
    }
}

impl<T: Send + Sync + 'static> Session<T> {
    /// A form token of this session, for a script to send as the header [`CSRF_HEADER`].
    ///
    /// It is good until the next login. Requests from other sites are refused without it
    /// too; it is for applications that want, or have to have, both. (A handler that signs the
    /// client in has the session from before it, whose tokens are good no more.)
    ///
    /// # Errors
    ///
    /// No randomness.
    pub fn csrf_token(&self) -> Result<CsrfToken> {
        Ok(self.snapshot().csrf_token()?)
    }

    /// The hidden field for a form, with a token of this session.
    ///
    /// # Errors
    ///
    /// No randomness.
    pub fn csrf_field(&self) -> Result<CsrfField> {
        self.csrf_token().map(CsrfField)
    }

    /// Whether what a form, or a script, has sent is a form token of this session. Where an
    /// extractor fits (`CsrfForm`, `Csrf`), it does this by itself.
    ///
    /// Never take it from a cookie: a browser would send that for any site.
    ///
    /// # Errors
    ///
    /// [`is_csrf`](Error::is_csrf) if it is none.
    pub fn verify_csrf(&self, token: Option<&[u8]>) -> Result<()> {
        if token.is_some_and(|token| self.snapshot().verifies_csrf(token)) {
            return Ok(());
        }
        self.handle().manager().report_refusal(Some(self.snapshot()), RefusalReason::Csrf);
        Err(Error::csrf())
    }
}
