//! Sign in, be recognised, sign out. After `cargo run -p minimal`, in another terminal:
//!
//! ```console
//! $ curl -c jar -d 'name=ada&password=lovelace' http://127.0.0.1:3000/login
//! welcome
//! $ curl -b jar http://127.0.0.1:3000/profile
//! you are ada
//! $ curl -b jar -c jar -X POST http://127.0.0.1:3000/logout
//! goodbye
//! ```

use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Form, Router};
use kvolt::{Manager, MemoryStore, NewSession, Result, Session, SessionHandle, Sessions};

#[derive(serde::Deserialize)]
struct Credentials {
    name: String,
    password: String,
}

/// Replace this with your own check.
fn are_right(given: &Credentials) -> bool {
    given.name == "ada" && given.password == "lovelace"
}

async fn login(
    client: SessionHandle<String>,
    Form(given): Form<Credentials>,
) -> Result<(StatusCode, &'static str)> {
    if !are_right(&given) {
        return Ok((StatusCode::UNAUTHORIZED, "wrong name or password\n"));
    }
    client.login(NewSession::new(given.name.clone()).owner(given.name)).await?;
    Ok((StatusCode::OK, "welcome\n"))
}

async fn profile(name: Session<String>) -> String {
    format!("you are {}\n", *name)
}

async fn logout(client: SessionHandle<String>) -> Result<&'static str> {
    client.logout().await?;
    Ok("goodbye\n")
}

fn app() -> Router {
    let sessions = Sessions::new(Manager::<String>::new(MemoryStore::new()));
    Router::new()
        .route("/login", post(login))
        .route("/profile", get(profile))
        .route("/logout", post(logout))
        .layer(sessions.layer().optional())
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app()).await
}

#[cfg(test)]
mod tests;
