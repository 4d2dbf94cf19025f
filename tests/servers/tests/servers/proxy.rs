//! Tests of the proxy, in front of a server and of a plain socket.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use kvolt_servers::{Package, Proxy, Redis, require, wait_until};

use crate::support::answers;

/// A client for a line-based protocol.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(port: u16) -> Self {
        Self(BufReader::new(TcpStream::connect(("127.0.0.1", port)).expect("somebody listens")))
    }

    fn send(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).expect("the bytes are sent");
    }

    /// Returns the next line, or `None` once the connection is closed.
    fn line(&mut self) -> Option<String> {
        self.0.get_mut().set_read_timeout(None).expect("no limit");
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn is_left_waiting(&mut self) -> bool {
        self.0.get_mut().set_read_timeout(Some(Duration::from_millis(100))).expect("a limit");
        let answered = self.0.fill_buf().map(<[u8]>::len);
        answered.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.line().expect("an answer")
    }
}

#[test]
fn cut_closes_and_refuses_connections() {
    let (proxy, redis) = match proxied() {
        Some(both) => both,
        None => return,
    };
    assert_eq!(proxy.url(&redis.url()), format!("redis://127.0.0.1:{}", proxy.port()));
    let mut client = Client::connect(proxy.port());
    assert_eq!(client.ask("PING"), "+PONG");
    for _ in 0..3 {
        proxy.cut();
        assert_eq!(client.line(), None);
        let refused =
            TcpStream::connect(("127.0.0.1", proxy.port())).expect_err("the proxy is cut");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        proxy.restore();
        client = Client::connect(proxy.port());
        assert_eq!(client.ask("PING"), "+PONG");
    }
    assert_eq!(redis.cli(&["PING"]), "PONG");

    proxy.drop_connections();
    assert_eq!(client.line(), None);
    let mut client = Client::connect(proxy.port());
    assert_eq!(client.ask("PING"), "+PONG");
    let port = proxy.port();
    drop(proxy);
    assert_eq!(client.line(), None);
    assert!(!answers(port));
}

#[test]
fn blackhole_keeps_connections_and_forwards_nothing() {
    let Some((proxy, redis)) = proxied() else { return };
    let mut client = Client::connect(proxy.port());
    assert_eq!(client.ask("PING"), "+PONG");
    proxy.blackhole();
    client.send("SET k 1");
    let mut second = Client::connect(proxy.port());
    second.send("SET l 1");
    assert!(client.is_left_waiting() && second.is_left_waiting());
    assert_eq!(redis.cli(&["EXISTS", "k", "l"]), "0");
    proxy.restore();
    assert_eq!((client.line(), second.line()), (Some("+OK".into()), Some("+OK".into())));
    assert_eq!(redis.cli(&["EXISTS", "k", "l"]), "2");

    // Data held by the proxy is lost when the connection is cut.
    proxy.blackhole();
    client.send("SET m 1");
    assert!(client.is_left_waiting());
    proxy.cut();
    assert_eq!(client.line(), None);
    // Switches from cut to blackhole directly.
    proxy.blackhole();
    let mut client = Client::connect(proxy.port());
    client.send("PING");
    assert!(client.is_left_waiting());
    proxy.restore();
    assert_eq!(client.line().as_deref(), Some("+PONG"));
    assert_eq!(redis.cli(&["EXISTS", "m"]), "0");
}

#[test]
fn held_replies_let_requests_through() {
    let Some((proxy, redis)) = proxied() else { return };
    let mut client = Client::connect(proxy.port());
    proxy.hold_replies();
    client.send("SET k 1");
    wait_until("the key", || redis.cli(&["GET", "k"]) == "1");
    assert!(client.is_left_waiting());
    proxy.cut();
    assert_eq!(client.line(), None);
}

#[test]
fn delay_applies_per_direction_not_per_piece() {
    let Some((proxy, _redis)) = proxied() else { return };
    let mut client = Client::connect(proxy.port());
    proxy.delay(Duration::from_millis(100));
    let time = timed(|| assert_eq!(client.ask("PING"), "+PONG"));
    assert!(time >= Duration::from_millis(200), "{time:?}");
    // Five pipelined requests take no longer than one, except on a busy machine.
    wait_until("five pipelined requests", || {
        let time = timed(|| {
            for _ in 0..5 {
                client.send("PING");
                thread::sleep(Duration::from_millis(5));
            }
            for _ in 0..5 {
                assert_eq!(client.line().as_deref(), Some("+PONG"));
            }
        });
        assert!(time >= Duration::from_millis(200), "{time:?}");
        time < Duration::from_millis(400)
    });
    proxy.restore();
    let mut ping = || assert_eq!(client.ask("PING"), "+PONG");
    wait_until("the end of the delay", || timed(&mut ping) < Duration::from_millis(50));
}

#[test]
fn pipeline_counts_as_one_round_trip() {
    let Some((proxy, _redis)) = proxied() else { return };
    let mut client = Client::connect(proxy.port());
    let before = proxy.counts();
    client.ask("PING");
    let one = proxy.counts() - before;
    assert_eq!((one.round_trips, one.bytes_to_server, one.bytes_to_client), (1, 6, 7));
    assert_eq!(one.commands, 1);
    client.send("PING\r\nPING\r\nPING");
    for _ in 0..3 {
        client.line();
    }
    let both = proxy.counts() - before;
    assert_eq!((both.round_trips, both.commands), (2, 4));
    client.ask("PING");
    client.ask("PING");
    assert_eq!((proxy.counts() - before).round_trips, 4);
    Client::connect(proxy.port()).ask("PING");
    let all = proxy.counts();
    assert_eq!((all.connections, all.round_trips), (2, 5));
    wait_until("the second connection to close", || proxy.connections() == 1);
}

#[test]
fn large_transfers_arrive_unchanged() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let proxy = Proxy::to(listener.local_addr().expect("its address").port());
    // Echoes all received bytes after the client has finished sending.
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("all bytes are transferred");
        stream.write_all(&bytes).expect("all bytes are transferred");
    });
    let sent: Vec<u8> = (0..10_000_000_u32).map(|at| (at % 251) as u8).collect();
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).expect("it listens");
    client.write_all(&sent).expect("all bytes are transferred");
    client.shutdown(std::net::Shutdown::Write).expect("no more");
    let mut got = Vec::new();
    client.read_to_end(&mut got).expect("all bytes are transferred");
    assert!(got == sent, "{} bytes of {}", got.len(), sent.len());
    server.join().expect("it ends");
    assert_eq!(proxy.counts().bytes_to_server, 10_000_000);
    wait_until("the connection to be deregistered", || proxy.connections() == 0);
}

#[test]
fn stopped_server_closes_client_connections() {
    let Some((proxy, redis)) = proxied() else { return };
    let mut client = Client::connect(proxy.port());
    assert_eq!(client.ask("PING"), "+PONG");
    redis.kill();
    assert_eq!(client.line(), None);
    assert_eq!(Client::connect(proxy.port()).line(), None);
    redis.restart();
    assert_eq!(Client::connect(proxy.port()).ask("PING"), "+PONG");
}

fn proxied() -> Option<(Proxy, Redis)> {
    if !require(&[Package::Redis]) {
        return None;
    }
    let redis = Redis::start();
    Some((Proxy::to(redis.port()), redis))
}

#[expect(clippy::disallowed_methods, reason = "network delays use real time")]
fn timed(work: impl FnOnce()) -> Duration {
    let start = std::time::Instant::now();
    work();
    start.elapsed()
}
