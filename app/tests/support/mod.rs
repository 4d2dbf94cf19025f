//! The program on a free port, and a minimal HTTP client.
#![allow(unreachable_pub, reason = "a module of each test file")]
#![allow(clippy::disallowed_methods, reason = "the program's clock can't be moved from outside")]
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_rustls::rustls::ClientConfig;

use self::tls::TlsStream;

pub mod device_server;
pub mod page_checks;
pub mod remote;
pub mod socket;
pub mod tls;

pub const PASSWORD: &str = "correct horse";

/// The `Accept` header of a browser.
pub const HTML: &str = "text/html,application/xhtml+xml,*/*;q=0.8";
const FORM: &str = "application/x-www-form-urlencoded";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// The program. Stops when dropped. It has the users ada and bob, and the administrator root.
#[derive(Debug)]
pub struct App {
    child: Child,
    pub address: SocketAddr,
    /// Its first lines on standard output.
    pub greeting: String,
    log: Arc<Mutex<String>>,
}

impl App {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(options: &[&str]) -> Self {
        let [ada, bob, root] = ["ada", "bob", "root"].map(|name| format!("{name}:{PASSWORD}"));
        let users = ["--user", &ada, "--user", &bob, "--admin", &root];
        Self::launch(&[&users[..], options].concat(), "off")
    }

    /// Starts it with a log level, and keeps the log.
    pub fn start_with_log(options: &[&str], level: &str) -> Self {
        let [ada, root] = ["ada", "root"].map(|name| format!("{name}:{PASSWORD}"));
        let users = ["--user", &ada, "--admin", &root];
        Self::launch(&[&users[..], options].concat(), level)
    }

    /// Starts it with these options only.
    pub fn launch(options: &[&str], log_level: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kvolt-app"));
        if !options.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let mut child = command
            .args(options)
            .env("RUST_LOG", log_level)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::<Mutex<String>>::default();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let written = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                let mut log = written.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut greeting = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        // The last line is about the cookie.
        while !greeting.contains("cookie is") {
            let read = lines.read_line(&mut greeting).unwrap();
            assert_ne!(read, 0, "it ends: {greeting}{}", log.lock().unwrap());
        }
        let address = greeting.lines().next().unwrap().split_once("://").unwrap().1;
        let address = address.trim_end_matches('/').parse().unwrap();
        Self { child, address, greeting, log }
    }

