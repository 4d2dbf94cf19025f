//! Tests of a single Redis server.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use crate::support::{Traces, answers};
use kvolt_servers::{Certificates, Flavour, Package, Redis, Reply, require, wait_until};

#[test]
fn server_answers_and_leaves_nothing_behind() {
    if !require(&[Package::Redis]) {
        return;
    }
    let redis = Redis::start();
    assert_eq!(redis.url(), format!("redis://127.0.0.1:{}", redis.port()));
    let mut tcp = TcpStream::connect(("127.0.0.1", redis.port())).expect("it listens");
    assert_eq!(say(&mut tcp, "SET k 1"), "+OK");
    let mut unix = UnixStream::connect(redis.socket()).expect("it listens");
    assert_eq!(say(&mut unix, "INCR k"), ":2");
    assert_eq!(redis.unix_url(), format!("unix://{}", redis.socket().display()));

    assert_eq!(redis.cli(&["MSET", "a", "b c", "d", "é"]), "OK");
    assert_eq!(redis.cli(&["MGET", "a", "none", "d"]), "b c\n\né");
    let binary: &[&[u8]] = &[b"SET", b"binary", b"\xff\r\n\0"];
    redis.command(binary).expect("the bytes are stored");
    let stored = redis.command(&["GET", "binary"]).expect("the value exists");
    assert_eq!(stored, Reply::Bytes(b"\xff\r\n\0".to_vec()));
    assert_eq!(
        redis.command(&["STRLEN", "binary"]).expect("the count is a number").integer(),
        Some(4)
    );
    let refused = redis.try_cli(&["INCR", "a"]).expect_err("no number");
    assert!(refused.to_string().contains("not an integer"), "{refused}");
    assert!(redis.info("redis_version").starts_with("7."));
    assert!(redis.log().contains("Ready to accept connections"));

    let traces = Traces::of(&redis);
    drop(redis);
    traces.assert_gone();
}

#[test]
fn only_append_only_data_survives_a_kill() {
    if !require(&[Package::Redis]) {
        return;
    }
    for (builder, kept) in [(Redis::builder().append_only(), "1"), (Redis::builder(), "")] {
        let redis = builder.start();
        redis.cli(&["SET", "k", "1"]);
        let (port, folder) = (redis.port(), redis.folder().to_owned());
        redis.kill();
        assert!(redis.pid().is_none() && !answers(port));
        assert!(redis.try_cli(&["PING"]).is_err());
        redis.restart();
        assert_eq!((redis.port(), redis.folder()), (port, folder.as_path()));
        assert_eq!(redis.cli(&["GET", "k"]), kept);
        // An orderly stop, and a restart of a running server.
        redis.stop();
        assert!(!answers(port));
        redis.restart();
        redis.restart();
        assert_eq!(redis.cli(&["GET", "k"]), kept);
        let traces = Traces::of(&redis);
        redis.kill();
        drop(redis);
        traces.assert_gone();
    }
}

#[test]
fn paused_server_keeps_connections_open() {
    if !require(&[Package::Redis]) {
        return;
    }
    let redis = Redis::start();
    let mut tcp = TcpStream::connect(("127.0.0.1", redis.port())).expect("it listens");
    redis.pause();
    tcp.write_all(b"PING\r\n").expect("the kernel buffers it");
    tcp.set_read_timeout(Some(Duration::from_millis(100))).expect("a limit");
    let mut line = String::new();
    let error = BufReader::new(&tcp).read_line(&mut line).expect_err("nobody answers");
    assert!(error.kind() == std::io::ErrorKind::WouldBlock, "{error}");
    redis.resume();
    redis.wait_until_ready();
    tcp.set_read_timeout(None).expect("no limit");
    BufReader::new(&tcp).read_line(&mut line).expect("an answer");
    assert_eq!(line, "+PONG\r\n");

    redis.pause();
    redis.stop();
    redis.restart();
    redis.pause();
    let traces = Traces::of(&redis);
    drop(redis);
    traces.assert_gone();
}

#[test]
fn passwords_never_lock_out_the_harness() {
    if !require(&[Package::Redis]) {
        return;
    }
    let redis = Redis::builder()
        .password("s3cret")
        .user("app", "pa55", "~app:* +get +set")
        .config("maxmemory", "32mb")
        .start();
    assert_eq!(redis.url(), format!("redis://:s3cret@127.0.0.1:{}", redis.port()));
    let as_app = redis.url_as("app", "pa55");
    assert_eq!(as_app, format!("redis://app:pa55@127.0.0.1:{}", redis.port()));
    let mut tcp = TcpStream::connect(("127.0.0.1", redis.port())).expect("it listens");
    assert!(say(&mut tcp, "GET app:k").starts_with("-NOAUTH"));
    assert!(say(&mut tcp, "AUTH wrong").starts_with("-WRONGPASS"));
    assert_eq!(say(&mut tcp, "AUTH app pa55"), "+OK");
    assert_eq!(say(&mut tcp, "SET app:k 1"), "+OK");
    assert!(say(&mut tcp, "GET other").starts_with("-NOPERM"));
    assert_eq!(say(&mut tcp, "AUTH s3cret"), "+OK");

    redis.cli(&["ACL", "SETUSER", "default", "off"]);
    assert_eq!(redis.cli(&["CONFIG", "GET", "maxmemory"]), "maxmemory\n33554432");
    redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    assert_eq!(redis.cli(&["PING"]), "PONG");
}

