//! The page to start from.

use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::Response;
use kvolt::cache::Clock;
use kvolt::middleware::{Result, Session, local_path};
use serde::Deserialize;

use crate::pages::{Home, SignIn, page};
use crate::users::User;

#[derive(Deserialize)]
pub(super) struct Going {
    #[serde(default)]
    next: String,
}

pub(super) async fn show(
    session: Option<Session<User>>,
    Query(going): Query<Going>,
) -> Result<Response> {
    let Some(session) = session else {
        let next = local_path(&going.next).unwrap_or_default();
        return Ok(page(StatusCode::OK, &SignIn { name: "", next, error: None }));
    };
    let all = session.list().await?;
    Ok(page(StatusCode::OK, &Home::new(session.details(), &all, Clock::system().now())))
}
