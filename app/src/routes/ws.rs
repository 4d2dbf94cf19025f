//! A WebSocket that closes with its session.

use std::pin::pin;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use futures_util::stream::{Stream, StreamExt};
use kvolt::middleware::Session;
use serde::Serialize;
use tokio::time::timeout;

use super::live::{Allowed, Counter, Told, follow};
use crate::state::App;
use crate::users::User;

/// Whatever a client says is ignored, and this is more than it needs for that.
const MAX_MESSAGE_LEN: usize = 4 * 1024;

/// How long a client may take to let a message through, or to answer a goodbye.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a client is told.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line {
    Counter(Counter),
    End,
}

/// Tells the counter whenever it changes, and the end. Other sites are refused by the layer.
pub(super) async fn open(
    State(app): State<App>,
    session: Session<User>,
    allowed: Allowed,
    upgrade: WebSocketUpgrade,
) -> Response {
    let told = follow(&session, allowed);
    upgrade
        .max_message_size(MAX_MESSAGE_LEN)
        .max_frame_size(MAX_MESSAGE_LEN)
        .on_upgrade(move |socket| talk(app, told, socket))
}

async fn talk(app: App, told: impl Stream<Item = Told> + Send, mut socket: WebSocket) {
    let _open = app.shutdown().open();
    // The stream keeps its place while the client says something: a client that never stops
    // talking does not keep it from looking.
    let mut told = pin!(told);
    let mut shutdown = pin!(app.shutdown().asked());
    loop {
        tokio::select! {
            next = told.next() => match next {
                Some(Told::Counter(counter)) => {
                    if !send(&mut socket, &Line::Counter(counter)).await {
                        return;
                    }
                }
                Some(Told::End) | None => {
                    if send(&mut socket, &Line::End).await {
                        close(socket, close_code::POLICY, "session ended").await;
                    }
                    return;
                }
            },
            // Pings are answered by the protocol itself.
            said = socket.recv() => match said {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
            () = &mut shutdown => {
                close(socket, close_code::AWAY, "the server ends").await;
                return;
            }
        }
    }
}

/// Whether the client has taken it.
async fn send(socket: &mut WebSocket, line: &Line) -> bool {
    let Ok(text) = serde_json::to_string(line) else { return false };
    matches!(timeout(PATIENCE, socket.send(Message::Text(text.into()))).await, Ok(Ok(())))
}

/// Says goodbye, and waits a moment for the answer.
async fn close(mut socket: WebSocket, code: u16, reason: &'static str) {
    let goodbye = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    let _ = timeout(PATIENCE, async {
        if socket.send(goodbye).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    })
    .await;
}
