use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::thread;

/// Serves a page of another site with one link, until the program ends, and returns its URL.
pub(super) fn link_to(url: &str) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let page = format!("<!doctype html><title>elsewhere</title><a href=\"{url}\">link</a>");
    let length = page.len();
    let answer: Arc<str> = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{page}"
    )
    .into();
    thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            // A browser also opens connections that it does not use.
            thread::spawn(move || {
                if connection.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                    let _ = connection.write_all(answer.as_bytes());
                }
            });
        }
    });
    format!("http://other.test:{port}/")
}
