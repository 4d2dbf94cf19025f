//! Sign-in and sign-out by cookie.

use std::time::Duration;

use axum::extract::{FromRequest, Query, Request, State};
use axum::http::header::{CACHE_CONTROL, REFERRER_POLICY, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use kvolt::middleware::{Result, SessionHandle, local_path};
use kvolt::session::{Device, Level, NewSession, Token};
use serde::Deserialize;
use serde_json::json;

use crate::accounts::CheckedUser;
use crate::audit::Entry;
use crate::devices::{self, RequestDevice};
use crate::forms::{self, CheckedAction, is_json};
use crate::metrics::SIGN_INS;
use crate::negotiate::{Wants, error};
use crate::pages::{Message, SignIn, page};
use crate::state::{App, owner};
use crate::users::{MAX_NAME_LEN, MAX_PASSWORD_LEN, Profile, User, normalized};

/// The fields of a sign-in, as a form or as JSON.
#[derive(Deserialize)]
pub(super) struct Credentials {
    username: String,
    password: String,
    /// The page to go to afterwards.
    #[serde(default)]
    next: String,
    /// Whether the browser keeps the cookie when it is closed.
    #[serde(default, deserialize_with = "forms::checkbox")]
    remember: bool,
    /// Whether they are JSON, which no page sends.
    #[serde(skip)]
    json: bool,
}

/// Why a sign-in was refused.
pub(super) enum Denied {
    /// The password is wrong, or the name is unknown: the answer must not reveal which.
    Wrong,
    /// Too many attempts have failed. The next one may start after this time.
    LockedOut(Duration),
    /// The code of a link is wrong, was used, or has expired.
    Link,
    /// The user has the maximum number of sessions.
    TooManySessions,
}

impl FromRequest<App> for Credentials {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> std::result::Result<Self, Response> {
        let json = is_json(request.headers());
        let Self { username, password, next, remember, .. } = forms::read(request, app).await?;
        if username.len() > MAX_NAME_LEN || password.len() > MAX_PASSWORD_LEN {
            return Err(error(StatusCode::BAD_REQUEST, "the username or password is too long"));
        }
        let (username, password) = (normalized(&username), normalized(&password));
        Ok(Self { username, password, next, remember, json })
    }
}

impl Denied {
    pub(super) fn text(&self) -> &'static str {
        match self {
            Self::Wrong => "Wrong username or password",
            Self::LockedOut(_) => "Too many failed attempts. Try again in a few minutes",
            Self::Link => "This link is wrong, was used before, or has expired",
            Self::TooManySessions => {
                "You are signed in on too many devices. Sign out on one of them first"
            }
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Wrong | Self::Link => StatusCode::UNAUTHORIZED,
            Self::LockedOut(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::TooManySessions => StatusCode::CONFLICT,
        }
    }

    /// The answer with this page, instead of plain text.
    pub(super) fn with_page(&self, make: impl FnOnce(StatusCode) -> Response) -> Response {
        let mut response = make(self.status());
        if let Self::LockedOut(wait) = self {
            response.headers_mut().insert(RETRY_AFTER, wait.as_secs().max(1).into());
        }
        response
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let code = match self {
            Self::Wrong => "wrong_credentials",
            Self::LockedOut(_) => "locked_out",
            Self::Link => "wrong_link",
            Self::TooManySessions => "too_many_sessions",
        };
        self.with_page(|status| error(status, &format!("{code}: {}", self.text())))
    }
}

/// Checks a name and a password. Everything that creates or strengthens a session calls it.
pub(super) async fn check(
    app: &App,
    name: &str,
    password: String,
    device: &Device,
) -> std::result::Result<CheckedUser, Denied> {
    let count = |outcome| metrics::counter!(SIGN_INS, "outcome" => outcome).increment(1);
    let attempt = match app.attempts().begin(name, device.address()).await {
        Ok(attempt) => attempt,
        Err(wait) => {
            count("locked_out");
            return Err(Denied::LockedOut(wait));
        }
    };
    let Some(checked) = app.accounts().check(name, password).await else {
        count("wrong");
        report_failure(app, name, device, attempt.is_last());
        return Err(Denied::Wrong);
    };
    app.attempts().succeeded(attempt).await;
    count("right");
    Ok(checked)
}

/// Reports a failed sign-in to the log and the audit log, and the lock-out that it causes.
///
/// An unknown name is left out: users type their password into the wrong field. Locked-out
/// attempts are not reported one by one: unlike a failed one, they cost a client no time.
fn report_failure(app: &App, name: &str, device: &Device, is_last: bool) {
    let id = app.accounts().id(name);
    let user = if id.is_some() { name } else { "unknown" };
    let (address, program) = (devices::address(device), devices::name(device));
    tracing::warn!(user, address, device = program, "sign-in failed: wrong name or password");
    let entry = |event| Entry {
        owner: id.map(owner),
        device: Some(device.clone()),
        ..Entry::new(app.manager().clock().now(), event)
    };
    app.audit().sign_in_failed(entry("sign_in_failed"));
    if is_last {
        tracing::warn!(
            user,
            address,
            device = program,
            "locked out further sign-ins for some minutes: too many have failed (see --failed-sign-ins)"
        );
        app.audit().sign_in_failed(entry("locked_out"));
    }
}

/// Checks the credentials, and replaces the client's session by a new one.
pub(super) async fn create_session(
    app: &App,
    handle: &SessionHandle<User>,
    device: Device,
    credentials: &Credentials,
) -> Result<std::result::Result<Profile, Denied>> {
    let Credentials { username, password, remember, .. } = credentials;
    match check(app, username, password.clone(), &device).await {
        Ok(checked) => replace_session(app, handle, device, checked, *remember).await,
        Err(denied) => Ok(Err(denied)),
    }
}

/// Replaces the client's session by a new one of this user.
async fn replace_session(
    app: &App,
    handle: &SessionHandle<User>,
    device: Device,
    checked: CheckedUser,
    remember: bool,
) -> Result<std::result::Result<Profile, Denied>> {
    let profile = Profile::from(&checked.user);
    let (name, owner) = (checked.user.name.clone(), owner(checked.user.id));
    // Bound to the version that was checked, in case the password changes at this moment.
    let session = NewSession::new(checked.user)
        .device(device.clone())
        .level(Level::One)
        .remember(remember)
        .bound_to(checked.version);
    match handle.login(session).await {
        Ok(()) => {
            let session = handle.token().as_ref().map(Token::id);
            let (address, program) = (devices::address(&device), devices::name(&device));
            tracing::info!(user = name, %owner, address, device = program, "signed in");
            app.audit().signed_in(Entry {
                session,
                owner: Some(owner),
                device: Some(device),
                ..Entry::new(app.manager().clock().now(), "signed_in")
            });
            Ok(Ok(profile))
        }
        Err(error) if error.is_limit_reached() => Ok(Err(Denied::TooManySessions)),
        Err(error) => Err(error),
    }
}

pub(super) async fn sign_in(
    State(app): State<App>,
    handle: SessionHandle<User>,
    RequestDevice(device): RequestDevice,
    wants: Wants,
    credentials: Credentials,
) -> Result<Response> {
    let wants = if credentials.json { Wants::Json } else { wants };
    let Credentials { username, next, remember, .. } = &credentials;
    Ok(match create_session(&app, &handle, device, &credentials).await? {
        Ok(profile) => wants.answer(local_path(next).unwrap_or("/"), profile),
        Err(denied) if wants == Wants::Json => denied.into_response(),
        Err(denied) => denied.with_page(|status| {
            let error = Some(denied.text());
            let form = SignIn { name: username, next, remember: *remember, error, ..app.sign_in() };
            page(status, &form)
        }),
    })
}

/// The code of a link, in its address.
#[derive(Deserialize)]
pub(super) struct LinkQuery {
    #[serde(default)]
    code: String,
}

/// Signs in by the link that was printed at the start, if no user is signed in: another site that
/// has a link must not move its visitors to another account unnoticed.
pub(super) async fn by_link(
    State(app): State<App>,
    handle: SessionHandle<User>,
    RequestDevice(device): RequestDevice,
    wants: Wants,
    request: Parts,
    Query(LinkQuery { code }): Query<LinkQuery>,
) -> Result<Response> {
    if handle.session().is_some() {
        return Ok(Redirect::to("/").into_response());
    }
    // A browser that loads the page in advance, or a program that checks the link.
    let purpose = |name| {
        request.headers.get(name).is_some_and(|value| value.as_bytes().starts_with(b"prefetch"))
    };
    if request.method == Method::HEAD || purpose("sec-purpose") || purpose("purpose") {
        return Ok(error(StatusCode::FORBIDDEN, "follow the link to sign in"));
    }
    let now = app.manager().clock().now();
    let checked = app.sign_in_link().and_then(|link| link.take(&code, app.accounts(), now));
    let outcome = match checked {
        Some(checked) => replace_session(&app, &handle, device, checked, false).await?,
        None => Err(Denied::Link),
    };
    let response = match outcome {
        Ok(profile) => wants.answer("/", profile),
        Err(denied) if wants == Wants::Json => denied.into_response(),
        Err(denied) => denied.with_page(|status| {
            page(status, &SignIn { error: Some(denied.text()), ..app.sign_in() })
        }),
    };
    // No other site gets the code.
    let headers = [(REFERRER_POLICY, "no-referrer"), (CACHE_CONTROL, "no-store")];
    Ok((headers, response).into_response())
}

/// The page to go to after a sign-in, in an address.
#[derive(Deserialize)]
pub(super) struct NextQuery {
    #[serde(default)]
    pub(super) next: String,
}

/// Shows the form if there is a page to go to, or else the start page.
pub(super) async fn to_form(State(app): State<App>, Query(query): Query<NextQuery>) -> Response {
    match local_path(&query.next) {
        Some(next) => {
            let message = Some(Message::SignInToContinue);
            page(StatusCode::OK, &SignIn { next, message, ..app.sign_in() })
        }
        None => Redirect::to("/").into_response(),
    }
}

/// Also succeeds without a session.
pub(super) async fn sign_out(
    State(app): State<App>,
    handle: SessionHandle<User>,
    wants: Wants,
    request: Request,
) -> Result<Response> {
    if handle.session().is_some()
        && let Err(refused) = CheckedAction::from_request(request, &app).await
    {
        return Ok(refused);
    }
    handle.logout().await?;
    Ok(wants.answer(&Message::SignedOut.path(), json!({ "signed_out": true })))
}
