//! Asking for the password again, before sensitive actions.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kvolt::middleware::{Result, Session, local_path};
use kvolt::session::{Device, Level};
use serde::Deserialize;
use serde_json::json;

use super::login::{Denied, NextQuery, check};
use crate::devices::RequestDevice;
use crate::forms::CheckedForm;
use crate::negotiate::{Wants, error};
use crate::pages::{Frame, Reauthenticate, page};
use crate::state::App;
use crate::users::{MAX_PASSWORD_LEN, User, normalized};

/// The path of this page.
const PATH: &str = "/reauthenticate";

#[derive(Deserialize)]
pub(super) struct PasswordForm {
    password: String,
    /// The page to go to afterwards.
    #[serde(default)]
    next: String,
}

pub(super) async fn show(
    State(app): State<App>,
    session: Session<User>,
    Query(query): Query<NextQuery>,
) -> Result<Response> {
    let next = local_path(&query.next).unwrap_or_default();
    prompt(&app, &session, StatusCode::OK, PATH, next, None).await
}

pub(super) async fn confirm(
    State(app): State<App>,
    RequestDevice(device): RequestDevice,
    wants: Wants,
    CheckedForm(session, form): CheckedForm<PasswordForm>,
) -> std::result::Result<Response, Response> {
    let next = local_path(&form.next).unwrap_or("/");
    reauthenticate(&app, wants, &session, &device, &form.password, PATH, next).await?;
    Ok(wants.answer(next, json!({ "level": 1 })))
}

/// An action that needs a recent password.
pub(super) struct Action<'a> {
    /// Its path, to which the form with the password is sent.
    pub(super) path: &'a str,
    /// The page to go to afterwards.
    pub(super) next: &'a str,
    /// The password, if the form has one.
    pub(super) password: Option<&'a str>,
}

/// Requires that the user gave the password recently, or gives it with this request. Otherwise a
/// browser gets a form that asks for it, and goes on with the interrupted action.
pub(super) async fn require_recent_password(
    app: &App,
    wants: Wants,
    session: &Session<User>,
    device: &Device,
    action: Action<'_>,
) -> std::result::Result<(), Response> {
    let Action { path, next, password } = action;
    if let Some(password) = password {
        return reauthenticate(app, wants, session, device, password, path, next).await;
    }
    match session.require(app.fresh()) {
        Err(missing) if missing.missing_step_up().is_some() && wants == Wants::Page => {
            let form = prompt(app, session, StatusCode::UNAUTHORIZED, path, next, None).await;
            Err(form.unwrap_or_else(IntoResponse::into_response))
        }
        required => required.map_err(IntoResponse::into_response),
    }
}

/// Checks the password, and renews the session. If it is wrong, a browser gets the form again.
async fn reauthenticate(
    app: &App,
    wants: Wants,
    session: &Session<User>,
    device: &Device,
    password: &str,
    path: &str,
    next: &str,
) -> std::result::Result<(), Response> {
    if password.len() > MAX_PASSWORD_LEN {
        return Err(error(StatusCode::BAD_REQUEST, "the password is too long"));
    }
    let Err(denied) = check(app, &session.name, normalized(password), device).await else {
        return session.reauthenticate(Level::One).await.map_err(IntoResponse::into_response);
    };
    if wants == Wants::Json {
        return Err(denied.into_response());
    }
    let text = match denied {
        Denied::Wrong => "Wrong password",
        _ => denied.text(),
    };
    let form = prompt(app, session, StatusCode::OK, path, next, Some(text)).await;
    Err(form.map_or_else(IntoResponse::into_response, |mut form| {
        denied.with_page(|status| {
            *form.status_mut() = status;
            form
        })
    }))
}

/// The form that asks for the password, and sends it to `action`.
async fn prompt(
    app: &App,
    session: &Session<User>,
    status: StatusCode,
    action: &str,
    next: &str,
    error: Option<&str>,
) -> Result<Response> {
    let frame = Frame::new(app, session, PATH).await?;
    Ok(page(status, &Reauthenticate { frame, name: &session.name, action, next, error }))
}
