//! The page to start from.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use kvolt::middleware::{Result, Session, local_path};

use super::login::Going;
use crate::pages::{Frame, Home, SignIn, page};
use crate::state::App;
use crate::users::User;

pub(super) async fn show(
    State(app): State<App>,
    session: Option<Session<User>>,
    Query(going): Query<Going>,
) -> Result<Response> {
    let Some(session) = session else {
        let next = local_path(&going.next).unwrap_or_default();
        return Ok(page(StatusCode::OK, &SignIn { next, ..SignIn::default() }));
    };
    let all = session.list().await?;
    let frame = Frame::new(&app, &session).await?;
    let now = app.manager().clock().now();
    Ok(page(StatusCode::OK, &Home::new(frame, session.snapshot(), &all, now)))
}
