//! Proving again who one is, before what is sensitive.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kvolt::middleware::{Result, Session, local_path};
use kvolt::session::Level;
use serde::Deserialize;
use serde_json::json;

use super::login::{Going, check};
use crate::devices::From;
use crate::forms::Sent;
use crate::negotiate::{Wants, refuse};
use crate::pages::{Frame, Reauthenticate, page};
use crate::state::App;
use crate::users::{MAX_PASSWORD_LEN, User};

#[derive(Deserialize)]
pub(super) struct Proof {
    password: String,
    /// Where to go on afterwards.
    #[serde(default)]
    next: String,
}

pub(super) async fn show(
    State(app): State<App>,
    session: Session<User>,
    Query(going): Query<Going>,
) -> Result<Response> {
    let frame = Frame::new(&app, &session).await?;
    let next = local_path(&going.next).unwrap_or_default();
    let form = Reauthenticate { frame, name: &session.name, next, error: None };
    Ok(page(StatusCode::OK, &form))
}

pub(super) async fn prove(
    State(app): State<App>,
    From(device): From,
    wants: Wants,
    Sent(session, proof): Sent<Proof>,
) -> Result<Response> {
    if proof.password.len() > MAX_PASSWORD_LEN {
        return Ok(refuse(StatusCode::BAD_REQUEST, "the password is too long"));
    }
    let next = local_path(&proof.next).unwrap_or("/");
    if let Err(denied) = check(&app, &session.name, proof.password, &device).await {
        let frame = Frame::new(&app, &session).await?;
        return Ok(denied.answer(wants, |status, text| {
            let (name, error) = (&*session.name, Some(text));
            page(status, &Reauthenticate { frame, name, next, error })
        }));
    }
    session.reauthenticate(Level::One).await?;
    Ok(wants.answer(next, json!({ "level": 1 })).into_response())
}