#[test]
fn monitor_records_all_executed_commands() {
    if !require(&[Package::Redis]) {
        return;
    }
    let redis = Redis::start();
    let mut tcp = TcpStream::connect(("127.0.0.1", redis.port())).expect("it listens");
    let monitor = redis.monitor();
    for round in 0..100 {
        say(&mut tcp, &format!("SET k{round} v"));
        assert_eq!(monitor.lines().len(), round + 1);
    }
    redis.cli(&["PING"]);
    assert_eq!((monitor.count("\"set\""), monitor.count("ping")), (100, 0));
    monitor.clear();
    say(&mut tcp, "GET k1");
    assert_eq!(monitor.lines().len(), 1);
    assert!(monitor.lines()[0].ends_with("\"GET\" \"k1\""));
}

#[test]
fn debug_commands_are_enabled() {
    if !require(&[Package::Redis]) {
        return;
    }
    let redis = Redis::start();
    let hash = redis.cli(&["SCRIPT", "LOAD", "return 7"]);
    assert_eq!(redis.cli(&["EVALSHA", &hash, "0"]), "7");
    redis.cli(&["SCRIPT", "FLUSH"]);
    let gone = redis.try_cli(&["EVALSHA", &hash, "0"]).expect_err("the script was flushed");
    assert!(gone.to_string().contains("NOSCRIPT"), "{gone}");
    assert_eq!(redis.cli(&["DEBUG", "SLEEP", "0.01"]), "OK");
    assert_eq!(redis.cli(&["CLIENT", "PAUSE", "10", "WRITE"]), "OK");
}

#[test]
fn tls_rejects_clients_of_other_authorities() {
    if !require(&[Package::Redis]) {
        return;
    }
    let certificates = Certificates::new();
    let unrelated = Certificates::new();
    let ping = |redis: &Redis, authority: &Certificates, client: Option<&Certificates>| {
        let mut cli = Command::new("redis-cli");
        cli.args(["--tls", "-h", "127.0.0.1", "-p", &redis.port().to_string(), "--cacert"]);
        cli.arg(authority.authority());
        if let Some(client) = client {
            cli.arg("--cert").arg(client.client()).arg("--key").arg(client.client_key());
        }
        let output = cli.arg("PING").output().expect("redis-cli is installed");
        String::from_utf8_lossy(&output.stdout).trim() == "PONG"
    };
    let redis = Redis::builder().tls(&certificates).start();
    assert_eq!(redis.url(), format!("rediss://127.0.0.1:{}", redis.port()));
    assert_eq!(redis.cli(&["PING"]), "PONG");
    assert!(ping(&redis, &certificates, None));
    assert!(
        !ping(&redis, &unrelated, None),
        "a client must reject a certificate of another authority"
    );

    let redis = Redis::builder().mutual_tls(&certificates).start();
    assert!(ping(&redis, &certificates, Some(&certificates)));
    assert!(!ping(&redis, &certificates, None));
    assert!(!ping(&redis, &certificates, Some(&unrelated)));
}

#[test]
fn other_server_versions_behave_alike() {
    for (flavour, field, version) in
        [(Flavour::Redis62, "redis_version", "6.2."), (Flavour::Valkey9, "valkey_version", "9.")]
    {
        if !require(&[flavour.package()]) {
            continue;
        }
        let redis = Redis::builder().flavour(flavour).append_only().start();
        assert_eq!(redis.flavour(), flavour);
        assert!(redis.info(field).starts_with(version), "{}", redis.info(field));
        redis.cli(&["SET", "k", "1"]);
        redis.cli(&["DEBUG", "SLEEP", "0"]);
        redis.kill();
        redis.restart();
        assert_eq!(redis.cli(&["GET", "k"]), "1");
        let monitor = redis.monitor();
        assert!(monitor.lines().is_empty());
        let traces = Traces::of(&redis);
        drop((monitor, redis));
        traces.assert_gone();
    }
}

#[test]
fn failed_start_reports_the_reason() {
    if !require(&[Package::Redis]) {
        return;
    }
    let failed = Redis::builder().config("no-such-setting", "1").try_start();
    let failure = failed.expect_err("the setting does not exist").to_string();
    assert!(failure.contains("Bad directive") && failure.contains("no-such-setting"), "{failure}");
}

#[test]
fn twenty_servers_start_concurrently() {
    if !require(&[Package::Redis]) {
        return;
    }
    let start = || std::thread::spawn(Redis::start);
    let threads: Vec<_> = (0..20).map(|_| start()).collect();
    let servers: Vec<Redis> =
        threads.into_iter().map(|thread| thread.join().expect("it starts")).collect();
    let traces: Vec<Traces> = servers.iter().map(|server| Traces::of(server)).collect();
    // The server keeps running after the thread that started it has ended.
    assert!(servers.iter().all(|server| server.cli(&["PING"]) == "PONG"));
    drop(servers);
    traces.iter().for_each(Traces::assert_gone);
    wait_until("nothing", || true);
}

fn say<S>(stream: &mut S, command: &str) -> String
where
    S: Write,
    for<'a> &'a S: std::io::Read,
{
    stream.write_all(format!("{command}\r\n").as_bytes()).expect("the bytes are sent");
    let mut line = String::new();
    BufReader::new(&*stream).read_line(&mut line).expect("an answer");
    line.trim_end().to_owned()
}
