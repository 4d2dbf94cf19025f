//! Connections of the running program that stay open, and end with their session.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use support::socket::{Said, Socket};
use support::{App, Client};
use tungstenite::Message;

#[test]
fn a_socket_tells_the_counter_and_closes_with_its_session() {
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
fn a_socket_answers_pings_ignores_what_is_said_and_refuses_what_is_too_long() {
    let app = App::start();
    let mut ada = app.signed_in("ada");
    let mut socket = Socket::open(&ada, &[]).unwrap();
    assert_eq!(socket.counter(), 0);
    socket.say(Message::text("{\"type\":\"counter\",\"counter\":7}"));
    socket.say(Message::binary(vec![0; 4_096]));
    socket.say(Message::Ping(b"there?".as_slice().into()));
    assert_eq!(socket.next(), Said::Pong(b"there?".to_vec()));
    ada.clone().post("/counter");
    assert_eq!(socket.counter(), 1);
    // It may be closed before all of it was written.
    let mut long = Socket::open(&ada, &[]).unwrap();
    assert_eq!(long.counter(), 1);
    long.say(Message::binary(vec![0; 5_000]));
    assert!(long.is_broken());
    assert_eq!(ada.get("/counter").status, 200, "nobody else is harmed");
}

/// Where nothing is pushed, somebody has to look: a client that never stops talking must not
/// keep the program from that.
#[test]
fn a_client_that_never_stops_talking_holds_off_neither_changes_nor_the_end() {
    let app = App::start_with(&["--idle", "1s"]);
    let mut ada = app.signed_in("ada");
    let mut socket = Socket::open(&ada, &[]).unwrap();
    assert_eq!(socket.counter(), 0);
    // Each ping is sent once the one before was answered; nothing else may come but the end.
    let end = loop {
        socket.say(Message::Ping(b"x".as_slice().into()));
        match socket.next() {
            Said::Pong(_) => {}
            other => break other,
        }
    };
    assert_eq!(end, Said::Json(serde_json::json!({ "type": "end" })));
    assert_eq!(ada.get("/profile").status, 401, "talking is not using");
}

#[test]
fn a_socket_is_for_those_who_are_signed_in_and_for_pages_of_this_site() {
    let app = App::start();
    assert_eq!(Socket::open(&app.client(), &[]).err(), Some(401));
    let ada = app.signed_in("ada");
    let opened = |headers: &[(&'static str, &str)]| Socket::open(&ada, headers).err();
    assert_eq!(opened(&[("origin", "https://evil.test")]), Some(403));
    assert_eq!(opened(&[("sec-fetch-site", "cross-site")]), Some(403));
    assert_eq!(opened(&[("origin", &format!("http://{}", app.address))]), None);
}

#[test]
fn nobody_has_any_number_of_open_connections() {
    let app = App::start();
    let mut ada = app.signed_in("ada");
    let mut open: Vec<_> = (0..32).map(|_| Socket::open(&ada, &[]).unwrap()).collect();
    assert_eq!(Socket::open(&app.signed_in("ada"), &[]).err(), Some(429), "by whichever session");
    assert_eq!(ada.get("/events").status, 429);
    assert!(Socket::open(&app.signed_in("bob"), &[]).is_ok());
    open.clear();
    // What was closed is noticed a moment later.
    assert_eq!(ada.head_while("/events", 429), 200);
}

#[test]
fn a_signal_says_goodbye_to_open_sockets() {
    let mut app = App::start();
    let mut socket = Socket::open(&app.signed_in("ada"), &[]).unwrap();
    assert_eq!(socket.counter(), 0);
    let said = std::thread::spawn(move || socket.next());
    assert_eq!(app.signal("-TERM").code(), Some(0));
    let goodbye = Said::Closed { code: 1001, reason: String::from("server shutdown") };
    assert_eq!(said.join().unwrap(), goodbye);
}

/// Its token is changed at the first request after a while, and the connection stays.
#[test]
fn a_socket_follows_its_session_when_the_token_is_changed() {
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
