//! What people see.

mod admin;
mod home;

use askama::Template;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use kvolt::middleware::{CsrfField, Result, Session};
use kvolt::session::Flash;

pub(crate) use self::admin::{Admin, Audit};
pub(crate) use self::home::Home;
use crate::state::App;
use crate::users::{PASSWORD_LEN_MIN, Role, User};

/// What every page has of one who is signed in: the bar, and the messages that waited.
pub(crate) struct Frame {
    /// For each form.
    csrf: CsrfField,
    is_admin: bool,
    flashes: Vec<Flash>,
}

impl Frame {
    /// Messages are taken: a page that is made has to be shown.
    pub(crate) async fn new(app: &App, session: &Session<User>) -> Result<Self> {
        Ok(Self {
            csrf: session.csrf_field()?,
            is_admin: app.accounts().role(session) == Some(Role::Admin),
            flashes: session.take_flashes().await?,
        })
    }
}

/// The form to sign in with.
#[derive(Template, Default)]
#[template(path = "sign_in.html")]
pub(crate) struct SignIn<'a> {
    pub(crate) name: &'a str,
    pub(crate) next: &'a str,
    pub(crate) remember: bool,
    pub(crate) error: Option<&'a str>,
}

/// The form by which one proves again who they are.
#[derive(Template)]
#[template(path = "reauthenticate.html")]
pub(crate) struct Reauthenticate<'a> {
    pub(crate) frame: Frame,
    pub(crate) name: &'a str,
    pub(crate) next: &'a str,
    pub(crate) error: Option<&'a str>,
}

/// The form to change a password with.
#[derive(Template)]
#[template(path = "password.html")]
pub(crate) struct Password<'a> {
    pub(crate) frame: Frame,
    pub(crate) name: &'a str,
    /// Whether it can be changed here.
    pub(crate) is_offered: bool,
    pub(crate) error: Option<&'a str>,
}

/// A page that says one thing.
#[derive(Template)]
#[template(path = "notice.html")]
pub(crate) struct Notice<'a> {
    pub(crate) title: &'a str,
    pub(crate) text: &'a str,
}

/// A page, or an error where it can't be rendered.
pub(crate) fn page(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The one style sheet.
pub(crate) async fn style() -> Response {
    file("text/css; charset=utf-8", include_str!("../templates/style.css"))
}

/// The one script: it keeps the first page up to date.
pub(crate) async fn script() -> Response {
    file("text/javascript; charset=utf-8", include_str!("../templates/live.js"))
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600")),
    ];
    (headers, text).into_response()
}
