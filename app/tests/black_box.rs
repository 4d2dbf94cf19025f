//! The running program, over HTTP. Names in parentheses are those of the OWASP Web Security
//! Testing Guide.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![allow(clippy::disallowed_methods, reason = "the program's clock can't be moved from outside")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use support::{App, PASSWORD, with_id_of};

/// (WSTG-SESS-01, -02, -06)
#[test]
fn a_session_lives_from_sign_in_to_sign_out() {
    let app = App::start();
    let mut ada = app.client();
    assert_eq!(ada.get("/profile").status, 401);
    let login = ada.post_form("/login", &format!("username=ada&password={PASSWORD}&next=/x"));
    assert_eq!((login.status, login.json()["name"].as_str()), (200, Some("ada")));
    let cookie = login.header("set-cookie").unwrap();
    assert!(cookie.starts_with("session_id="), "{cookie}");
    assert!(
        cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"),
        "plain HTTP on loopback: {cookie}"
    );
    assert_eq!(ada.token().len(), 48);
    let profile = ada.get("/profile");
    assert_eq!(profile.json(), serde_json::json!({ "id": 1, "name": "ada", "role": "user" }));
    assert_eq!(profile.header("cache-control").as_deref(), Some("no-store"));
    assert_eq!(profile.header("set-cookie"), None);
    for expected in 1..=3 {
        assert_eq!(ada.post("/counter").json()["counter"], expected);
    }
    assert_eq!(ada.get("/counter").json()["counter"], 3);

    let mut replay = ada.clone();
    assert_eq!(ada.post("/logout").status, 200);
    assert!(ada.jar.is_empty());
    for path in ["/profile", "/counter", "/sessions", "/events"] {
        assert_eq!(replay.get(path).status, 401, "{path}");
    }
    assert!(replay.get("/").text.contains("Sign in"));
}

#[test]
fn a_browser_gets_pages_and_goes_on_after_the_sign_in() {
    let app = App::start();
    let mut ada = app.client();
    let html = [("accept", "text/html,*/*;q=0.8")];
    let away = ada.send("GET", "/profile", &html, "");
    assert_eq!((away.status, away.header("location").as_deref()), (303, Some("/?next=/profile")));
    let form = ada.send("GET", "/?next=/profile", &html, "");
    assert!(form.text.contains("name=\"next\" value=\"/profile\""));
    let page = [html[0], ("content-type", "application/x-www-form-urlencoded")];
    let wrong = ada.send("POST", "/login", &page, "username=ada%22%3E&password=x&next=/profile");
    assert_eq!(wrong.status, 401);
    assert!(
        wrong.text.contains("Wrong username or password") && wrong.text.contains("ada&#34;&#62;")
    );
    for (next, expected) in [("/profile", "/profile"), ("//evil.test", "/"), ("/%5Cevil.test", "/")]
    {
        let body = format!("username=ada&password={PASSWORD}&next={next}");
        let login = ada.send("POST", "/login", &page, &body);
        assert_eq!((login.status, login.header("location").as_deref()), (303, Some(expected)));
    }
    let home = ada.send("GET", "/", &html, "");
    assert!(home.text.contains("Hello, ada") && home.text.contains("this session"));
    assert_eq!(home.header("cache-control").as_deref(), Some("no-store"));
    assert!(!home.text.contains(ada.token()), "a page does not contain the token");
    let out = ada.send("POST", "/logout", &page, "");
    let to = out.header("location").unwrap();
    assert_eq!((out.status, &*to), (303, "/?message=signed-out"));
    assert!(ada.send("GET", &to, &html, "").text.contains("You are signed out."));
}

