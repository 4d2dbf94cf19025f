//! Signing in and out with a cookie.

use axum::Form;
use axum::Json;
use axum::extract::{FromRequest, Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Redirect, Response};
use kvolt::middleware::{Handle, Result, local_path};
use kvolt::session::NewSession;
use serde::Deserialize;

use crate::devices::From;
use crate::negotiate::{Wants, refuse};
use crate::pages::{SignIn, page};
use crate::state::App;
use crate::users::{NAME_LEN_MAX, PASSWORD_LEN_MAX, Profile, User};

/// The same for a wrong password and for a name that nobody has.
pub(super) const WRONG: &str = "Wrong username or password";

/// What is sent to sign in, as a form or as JSON.
#[derive(Deserialize)]
pub(super) struct Credentials {
    pub(super) username: String,
    pub(super) password: String,
    /// Where to go on afterwards.
    #[serde(default)]
    next: String,
    /// Whether it came as JSON, which no page sends.
    #[serde(skip)]
    json: bool,
}

impl FromRequest<App> for Credentials {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> std::result::Result<Self, Response> {
        let kind = request.headers().get(CONTENT_TYPE).map(|kind| kind.as_bytes());
        let kind = kind.and_then(|kind| kind.split(|byte| *byte == b';').next());
        let json =
            kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"application/json"));
        let credentials = if json {
            let parsed = Json::<Self>::from_request(request, app).await;
            parsed
                .map(|Json(credentials)| credentials)
                .map_err(|error| (error.status(), error.body_text()))
        } else {
            let parsed = Form::<Self>::from_request(request, app).await;
            parsed
                .map(|Form(credentials)| credentials)
                .map_err(|error| (error.status(), error.body_text()))
        };
        let mut credentials = credentials.map_err(|(status, text)| refuse(status, &text))?;
        credentials.json = json;
        if credentials.username.len() > NAME_LEN_MAX
            || credentials.password.len() > PASSWORD_LEN_MAX
        {
            return Err(refuse(StatusCode::BAD_REQUEST, "the username or password is too long"));
        }
        Ok(credentials)
    }
}

/// Checks the credentials. The session is made only by who gets a user from this.
pub(super) async fn check(app: &App, credentials: &Credentials) -> Option<User> {
    app.users().check(&credentials.username, credentials.password.clone()).await
}

pub(super) async fn sign_in(
    State(app): State<App>,
    handle: Handle<User>,
    From(device): From,
    wants: Wants,
    credentials: Credentials,
) -> Result<Response> {
    let wants = if credentials.json { Wants::Json } else { wants };
    let Some(user) = check(&app, &credentials).await else {
        return Ok(match wants {
            Wants::Json => refuse(StatusCode::UNAUTHORIZED, WRONG),
            Wants::Page => {
                let (name, next) = (&*credentials.username, &*credentials.next);
                let again = SignIn { name, next, error: Some(WRONG) };
                page(StatusCode::UNAUTHORIZED, &again)
            }
        });
    };
    let answer = wants.answer(local_path(&credentials.next).unwrap_or("/"), Profile::from(&user));
    let set_token = handle.login(NewSession::new(user).device(device)).await?;
    Ok((set_token, answer).into_response())
}

#[derive(Deserialize)]
pub(super) struct Going {
    #[serde(default)]
    next: String,
}

/// Who comes here by hand finds the form.
pub(super) async fn to_form(Query(going): Query<Going>) -> Response {
    match local_path(&going.next) {
        Some(_) => page(StatusCode::OK, &SignIn { name: "", next: &going.next, error: None }),
        None => Redirect::to("/").into_response(),
    }
}

pub(super) async fn sign_out(handle: Handle<User>, wants: Wants) -> Result<Response> {
    let set_token = handle.logout().await?;
    let answer = wants.answer("/", serde_json::json!({ "signed_out": true }));
    Ok((set_token, answer).into_response())
}
