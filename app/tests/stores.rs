//! Several instances of the running program on one remote store, healthy and failing.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![allow(clippy::print_stdout, reason = "durations are printed, not asserted")]
#![allow(clippy::disallowed_methods, reason = "the program's clock can't be moved from outside")]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use kvolt_servers::{MariaDb, Postgres, Proxy, Redis};
use support::remote::StoreServer;
use support::socket::Socket;
use support::{App, Client};

fn instances_share_sessions(store: &StoreServer) {
    let (one, other) = (store.instance(&[]), store.instance(&[]));
    let mut ada = one.signed_in("ada");
    let mut there = other.moved(&ada);
    let profile = serde_json::json!({ "id": 1, "name": "ada", "role": "user" });
    assert_eq!(there.get("/profile").json(), profile);
    for expected in 1..=4 {
        let client = if expected % 2 == 0 { &mut ada } else { &mut there };
        assert_eq!(client.post("/counter").json()["counter"], expected);
    }
    let mut phone = other.signed_in("ada");
    let sessions = ada.get("/sessions").json();
    assert_eq!(sessions.as_array().unwrap().len(), 2);
    let phone_id = sessions[1]["id"].as_str().unwrap();
    assert_eq!(ada.send("DELETE", &format!("/sessions/{phone_id}"), &[], "").status, 200);
    assert_eq!(phone.get("/profile").status, 401, "ended on one, refused by the other at once");

    assert_eq!(ada.post("/logout").status, 200);
    assert_eq!(there.get("/profile").status, 401);
    assert_eq!(one.moved(&there).get("/counter").status, 401);

    let mut again = one.signed_in("ada");
    let mut second = other.signed_in("ada");
    assert_eq!(again.post("/sessions/revoke-all").status, 200);
    assert_eq!(second.get("/profile").status, 401);
}

fn sessions_survive_a_restart_of_the_program(store: &StoreServer) {
    let mut one = store.instance(&[]);
    let mut ada = one.signed_in("ada");
    assert_eq!(ada.post("/counter").json()["counter"], 1);
    one.signal("-KILL");
    let next = store.instance(&[]);
    assert_eq!(next.moved(&ada).post("/counter").json()["counter"], 2);
}

fn a_thousand_posts_to_two_instances_count_a_thousand(store: &StoreServer) {
    let (one, other) = (store.instance(&[]), store.instance(&[]));
    let ada = one.signed_in("ada");
    std::thread::scope(|scope| {
        for number in 0..8 {
            let mut client = if number % 2 == 0 { one.moved(&ada) } else { other.moved(&ada) };
            scope.spawn(move || {
                for _ in 0..25 {
                    assert_eq!(client.post("/counter").status, 200);
                }
            });
        }
    });
    assert_eq!(one.moved(&ada).get("/counter").json()["counter"], 200);
}

/// The store fails and recovers: no session ends.
fn an_outage_is_a_503_and_no_logout(store: &StoreServer) {
    let app = store.instance(&[]);
    let mut ada = app.signed_in("ada");
    let jar = ada.jar.clone();
    let proxy = store.proxy.as_ref().unwrap();
    for (fault, disturb) in [("cut", Proxy::cut as fn(&Proxy)), ("blackhole", Proxy::blackhole)] {
        disturb(proxy);
        for path in ["/profile", "/", "/sessions"] {
            let began = Instant::now();
            let answer = ada.get(path);
            let took = began.elapsed();
            assert_eq!(answer.status, 503, "{fault}, {path}: {}", answer.text);
            assert!(answer.header("retry-after").is_some());
            assert!(answer.header("set-cookie").is_none(), "the cookie stays");
            assert!(took < Duration::from_secs(10), "{fault}, {path}: {took:?}");
        }
        assert_eq!(ada.post("/logout").status, 503, "a failed sign-out is an error");
        assert_eq!(ada.get("/profile").json()["error"], "unavailable");
        let browser = Client { browser: true, ..ada.clone() };
        let page = browser.clone().get("/");
        assert_eq!((page.status, page.header("retry-after").is_some()), (503, true));
        assert!(page.text.contains("<h1>Temporarily unavailable</h1>"), "{}", page.text);
        assert_eq!((ada.get("/readyz").status, ada.get("/healthz").status), (503, 200));
        assert_eq!(ada.jar, jar);
        proxy.restore();
        let restored = Instant::now();
        while ada.get("/profile").status != 200 {
            assert!(restored.elapsed() < Duration::from_secs(30), "{fault}: it does not recover");
            sleep(Duration::from_millis(20));
        }
        println!("{fault}: served again {:?} after the store was back", restored.elapsed());
    }
    assert_eq!(ada.post("/logout").status, 200);
}

