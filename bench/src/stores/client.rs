//! A client that keeps its connections, with as little work of its own as will do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::harness::{below, mix};

pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

pub(super) struct Response {
    pub(super) status: u16,
    /// The cookie that it sets, as it is sent back.
    pub(super) cookie: Option<String>,
}

pub(super) fn request(method: &str, path: &str, cookie: Option<&str>) -> Vec<u8> {
    let cookie = cookie.map(|cookie| format!("cookie: {cookie}\r\n")).unwrap_or_default();
    let length = if method == "POST" { "content-length: 0\r\n" } else { "" };
    format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{cookie}{length}\r\n").into_bytes()
}

impl Connection {
    pub(super) async fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
        stream.set_nodelay(true).expect("it is a socket");
        Self { stream, buffer: Vec::with_capacity(4_096) }
    }

    pub(super) async fn send(&mut self, request: &[u8]) -> Response {
        self.stream.write_all(request).await.expect("it reads");
        self.buffer.clear();
        loop {
            let count = self.stream.read_buf(&mut self.buffer).await.expect("it answers");
            assert!(count > 0, "the connection was closed");
            if let Some(response) = parse(&self.buffer) {
                return response;
            }
        }
    }
}

/// The whole response, once it has arrived.
fn parse(bytes: &[u8]) -> Option<Response> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).expect("it is text");
    let mut lines = head.split("\r\n");
    let status = lines.next()?.get(9..12)?.parse().ok()?;
    let (mut cookie, mut length) = (None, 0);
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        match name {
            "content-length" => length = value.parse().expect("it is a number"),
            "set-cookie" => cookie = value.split(';').next().map(String::from),
            _ => {}
        }
    }
    (bytes.len() >= end + 4 + length).then_some(Response { status, cookie })
}

/// The cookies of so many who signed in.
pub(super) async fn sign_in(port: u16, count: u64, connections: u64) -> Vec<String> {
    let mut tasks = JoinSet::new();
    for index in 0..connections {
        let count = count / connections + u64::from(index < count % connections);
        tasks.spawn(async move {
            let (mut connection, login) =
                (Connection::open(port).await, request("POST", "/login", None));
            let mut cookies = Vec::new();
            for _ in 0..count {
                let response = connection.send(&login).await;
                assert_eq!(response.status, 200);
                cookies.push(response.cookie.expect("it is a login"));
            }
            cookies
        });
    }
    tasks.join_all().await.concat()
}

/// Result of a load: how long each request took, in microseconds.
pub(super) struct Load {
    pub(super) elapsed: Duration,
    pub(super) micros: Vec<u32>,
}

/// Sends these requests in no order, on so many connections, each as soon as the one before it is answered.
pub(super) async fn load(
    port: u16,
    requests: &Arc<[Vec<u8>]>,
    connections: u64,
    time: Duration,
) -> Load {
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    for index in 0..connections {
        let requests = Arc::clone(requests);
        tasks.spawn(async move {
            let mut connection = Connection::open(port).await;
            let mut micros = Vec::new();
            for number in 0.. {
                let sent = Instant::now();
                if sent - start > time {
                    break;
                }
                let which = below(requests.len() as u64, mix(number * connections + index));
                let response = connection.send(&requests[which as usize]).await;
                assert_eq!(response.status, 200);
                micros.push(sent.elapsed().as_micros() as u32);
            }
            micros
        });
    }
    let micros = tasks.join_all().await.concat();
    Load { elapsed: start.elapsed(), micros }
}