    /// The log, once it contains this text.
    pub fn log_with(&self, text: &str) -> String {
        let began = Instant::now();
        loop {
            let log = self.log.lock().unwrap().clone();
            if log.contains(text) {
                return log;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "no {text:?} in the log: {log}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The address of the start page.
    pub fn url(&self) -> String {
        let scheme = if self.flags().is_empty() { "http" } else { "https" };
        format!("{scheme}://{}/", self.address)
    }

    pub fn client(&self) -> Client {
        let tls = self.key_hash().map(|hash| tls::trusting(&hash));
        Client { tls, ..Client::of(self.address) }
    }

    /// The hash of the key of the certificate, which `--dev-https` prints.
    pub fn key_hash(&self) -> Option<String> {
        self.flags().into_iter().find_map(|flag| {
            Some(flag.strip_prefix("--ignore-certificate-errors-spki-list=")?.to_owned())
        })
    }

    /// The flags for Chromium that `--dev-https` prints, without its folder.
    pub fn flags(&self) -> Vec<String> {
        let command = self.greeting.lines().find(|line| line.starts_with("chromium "));
        let words = command.into_iter().flat_map(|line| line.split(' ')).skip(2);
        words.filter(|word| word.starts_with("--")).map(str::to_owned).collect()
    }

    /// A browser: it accepts pages, and sends the origin of its requests.
    pub fn browser(&self) -> Client {
        Client { browser: true, ..self.client() }
    }

    /// The same client at this instance, as behind a load balancer.
    pub fn moved(&self, client: &Client) -> Client {
        let Client { address, tls, .. } = self.client();
        Client { address, tls, ..client.clone() }
    }

    /// A client that has signed in.
    pub fn signed_in(&self, name: &str) -> Client {
        let mut client = self.client();
        let answer = client.post_form("/login", &format!("username={name}&password={PASSWORD}"));
        assert_eq!(answer.status, 200, "{}", answer.text);
        client
    }

    /// The peak memory of the program, in megabytes.
    #[cfg(target_os = "linux")]
    pub fn megabytes_max(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
    }

    pub fn signal(&mut self, name: &str) -> ExitStatus {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client with cookies, and a connection for each request.
#[derive(Clone)]
pub struct Client {
    pub address: SocketAddr,
    pub jar: HashMap<String, String>,
    pub browser: bool,
    /// For HTTPS.
    pub tls: Option<Arc<ClientConfig>>,
}

impl Client {
    pub fn of(address: SocketAddr) -> Self {
        Self { address, jar: HashMap::new(), browser: false, tls: None }
    }

    /// Sends the sign-in form, with more fields.
    pub fn sign_in(&mut self, name: &str, more: &str) -> Answer {
        self.post_form("/login", &format!("username={name}&password={PASSWORD}{more}"))
    }

    /// Sends a form of a page, with its form token and these fields.
    pub fn submit(&mut self, page: &str, path: &str, fields: &str) -> Answer {
        let shown = self.get(page);
        assert_eq!(shown.status, 200, "{page}: {}", shown.text);
        assert!(shown.text.contains(&format!("action=\"{path}\"")), "no {path}: {}", shown.text);
        let token = csrf_token(&shown.text);
        self.post_form(path, &format!("csrf_token={token}&{fields}"))
    }

    /// Confirms the password.
    pub fn reauthenticate(&mut self, password: &str) -> Answer {
        self.submit("/reauthenticate", "/reauthenticate", &format!("password={password}"))
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[], "")
    }

    /// Repeats a request while its answer has this status, and returns the first other answer.
    pub fn get_while(&mut self, path: &str, status: u16) -> Answer {
        let began = Instant::now();
        loop {
            let answer = self.get(path);
            if answer.status != status {
                return answer;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{path} always answers {status}");
        }
    }

    /// The first other status of an endless response.
    pub fn head_while(&mut self, path: &str, status: u16) -> u16 {
        let began = Instant::now();
        loop {
            let mut line = String::new();
            BufReader::new(self.begin("GET", path, &[], 0)).read_line(&mut line).unwrap();
            let answer = line.split(' ').nth(1).unwrap().parse().unwrap();
            if answer != status {
                return answer;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{path} always answers {status}");
        }
    }

    pub fn post(&mut self, path: &str) -> Answer {
        self.send("POST", path, &[], "")
    }

    pub fn post_form(&mut self, path: &str, form: &str) -> Answer {
        self.send("POST", path, &[("content-type", FORM)], form)
    }

    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        if self.tls.is_some() {
            let mut connection = self.begin_tls(method, path, headers, body.len());
            connection.write_all(body.as_bytes()).unwrap();
            return self.finish(connection);
        }
        let mut connection = self.begin(method, path, headers, body.len());
        connection.write_all(body.as_bytes()).unwrap();
        self.finish(connection)
    }

    /// Sends the head only, over plain HTTP: the caller sends the body.
    pub fn begin(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body_len: usize,
    ) -> TcpStream {
        let mut connection = self.connect();
        connection.write_all(self.head(method, path, headers, body_len).as_bytes()).unwrap();
        connection
    }

    /// Sends the head only, over HTTPS.
    pub fn begin_tls(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body_len: usize,
    ) -> TlsStream {
        let mut connection = tls::connect(self.tls.as_ref().unwrap(), self.connect());
        connection.write_all(self.head(method, path, headers, body_len).as_bytes()).unwrap();
        connection
    }

    fn connect(&self) -> TcpStream {
        let connection = TcpStream::connect(self.address).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        connection
    }

    fn head(&self, method: &str, path: &str, headers: &[(&str, &str)], body_len: usize) -> String {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        if body_len > 0 {
            head += &format!("content-length: {body_len}\r\n");
        }
        if !self.jar.is_empty() {
            let cookies: Vec<String> =
                self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
            head += &format!("cookie: {}\r\n", cookies.join("; "));
        }
        if self.browser {
            head += &format!("accept: {HTML}\r\nuser-agent: {FIREFOX}\r\n");
            if method != "GET" {
                let scheme = if self.tls.is_some() { "https" } else { "http" };
                let origin = format!("origin: {scheme}://{}", self.address);
                head += &format!("{origin}\r\nsec-fetch-site: same-origin\r\n");
            }
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head + "\r\n"
    }

    /// Sends the head of a request, and returns when the program waits for the body: it has
    /// admitted the request.
    pub fn begin_admitted(&self, method: &str, path: &str, body_len: usize) -> TcpStream {
        let expect = [("expect", "100-continue")];
        let mut connection = self.begin(method, path, &expect, body_len);
        let mut answer = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
        connection.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
        connection
    }

    pub fn finish(&mut self, mut connection: impl Read) -> Answer {
        let mut bytes = Vec::new();
        let mut buffer = [0; 16 * 1024];
        while !is_complete(&bytes) {
            match connection.read(&mut buffer).unwrap() {
                0 => break,
                read => bytes.extend_from_slice(&buffer[..read]),
            }
        }
        let answer = Answer::parse(&bytes);
        for cookie in answer.headers_of("set-cookie") {
            let (name, rest) = cookie.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if value.is_empty() {
                self.jar.remove(name);
            } else {
                self.jar.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    pub fn token(&self) -> &str {
        &self.jar["session_id"]
    }
}

/// A token with the id of one token and the secret of another.
pub fn with_id_of(one: &str, other: &str) -> String {
    // The id is 12 of 36 bytes: 16 of 48 characters.
    format!("{}{}", &one[..16], &other[16..])
}

/// The form token of the first form of a page.
pub fn csrf_token(page: &str) -> &str {
    let (_, rest) = page.split_once("name=\"csrf_token\" value=\"").expect("a form with a token");
    rest.split('"').next().unwrap()
}

/// Whether an answer is complete by its `Content-Length`. Without one, it ends with the
/// connection.
fn is_complete(bytes: &[u8]) -> bool {
    let Some(head) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else { return false };
    let length = String::from_utf8_lossy(&bytes[..head]).lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    length.is_some_and(|length| bytes.len() >= head + 4 + length)
}

pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub text: String,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) =
            text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        Self { status, headers: lines.map(header).collect(), text: body.to_owned() }
    }

    pub fn headers_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |header| header.0 == name).map(|header| &*header.1)
    }

    pub fn header(&self, name: &str) -> Option<String> {
        self.headers_of(name).next().map(str::to_owned)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}
