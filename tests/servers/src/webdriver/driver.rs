use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::BrowserBuilder;
use crate::http::exchange;
use crate::wait::TIMEOUT;

/// ChromeDriver on a free port. Stops when dropped, with its browsers.
#[derive(Debug)]
pub struct Driver {
    child: Child,
    port: u16,
}

impl Driver {
    /// Starts the program `chromedriver`.
    ///
    /// # Panics
    ///
    /// Panics if it is not installed or does not start.
    #[track_caller]
    pub fn start() -> Self {
        // It ends if its port, which is free for IPv4, is taken for IPv6.
        let started = (0..5).find_map(|_| Self::try_start());
        started.expect("chromedriver finds a free port")
    }

    fn try_start() -> Option<Self> {
        let mut child = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver: `cargo xtask test --install` installs it");
        let output = child.stdout.take().expect("standard output is piped");
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let port = lines.find_map(|line| {
            let (_, port) = line.rsplit_once("successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        let Some(port) = port else {
            let _ = child.wait();
            return None;
        };
        // Further output must be read, or it would fail.
        thread::spawn(move || lines.for_each(drop));
        Some(Self { child, port })
    }

    /// A browser with an empty profile, before its start.
    pub fn browser(&self) -> BrowserBuilder {
        BrowserBuilder::new(self.port)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // A shutdown ends its browsers; a kill would leave them running.
        if try_send(self.port, "GET", "/shutdown", &Value::Null).is_ok() {
            for _ in 0..100 {
                if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                    return;
                }
                thread::sleep(Duration::from_millis(50));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a command to ChromeDriver, and returns its value.
#[track_caller]
pub(super) fn send(port: u16, method: &str, path: &str, body: &Value) -> Value {
    match try_send(port, method, path, body) {
        Ok(value) => value,
        Err(error) => panic!("{method} {path}: {error}"),
    }
}

pub(super) fn try_send(port: u16, method: &str, path: &str, body: &Value) -> Result<Value, String> {
    let text = |error: std::io::Error| error.to_string();
    let connection = TcpStream::connect(("127.0.0.1", port)).map_err(text)?;
    connection.set_read_timeout(Some(TIMEOUT)).map_err(text)?;
    let host = format!("127.0.0.1:{port}");
    let headers = [("host", &*host), ("content-type", "application/json")];
    let body = if method == "POST" { body.to_string() } else { String::new() };
    let answer = exchange(connection, method, path, &headers, &body).map_err(text)?;
    if answer.status != 200 {
        return Err(format!("{} {}", answer.status, answer.text));
    }
    let mut answer: Value =
        serde_json::from_str(&answer.text).map_err(|error| format!("{error}: {}", answer.text))?;
    Ok(answer["value"].take())
}
