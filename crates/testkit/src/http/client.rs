//! A client with one cookie, on plain HTTP/1.1 over TCP.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Application, COOKIE, HOST};

/// Longer than any machine takes for an answer: a server that never answers fails its law.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A browser that keeps the session's cookie.
#[derive(Debug, Clone)]
pub(super) struct Client {
    address: SocketAddr,
    /// The value of the session's cookie.
    pub(super) token: Option<String>,
}

impl Client {
    /// A client without a cookie.
    pub(super) fn of(application: &impl Application) -> Self {
        Self { address: application.address(), token: None }
    }

    /// A client that has just signed in under this name.
    pub(super) async fn signed_in(application: &impl Application, name: &str) -> Self {
        let mut client = Self::of(application);
        client.login(name).await;
        client
    }

    /// Another client, without a cookie.
    pub(super) fn other(&self) -> Self {
        Self { address: self.address, token: None }
    }

    /// Another client, with this value as its cookie.
    pub(super) fn presenting(&self, token: &str) -> Self {
        Self { address: self.address, token: Some(token.to_owned()) }
    }

    /// The value of the cookie. Panics without one.
    #[track_caller]
    pub(super) fn token(&self) -> &str {
        self.token.as_deref().expect("the client has a cookie")
    }

    pub(super) async fn login(&mut self, name: &str) {
        let answer = self.post(&format!("/login/{name}")).await;
        assert_eq!((answer.status, &*answer.text()), (200, "in"), "a login");
    }

    /// The name by which the application knows the client; `None` if it refuses it with 401.
    pub(super) async fn name(&mut self) -> Option<String> {
        let answer = self.get("/name").await;
        match answer.status {
            200 => Some(answer.text()),
            401 => None,
            status => panic!("`/name` answered {status}: {}", answer.text()),
        }
    }

    /// The id of the client's session, as the list of sessions marks it.
    pub(super) async fn id(&mut self) -> String {
        let list = self.get("/sessions").await.text();
        let own = list.lines().find_map(|line| line.strip_prefix("* "));
        own.unwrap_or_else(|| panic!("the list has the client's own session: {list}")).to_owned()
    }

    pub(super) async fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[]).await
    }

    pub(super) async fn post(&mut self, path: &str) -> Answer {
        self.send("POST", path, &[]).await
    }

    /// A request with more headers.
    pub(super) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        self.send_body(method, path, headers, "").await
    }

    /// A request with a body.
    pub(super) async fn send_body(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut headers = headers.to_vec();
        headers.push(("connection", "close"));
        let mut connection = self.open_with(method, path, &headers, body).await;
        connection.read_body(method).await;
        connection.answer
    }

    /// Sends a request, and reads the head of its response.
    pub(super) async fn open(&mut self, path: &str, headers: &[(&str, &str)]) -> Connection {
        self.open_with("GET", path, headers, "").await
    }

    /// Sends a `POST` whose handler never answers. The client disconnects when the connection is
    /// dropped.
    pub(super) async fn begin(&self, path: &str) -> Connection {
        self.begin_with("POST", path, &[], "").await
    }

    async fn open_with(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Connection {
        let mut connection = self.begin_with(method, path, headers, body).await;
        connection.read_head().await;
        self.keep(&connection.answer);
        connection
    }

    async fn begin_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Connection {
        let cookie = self.token.as_ref().map(|token| format!("{COOKIE}={token}"));
        let mut request = format!("{method} {path} HTTP/1.1\r\n");
        let has_host = headers.iter().any(|(name, _)| *name == "host");
        let host = (!has_host).then_some(("host", HOST));
        let cookie = cookie.as_deref().map(|cookie| ("cookie", cookie));
        for (name, value) in host.into_iter().chain(headers.iter().copied()).chain(cookie) {
            request += &format!("{name}: {value}\r\n");
        }
        if method != "GET" && method != "HEAD" {
            request += &format!("content-length: {}\r\n", body.len());
        }
        request += &format!("\r\n{body}");
        let stream = in_time(TcpStream::connect(self.address)).await;
        let mut stream = stream.expect("the application accepts connections");
        in_time(stream.write_all(request.as_bytes())).await.expect("the request is sent");
        Connection { stream, unread: Vec::new(), answer: Answer::default() }
    }

    /// Keeps or drops the session's cookie, as the response says.
    fn keep(&mut self, answer: &Answer) {
        for cookie in answer.set_cookies() {
            let value = cookie.strip_prefix(COOKIE).and_then(|rest| rest.strip_prefix('='));
            if let Some((value, attributes)) = value.and_then(|value| value.split_once(';')) {
                let is_over = attributes.contains("Max-Age=0");
                self.token = (!is_over).then(|| value.to_owned());
            }
        }
    }
}

