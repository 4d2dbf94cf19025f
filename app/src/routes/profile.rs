//! The signed-in user.

use axum::Json;
use kvolt::middleware::Session;

use crate::users::{Profile, User};

pub(super) async fn show(session: Session<User>) -> Json<Profile> {
    Json(Profile::from(session.data()))
}
