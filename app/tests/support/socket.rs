//! A WebSocket of a client.

use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::Response;
use tungstenite::protocol::frame::CloseFrame;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use super::Client;

/// An open WebSocket.
pub struct Socket(WebSocket<TcpStream>);

/// A message of the server.
#[derive(Debug, PartialEq)]
pub enum Received {
    Json(Value),
    Pong(Vec<u8>),
    Closed { code: u16, reason: String },
}

impl Socket {
    /// Opens one with the client's cookies; the error is the status of the refusal.
    pub fn open(client: &Client, headers: &[(&'static str, &str)]) -> Result<Self, u16> {
        let address = client.address;
        let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
        let cookies: Vec<_> =
            client.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = ("cookie", cookies.join("; "));
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned()));
        for (name, value) in headers.chain([cookies]) {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let opened: Result<(_, Response), _> = tungstenite::client(request, stream);
        match opened {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    pub fn send(&mut self, message: Message) {
        self.0.send(message).unwrap();
    }

    /// Waits for the next message.
    pub fn next(&mut self) -> Received {
        match self.0.read().unwrap() {
            Message::Text(text) => Received::Json(serde_json::from_str(&text).unwrap()),
            Message::Pong(bytes) => Received::Pong(bytes.to_vec()),
            Message::Close(Some(CloseFrame { code, reason })) => {
                Received::Closed { code: code.into(), reason: reason.to_string() }
            }
            other => panic!("unexpected message: {other:?}"),
        }
    }

    /// Whether it is closed for an error, and not for the end of the session.
    pub fn is_broken(&mut self) -> bool {
        match self.0.read() {
            Ok(Message::Close(frame)) => frame.is_none_or(|frame| u16::from(frame.code) != 1008),
            other => other.is_err(),
        }
    }

    /// Waits for the next counter.
    pub fn counter(&mut self) -> u64 {
        match self.next() {
            Received::Json(line) if line["type"] == "counter" => line["counter"].as_u64().unwrap(),
            other => panic!("no counter: {other:?}"),
        }
    }

    /// Asserts that the next messages are the end of the session and the close frame.
    pub fn ends(&mut self) {
        assert_eq!(self.next(), Received::Json(serde_json::json!({ "type": "end" })));
        let reason = String::from("session ended");
        assert_eq!(self.next(), Received::Closed { code: 1008, reason });
    }
}