/// A response.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// In the order of the response, with names in lower case.
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The values of a header, in order.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        let same = self.headers.iter().filter(|(other, _)| other == name);
        same.map(|(_, value)| &**value).collect()
    }

    /// The only value of a header. Panics if there are several.
    #[track_caller]
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "one header `{name}`: {all:?}");
        all.first().copied()
    }

    pub(super) fn set_cookies(&self) -> Vec<&str> {
        self.all("set-cookie")
    }

    /// The elements of the values of a header that is a list, sorted.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let values = self.all(name).into_iter().flat_map(|value| value.split(','));
        let mut list: Vec<_> = values.map(|value| value.trim().to_ascii_lowercase()).collect();
        list.sort();
        list
    }
}

/// A response that is read part by part.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
    /// The head, and what was read of the body.
    pub(super) answer: Answer,
}

impl Connection {
    async fn read_head(&mut self) {
        let end = loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                break end;
            }
            let more = self.read_more().await;
            assert!(more, "the connection ended without a response");
        };
        let head: Vec<u8> = self.unread.drain(..end + 4).collect();
        let head = String::from_utf8(head).expect("the head of a response is text");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        self.answer.status = status.and_then(|status| status.parse().ok()).expect("a status");
        for line in lines {
            let (name, value) = line.split_once(':').expect("a header has a colon");
            self.answer.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Reads the whole body. A response that has none must send none.
    async fn read_body(&mut self, method: &str) {
        let length = self.answer.header("content-length").map(str::to_owned);
        if method == "HEAD" || self.answer.status == 304 {
            while self.read_more().await {}
            self.answer.body.append(&mut self.unread);
        } else if let Some(length) = length {
            let length = length.parse().expect("a length is a number");
            while self.unread.len() < length {
                assert!(self.read_more().await, "the body is shorter than its length");
            }
            self.answer.body.extend(self.unread.drain(..length));
        } else if self.is_chunked() {
            while self.read_chunk().await {}
        } else {
            while self.read_more().await {}
            self.answer.body.append(&mut self.unread);
        }
    }

    fn is_chunked(&self) -> bool {
        self.answer.header("transfer-encoding").is_some_and(|coding| coding == "chunked")
    }

    /// Reads the body until it has this part.
    pub(super) async fn until(&mut self, part: &[u8]) {
        while find(&self.answer.body, part).is_none() {
            let more = self.read_part().await;
            assert!(more, "the body ended early: {}", self.answer.text());
        }
    }

    /// Reads the body until it ends.
    pub(super) async fn rest(mut self) -> Answer {
        while self.read_part().await {}
        self.answer
    }

    async fn read_part(&mut self) -> bool {
        if self.is_chunked() {
            return self.read_chunk().await;
        }
        let more = !self.unread.is_empty() || self.read_more().await;
        self.answer.body.append(&mut self.unread);
        more
    }

    /// Reads a chunk. `false` after the last one.
    async fn read_chunk(&mut self) -> bool {
        let length = self.read_line().await;
        let length = length.split(';').next().unwrap_or_default();
        let length = usize::from_str_radix(length, 16).expect("a chunk has a length");
        while self.unread.len() < length + 2 {
            assert!(self.read_more().await, "the connection ended within a chunk");
        }
        self.answer.body.extend(self.unread.drain(..length));
        self.unread.drain(..2);
        length > 0
    }

    async fn read_line(&mut self) -> String {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..end + 2).collect();
                return String::from_utf8_lossy(&line[..end]).into_owned();
            }
            assert!(self.read_more().await, "the connection ended within a body");
        }
    }

    /// Reads from the connection. `false` at its end.
    async fn read_more(&mut self) -> bool {
        // A server may close a connection whose request it has not read to its end.
        let read = in_time(self.stream.read_buf(&mut self.unread)).await;
        read.is_ok_and(|bytes| bytes > 0)
    }
}

async fn in_time<T>(answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, answer).await.expect("the application answers")
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
