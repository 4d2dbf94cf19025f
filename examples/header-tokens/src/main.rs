//! Sessions for programs: the token travels in a header, and no cookie is set.
//!
//! ```text
//! $ cargo run -p header-tokens &
//! $ curl -i -d 'name=ada&password=lovelace' localhost:3000/login
//! HTTP/1.1 200 OK
//! x-session-id: …
//! $ curl -H "X-Session-ID: $TOKEN" localhost:3000/profile
//! {"name":"ada","calls":1}
//! $ curl -H "X-Session-ID: $TOKEN" localhost:3000/sessions
//! ["2f0c…"]
//! $ curl -H "X-Session-ID: $TOKEN" -X POST localhost:3000/end-others
//! 0 ended
//! ```

use std::time::Duration;

use axum::routing::{get, post};
use axum::{Form, Json, Router, http::StatusCode, response::IntoResponse, response::Response};
use kvolt::cache::MemoryStore;
use kvolt::middleware::{Handle, Result, Session, Sessions};
use kvolt::session::{Manager, NewSession};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize)]
struct User {
    name: String,
    calls: u32,
}

#[derive(Deserialize)]
struct Login {
    name: String,
    password: String,
}

async fn login(handle: Handle<User>, Form(form): Form<Login>) -> Result<Response> {
    // Where your own check of the credentials goes.
    if (&*form.name, &*form.password) != ("ada", "lovelace") {
        return Ok((StatusCode::UNAUTHORIZED, "wrong name or password\n").into_response());
    }
    let user = User { name: form.name.clone(), calls: 0 };
    let session = NewSession::new(user).owner(form.name);
    Ok((handle.login(session).await?, "welcome\n").into_response())
}

/// Concurrent calls all count: an update is made anew when another came before it.
async fn profile(session: Session<User>) -> Result<Json<User>> {
    let session = session.update(|user| user.calls += 1).await?;
    Ok(Json(session.data().clone()))
}

async fn sessions(session: Session<User>) -> Result<Json<Vec<String>>> {
    let all = session.list().await?;
    Ok(Json(all.iter().map(|session| session.id().to_string()).collect()))
}

async fn end_others(session: Session<User>) -> Result<String> {
    Ok(format!("{} ended\n", session.end_others().await?))
}

async fn logout(session: Session<User>) -> Result<impl IntoResponse> {
    Ok((session.logout().await?, "goodbye\n"))
}

fn app() -> Router {
    let manager = Manager::new(MemoryStore::new(), Duration::from_secs(30 * 60));
    let lookup = "header:X-Session-ID".parse().expect("a sound lookup");
    let by_header = Sessions::builder(manager).lookup(lookup).build().expect("sound");
    Router::new()
        .route("/profile", get(profile))
        .route("/sessions", get(sessions))
        .route("/end-others", post(end_others))
        .route("/logout", post(logout))
        .route_layer(by_header.layer())
        .merge(Router::new().route("/login", post(login)).route_layer(by_header.layer().optional()))
        .with_state(by_header)
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app()).await
}

#[cfg(test)]
mod tests;