#[test]
fn a_wrong_password_and_an_unknown_name_are_one_answer() {
    let app = App::start();
    let mut client = app.client();
    let mut refuse = |body: &str| {
        let answer = client.post_form("/login", body);
        (answer.status, answer.text.clone(), answer.header("set-cookie"))
    };
    let wrong = refuse("username=ada&password=x");
    assert_eq!(wrong.0, 401);
    assert_eq!(wrong, refuse(&format!("username=eve&password={PASSWORD}")));
    assert_eq!(refuse(&format!("username=ada&password={}", "x".repeat(2_000))).0, 400);
    assert_eq!(refuse(&format!("username=ada&password={}", "x".repeat(20_000))).0, 413);
    assert_eq!(refuse("username=ada").0, 422);
    let json = [("content-type", "application/json")];
    let body = format!(r#"{{"username":"ada","password":"{PASSWORD}"}}"#);
    assert_eq!(client.send("POST", "/login", &json, &body).status, 200);
    assert_eq!(client.send("POST", "/login", &json, "{").status, 400);
    let text = client.send("POST", "/login", &[("content-type", "text/plain")], "x");
    assert!(text.status == 415 && text.text.contains("a form") && text.text.contains("or JSON"));
    let browser = [("content-type", "Application/JSON; charset=utf-8"), ("accept", "text/html")];
    let login = client.send("POST", "/login", &browser, &body);
    assert_eq!(
        (login.status, login.json()["name"].as_str()),
        (200, Some("ada")),
        "JSON in, JSON out"
    );
}

/// A password check takes 19 megabytes, and at most one runs for each core.
#[cfg(target_os = "linux")]
#[test]
fn a_flood_of_sign_ins_takes_bounded_memory() {
    let app = App::start_with(&["--failed-sign-ins", "1000"]);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let body = "username=ada&password=wrong";
    let begin = || app.client().begin("POST", "/login", &form, body.len());
    let mut flood: Vec<_> = (0..100).map(|_| begin()).collect();
    flood.iter_mut().for_each(|connection| connection.write_all(body.as_bytes()).unwrap());
    for connection in flood {
        assert_eq!(app.client().finish(connection).status, 401);
    }
    let cores = std::thread::available_parallelism().unwrap().get();
    let (held, bound) = (app.megabytes_max(), 100 + 20 * cores);
    assert!(held <= bound, "{held} MB for {cores} cores: more than {bound}");
}

/// (WSTG-SESS-03)
#[test]
fn a_token_of_the_client_s_choice_is_never_adopted() {
    let app = App::start();
    let mut victim = app.client();
    let chosen = "A".repeat(48);
    victim.jar.insert("session_id".into(), chosen.clone());
    let mut attacker = victim.clone();
    victim.post_form("/login", &format!("username=ada&password={PASSWORD}"));
    assert_ne!(victim.token(), chosen);
    assert_eq!(victim.get("/profile").status, 200);
    assert_eq!(attacker.get("/profile").status, 401);

    let mut saved = victim.clone();
    victim.post_form("/login", &format!("username=ada&password={PASSWORD}"));
    assert_eq!(saved.get("/profile").status, 401, "the token changed with the sign-in");
}

/// (WSTG-SESS-05)
#[test]
fn another_site_changes_nothing() {
    let app = App::start();
    let mut ada = app.signed_in("ada");
    for headers in [[("sec-fetch-site", "cross-site")], [("origin", "https://evil.test")]] {
        for path in ["/counter", "/logout", "/sessions/revoke-all", "/login"] {
            assert_eq!(ada.send("POST", path, &headers, "").status, 403, "{path}");
        }
    }
    assert_eq!(ada.get("/counter").json()["counter"], 0);
    for path in ["/logout", "/counter/", "/sessions/revoke-all"] {
        assert_ne!(ada.get(path).status, 200, "a link changes nothing: {path}");
    }
    assert_eq!(ada.get("/profile").status, 200);
}

/// (WSTG-SESS-05, -06) Two tokens are ambiguous: neither is accepted. The second cookie may come from
/// another path, or be planted; it must not keep a session alive.
#[test]
fn sign_out_with_two_cookies_ends_both_sessions() {
    let app = App::start();
    let form = ("content-type", "application/x-www-form-urlencoded");
    let login = format!("username=ada&password={PASSWORD}");
    for (path, body) in [("/logout", ""), ("/login", &*login)] {
        let unknown = "A".repeat(48);
        for second in [app.signed_in("bob").token(), &unknown, "left-over", ""] {
            let (mut ada, mut other) = (app.signed_in("ada"), app.client());
            other.jar.insert("session_id".into(), second.to_owned());
            let replay = ada.clone();
            let cookie = format!("session_id={second}");
            let two = [("cookie", &*cookie), form];
            assert_eq!(ada.clone().send("GET", "/profile", &two, "").status, 401, "{second}");
            let done = ada.send("POST", path, &two, body);
            assert_eq!(done.status, 200, "{path}, {second}: {}", done.text);
            assert!(done.header("set-cookie").is_some(), "{path}, {second}: the cookie stays");
            assert_eq!(
                replay.clone().get("/profile").status,
                401,
                "{path}, {second}: the session lives"
            );
            assert_eq!(
                other.get("/profile").status,
                401,
                "{path}, {second}: the other session lives"
            );
            let expected = if path == "/login" { 200 } else { 401 };
            assert_eq!(ada.get("/profile").status, expected, "{path}, {second}");
        }
    }
    // The layer reads at most 64 KiB of cookies. A larger header must not keep a session alive.
    let mut ada = app.signed_in("ada");
    let mut replay = ada.clone();
    let filler = format!("filler={}", "x".repeat(70_000));
    assert_eq!(ada.send("POST", "/logout", &[("cookie", &filler)], "").status, 200);
    assert_eq!(replay.get("/profile").status, 401, "the session lives");
    // The same by header.
    let program = app.client().post_form("/api/login", &login);
    let token = program.header("x-session-id").unwrap();
    let two = [("x-session-id", &*token), ("x-session-id", "left-over")];
    assert_eq!(app.client().send("GET", "/api/profile", &two, "").status, 401);
    assert_eq!(app.client().send("POST", "/api/logout", &two, "").status, 200);
    let one = [("x-session-id", &*token)];
    assert_eq!(app.client().send("GET", "/api/profile", &one, "").status, 401, "the session lives");
    // The audit log has the reason.
    let audit = app.signed_in("root").get("/audit").json();
    let fits = |row: &serde_json::Value| row["event"] == "refused" && row["reason"] == "ambiguous";
    assert!(audit.as_array().unwrap().iter().any(fits), "{audit}");
}

/// (WSTG-SESS-05) A proxy that rewrites `Host`, over plain HTTP, where browsers send no `Sec-Fetch-Site`.
#[test]
fn only_the_trusted_origin_is_accepted() {
    let origins = ["--trusted-origin", "https://shop.example,http://Other.example:80"];
    for (options, ours) in [(&[][..], 403), (&origins, 200)] {
        let app = App::start_with(options);
        let mut ada = app.signed_in("ada");
        for (origin, expected) in [
            ("https://shop.example", ours),
            ("http://other.example", ours),
            ("http://shop.example", 403),
            ("https://shop.example.evil.test", 403),
            ("null", 403),
        ] {
            let form =
                format!("csrf_token={}", ada.get("/csrf").json()["csrf_token"].as_str().unwrap());
            let headers =
                [("origin", origin), ("content-type", "application/x-www-form-urlencoded")];
            let answer = ada.send("POST", "/counter", &headers, &form);
            assert_eq!(answer.status, expected, "{options:?}, {origin}: {}", answer.text);
        }
    }
}

/// Cookies have no port: of two instances on one host, a browser sends each the cookies of both.
#[test]
fn two_instances_on_one_host_keep_their_cookies_apart() {
    let (shop, wiki) = (App::start(), App::start_with(&["--cookie-name", "wiki_session"]));
    let mut ada = shop.signed_in("ada");
    let mut on_wiki = wiki.moved(&ada);
    assert_eq!(on_wiki.get("/profile").status, 401);
    assert_eq!(on_wiki.sign_in("ada", "").status, 200);
    assert_eq!(on_wiki.jar.len(), 2, "{:?}", on_wiki.jar);
    ada.jar = on_wiki.jar.clone();
    for client in [&mut ada, &mut on_wiki] {
        assert_eq!(client.get("/profile").status, 200);
    }
    assert_eq!(ada.post("/logout").status, 200);
    on_wiki.jar = ada.jar.clone();
    assert_eq!(on_wiki.jar.keys().collect::<Vec<_>>(), ["wiki_session"]);
    assert_eq!((ada.get("/profile").status, on_wiki.get("/profile").status), (401, 200));
    let app = App::start_with(&["--cookie-name", "__Host-wiki", "--behind-tls"]);
    let cookie = app.client().sign_in("ada", "").header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-wiki=") && cookie.contains("; Secure"), "{cookie}");
}

/// (WSTG-SESS-09, -11)
#[test]
fn sessions_are_listed_and_ended() {
    let app = App::start();
    let mut phone = app.client();
    let headers =
        [("content-type", "application/x-www-form-urlencoded"), ("user-agent", "Phone/1.0")];
    let body = format!("username=ada&password={PASSWORD}");
    phone.send("POST", "/login", &headers, &body);
    let mut laptop = app.signed_in("ada");
    let mut bob = app.signed_in("bob");

    let list = laptop.get("/sessions").json();
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 2);
    assert_eq!(
        (&list[0]["user_agent"], &list[0]["address"]),
        (&"Phone/1.0".into(), &"127.0.0.1".into())
    );
    assert_eq!((&list[0]["current"], &list[1]["current"]), (&false.into(), &true.into()));
    assert!(!list.iter().any(|row| row.to_string().contains(phone.token())));
    let id = list[0]["id"].as_str().unwrap();

    assert_eq!(bob.send("DELETE", &format!("/sessions/{id}"), &[], "").status, 404);
    assert_eq!(laptop.send("DELETE", "/sessions/nonsense", &[], "").status, 404);
    for made_of_it in [id.to_owned(), id.repeat(2), with_id_of(phone.token(), laptop.token())] {
        let mut pretender = app.client();
        pretender.jar.insert("session_id".into(), made_of_it);
        assert_eq!(pretender.get("/profile").status, 401, "an id is not a token");
    }
    assert_eq!(phone.get("/profile").status, 200);

    assert_eq!(laptop.send("DELETE", &format!("/sessions/{id}"), &[], "").status, 200);
    assert_eq!(laptop.send("DELETE", &format!("/sessions/{id}"), &[], "").status, 404);
    assert_eq!(phone.get("/profile").status, 401);

    let mut tablet = app.signed_in("ada");
    let mut watch = app.signed_in("ada");
    assert_eq!(laptop.post("/sessions/revoke-others").json()["ended"], 2);
    assert_eq!((tablet.get("/profile").status, watch.get("/profile").status), (401, 401));
    assert_eq!(laptop.get("/profile").status, 200);

    let mut tablet = app.signed_in("ada");
    assert_eq!(laptop.post("/sessions/revoke-all").status, 200);
    assert!(laptop.jar.is_empty());
    assert_eq!((tablet.get("/profile").status, bob.get("/profile").status), (401, 200));
}