fn a_remote_logout_reaches_a_near_cache_within_the_bound(store: &StoreServer) {
    let near = ["--near-cache", "1s"];
    let one =
        App::start_with(&[&["--store", &store.direct, "--namespace", "app"], &near[..]].concat());
    let other = store.instance(&near);
    let proxy = store.proxy.as_ref().unwrap();
    // Disturbs the other instance's connection to the store, and ends a session. Returns how long
    // the other instance still accepted the session, and its status after that.
    let end_while = |disturb: fn(&Proxy)| {
        let mut ada = one.signed_in("ada");
        let mut there = other.moved(&ada);
        for _ in 0..100 {
            assert_eq!(there.get("/profile").status, 200);
            assert_eq!(ada.get("/profile").status, 200);
        }
        disturb(proxy);
        assert_eq!(ada.post("/logout").status, 200);
        let ended = Instant::now();
        assert_eq!(
            one.moved(&there).get("/profile").status,
            401,
            "its own instance refuses it at once"
        );
        loop {
            let asked = ended.elapsed();
            match there.get("/profile").status {
                200 => assert!(asked < Duration::from_secs(20), "it is never refused"),
                answer => {
                    assert_eq!(there.get("/sessions").status, answer, "as on a strict route");
                    proxy.restore();
                    while there.get("/profile").status != 401 {
                        assert!(ended.elapsed() < Duration::from_secs(60), "it does not recover");
                    }
                    return (asked, answer);
                }
            }
        }
    };
    let mut times: Vec<_> = (0..20).map(|_| end_while(|_| ())).collect();
    assert!(times.iter().all(|(_, answer)| *answer == 401));
    times.sort();
    println!(
        "ended on another instance: refused after {:?} (median), {:?} (slowest of 20)",
        times[10].0, times[19].0
    );
    println!("connections dropped: {:?}", end_while(Proxy::drop_connections));
    for (name, disturb) in [("cut", Proxy::cut as fn(&Proxy)), ("blackhole", Proxy::blackhole)] {
        let (after, answer) = end_while(disturb);
        assert_eq!(answer, 503, "the store can't be read");
        println!("{name}: answered from a copy for {after:?} after the end, then with 503");
    }
}

/// A WebSocket and an event stream on one instance close when the session ends on another.
fn open_connections_end_with_a_remote_logout(store: &StoreServer) {
    for (name, near) in
        [("without copies", &[][..]), ("with a near cache", &["--near-cache", "1s"])]
    {
        let (one, other) = (store.instance(near), store.instance(near));
        let mut rounds = Vec::new();
        for _ in 0..10 {
            let mut ada = one.signed_in("ada");
            let mut there = other.moved(&ada);
            let mut socket = Socket::open(&there, &[]).unwrap();
            let mut events = BufReader::new(there.begin("GET", "/events", &[], 0)).lines();
            let mut event = move |wanted: &str| {
                let received = events.any(|line| line.unwrap().contains(wanted));
                assert!(received, "no event {wanted}");
            };
            assert_eq!(socket.counter(), 0);
            event("\"counter\":0");
            ada.post("/counter");
            assert_eq!(socket.counter(), 1);
            event("\"counter\":1");
            let streaming = std::thread::spawn(move || {
                event("event: end");
                Instant::now()
            });
            let ending = Instant::now();
            assert_eq!(ada.post("/logout").status, 200);
            socket.ends();
            let socket_ended = ending.elapsed();
            let events_ended = streaming.join().unwrap().duration_since(ending);
            assert_eq!(there.get("/profile").status, 401);
            rounds.push((socket_ended, events_ended));
        }
        for (what, time) in [
            ("WebSocket", (|round| round.0) as fn(&(Duration, Duration)) -> Duration),
            ("event stream", |round| round.1),
        ] {
            let mut times: Vec<Duration> = rounds.iter().map(time).collect();
            times.sort();
            let (median, slowest) = (times[5], times[9]);
            println!(
                "{name}: {what} closed {median:?} (median), {slowest:?} (slowest of 10) after it"
            );
            assert!(slowest < Duration::from_secs(5), "{what}: {slowest:?}");
        }
    }
}

