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

use super::live::{AllowedConnection, Counter, Update, updates};
use crate::state::App;
use crate::users::User;

/// The maximum length of a client's message, which is ignored.
const MAX_MESSAGE_LEN: usize = 4 * 1024;

/// A client must accept a message, and answer a close frame, within this time.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);

/// A message to the client.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line {
    Counter(Counter),
    End,
}

/// Sends the counter at each change, and the end. The layer refuses other sites.
pub(super) async fn open(
    State(app): State<App>,
    session: Session<User>,
    allowed: AllowedConnection,
    upgrade: WebSocketUpgrade,
) -> Response {
    let updates = updates(&session, allowed);
    upgrade
        .max_message_size(MAX_MESSAGE_LEN)
        .max_frame_size(MAX_MESSAGE_LEN)
        .on_upgrade(move |socket| serve(app, updates, socket))
}

async fn serve(app: App, updates: impl Stream<Item = Update> + Send, mut socket: WebSocket) {
    let _open = app.shutdown().open();
    // Pinned outside of the loop: a client that sends all the time must not restart the wait for
    // the next update.
    let mut updates = pin!(updates);
    let mut shutdown = pin!(app.shutdown().requested());
    loop {
        tokio::select! {
            update = updates.next() => match update {
                Some(Update::Counter(counter)) => {
                    if !send(&mut socket, &Line::Counter(counter)).await {
                        return;
                    }
                }
                Some(Update::End) | None => {
                    if send(&mut socket, &Line::End).await {
                        close(socket, close_code::POLICY, "session ended").await;
                    }
                    return;
                }
            },
            // The library answers pings.
            received = socket.recv() => match received {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
            () = &mut shutdown => {
                close(socket, close_code::AWAY, "server shutdown").await;
                return;
            }
        }
    }
}

/// Whether the client has accepted the message.
async fn send(socket: &mut WebSocket, line: &Line) -> bool {
    let Ok(text) = serde_json::to_string(line) else { return false };
    let sent = timeout(CLIENT_TIMEOUT, socket.send(Message::Text(text.into()))).await;
    matches!(sent, Ok(Ok(())))
}

/// Sends a close frame, and waits for the answer.
async fn close(mut socket: WebSocket, code: u16, reason: &'static str) {
    let frame = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    let _ = timeout(CLIENT_TIMEOUT, async {
        if socket.send(frame).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    })
    .await;
}
