//! A chat over WebSockets. A line carries the name that the session has when the line is sent, and
//! a connection closes when its session ends: by a logout here or on another device.
//!
//! After `cargo run -p chat`, open <http://localhost:3000/> in two browsers.

use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::{Html, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use kvolt::session::LiveSession;
use kvolt::{Manager, MemoryStore, NewSession, Result, Session, SessionHandle, Sessions};
use serde::Deserialize;
use tokio::sync::broadcast::{Receiver, Sender};
use tokio::time::timeout;

#[derive(Clone)]
struct User {
    name: String,
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

/// A real program checks the credentials here.
async fn login(client: SessionHandle<User>, Form(Name { name }): Form<Name>) -> Result<()> {
    client.login(NewSession::new(User { name: name.clone() }).owner(name)).await
}

async fn rename(mut user: Session<User>, Form(Name { name }): Form<Name>) -> Result<()> {
    user.update(|user| user.name.clone_from(&name)).await.map(drop)
}

async fn logout(client: SessionHandle<User>) -> Result<()> {
    client.logout().await
}

async fn logout_others(user: Session<User>) -> Result<()> {
    user.revoke_others().await.map(drop)
}

/// Without a session, the handshake is refused with 401; from another site's page, with 403.
async fn chat(
    user: Session<User>,
    State(room): State<Sender<String>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let lines = room.subscribe();
    upgrade.on_upgrade(move |socket| talk(socket, user.live(), room, lines))
}

/// Passes lines on until the client leaves or its session ends.
async fn talk(
    mut socket: WebSocket,
    mut live: LiveSession<User>,
    room: Sender<String>,
    mut lines: Receiver<String>,
) {
    let mut is_live = true;
    while is_live {
        let message = tokio::select! {
            // The session first: a line counts as sent after the changes that precede it.
            biased;
            changed = live.changed() => match changed {
                Some(_) => continue,
                None => {
                    is_live = false;
                    let reason = "you are signed out".into();
                    Message::Close(Some(CloseFrame { code: close_code::POLICY, reason }))
                }
            },
            received = socket.recv() => match received {
                Some(Ok(Message::Text(text))) => {
                    _ = room.send(format!("{}: {text}", live.session().data().name));
                    continue;
                }
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return,
            },
            line = lines.recv() => match line {
                Ok(line) => line.into(),
                // The client was too slow for some lines.
                Err(_) => continue,
            },
        };
        // A client that does not read can't keep the connection open.
        let sent = timeout(Duration::from_secs(5), socket.send(message)).await;
        is_live &= matches!(sent, Ok(Ok(())));
    }
}

fn app() -> Router {
    let sessions = Sessions::new(Manager::<User>::new(MemoryStore::new()));
    Router::new()
        .route("/", get(Html(include_str!("page.html"))))
        .route("/login", post(login))
        .route("/rename", post(rename))
        .route("/logout", post(logout))
        .route("/logout-others", post(logout_others))
        .route("/chat", get(chat))
        .layer(sessions.layer().optional())
        .with_state(Sender::new(64))
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app()).await
}

#[cfg(test)]
mod tests;
