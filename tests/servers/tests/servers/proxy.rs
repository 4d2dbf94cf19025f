//! The proxy in front of a server, and in front of a bare socket.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use kvolt_servers::{Package, Proxy, Redis, require, wait_until};

use crate::support::answers;

/// A client that speaks in lines.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(port: u16) -> Self {
        Self(BufReader::new(TcpStream::connect(("127.0.0.1", port)).expect("somebody listens")))
    }

    fn send(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).expect("it is sent");
    }

    /// The next line, or none when the connection is closed.
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
fn a_cut_closes_connections_and_refuses_new_ones_until_it_is_restored() {
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
        let refused = TcpStream::connect(("127.0.0.1", proxy.port())).expect_err("it is cut");
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
fn a_blackhole_keeps_connections_and_passes_nothing_until_it_is_restored() {
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

    // Data in the black hole is lost when the connection is cut.
    proxy.blackhole();
    client.send("SET m 1");
    assert!(client.is_left_waiting());
    proxy.cut();
    assert_eq!(client.line(), None);
    // Straight from cut to blackhole.
    proxy.blackhole();
    let mut client = Client::connect(proxy.port());
    client.send("PING");
    assert!(client.is_left_waiting());
    proxy.restore();
    assert_eq!(client.line().as_deref(), Some("+PONG"));
    assert_eq!(redis.cli(&["EXISTS", "m"]), "0");
}

#[test]
fn with_replies_held_the_server_does_what_nobody_learns_of() {
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
fn a_delay_is_added_each_way_and_not_to_each_piece() {
    let Some((proxy, _redis)) = proxied() else { return };
    let mut client = Client::connect(proxy.port());
    proxy.delay(Duration::from_millis(100));
    let time = timed(|| assert_eq!(client.ask("PING"), "+PONG"));
    assert!(time >= Duration::from_millis(200), "{time:?}");
    // Five requests on their way at once take no longer than one, unless the machine is busy.
    wait_until("five at once", || {
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
fn a_pipeline_is_one_round_trip() {
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
    wait_until("the second is closed", || proxy.connections() == 1);
}

#[test]
fn much_passes_unchanged_and_either_side_may_finish_first() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let proxy = Proxy::to(listener.local_addr().expect("its address").port());
    // Returns the received data, once the client has closed.
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("all of it");
        stream.write_all(&bytes).expect("all of it");
    });
    let sent: Vec<u8> = (0..10_000_000_u32).map(|at| (at % 251) as u8).collect();
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).expect("it listens");
    client.write_all(&sent).expect("all of it");
    client.shutdown(std::net::Shutdown::Write).expect("no more");
    let mut got = Vec::new();
    client.read_to_end(&mut got).expect("all of it");
    assert!(got == sent, "{} bytes of {}", got.len(), sent.len());
    server.join().expect("it ends");
    assert_eq!(proxy.counts().bytes_to_server, 10_000_000);
    wait_until("the connection is forgotten", || proxy.connections() == 0);
}

#[test]
fn a_server_that_is_down_closes_its_clients_connections() {
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

#[expect(clippy::disallowed_methods, reason = "a delay of the network is real time")]
fn timed(work: impl FnOnce()) -> Duration {
    let start = std::time::Instant::now();
    work();
    start.elapsed()
}
