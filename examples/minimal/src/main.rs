//! Sign in, be known, sign out. After `cargo run -p minimal`, in another terminal:
//!
//!     curl -c jar -d 'name=ada&password=lovelace' http://127.0.0.1:3000/login   # welcome
//!     curl -b jar http://127.0.0.1:3000/profile                                 # you are ada
//!     curl -b jar -c jar -X POST http://127.0.0.1:3000/logout                   # goodbye

use std::{error::Error, time::Duration};

use axum::routing::{get, post};
use axum::{Form, Router, http::StatusCode, response::IntoResponse, response::Response};
use kvolt::cache::MemoryStore;
use kvolt::middleware::{CookiePolicy, Result, Session, SessionHandle, Sessions};
use kvolt::session::{Manager, NewSession};

#[derive(serde::Deserialize)]
struct Credentials {
    name: String,
    password: String,
}

/// Here goes your own check.
fn are_right(given: &Credentials) -> bool {
    given.name == "ada" && given.password == "lovelace"
}

async fn login(client: SessionHandle<String>, Form(given): Form<Credentials>) -> Result<Response> {
    if !are_right(&given) {
        return Ok((StatusCode::UNAUTHORIZED, "wrong name or password\n").into_response());
    }
    let session = NewSession::new(given.name.clone()).owner(given.name);
    Ok((client.login(session).await?, "welcome\n").into_response())
}

async fn profile(name: Session<String>) -> String {
    format!("you are {}\n", *name)
}

async fn logout(client: SessionHandle<String>) -> Result<impl IntoResponse> {
    Ok((client.logout().await?, "goodbye\n"))
}

fn app() -> Result<Router, Box<dyn Error>> {
    let manager = Manager::new(MemoryStore::new(), Duration::from_secs(30 * 60));
    // For plain HTTP on this machine. Behind TLS, `Sessions::new(manager)` is all it takes.
    let cookie = CookiePolicy::builder().insecure_plain_http(true).build()?;
    let lookup = "cookie:session_id".parse()?;
    let sessions = Sessions::builder(manager).lookup(lookup).cookie(cookie).build()?;
    let members = Router::new().route("/profile", get(profile)).route_layer(sessions.layer());
    let open = Router::new().route("/login", post(login)).route("/logout", post(logout));
    Ok(members.merge(open.route_layer(sessions.layer().optional())).with_state(sessions))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    Ok(axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app()?).await?)
}

#[cfg(test)]
mod tests;
