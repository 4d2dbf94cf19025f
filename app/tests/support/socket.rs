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

/// What comes by it.
#[derive(Debug, PartialEq)]
pub enum Said {
    Json(Value),
    Pong(Vec<u8>),
    Closed { code: u16, reason: String },
}

impl Socket {
    /// Opens one as a client, with the client's cookies; or the status with which it is refused.
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

    pub fn say(&mut self, message: Message) {
        self.0.send(message).unwrap();
    }

    /// What comes next.
    pub fn next(&mut self) -> Said {
        match self.0.read().unwrap() {
            Message::Text(text) => Said::Json(serde_json::from_str(&text).unwrap()),
            Message::Pong(bytes) => Said::Pong(bytes.to_vec()),
            Message::Close(Some(CloseFrame { code, reason })) => {
                Said::Closed { code: code.into(), reason: reason.to_string() }
            }
            other => panic!("nothing else is said: {other:?}"),
        }
    }

    /// Whether it ends in the middle, or with a complaint about what was said.
    pub fn is_broken(&mut self) -> bool {
        match self.0.read() {
            Ok(Message::Close(frame)) => frame.is_none_or(|frame| u16::from(frame.code) != 1008),
            other => other.is_err(),
        }
    }

    /// The counter that is told next.
    pub fn counter(&mut self) -> u64 {
        match self.next() {
            Said::Json(line) if line["type"] == "counter" => line["counter"].as_u64().unwrap(),
            other => panic!("no counter: {other:?}"),
        }
    }

    /// That the session has ended, and that it closes; nothing else may come before.
    pub fn ends(&mut self) {
        assert_eq!(self.next(), Said::Json(serde_json::json!({ "type": "end" })));
        let reason = String::from("session ended");
        assert_eq!(self.next(), Said::Closed { code: 1008, reason });
    }
}
