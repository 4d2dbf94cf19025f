//! One request over HTTP/1.1, on any connection.

use std::io::{self, Read, Write};

/// An answer over HTTP/1.1.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body, as text.
    pub text: String,
    headers: Vec<(String, String)>,
    /// The length of the body in bytes.
    received: usize,
}

impl Answer {
    /// The values of all headers with this name (lower case), in their order.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |header| header.0 == name).map(|header| &*header.1)
    }

    /// The first header with this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    /// `None` if the head is incomplete.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|end| end == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers =
            headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        let body = &bytes[end + 4..];
        let text = String::from_utf8_lossy(body).into_owned();
        Some(Self { status, text, headers: headers.collect(), received: body.len() })
    }

    /// Whether the body has its `Content-Length`. Without that header, the body ends with the
    /// connection.
    fn is_complete(&self) -> bool {
        let length = self.header("content-length").and_then(|length| length.parse().ok());
        length.is_some_and(|length: usize| self.received >= length)
    }
}

/// Sends a request, and reads the answer until it is complete or the connection ends.
///
/// `Connection: close` and the length of the body are added to the headers.
///
/// # Errors
///
/// Returns an error if the connection fails, or ends before the answer's head does.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::{TcpListener, TcpStream};
///
/// use kvolt_servers::http::exchange;
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let client = TcpStream::connect(listener.local_addr()?)?;
/// let (mut server, _) = listener.accept()?;
/// server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")?;
/// let answer = exchange(client, "GET", "/", &[("host", "localhost")], "")?;
/// assert_eq!((answer.status, &*answer.text), (200, "hi"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn exchange(
    mut connection: impl Read + Write,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Answer> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    if method != "GET" {
        request += &format!("content-length: {}\r\n", body.len());
    }
    request += &format!("\r\n{body}");
    connection.write_all(request.as_bytes())?;
    connection.flush()?;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let read = connection.read(&mut buffer)?;
        bytes.extend_from_slice(&buffer[..read]);
        match Answer::parse(&bytes) {
            Some(answer) if read == 0 || answer.is_complete() => return Ok(answer),
            None if read == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => (),
        }
    }
}
