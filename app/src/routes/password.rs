//! Changing one's password, which signs out everybody else who has the account.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kvolt::middleware::{Result, Session};
use serde::Deserialize;
use serde_json::json;

use super::sessions::{others, tell};
use crate::forms::Sent;
use crate::negotiate::{Wants, refuse};
use crate::pages::{Frame, Password, page};
use crate::state::App;
use crate::users::{MAX_PASSWORD_LEN, PASSWORD_LEN_MIN, User};

#[derive(Deserialize)]
pub(super) struct Change {
    new: String,
    /// The same once more, against slips: a page sends it.
    again: Option<String>,
}

impl Change {
    /// What is wrong with it.
    fn fault(&self) -> Option<&'static str> {
        if self.new.chars().count() < PASSWORD_LEN_MIN {
            Some("The password is too short")
        } else if self.new.len() > MAX_PASSWORD_LEN {
            Some("The password is too long")
        } else if self.again.as_ref().is_some_and(|again| *again != self.new) {
            Some("The two are not the same")
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
    let frame = Frame::new(app, session).await?;
    let is_offered = app.keeps_passwords();
    Ok(page(status, &Password { frame, name: &session.name, is_offered, error }))
}

pub(super) async fn change(
    State(app): State<App>,
    wants: Wants,
    Sent(session, change): Sent<Change>,
) -> Result<Response> {
    let fault = match change.fault() {
        _ if !app.keeps_passwords() => {
            Some((StatusCode::CONFLICT, "Passwords can't be changed here: use --accounts"))
        }
        fault => fault.map(|fault| (StatusCode::UNPROCESSABLE_ENTITY, fault)),
    };
    if let Some((status, fault)) = fault {
        return match wants {
            Wants::Json => Ok(refuse(status, fault)),
            Wants::Page => form(&app, &session, status, Some(fault)).await,
        };
    }
    let (accounts, user) = (Arc::clone(app.accounts()), session.data().clone());
    let changed =
        tokio::task::spawn_blocking(move || accounts.change_password(&user, &change.new)).await;
    let version = match changed {
        Ok(Ok(Some(version))) => version,
        Ok(Ok(None)) => return Ok(refuse(StatusCode::GONE, "there is no such account any more")),
        Ok(Err(error)) => return Ok(failed(&error)),
        Err(error) => return Ok(failed(&error)),
    };
    let ended = session.change_credentials(Some(version.into())).await?;
    tell(wants, &session, &format!("Password changed. {} ended.", others(ended))).await?;
    Ok(wants.answer("/", json!({ "changed": true, "ended": ended })).into_response())
}

fn failed(error: &dyn std::fmt::Display) -> Response {
    tracing::error!(%error, "a password was not changed");
    refuse(StatusCode::INTERNAL_SERVER_ERROR, "the password was not changed")
}
