//! Several instances of the running program on one store elsewhere, healthy and failing.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![allow(clippy::print_stdout, reason = "the times that it took are told, not asserted")]
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

fn the_same_routes_and_answers(store: &StoreServer) {
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
    let mut elsewhere = other.signed_in("ada");
    assert_eq!(again.post("/sessions/revoke-all").status, 200);
    assert_eq!(elsewhere.get("/profile").status, 401);
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

/// The store goes away and comes back: an outage is no logout.
fn an_outage_is_a_503_and_no_logout(store: &StoreServer) {
    let app = store.instance(&[]);
    let mut ada = app.signed_in("ada");
    let jar = ada.jar.clone();
    let proxy = store.proxy.as_ref().unwrap();
    for (fault, hurt) in [("cut", Proxy::cut as fn(&Proxy)), ("blackhole", Proxy::blackhole)] {
        hurt(proxy);
        for path in ["/profile", "/", "/sessions"] {
            let began = Instant::now();
            let answer = ada.get(path);
            let took = began.elapsed();
            assert_eq!(answer.status, 503, "{fault}, {path}: {}", answer.text);
            assert!(answer.header("retry-after").is_some());
            assert!(answer.header("set-cookie").is_none(), "the cookie is not touched");
            assert!(took < Duration::from_secs(10), "{fault}, {path}: {took:?}");
        }
        assert_eq!(ada.post("/logout").status, 503, "it did not happen, and is not said to have");
        assert_eq!(ada.get("/profile").json()["error"], "service_unavailable");
        let browser = support::Client { browser: true, ..ada.clone() };
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

fn with_a_near_cache_a_logout_elsewhere_is_seen_within_the_bound(store: &StoreServer) {
    let near = ["--near-cache", "1s"];
    let one =
        App::start_with(&[&["--store", &store.direct, "--namespace", "app"], &near[..]].concat());
    let other = store.instance(&near);
    let proxy = store.proxy.as_ref().unwrap();
    // Hurts what is between the other instance and the store, ends a session, and says how the
    // other instance answered from then on: until when with the session, and with what after it.
    let end_while = |hurt: fn(&Proxy)| {
        let mut ada = one.signed_in("ada");
        let mut there = other.moved(&ada);
        for _ in 0..100 {
            assert_eq!(there.get("/profile").status, 200);
            assert_eq!(ada.get("/profile").status, 200);
        }
        hurt(proxy);
        assert_eq!(ada.post("/logout").status, 200);
        let ended = Instant::now();
        assert_eq!(one.moved(&there).get("/profile").status, 401, "here it is seen at once");
        loop {
            let asked = ended.elapsed();
            match there.get("/profile").status {
                200 => assert!(asked < Duration::from_secs(20), "it is never seen"),
                answer => {
                    assert_eq!(there.get("/sessions").status, answer, "as on a sensitive route");
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
        "ended elsewhere: refused after {:?} (median), {:?} (slowest of 20)",
        times[10].0, times[19].0
    );
    println!("connections dropped: {:?}", end_while(Proxy::drop_connections));
    for (name, hurt) in [("cut", Proxy::cut as fn(&Proxy)), ("blackhole", Proxy::blackhole)] {
        let (after, answer) = end_while(hurt);
        assert_eq!(answer, 503, "it can't be asked, and is not guessed");
        println!("{name}: answered from a copy until {after:?} after it had ended, then with 503");
    }
}

/// A WebSocket and an event stream on one instance close after the session was ended on another.
fn open_connections_end_with_a_logout_elsewhere(store: &StoreServer) {
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
                let told = events.any(|line| line.unwrap().contains(wanted));
                assert!(told, "{wanted} is never told");
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

/// A password that is changed on one instance ends the others everywhere, and signs in everywhere.
fn a_changed_password_is_known_everywhere(store: &StoreServer) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("accounts.json");
    for near in [&[][..], &["--near-cache", "1s"]] {
        let _ = std::fs::remove_file(&file);
        let accounts = ["--accounts", file.to_str().unwrap()];
        let options = [&accounts[..], near].concat();
        let (one, other) = (store.instance(&options), store.instance(&options));
        let mut ada = one.signed_in("ada");
        let mut elsewhere = [one.signed_in("ada"), other.signed_in("ada")];
        let mut socket = Socket::open(&elsewhere[1], &[]).unwrap();
        assert_eq!(socket.counter(), 0);
        let mut bob = other.signed_in("bob");
        for client in &mut elsewhere {
            assert_eq!(other.moved(client).get("/profile").status, 200);
        }
        let changed = ada.post_form("/password", "new=another horse");
        assert_eq!((changed.status, &changed.json()["ended"]), (200, &2.into()));
        for app in [&one, &other] {
            for client in &mut elsewhere {
                assert_eq!(app.moved(client).get("/profile").status, 401);
            }
            assert_eq!(app.moved(&ada).get("/profile").status, 200, "who changed it goes on");
            assert_eq!(app.client().sign_in("ada", "").status, 401);
            let form = "username=ada&password=another horse";
            assert_eq!(app.client().post_form("/login", form).status, 200);
        }
        socket.ends();
        assert_eq!(bob.get("/profile").status, 200);
        // Or the next round would count them.
        assert_eq!(ada.post("/sessions/revoke-all").status, 200);
    }
    // Without a file there is nothing that all instances know.
    let app = store.instance(&[]);
    let refused = app.signed_in("bob").post_form("/password", "new=another horse");
    assert_eq!(refused.status, 409);
    let mut bob = app.browser();
    bob.sign_in("bob", "");
    assert!(bob.get("/password").text.contains("--accounts FILE"));
}

/// Devices, limits and the audit are the same on every store.
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
    for (event, reason) in [("signed_in", ""), ("ended", "limit"), ("ended", "others revoked")] {
        let fits = |row: &serde_json::Value| row["event"] == event && row["reason"] == reason;
        assert!(audit.as_array().unwrap().iter().any(fits), "{event}, {reason}: {audit}");
    }
}

/// One line, not a dump; and no password in it.
fn refused_at_start(url: &str) -> String {
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
        open_connections_end_with_a_logout_elsewhere(&StoreServer::redis());
    }

    #[test]
    fn accounts() {
        let store = StoreServer::redis();
        a_changed_password_is_known_everywhere(&store);
        devices_limits_and_the_audit(&store);
    }

    #[test]
    fn several_instances_are_one() {
        let store = StoreServer::redis();
        the_same_routes_and_answers(&store);
        sessions_survive_a_restart_of_the_program(&store);
        a_thousand_posts_to_two_instances_count_a_thousand(&store);
    }

    #[test]
    fn outage() {
        an_outage_is_a_503_and_no_logout(&StoreServer::redis());
    }

    #[test]
    fn near_cache() {
        with_a_near_cache_a_logout_elsewhere_is_seen_within_the_bound(&StoreServer::redis());
    }

    #[test]
    fn a_session_is_readable_unless_it_is_encrypted() {
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
    fn start_up_with_a_wrong_url_or_password_is_one_clear_line() {
        let server = Redis::builder().password("correct-horse").start();
        let port = server.port();
        refused_at_start("redis://127.0.0.1:1");
        let line = refused_at_start(&format!("redis://:hunter2@127.0.0.1:{port}"));
        assert!(line.contains("password"), "{line}");
        refused_at_start(&format!("redis://127.0.0.1:{port}"));
        refused_at_start("redis://");
        refused_at_start("rediss://127.0.0.1:1");
    }
}

mod postgres {
    use super::*;

    #[test]
    fn open_connections() {
        open_connections_end_with_a_logout_elsewhere(&StoreServer::postgres());
    }

    #[test]
    fn accounts() {
        let store = StoreServer::postgres();
        a_changed_password_is_known_everywhere(&store);
        devices_limits_and_the_audit(&store);
    }

    #[test]
    fn several_instances_are_one() {
        let store = StoreServer::postgres();
        the_same_routes_and_answers(&store);
        sessions_survive_a_restart_of_the_program(&store);
        a_thousand_posts_to_two_instances_count_a_thousand(&store);
    }

    #[test]
    fn outage() {
        an_outage_is_a_503_and_no_logout(&StoreServer::postgres());
    }

    #[test]
    fn near_cache() {
        with_a_near_cache_a_logout_elsewhere_is_seen_within_the_bound(&StoreServer::postgres());
    }

    #[test]
    fn start_up_with_a_wrong_url_or_password_is_one_clear_line() {
        let server = Postgres::builder().password("correct-horse").fsync(false).start();
        let port = server.port();
        refused_at_start("postgres://127.0.0.1:1/kvolt");
        refused_at_start(&format!("postgres://postgres:hunter2@127.0.0.1:{port}/postgres"));
        refused_at_start("postgres://");
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
        the_same_routes_and_answers(&store);
        sessions_survive_a_restart_of_the_program(&store);
        a_thousand_posts_to_two_instances_count_a_thousand(&store);
        let line = refused_at_start("mysql://127.0.0.1:1/kvolt");
        assert!(line.contains("unavailable"), "{line}");
    }

    #[test]
    fn outage() {
        an_outage_is_a_503_and_no_logout(&StoreServer::mariadb());
    }

    /// The server's defaults decide what a statement does where the store does not.
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
            // Its connections go, and what they have not committed goes with them.
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
        open_connections_end_with_a_logout_elsewhere(&StoreServer::sqlite());
    }

    #[test]
    fn accounts() {
        let store = StoreServer::sqlite();
        a_changed_password_is_known_everywhere(&store);
        devices_limits_and_the_audit(&store);
    }

    #[test]
    fn several_instances_are_one() {
        let store = StoreServer::sqlite();
        the_same_routes_and_answers(&store);
        sessions_survive_a_restart_of_the_program(&store);
        a_thousand_posts_to_two_instances_count_a_thousand(&store);
    }

    #[test]
    fn start_up_with_a_wrong_path_is_one_clear_line() {
        refused_at_start("sqlite:/no/such/folder/sessions.db");
        refused_at_start("sqlite:/");
    }
}

/// A store that answers, but not with what was asked for: nobody is logged out by that either.
fn while_it_refuses(app: &App, ada: &mut Client, path: &str, refused: &dyn Fn(), cured: &dyn Fn()) {
    let jar = ada.jar.clone();
    refused();
    let form = "username=ada&password=correct horse";
    let mut visitor = app.client();
    let answer = visitor.post_form("/login", form);
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(answer.header("retry-after").is_some() && answer.header("set-cookie").is_none());
    let answer = ada.post(path);
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(answer.header("retry-after").is_some());
    assert_eq!(ada.jar, jar);
    cured();
    let cured = Instant::now();
    while ada.post(path).status != 200 {
        assert!(cured.elapsed() < Duration::from_secs(30), "it does not recover");
        sleep(Duration::from_millis(20));
    }
    println!("served again {:?} after it was cured", cured.elapsed());
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
            while_it_refuses(&app, &mut ada, "/counter", &refused, &cured);
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
        while_it_refuses(&app, &mut ada, "/counter", &|| read_only("on"), &|| read_only("off"));
        let lost = "ALTER TABLE app_sessions RENAME TO elsewhere";
        let found = "ALTER TABLE elsewhere RENAME TO app_sessions";
        while_it_refuses(&app, &mut ada, "/counter", &|| sql(&[lost]), &|| sql(&[found]));
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
            (|| rename("app_sessions", "elsewhere"), || rename("elsewhere", "app_sessions"));
        while_it_refuses(&app, &mut ada, "/counter", &lost, &found);
    }
}
