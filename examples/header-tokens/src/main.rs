//! A JSON API for programs: the token travels in the header `X-Session-ID`, both ways. No cookie is
//! set, and none is accepted.
//!
//! ```console
//! $ cargo run -p header-tokens &
//! $ ADA='{"name":"ada","password":"lovelace"}'
//! $ curl -si -A backup --json "$ADA" http://127.0.0.1:3000/login > /dev/null
//! $ curl -si --json "$ADA" http://127.0.0.1:3000/login
//! HTTP/1.1 200 OK
//! content-type: application/json
//! x-session-id: 9WKJ9c0Xv1m8yEJp4M0Qb9eYbZr1c6V0hFqkP3oT7sWn2LxA
//! cache-control: no-store
//! vary: x-session-id
//! …
//! {"name":"ada","calls":0}
//! $ TOKEN='X-Session-ID: 9WKJ9c0Xv1m8yEJp4M0Qb9eYbZr1c6V0hFqkP3oT7sWn2LxA'
//! $ curl -H "$TOKEN" http://127.0.0.1:3000/profile
//! {"name":"ada","calls":1}
//! $ curl -H "$TOKEN" http://127.0.0.1:3000/sessions
//! [{"id":"4d667c2f…","client":"backup","current":false},
//!  {"id":"e0f13a80…","client":"curl/7.88.1","current":true}]
//! $ curl -H "$TOKEN" -X DELETE http://127.0.0.1:3000/sessions/4d667c2f…
//! $ curl -H "$TOKEN" -X POST http://127.0.0.1:3000/sessions/revoke-others
//! {"revoked":0}
//! $ curl -H "$TOKEN" -X POST http://127.0.0.1:3000/logout
//! $ curl -H "$TOKEN" http://127.0.0.1:3000/profile
//! sign in first
//! ```

use std::error::Error;

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use kvolt::{Device, Manager, MemoryStore, NewSession, Result, Session, SessionHandle, Sessions};
use serde::{Deserialize, Serialize};

/// The data of a session.
#[derive(Clone, Serialize)]
struct Caller {
    name: String,
    calls: u32,
}

#[derive(Deserialize)]
struct Credentials {
    name: String,
    password: String,
}

/// A session in its owner's list: with its public id, never its token.
#[derive(Serialize)]
struct Listed {
    id: String,
    client: Option<String>,
    current: bool,
}

#[derive(Serialize)]
struct Revoked {
    revoked: usize,
}

/// Replace this with your own check.
fn are_right(given: &Credentials) -> bool {
    given.name == "ada" && given.password == "lovelace"
}

async fn login(
    client: SessionHandle<Caller>,
    headers: HeaderMap,
    Json(given): Json<Credentials>,
) -> Result<Response> {
    if !are_right(&given) {
        return Ok(StatusCode::UNAUTHORIZED.into_response());
    }
    let user_agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let device = Device::new().with_user_agent(user_agent.unwrap_or("unknown"));
    let caller = Caller { name: given.name.clone(), calls: 0 };
    let session = NewSession::new(caller.clone()).owner(given.name).device(device);
    client.login(session).await?;
    Ok(Json(caller).into_response())
}

/// Counts each call, also concurrent ones: an update retries when another one wins.
async fn profile(mut session: Session<Caller>) -> Result<Json<Caller>> {
    session.update(|caller| caller.calls += 1).await?;
    Ok(Json(session.data().clone()))
}

async fn list(session: Session<Caller>) -> Result<Json<Vec<Listed>>> {
    let all = session.list().await?.sessions.into_iter().map(|each| Listed {
        id: each.id().to_string(),
        client: each.device().user_agent().map(str::to_owned),
        current: each.id() == session.id(),
    });
    Ok(Json(all.collect()))
}

/// An unknown id and another owner's id get the same answer.
async fn revoke(session: Session<Caller>, Path(id): Path<String>) -> Result<StatusCode> {
    let was_revoked = match id.parse() {
        Ok(id) => session.revoke(id).await?,
        Err(_) => false,
    };
    Ok(if was_revoked { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND })
}

async fn revoke_others(session: Session<Caller>) -> Result<Json<Revoked>> {
    Ok(Json(Revoked { revoked: session.revoke_others().await? }))
}

async fn logout(client: SessionHandle<Caller>) -> Result<StatusCode> {
    client.logout().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn app() -> Result<Router, Box<dyn Error>> {
    let manager = Manager::<Caller>::new(MemoryStore::new());
    let sessions = Sessions::builder(manager).lookup("header:X-Session-ID".parse()?).build()?;
    Ok(Router::new()
        .route("/login", post(login))
        .route("/profile", get(profile))
        .route("/sessions", get(list))
        .route("/sessions/{id}", delete(revoke))
        .route("/sessions/revoke-others", post(revoke_others))
        .route("/logout", post(logout))
        .layer(sessions.layer().optional()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    Ok(axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app()?).await?)
}

#[cfg(test)]
mod tests;