/// A password changed on one instance ends the other sessions and signs in on every instance.
fn a_changed_password_reaches_every_instance(store: &StoreServer) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("accounts.json");
    for near in [&[][..], &["--near-cache", "1s"]] {
        let _ = std::fs::remove_file(&file);
        let accounts = ["--accounts", file.to_str().unwrap()];
        let options = [&accounts[..], near].concat();
        let (one, other) = (store.instance(&options), store.instance(&options));
        let mut ada = one.signed_in("ada");
        let mut others = [one.signed_in("ada"), other.signed_in("ada")];
        let mut socket = Socket::open(&others[1], &[]).unwrap();
        assert_eq!(socket.counter(), 0);
        let mut bob = other.signed_in("bob");
        for client in &mut others {
            assert_eq!(other.moved(client).get("/profile").status, 200);
        }
        let changed = ada.post_form("/password", "new=another horse");
        assert_eq!((changed.status, &changed.json()["ended"]), (200, &2.into()));
        for app in [&one, &other] {
            for client in &mut others {
                assert_eq!(app.moved(client).get("/profile").status, 401);
            }
            assert_eq!(
                app.moved(&ada).get("/profile").status,
                200,
                "the session that changed it lives"
            );
            assert_eq!(app.client().sign_in("ada", "").status, 401);
            let form = "username=ada&password=another horse";
            assert_eq!(app.client().post_form("/login", form).status, 200);
        }
        socket.ends();
        assert_eq!(bob.get("/profile").status, 200);
        // The next round must not count them.
        assert_eq!(ada.post("/sessions/revoke-all").status, 200);
    }
    // Without a file, instances share no accounts.
    let app = store.instance(&[]);
    let refused = app.signed_in("bob").post_form("/password", "new=another horse");
    assert_eq!(refused.status, 409);
    let mut bob = app.browser();
    bob.sign_in("bob", "");
    assert!(bob.get("/password").text.contains("--accounts FILE"));
}

/// Device names, the session limit and the audit log.
fn devices_limits_and_the_audit(store: &StoreServer) {
    let app = store.instance(&["--sessions-per-user", "2"]);
    let mut ada = app.browser();
    ada.sign_in("ada", "&remember=on");
    let mut phone = app.signed_in("ada");
    let page = ada.get("/").text;
    for text in ["Firefox on Linux", "this session", "127.0.0.1", "<time datetime="] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let _third = app.signed_in("ada");
    assert_eq!(ada.get("/profile").status, 303, "it was the oldest");
    assert_eq!(phone.post("/sessions/revoke-others").json()["ended"], 1);
    let audit = app.signed_in("root").get("/audit").json();
    for (event, reason) in [("signed_in", ""), ("ended", "limit"), ("ended", "revoked_others")] {
        let fits = |row: &serde_json::Value| row["event"] == event && row["reason"] == reason;
        assert!(audit.as_array().unwrap().iter().any(fits), "{event}, {reason}: {audit}");
    }
}

/// Starts the program with a store that fails, and returns its one line without a password.
fn startup_error(url: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_kvolt-app"))
        .args(["--listen", "127.0.0.1:0", "--store", url, "--namespace", "app"])
        .env("RUST_LOG", "off")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(line.trim_end().lines().count(), 1, "{line}");
    assert!(
        line.starts_with("error: ") && !line.contains("correct-horse") && !line.contains("hunter2"),
        "{line}"
    );
    println!("{line}");
    line
}

mod redis {
    use super::*;

    #[test]
    fn open_connections() {
        open_connections_end_with_a_remote_logout(&StoreServer::redis());
    }

    #[test]
    fn accounts() {
        let store = StoreServer::redis();
        a_changed_password_reaches_every_instance(&store);
        devices_limits_and_the_audit(&store);
    }

    #[test]
    fn several_instances_are_one() {
        let store = StoreServer::redis();
        instances_share_sessions(&store);
        sessions_survive_a_restart_of_the_program(&store);
        a_thousand_posts_to_two_instances_count_a_thousand(&store);
    }

    #[test]
    fn outage() {
        an_outage_is_a_503_and_no_logout(&StoreServer::redis());
    }

    #[test]
    fn near_cache() {
        a_remote_logout_reaches_a_near_cache_within_the_bound(&StoreServer::redis());
    }

