//! The form token of a session.

use std::fmt;

use kvolt_session::{CsrfToken, RefusalReason};

use crate::error::Kind;
use crate::{Error, Result, Session};

/// The name of the form field that carries the token.
pub const CSRF_FIELD: &str = "csrf_token";

/// The header that carries the token if a script sends the request.
pub const CSRF_HEADER: &str = "x-csrf-token";

/// The hidden field for a form. Its `Display` is HTML that must not be escaped: in an askama
/// template `{{ csrf_field|safe }}`.
///
/// ```
/// use kvolt_middleware::{Result, Session};
///
/// async fn form(user: Session<String>) -> Result<String> {
///     Ok(format!("<form method=\"post\">{}<button>Delete</button></form>", user.csrf_field()?))
/// }
/// ```
#[derive(Debug, Clone)]
pub struct CsrfField(CsrfToken);

impl fmt::Display for CsrfField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token has letters, digits, `-` and `_` only.
        write!(f, "<input type=\"hidden\" name=\"{CSRF_FIELD}\" value=\"{}\">", self.0)
    }
}

impl<T: Send + Sync + 'static> Session<T> {
    /// Returns a form token of this session, which a script sends in the header [`CSRF_HEADER`].
    ///
    /// It is valid until the next login. The layer rejects requests from other sites without form
    /// tokens too; they are for applications that want or must have both.
    ///
    /// ```
    /// use kvolt_middleware::{Result, Session};
    ///
    /// async fn token(user: Session<String>) -> Result<String> {
    ///     Ok(user.csrf_token()?.to_string())
    /// }
    ///
    /// /// For a request that no extractor fits, such as a multipart form.
    /// fn check(user: &Session<String>, sent: Option<&[u8]>) -> Result<()> {
    ///     user.verify_csrf(sent)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the system has no randomness.
    pub fn csrf_token(&self) -> Result<CsrfToken> {
        Ok(self.snapshot().csrf_token()?)
    }

    /// Returns the hidden field for a form, with a token of this session.
    ///
    /// # Errors
    ///
    /// Returns an error if the system has no randomness.
    pub fn csrf_field(&self) -> Result<CsrfField> {
        self.csrf_token().map(CsrfField)
    }

    /// Checks the form token that a form or a script has sent. The extractors `CsrfForm` and `Csrf`
    /// call it.
    ///
    /// Never take the token from a cookie: browsers send cookies for any site.
    ///
    /// # Errors
    ///
    /// Returns an error if it is not a form token of this session ([`Error::is_csrf`]).
    pub fn verify_csrf(&self, token: Option<&[u8]>) -> Result<()> {
        if token.is_some_and(|token| self.snapshot().verifies_csrf(token)) {
            return Ok(());
        }
        self.handle().manager().report_refusal(Some(self.snapshot()), RefusalReason::Csrf);
        Err(Error(Kind::Csrf))
    }
}
