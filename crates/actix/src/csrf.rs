//! Extractors that check a form token.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::error::UrlencodedError;
use actix_web::web::Form;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest};
use kvolt_middleware::{CSRF_FIELD, CSRF_HEADER};
use serde::de::DeserializeOwned;

use crate::Session;
use crate::extract::{self, Extracted};

/// The session of a request that carries a form token of it in the header [`CSRF_HEADER`]. For
/// requests that a script sends.
///
/// ```
/// use kvolt_actix::Csrf;
///
/// async fn delete(Csrf(user): Csrf<String>) -> String {
///     format!("deleted the account of {}", user.data())
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Csrf<T>(pub Session<T>);

/// The session and the form of a request that carries a form token of the session in the form's
/// field [`CSRF_FIELD`] or in the header [`CSRF_HEADER`].
///
/// For forms as browsers send them by default (`application/x-www-form-urlencoded`). The token is
/// checked before the form is parsed. The body is read as a [`Form`] is: the limit of
/// [`FormConfig`](actix_web::web::FormConfig) applies, 16 kB by default. The error handler of a
/// `FormConfig` does not see a form whose fields do not fit `F`.
///
/// ```
/// use kvolt_actix::CsrfForm;
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Rename { name: String }
///
/// async fn rename(CsrfForm(user, form): CsrfForm<String, Rename>) -> String {
///     format!("{} is now {}", user.data(), form.name)
/// }
/// ```
#[derive(Debug, Clone)]
pub struct CsrfForm<T, F>(pub Session<T>, pub F);

impl<T: Send + Sync + 'static> FromRequest for Csrf<T> {
    type Error = crate::Error;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let checked = extract::session::<T>(request).and_then(|session| {
            let Some(session) = session else { return Ok(None) };
            session.verify_csrf(header(request))?;
            Ok(Some(Self(session)))
        });
        Extracted::new(checked)
    }
}

impl<T, F> FromRequest for CsrfForm<T, F>
where
    T: Send + Sync + 'static,
    F: DeserializeOwned + 'static,
{
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let session = Session::<T>::extract(request);
        let fields = Form::<Vec<(String, String)>>::from_request(request, payload);
        let request = request.clone();
        Box::pin(async move {
            let session = session.await?;
            let fields = match fields.await {
                Err(error) if is_form(&request) => return Err(error),
                fields => fields,
            };
            // A body of another type has no token.
            let token = header(&request).or_else(|| field(fields.as_ref().ok()?));
            session.verify_csrf(token).map_err(crate::Error::from)?;
            let fields = serde_urlencoded::to_string(fields?.into_inner());
            let fields = fields.map_err(UrlencodedError::Serialize)?;
            let form = serde_urlencoded::from_str(&fields).map_err(UrlencodedError::Parse)?;
            Ok(Self(session, form))
        })
    }
}

fn is_form(request: &HttpRequest) -> bool {
    request.content_type().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

fn header(request: &HttpRequest) -> Option<&[u8]> {
    request.headers().get(CSRF_HEADER).map(|token| token.as_bytes())
}

/// The one field of that name. Of several, none is accepted.
fn field(fields: &[(String, String)]) -> Option<&[u8]> {
    let mut tokens = fields.iter().filter(|(name, _)| name == CSRF_FIELD);
    let (_, token) = tokens.next()?;
    tokens.next().is_none().then_some(token.as_bytes())
}
