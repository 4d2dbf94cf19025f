//! What people see.

use askama::Template;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use kvolt::session::{Session, SessionId, Timestamp};

use crate::devices::{ago, left, program};
use crate::users::User;

/// The form to sign in with.
#[derive(Template)]
#[template(path = "sign_in.html")]
pub(crate) struct SignIn<'a> {
    pub(crate) name: &'a str,
    pub(crate) next: &'a str,
    pub(crate) error: Option<&'a str>,
}

/// The page of one who is signed in.
#[derive(Template)]
#[template(path = "home.html")]
pub(crate) struct Home<'a> {
    user: &'a User,
    since: String,
    left: String,
    devices: Vec<Row>,
}

struct Row {
    id: SessionId,
    name: String,
    user_agent: String,
    address: String,
    created: String,
    last_seen: String,
    current: bool,
}

impl<'a> Home<'a> {
    pub(crate) fn new(session: &'a Session<User>, all: &[Session<User>], now: Timestamp) -> Self {
        let row = |other: &Session<User>| Row {
            id: other.id(),
            name: program(other.device().user_agent()),
            user_agent: other.device().user_agent().unwrap_or_default().to_owned(),
            address: other
                .device()
                .address()
                .map_or_else(String::new, |address| address.to_string()),
            created: ago(other.created(), now),
            last_seen: ago(other.last_seen(), now),
            current: other.id() == session.id(),
        };
        Self {
            user: session.data(),
            since: ago(session.created(), now),
            left: left(session.ends_at(), now),
            // The newest first, which is what people look for.
            devices: all.iter().rev().map(row).collect(),
        }
    }
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
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8")),
        (CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600")),
    ];
    (headers, include_str!("../templates/style.css")).into_response()
}