    #[test]
    fn a_session_is_readable_without_encryption() {
        let redis = Redis::start();
        let url = redis.url();
        let all = || {
            let keys = redis.cli(&["KEYS", "app:*"]);
            keys.lines().map(|key| redis.cli(&["GET", key])).collect::<String>()
        };
        let app = App::start_with(&["--store", &url, "--namespace", "app"]);
        let ada = app.signed_in("ada");
        assert!(all().contains("\"name\":\"ada\""), "{}", all());
        assert!(!all().contains(ada.token()), "the token is nowhere");
        redis.cli(&["FLUSHALL"]);
        let key = "0f".repeat(32);
        let app =
            App::start_with(&["--store", &url, "--namespace", "app", "--encryption-key", &key]);
        let mut ada = app.signed_in("ada");
        assert!(!all().contains("\"name\""), "{}", all());
        assert_eq!(ada.get("/profile").status, 200);
    }

    #[test]
    fn a_wrong_url_or_password_is_one_line_at_start() {
        let server = Redis::builder().password("correct-horse").start();
        let port = server.port();
        startup_error("redis://127.0.0.1:1");
        let line = startup_error(&format!("redis://:hunter2@127.0.0.1:{port}"));
        assert!(line.contains("password"), "{line}");
        startup_error(&format!("redis://127.0.0.1:{port}"));
        startup_error("redis://");
        startup_error("rediss://127.0.0.1:1");
    }
}

mod postgres {
    use super::*;

    #[test]
    fn open_connections() {
        open_connections_end_with_a_remote_logout(&StoreServer::postgres());
    }

    #[test]
    fn accounts() {
        let store = StoreServer::postgres();
        a_changed_password_reaches_every_instance(&store);
        devices_limits_and_the_audit(&store);
    }

    #[test]
    fn several_instances_are_one() {
        let store = StoreServer::postgres();
        instances_share_sessions(&store);
        sessions_survive_a_restart_of_the_program(&store);
        a_thousand_posts_to_two_instances_count_a_thousand(&store);
    }

    #[test]
    fn outage() {
        an_outage_is_a_503_and_no_logout(&StoreServer::postgres());
    }

    #[test]
    fn near_cache() {
        a_remote_logout_reaches_a_near_cache_within_the_bound(&StoreServer::postgres());
    }

    #[test]
    fn a_wrong_url_or_password_is_one_line_at_start() {
        let server = Postgres::builder().password("correct-horse").fsync(false).start();
        let port = server.port();
        startup_error("postgres://127.0.0.1:1/kvolt");
        startup_error(&format!("postgres://postgres:hunter2@127.0.0.1:{port}/postgres"));
        startup_error("postgres://");
    }
}

mod mariadb {
    use super::*;

    #[test]
    fn accounts() {
        devices_limits_and_the_audit(&StoreServer::mariadb());
    }

    #[test]
    fn several_instances_are_one() {
        let store = StoreServer::mariadb();
        instances_share_sessions(&store);
        sessions_survive_a_restart_of_the_program(&store);
        a_thousand_posts_to_two_instances_count_a_thousand(&store);
        let line = startup_error("mysql://127.0.0.1:1/kvolt");
        assert!(line.contains("unavailable"), "{line}");
    }

    #[test]
    fn outage() {
        an_outage_is_a_503_and_no_logout(&StoreServer::mariadb());
    }

    /// Settings of the server must not change what the store's statements do.
    #[test]
    fn defaults_of_the_server_undo_nothing() {
        for defaults in [
            &[("autocommit", "0")][..],
            &[("completion-type", "1")],
            &[
                ("autocommit", "0"),
                ("completion-type", "1"),
                ("sql-mode", "ANSI,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH"),
                ("transaction-isolation", "SERIALIZABLE"),
                ("innodb-rollback-on-timeout", "1"),
                ("max-statement-time", "1"),
            ],
        ] {
            let mut server = MariaDb::builder().fsync(false);
            for (name, value) in defaults {
                server = server.config(name, value);
            }
            let server = server.start();
            let instance = || App::start_with(&["--store", &server.url(), "--namespace", "app"]);
            let (mut one, other) = (instance(), instance());
            let (mut ada, mut phone) = (one.signed_in("ada"), one.signed_in("ada"));
            let mut replay = other.moved(&ada);
            assert_eq!(replay.get("/profile").status, 200, "{defaults:?}: seen by the other");
            assert_eq!(phone.post("/counter").json()["counter"], 1);
            assert_eq!(ada.post("/logout").status, 200);
            assert_eq!(replay.get("/profile").status, 401, "{defaults:?}");
            // Uncommitted changes are lost with the connections.
            one.signal("-KILL");
            assert_eq!(replay.get("/profile").status, 401, "{defaults:?}");
            assert_eq!(other.moved(&phone).get("/counter").json()["counter"], 1, "{defaults:?}");
        }
    }
}

