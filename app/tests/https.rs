//! Tests HTTPS for development.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use support::{App, Client, tls};

fn start() -> App {
    App::start_with(&["--dev-https"])
}

#[test]
fn a_browser_signs_in_over_https_with_the_secure_cookie() {
    let app = start();
    for expected in [&format!("https://{}/", app.address), "for development only"] {
        assert!(app.greeting.contains(expected), "{}", app.greeting);
    }
    let mut ada = app.browser();
    let login = ada.sign_in("ada", "");
    assert_eq!(login.status, 303, "{}", login.text);
    let cookie = login.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-session_id="), "{cookie}");
    assert!(cookie.ends_with("; Path=/; HttpOnly; Secure; SameSite=Lax"), "{cookie}");
    assert_eq!(ada.submit("/", "/counter", "").status, 303, "its origin is admitted");
    let mut program = Client { browser: false, ..ada };
    assert_eq!(program.get("/counter").json()["counter"], 1);
    let sessions = program.get("/sessions");
    assert_eq!(sessions.json()[0]["address"], "127.0.0.1", "{}", sessions.text);
}

#[test]
fn the_key_is_new_at_each_start() {
    let (one, other) = (start(), start());
    let config = one.client().tls.unwrap();
    let mut connection = tls::connect(&config, TcpStream::connect(other.address).unwrap());
    let error = connection.write_all(b"GET").unwrap_err().to_string();
    assert!(error.contains("invalid peer certificate"), "{error}");
}

#[test]
fn silent_clients_block_no_other() {
    let app = start();
    let connect = |_| TcpStream::connect(app.address).unwrap();
    let silent: Vec<_> = (0..50).map(connect).collect();
    assert_eq!(app.client().get("/healthz").status, 200);
    // More than the handshakes at one time. Then they all end.
    let more: Vec<_> = (0..300).map(connect).collect();
    drop((silent, more));
    assert_eq!(app.client().get("/healthz").status, 200);
}

#[test]
fn plain_http_is_refused_with_a_hint() {
    let app = start();
    let mut plain = Client::of(app.address);
    for answer in [plain.get("/"), plain.post_form("/login", &"x".repeat(100_000))] {
        assert_eq!(answer.status, 400);
        assert!(answer.text.contains("use https://"), "{}", answer.text);
    }
    assert_eq!(app.client().get("/healthz").status, 200);
}

#[test]
fn shutdown_ends_streams_and_handshakes() {
    let mut app = start();
    let silent = TcpStream::connect(app.address).unwrap();
    let ada = app.signed_in("ada");
    let mut stream = ada.begin_tls("GET", "/events", &[], 0);
    stream.read_exact(&mut [0; 16]).unwrap();
    assert_eq!(app.signal("-TERM").code(), Some(0));
    // A connection that is cut off is an error here.
    stream.read_to_end(&mut Vec::new()).unwrap();
    drop(silent);
}
