//! The user's own data.

use axum::Json;
use kvolt::middleware::Session;

use crate::users::User;

pub(super) async fn show(session: Session<User>) -> Json<User> {
    Json(session.data().clone())
}
