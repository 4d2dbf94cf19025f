//! The pages, and the files that they use.

mod admin;
mod home;
mod message;
mod session_rows;

use askama::Template;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use kvolt::middleware::{CsrfField, Result, Session};
use kvolt::session::Flash;

pub(crate) use self::admin::{Admin, AuditLog};
pub(crate) use self::home::Home;
pub(crate) use self::message::Message;
use self::session_rows::SessionRows;
use crate::state::App;
use crate::times::left;
use crate::users::{MIN_PASSWORD_LEN, Role, User};

/// The common part of a signed-in user's pages: the navigation, and the waiting messages.
pub(crate) struct Frame {
    /// For each form.
    csrf: CsrfField,
    is_admin: bool,
    /// The path of this page.
    path: &'static str,
    flashes: Vec<Flash>,
    acting: Option<Acting>,
}

/// An administrator that acts for the user.
struct Acting {
    /// Both, as text.
    text: String,
    /// The time that is left.
    left: String,
}

/// Says that an administrator acts for a user.
fn acting(administrator: Option<String>, user: &str) -> String {
    format!("{} acting for {user}", administrator.unwrap_or_default())
}

impl Frame {
    /// Takes the waiting messages: the page must be shown.
    pub(crate) async fn new(
        app: &App,
        session: &Session<User>,
        path: &'static str,
    ) -> Result<Self> {
        let snapshot = session.snapshot();
        let acting = snapshot.acting_for().map(|_| Acting {
            text: acting(snapshot.owner().map(|by| app.accounts().owner_name(by)), &session.name),
            left: left(snapshot.ends_at(), app.manager().clock().now()),
        });
        Ok(Self {
            acting,
            csrf: session.csrf_field()?,
            is_admin: app.accounts().role(session) == Some(Role::Admin),
            path,
            flashes: session.take_flashes().await?,
        })
    }

    /// The links of the navigation: path and text.
    fn links(&self) -> &'static [(&'static str, &'static str)] {
        let links = &[
            ("/", "Home"),
            ("/password", "Password"),
            ("/admin", "All sessions"),
            ("/audit", "Audit log"),
        ];
        match self.is_admin {
            // The password is the user's to change.
            _ if self.acting.is_some() => &links[..1],
            true => links,
            false => &links[..2],
        }
    }
}

/// The sign-in form.
#[derive(Template, Default)]
#[template(path = "sign_in.html")]
pub(crate) struct SignIn<'a> {
    pub(crate) name: &'a str,
    pub(crate) next: &'a str,
    pub(crate) remember: bool,
    pub(crate) message: Option<Message>,
    pub(crate) error: Option<&'a str>,
    /// Whether the name and password were printed at the start.
    pub(crate) is_demo: bool,
}

impl App {
    /// The empty sign-in form.
    pub(crate) fn sign_in(&self) -> SignIn<'static> {
        SignIn { is_demo: self.accounts().generated_password().is_some(), ..SignIn::default() }
    }
}

/// The form that asks for the password again.
#[derive(Template)]
#[template(path = "reauthenticate.html")]
pub(crate) struct Reauthenticate<'a> {
    pub(crate) frame: Frame,
    pub(crate) name: &'a str,
    /// The path to which the form is sent.
    pub(crate) action: &'a str,
    pub(crate) next: &'a str,
    pub(crate) error: Option<&'a str>,
}

/// The form to change the password.
#[derive(Template)]
#[template(path = "password.html")]
pub(crate) struct Password<'a> {
    pub(crate) frame: Frame,
    pub(crate) name: &'a str,
    /// Whether this instance can change passwords.
    pub(crate) is_offered: bool,
    pub(crate) error: Option<&'a str>,
}

/// A page with an error.
#[derive(Template)]
#[template(path = "notice.html")]
pub(crate) struct Notice {
    /// If the user is known to be signed in.
    frame: Option<Frame>,
    title: &'static str,
    text: String,
}

impl Notice {
    pub(crate) fn error(status: StatusCode, text: &str) -> Self {
        let title = match status {
            StatusCode::UNAUTHORIZED => "Please sign in",
            StatusCode::FORBIDDEN => "Not allowed",
            StatusCode::NOT_FOUND => "Page not found",
            StatusCode::METHOD_NOT_ALLOWED => "Not available",
            StatusCode::PAYLOAD_TOO_LARGE => "Too much data",
            StatusCode::TOO_MANY_REQUESTS => "Too many requests",
            StatusCode::SERVICE_UNAVAILABLE => "Temporarily unavailable",
            status if status.is_server_error() => "Something went wrong",
            _ => "This request did not work",
        };
        let text = match status {
            StatusCode::METHOD_NOT_ALLOWED => "This address is for a button on another page",
            _ => text,
        };
        let mut letters = text.chars();
        let first = letters.next().map(|first| first.to_uppercase().to_string());
        let text = format!("{}{}.", first.unwrap_or_default(), letters.as_str());
        Self { frame: None, title, text }
    }

    pub(crate) fn with_frame(self, frame: Frame) -> Self {
        Self { frame: Some(frame), ..self }
    }
}

/// Renders a page.
pub(crate) fn page(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "could not render a page");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

pub(crate) async fn style() -> Response {
    file("text/css; charset=utf-8", include_str!("../../templates/style.css"))
}

pub(crate) async fn script() -> Response {
    file("text/javascript; charset=utf-8", include_str!("../../templates/live.js"))
}

pub(crate) async fn icon() -> Response {
    file("image/svg+xml", include_str!("../../templates/icon.svg"))
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600")),
    ];
    (headers, text).into_response()
}

#[cfg(test)]
mod tests {
    const STYLE: &str = include_str!("../../templates/style.css");

    /// The relative luminance of a color such as `#fff` (WCAG 2.2).
    fn luminance(color: &str) -> f64 {
        let digits = color.trim_start_matches('#');
        let digits: String = match digits.len() {
            3 => digits.chars().flat_map(|digit| [digit, digit]).collect(),
            _ => digits.to_owned(),
        };
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&digits[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4)
    }

    #[test]
    fn borders_and_text_have_enough_contrast() {
        let (light, dark) = STYLE.split_once("prefers-color-scheme: dark").unwrap();
        for (scheme, css) in [("light", light), ("dark", dark)] {
            let color = |name: &str| {
                let (_, value) = css.split_once(&format!("--{name}: ")).unwrap();
                luminance(value.split(';').next().unwrap())
            };
            // WCAG 1.4.11 for the borders of controls, 1.4.3 for text.
            for (front, backs, min) in [
                ("control", &["card", "ground"][..], 3.0),
                ("accent", &["card", "ground"], 4.5),
                ("ink", &["card", "ground", "badge"], 4.5),
                ("quiet", &["card", "ground"], 4.5),
                ("danger", &["card", "error-ground"], 4.5),
                ("good", &["good-ground"], 4.5),
                ("on-accent", &["accent"], 4.5),
            ] {
                for back in backs {
                    let (one, other) = (color(front), color(back));
                    let contrast = (one.max(other) + 0.05) / (one.min(other) + 0.05);
                    assert!(contrast >= min, "{scheme}: {front} on {back} is {contrast:.2}:1");
                }
            }
        }
    }
}