#[test]
fn header_and_cookie_are_separate() {
    let app = App::start();
    let mut program = app.client();
    let body = format!("username=ada&password={PASSWORD}");
    let login = program.post_form("/api/login", &body);
    assert_eq!((login.status, login.header("set-cookie")), (200, None));
    let token = login.header("x-session-id").unwrap();
    let chosen = "A".repeat(48);
    let form = [("content-type", "application/x-www-form-urlencoded"), ("x-session-id", &*chosen)];
    let login = program.send("POST", "/api/login", &form, &body);
    assert_ne!(login.header("x-session-id").unwrap(), chosen, "a chosen token is not adopted");
    let header = [("x-session-id", &*chosen)];
    assert_eq!(program.send("GET", "/api/profile", &header, "").status, 401);
    let header = [("x-session-id", &*token)];
    assert_eq!(program.send("GET", "/api/profile", &header, "").json()["name"], "ada");
    assert_eq!(program.send("GET", "/profile", &header, "").status, 401);
    let mut browser = app.signed_in("ada");
    assert_eq!(browser.get("/api/profile").status, 401);
    assert_eq!(browser.post("/api/logout").status, 200);
    assert_eq!(browser.get("/sessions").json().as_array().unwrap().len(), 3, "one account's");
    assert_eq!(program.send("POST", "/api/logout", &header, "").status, 200);
    assert_eq!(program.send("GET", "/api/profile", &header, "").status, 401);
}

