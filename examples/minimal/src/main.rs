//! Sign in, be known, sign out. With the program running:
//!
//!     curl -c jar -d 'name=ada&password=lovelace' localhost:3000/login
//!     curl -b jar localhost:3000/profile
//!     curl -b jar -X POST localhost:3000/logout

use std::time::Duration;

use axum::routing::{get, post};
use axum::{Form, Router, http::StatusCode, response::IntoResponse, response::Response};
use kvolt::cache::MemoryStore;
use kvolt::middleware::{CookiePolicy, Handle, Result, Session, Sessions};
use kvolt::session::{Manager, NewSession};

#[derive(Clone, serde::Deserialize)]
struct User {
    name: String,
    password: String,
}

async fn login(handle: Handle<String>, Form(form): Form<User>) -> Result<Response> {
    // Where your own check of the credentials goes.
    if (&*form.name, &*form.password) != ("ada", "lovelace") {
        return Ok((StatusCode::UNAUTHORIZED, "wrong name or password\n").into_response());
    }
    let welcome = format!("Welcome, {}\n", form.name);
    let session = NewSession::new(form.name.clone()).owner(form.name);
    Ok((handle.login(session).await?, welcome).into_response())
}

async fn profile(name: Session<String>) -> String {
    format!("You are {}\n", *name)
}

async fn logout(session: Session<String>) -> Result<impl IntoResponse> {
    Ok((session.logout().await?, "Goodbye\n"))
}

fn app() -> Router {
    let manager = Manager::new(MemoryStore::new(), Duration::from_secs(30 * 60));
    // For plain HTTP on this machine. Behind TLS, `Sessions::new(manager)` is all.
    let cookie = CookiePolicy::builder().insecure_plain_http(true).build().expect("a sound policy");
    let lookup = "cookie:session_id".parse().expect("a sound lookup");
    let sessions = Sessions::builder(manager).lookup(lookup).cookie(cookie).build().expect("sound");
    Router::new()
        .route("/profile", get(profile))
        .route("/logout", post(logout))
        .route_layer(sessions.layer())
        .merge(Router::new().route("/login", post(login)).route_layer(sessions.layer().optional()))
        .with_state(sessions)
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app()).await
}

#[cfg(test)]
mod tests;