mod sqlite {
    use super::*;

    #[test]
    fn open_connections() {
        open_connections_end_with_a_remote_logout(&StoreServer::sqlite());
    }

    #[test]
    fn accounts() {
        let store = StoreServer::sqlite();
        a_changed_password_reaches_every_instance(&store);
        devices_limits_and_the_audit(&store);
    }

    #[test]
    fn several_instances_are_one() {
        let store = StoreServer::sqlite();
        instances_share_sessions(&store);
        sessions_survive_a_restart_of_the_program(&store);
        a_thousand_posts_to_two_instances_count_a_thousand(&store);
    }

    #[test]
    fn a_wrong_path_is_one_line_at_start() {
        startup_error("sqlite:/no/such/folder/sessions.db");
        startup_error("sqlite:/");
    }
}

/// Asserts that no session ends while the store answers every request with an error.
fn assert_recovers(
    app: &App,
    ada: &mut Client,
    path: &str,
    break_it: &dyn Fn(),
    repair: &dyn Fn(),
) {
    let jar = ada.jar.clone();
    break_it();
    let form = "username=ada&password=correct horse";
    let mut visitor = app.client();
    let answer = visitor.post_form("/login", form);
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(answer.header("retry-after").is_some() && answer.header("set-cookie").is_none());
    let answer = ada.post(path);
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(answer.header("retry-after").is_some());
    assert_eq!(ada.jar, jar);
    repair();
    let repaired = Instant::now();
    while ada.post(path).status != 200 {
        assert!(repaired.elapsed() < Duration::from_secs(30), "it does not recover");
        sleep(Duration::from_millis(20));
    }
    println!("served again {:?} after the repair", repaired.elapsed());
    assert_eq!(ada.get("/profile").status, 200);
}

mod refusing {
    use super::*;

    #[test]
    fn redis() {
        let redis = Redis::start();
        let app = App::start_with(&["--store", &redis.url(), "--namespace", "app"]);
        let mut ada = app.signed_in("ada");
        let cli = |line: &str| {
            redis.cli(&line.split(' ').collect::<Vec<_>>());
        };
        let mut refuse = |refused: &str, cured: &str| {
            let (refused, cured) = (|| cli(refused), || cli(cured));
            assert_recovers(&app, &mut ada, "/counter", &refused, &cured);
        };
        refuse("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0");
        refuse("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE");
        refuse("ACL SETUSER default -set", "ACL SETUSER default +@all");
        refuse("ACL SETUSER default -@all", "ACL SETUSER default +@all");
    }

    #[test]
    fn postgres() {
        let postgres = Postgres::builder().fsync(false).start();
        let app = App::start_with(&["--store", &postgres.url(), "--namespace", "app"]);
        let mut ada = app.signed_in("ada");
        let sql = |lines: &[&str]| {
            lines.iter().for_each(|line| {
                postgres.psql(line);
            });
        };
        let read_only = |on: &str| {
            sql(&[
                &format!("ALTER SYSTEM SET default_transaction_read_only = {on}"),
                "SELECT pg_reload_conf()",
            ]);
            let now = || postgres.psql("SHOW default_transaction_read_only");
            kvolt_servers::wait_until("the setting is read", || now().trim() == on);
        };
        assert_recovers(&app, &mut ada, "/counter", &|| read_only("on"), &|| read_only("off"));
        let lost = "ALTER TABLE app_sessions RENAME TO moved";
        let found = "ALTER TABLE moved RENAME TO app_sessions";
        assert_recovers(&app, &mut ada, "/counter", &|| sql(&[lost]), &|| sql(&[found]));
    }

    #[test]
    fn mariadb() {
        let mariadb = MariaDb::builder().fsync(false).start();
        let app = App::start_with(&["--store", &mariadb.url(), "--namespace", "app"]);
        let mut ada = app.signed_in("ada");
        let rename = |from: &str, to: &str| {
            mariadb.sql(&format!("RENAME TABLE {from} TO {to}"));
        };
        let (lost, found) =
            (|| rename("app_sessions", "moved"), || rename("moved", "app_sessions"));
        assert_recovers(&app, &mut ada, "/counter", &lost, &found);
    }
}