/// (WSTG-SESS-08) P2.
#[test]
fn a_thousand_concurrent_posts_count_a_thousand() {
    let app = App::start();
    let mut ada = app.signed_in("ada");
    std::thread::scope(|scope| {
        for _ in 0..20 {
            let mut client = ada.clone();
            scope.spawn(move || {
                for _ in 0..5 {
                    // All are admitted first, and then finish at the same time.
                    let begin = || client.begin_admitted("POST", "/counter", 1);
                    let mut held: Vec<_> = (0..10).map(|_| begin()).collect();
                    held.iter_mut().for_each(|connection| connection.write_all(b"x").unwrap());
                    for connection in held {
                        assert_eq!(client.finish(connection).status, 200);
                    }
                }
            });
        }
    });
    assert_eq!(ada.get("/counter").json()["counter"], 1_000);
}

/// P1. The class of rack-session CVE-2025-46336.
#[test]
fn requests_in_flight_across_a_logout_never_revive_the_session() {
    let app = App::start();
    for round in 0..20 {
        let mut ada = app.signed_in("ada");
        let mut replay = ada.clone();
        // Slow requests: admitted with a live session, and waiting for their bodies.
        let begin = || ada.begin_admitted("POST", "/counter", 1);
        let slow: Vec<_> = (0..5).map(|_| begin()).collect();
        let busy = std::thread::spawn({
            let mut client = ada.clone();
            move || {
                for _ in 0..20 {
                    let status = client.post("/counter").status;
                    assert!(status == 200 || status == 401, "{status}");
                }
                client.jar
            }
        });
        assert_eq!(ada.post("/logout").status, 200);
        assert_eq!(replay.get("/profile").status, 401, "round {round}");
        for mut connection in slow {
            connection.write_all(b"x").unwrap();
            let answer = ada.clone().finish(connection);
            assert_eq!((answer.status, answer.header("set-cookie")), (401, None));
        }
        assert_eq!(busy.join().unwrap(), replay.jar, "no new token was handed out");
        assert_eq!(replay.get("/profile").status, 401, "round {round}");
    }
}

