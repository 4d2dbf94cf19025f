//! Signing in and out with a cookie.

use std::time::Duration;

use axum::extract::{FromRequest, Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Redirect, Response};
use kvolt::middleware::{Result, SessionHandle, local_path};
use kvolt::session::{Device, Level, NewSession};
use serde::Deserialize;
use serde_json::json;

use crate::accounts::Checked;
use crate::devices::From;
use crate::forms::{self, Act, is_json};
use crate::metrics::SIGN_INS;
use crate::negotiate::{Wants, refuse};
use crate::pages::{SignIn, page};
use crate::state::App;
use crate::users::{MAX_NAME_LEN, MAX_PASSWORD_LEN, Profile, User};

/// What is sent to sign in, as a form or as JSON.
#[derive(Deserialize)]
pub(super) struct Credentials {
    username: String,
    password: String,
    /// Where to go on afterwards.
    #[serde(default)]
    next: String,
    /// Whether the browser is to keep the session when it is closed.
    #[serde(default, deserialize_with = "forms::checked")]
    remember: bool,
    /// Whether it came as JSON, which no page sends.
    #[serde(skip)]
    json: bool,
}

/// Why nobody was let in.
pub(super) enum Denied {
    /// The password is wrong, or nobody has that name: one answer for both.
    Wrong,
    /// Too many attempts have failed; the next may be made after this long.
    TooOften(Duration),
    /// The user has as many sessions as allowed.
    TooMany,
}

impl FromRequest<App> for Credentials {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> std::result::Result<Self, Response> {
        let json = is_json(request.headers());
        let credentials = Self { json, ..forms::read(request, app).await? };
        let Self { username, password, .. } = &credentials;
        if username.len() > MAX_NAME_LEN || password.len() > MAX_PASSWORD_LEN {
            return Err(refuse(StatusCode::BAD_REQUEST, "the username or password is too long"));
        }
        Ok(credentials)
    }
}

impl Denied {
    pub(super) fn text(&self) -> &'static str {
        match self {
            Self::Wrong => "Wrong username or password",
            Self::TooOften(_) => "Too many attempts have failed. Try again in some minutes",
            Self::TooMany => "You are signed in too often. Sign out somewhere else first",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Wrong => StatusCode::UNAUTHORIZED,
            Self::TooOften(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::TooMany => StatusCode::CONFLICT,
        }
    }

    /// As JSON, or as the page that `again` makes of the text.
    pub(super) fn answer(
        &self,
        wants: Wants,
        again: impl FnOnce(StatusCode, &str) -> Response,
    ) -> Response {
        let mut response = match wants {
            Wants::Json => refuse(self.status(), self.text()),
            Wants::Page => again(self.status(), self.text()),
        };
        if let Self::TooOften(wait) = self {
            response.headers_mut().insert(RETRY_AFTER, wait.as_secs().max(1).into());
        }
        response
    }
}

/// Checks a name and a password. Whoever makes or strengthens a session has to come by here.
pub(super) async fn check(
    app: &App,
    name: &str,
    password: String,
    device: &Device,
) -> std::result::Result<Checked, Denied> {
    let counted = |outcome| metrics::counter!(SIGN_INS, "outcome" => outcome).increment(1);
    let attempt = match app.attempts().begin(name, device.address()).await {
        Ok(attempt) => attempt,
        Err(wait) => {
            counted("too often");
            return Err(Denied::TooOften(wait));
        }
    };
    let Some(checked) = app.accounts().check(name, password).await else {
        counted("wrong");
        return Err(Denied::Wrong);
    };
    app.attempts().succeeded(attempt).await;
    counted("right");
    Ok(checked)
}

/// Checks what was sent, and makes a session of it in the place of the client's.
pub(super) async fn make(
    app: &App,
    handle: &SessionHandle<User>,
    device: Device,
    credentials: &Credentials,
) -> Result<std::result::Result<Profile, Denied>> {
    let Credentials { username, password, remember, .. } = credentials;
    let checked = match check(app, username, password.clone(), &device).await {
        Ok(checked) => checked,
        Err(denied) => return Ok(Err(denied)),
    };
    let profile = Profile::from(&checked.user);
    // Bound to the version that the password was right for: a change in between is noticed.
    let session = NewSession::new(checked.user)
        .device(device)
        .level(Level::One)
        .remember(*remember)
        .bound_to(checked.version);
    match handle.login(session).await {
        Ok(()) => Ok(Ok(profile)),
        Err(error) if error.is_limit_reached() => Ok(Err(Denied::TooMany)),
        Err(error) => Err(error),
    }
}

pub(super) async fn sign_in(
    State(app): State<App>,
    handle: SessionHandle<User>,
    From(device): From,
    wants: Wants,
    credentials: Credentials,
) -> Result<Response> {
    let wants = if credentials.json { Wants::Json } else { wants };
    let Credentials { username, next, remember, .. } = &credentials;
    Ok(match make(&app, &handle, device, &credentials).await? {
        Ok(profile) => wants.answer(local_path(next).unwrap_or("/"), profile).into_response(),
        Err(denied) => denied.answer(wants, |status, text| {
            let again = SignIn { name: username, next, remember: *remember, error: Some(text) };
            page(status, &again)
        }),
    })
}

#[derive(Deserialize)]
pub(super) struct Going {
    #[serde(default)]
    pub(super) next: String,
}

/// Who comes here by hand finds the form.
pub(super) async fn to_form(Query(going): Query<Going>) -> Response {
    match local_path(&going.next) {
        Some(next) => page(StatusCode::OK, &SignIn { next, ..SignIn::default() }),
        None => Redirect::to("/").into_response(),
    }
}

/// Whoever has no session is signed out already.
pub(super) async fn sign_out(
    State(app): State<App>,
    handle: SessionHandle<User>,
    wants: Wants,
    request: Request,
) -> Result<Response> {
    if handle.session().is_some()
        && let Err(refused) = Act::from_request(request, &app).await
    {
        return Ok(refused);
    }
    handle.logout().await?;
    let answer = wants.answer("/", json!({ "signed_out": true }));
    Ok(answer.into_response())
}
