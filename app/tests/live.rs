//! Open connections of the running program, which end with their session.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use support::socket::{Received, Socket};
use support::{App, Client};
use tungstenite::Message;

#[test]
fn a_socket_sends_the_counter_and_closes_with_its_session() {
    let app = App::start();
    for end in ["/logout", "/sessions/revoke-all"] {
        let mut ada = app.signed_in("ada");
        let mut sockets = [0, 1].map(|_| Socket::open(&ada, &[]).unwrap());
        for socket in &mut sockets {
            assert_eq!(socket.counter(), 0);
        }
        ada.post("/counter");
        for socket in &mut sockets {
            assert_eq!(socket.counter(), 1);
        }
        assert_eq!(ada.post(end).status, 200);
        sockets.iter_mut().for_each(Socket::ends);
    }
}

#[test]
fn a_socket_answers_pings_and_refuses_long_messages() {
    let app = App::start();
    let mut ada = app.signed_in("ada");
    let mut socket = Socket::open(&ada, &[]).unwrap();
    assert_eq!(socket.counter(), 0);
    socket.send(Message::text("{\"type\":\"counter\",\"counter\":7}"));
    socket.send(Message::binary(vec![0; 4_096]));
    socket.send(Message::Ping(b"there?".as_slice().into()));
    assert_eq!(socket.next(), Received::Pong(b"there?".to_vec()));
    ada.clone().post("/counter");
    assert_eq!(socket.counter(), 1);
    // The server may close before the client has written all.
    let mut long = Socket::open(&ada, &[]).unwrap();
    assert_eq!(long.counter(), 1);
    long.send(Message::binary(vec![0; 5_000]));
    assert!(long.is_broken());
    assert_eq!(ada.get("/counter").status, 200, "other requests are unaffected");
}

/// Without a change feed, the program polls: a client that sends all the time must not stop that.
#[test]
fn a_busy_client_delays_neither_changes_nor_the_end() {
    let app = App::start_with(&["--idle", "1s"]);
    let mut ada = app.signed_in("ada");
    let mut socket = Socket::open(&ada, &[]).unwrap();
    assert_eq!(socket.counter(), 0);
    // Pings one by one: each is answered, or the session ends.
    let end = loop {
        socket.send(Message::Ping(b"x".as_slice().into()));
        match socket.next() {
            Received::Pong(_) => {}
            other => break other,
        }
    };
    assert_eq!(end, Received::Json(serde_json::json!({ "type": "end" })));
    assert_eq!(ada.get("/profile").status, 401, "messages do not extend the session");
}

#[test]
fn a_socket_needs_a_session_and_this_site() {
    let app = App::start();
    assert_eq!(Socket::open(&app.client(), &[]).err(), Some(401));
    let ada = app.signed_in("ada");
    let opened = |headers: &[(&'static str, &str)]| Socket::open(&ada, headers).err();
    assert_eq!(opened(&[("origin", "https://evil.test")]), Some(403));
    assert_eq!(opened(&[("sec-fetch-site", "cross-site")]), Some(403));
    assert_eq!(opened(&[("origin", &format!("http://{}", app.address))]), None);
}

#[test]
fn open_connections_are_limited() {
    let app = App::start();
    let mut ada = app.signed_in("ada");
    let mut open: Vec<_> = (0..32).map(|_| Socket::open(&ada, &[]).unwrap()).collect();
    assert_eq!(Socket::open(&app.signed_in("ada"), &[]).err(), Some(429), "the limit is per user");
    assert_eq!(ada.get("/events").status, 429);
    assert!(Socket::open(&app.signed_in("bob"), &[]).is_ok());
    open.clear();
    // The server notices a closed connection a moment later.
    assert_eq!(ada.head_while("/events", 429), 200);
}

#[test]
fn a_signal_closes_open_sockets() {
    let mut app = App::start();
    let mut socket = Socket::open(&app.signed_in("ada"), &[]).unwrap();
    assert_eq!(socket.counter(), 0);
    let closed = std::thread::spawn(move || socket.next());
    assert_eq!(app.signal("-TERM").code(), Some(0));
    let expected = Received::Closed { code: 1001, reason: String::from("server shutdown") };
    assert_eq!(closed.join().unwrap(), expected);
}

/// Another request replaces the token, and the connection stays.
#[test]
fn a_socket_survives_a_rotation() {
    let app = App::start_with(&["--rotate-every", "100ms", "--rotation-grace", "50ms"]);
    let mut ada = app.signed_in("ada");
    let first = ada.token().to_owned();
    let mut socket = Socket::open(&ada, &[]).unwrap();
    assert_eq!(socket.counter(), 0);
    let rotate = |ada: &mut Client| {
        while ada.token() == first {
            assert_eq!(ada.get("/profile").status, 200);
        }
    };
    rotate(&mut ada);
    ada.post("/counter");
    assert_eq!(socket.counter(), 1);
    ada.post("/logout");
    socket.ends();
}