#[test]
fn an_event_stream_sends_the_counter_and_ends_with_its_session() {
    let app = App::start();
    let mut ada = app.signed_in("ada");
    let stream = ada.begin("GET", "/events", &[], 0);
    let clock = stream.try_clone().unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut until = |wanted: &str| loop {
        let line = lines.next().expect("the stream goes on").unwrap();
        if line.contains(wanted) {
            return;
        }
    };
    until(r#"{"counter":0,"expires_at":"#);
    ada.post("/counter");
    until(r#"{"counter":1,"expires_at":"#);
    ada.post("/logout");
    // The end arrives within a second.
    clock.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    until("event: end");
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    assert!(rest.iter().all(|line| !line.contains("counter")), "{rest:?}");
}

/// Only the stream is open, and the idle session ends.
#[test]
fn an_event_stream_does_not_extend_its_session() {
    let app = App::start_with(&["--idle", "600ms"]);
    let mut ada = app.signed_in("ada");
    let lines = BufReader::new(ada.begin("GET", "/events", &[], 0)).lines().map(Result::unwrap);
    // An extension would send another counter event first.
    let events: Vec<_> = lines.filter(|line| line.starts_with("event: ")).take(2).collect();
    assert_eq!(events, ["event: counter", "event: end"]);
    assert_eq!(ada.get("/profile").status, 401);
}

#[test]
fn an_aborted_request_does_not_count() {
    let app = App::start();
    let mut ada = app.signed_in("ada");
    let held = ada.begin_admitted("POST", "/counter", 1);
    assert_eq!(ada.post("/counter").json()["counter"], 1, "the slow request blocks no other");
    held.shutdown(std::net::Shutdown::Both).unwrap();
    assert_eq!(ada.post("/counter").json()["counter"], 2);
}

#[test]
fn a_signal_shuts_down_with_a_stream_open() {
    for signal in ["-TERM", "-INT"] {
        let mut app = App::start();
        let ada = app.signed_in("ada");
        let mut stream = ada.begin("GET", "/events", &[], 0);
        let mut some = [0; 16];
        stream.read_exact(&mut some).unwrap();
        assert_eq!(app.signal(signal).code(), Some(0), "{signal}");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
    }
}

#[test]
fn the_cookie_behind_tls_is_secure() {
    let app = App::start_with(&["--behind-tls"]);
    let mut ada = app.client();
    let login = ada.post_form("/login", &format!("username=ada&password={PASSWORD}"));
    let cookie = login.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-session_id="), "{cookie}");
    assert!(cookie.ends_with("; Path=/; HttpOnly; Secure; SameSite=Lax"), "{cookie}");
}

/// (WSTG-SESS-07) The client can't extend it.
#[test]
fn an_idle_session_ends_by_the_server_s_clock() {
    // The clock of a running program can't be moved: this test waits.
    let (app, began) = (App::start_with(&["--idle", "1s"]), Instant::now());
    let mut ada = app.signed_in("ada");
    while began.elapsed() < Duration::from_millis(2_500) {
        assert_eq!(ada.get("/profile").status, 200, "a session in use");
    }
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(ada.get("/profile").status, 401);
}

#[test]
fn an_invalid_option_is_one_line_and_an_exit_code() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (options, code, expected) in [
        (&["--listen", &taken][..], 1, "can't listen on"),
        (&["--listen", "nowhere"], 2, "HOST:PORT"),
        (&["--listen", "nowhere.invalid:80"], 2, "--listen"),
        (&["--store", "memcached://localhost"], 2, "the stores are memory:"),
        (&["--store", "mysql://127.0.0.1:1/x", "--near-cache", "1s"], 1, "pushes its changes"),
        (&["--store", "redis://127.0.0.1:1"], 1, "needs --namespace"),
        (&["--store", "sqlite:/nowhere/x", "--namespace", "No"], 1, "namespace"),
        (&["--near-cache", "1s"], 1, "for a remote store"),
        (&["--namespace", "shop"], 1, "--namespace is for a shared store"),
        (&["--store", "postgres://127.0.0.1:1/x"], 1, "needs --namespace"),
        (&["--store", "mysql://127.0.0.1:1/x"], 1, "needs --namespace"),
        (&["--store", "sqlite:/nowhere/x"], 1, "needs --namespace"),
        (&["--store", "sqlite://x.db?mode=rwc", "--namespace", "shop"], 1, "?"),
        (&["--cookie-name", "not a name"], 1, "cookie"),
        (&["--cookie-name", "__Host-shop"], 1, "__Host-"),
        (&["--trusted-origin", "shop.example"], 1, "shop.example"),
        (&["--trusted-origin", "https://shop.example/path"], 1, "/path"),
        (&["--sessions-per-user", "65"], 2, "from 1 to 64"),
        (&["--idle", "soon"], 2, "--idle"),
        (&["--idle", "13h"], 2, "--idle 13h is longer than the lifetime, --lifetime 12h"),
        (&["--user", "ada"], 2, "NAME:PASSWORD"),
        (&["--trusted-proxy", "0.0.0.0/0"], 1, "--trusted-proxy"),
        (&["--forwarding-header", "forwarded"], 2, "--trusted-proxy"),
        (&["--accounts", "/no/such/folder/accounts.json"], 1, "can't be written"),
        (&["--metrics-listen", &taken], 1, "can't listen on"),
        (&["--rotate-every", "1s", "--rotation-grace", "2s"], 1, "grace"),
        (&["--dev-https", "--behind-tls"], 2, "--behind-tls"),
        (&["--colour"], 2, "--colour"),
        (&["--idel", "5m"], 2, "'--idle'"),
        (&["--token-reuse", "explode"], 2, "ignore, report, end"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_kvolt-app")).args(options).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{options:?}: {error}");
        assert!(error.contains(expected) && error.lines().count() == 1, "{options:?}: {error}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn options_are_read_from_the_environment() {
    let run = |name: &str, value: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kvolt-app"));
        let output = command.env(name, value).args(["--listen", "127.0.0.1:0"]).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(run("KVOLT_STORE", "memcached://localhost").contains("the stores are memory:"));
    assert!(run("KVOLT_IDLE", "soon").contains("--idle"));
    assert!(run("KVOLT_LIFETIME", "1s").contains("longer than the lifetime"));
    assert!(run("KVOLT_USER", "ada").contains("NAME:PASSWORD"));
}

#[test]
fn every_response_has_security_headers() {
    let app = App::start();
    for path in ["/", "/profile", "/style.css", "/nothing-here"] {
        let answer = app.client().get(path);
        assert!(
            answer.header("content-security-policy").unwrap().starts_with("default-src 'none'")
        );
        assert_eq!(answer.header("x-content-type-options").as_deref(), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy").as_deref(), Some("same-origin"));
    }
    assert_eq!(app.client().get("/healthz").text, "ok\n");
}
