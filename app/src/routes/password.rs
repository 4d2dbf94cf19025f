//! Changing the password, which ends the user's other sessions.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use kvolt::middleware::{Result, Session};
use kvolt::session::Flash;
use serde::Deserialize;
use serde_json::json;

use super::sessions::{flash, other_sessions};
use crate::forms::CheckedForm;
use crate::negotiate::{Wants, error};
use crate::pages::{Frame, Password, page};
use crate::state::App;
use crate::users::{MAX_PASSWORD_LEN, MIN_PASSWORD_LEN, User, normalized};

#[derive(Deserialize)]
pub(super) struct NewPassword {
    new: String,
    /// The new password again, against typing errors. Pages send it.
    again: Option<String>,
}

impl NewPassword {
    fn fault(&self) -> Option<&'static str> {
        if self.new.chars().count() < MIN_PASSWORD_LEN {
            Some("The password is too short")
        } else if self.new.len() > MAX_PASSWORD_LEN {
            Some("The password is too long")
        } else if self.again.as_ref().is_some_and(|again| *again != self.new) {
            Some("The passwords are not the same")
        } else {
            None
        }
    }
}

pub(super) async fn show(State(app): State<App>, session: Session<User>) -> Result<Response> {
    form(&app, &session, StatusCode::OK, None).await
}

async fn form(
    app: &App,
    session: &Session<User>,
    status: StatusCode,
    error: Option<&str>,
) -> Result<Response> {
    let frame = Frame::new(app, session, "/password").await?;
    let is_offered = app.keeps_passwords();
    Ok(page(status, &Password { frame, name: &session.name, is_offered, error }))
}

pub(super) async fn change(
    State(app): State<App>,
    wants: Wants,
    CheckedForm(session, change): CheckedForm<NewPassword>,
) -> Result<Response> {
    if let Err(missing) = session.require(app.fresh()) {
        // A page must not contain the new password: the user enters it again.
        if missing.missing_step_up().is_some() && wants == Wants::Page {
            let text = "Your password is not changed yet. Confirm the current one, then enter the new one again.";
            session.flash(Flash::new("error", text)).await?;
            return Ok(Redirect::to("/reauthenticate?next=/password").into_response());
        }
        return Err(missing);
    }
    let fault = match change.fault() {
        _ if !app.keeps_passwords() => {
            Some((StatusCode::CONFLICT, "Passwords can't be changed here: use --accounts"))
        }
        fault => fault.map(|fault| (StatusCode::UNPROCESSABLE_ENTITY, fault)),
    };
    if let Some((status, fault)) = fault {
        return match wants {
            Wants::Json => Ok(error(status, fault)),
            Wants::Page => form(&app, &session, status, Some(fault)).await,
        };
    }
    let (accounts, user) = (Arc::clone(app.accounts()), session.data().clone());
    let new = normalized(&change.new);
    let changed = tokio::task::spawn_blocking(move || accounts.change_password(&user, &new)).await;
    let version = match changed {
        Ok(Ok(Some(version))) => version,
        Ok(Ok(None)) => return Ok(error(StatusCode::GONE, "the account no longer exists")),
        Ok(Err(error)) => return Ok(failed(&error)),
        Err(error) => return Ok(failed(&error)),
    };
    let ended = session.change_credentials(Some(version.into())).await?;
    let text = format!("Password changed. {} ended.", other_sessions(ended));
    flash(wants, &session, &text).await?;
    Ok(wants.answer("/", json!({ "changed": true, "ended": ended })))
}

fn failed(cause: &dyn std::fmt::Display) -> Response {
    tracing::error!(error = %cause, "could not change a password");
    error(StatusCode::INTERNAL_SERVER_ERROR, "the password was not changed")
}
