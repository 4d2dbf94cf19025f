//! The session management chapter of the OWASP Web Security Testing Guide: one test for each item,
//! against the running program on each store.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![allow(clippy::disallowed_methods, reason = "the program's clock can't be moved from outside")]

mod support;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use support::remote::StoreServer;
use support::socket::Socket;
use support::{Client, PASSWORD, csrf_token, with_id_of};

/// The paths that require a session.
const PRIVATE: [&str; 9] = [
    "/profile",
    "/counter",
    "/sessions",
    "/events",
    "/csrf",
    "/reauthenticate",
    "/password",
    "/admin",
    "/audit",
];

/// Runs all tests on each store, in a module named after the store.
macro_rules! on_each_store {
    ($($store:ident),*) => { $(mod $store {
        use super::StoreServer;
        tests_on! { $store:
            wstg_sess_01_tokens_are_random_and_unguessable,
            wstg_sess_02_the_cookie_has_all_protecting_attributes,
            wstg_sess_03_a_sign_in_replaces_the_token,
            wstg_sess_04_tokens_are_in_the_cookie_only,
            wstg_sess_05_other_sites_change_nothing,
            wstg_sess_06_a_sign_out_is_final_everywhere,
            wstg_sess_07_sessions_end_by_the_server_s_clock,
            wstg_sess_08_unfinished_sign_ins_have_no_effect,
            wstg_sess_09_a_stolen_token_is_soon_invalid,
            wstg_sess_10_forged_tokens_are_refused,
            wstg_sess_11_concurrent_sessions_are_limited_and_ended,
        }
    })* };
}

macro_rules! tests_on {
    ($store:ident: $($name:ident,)*) => {
        $(#[test] fn $name() { super::$name(&StoreServer::$store()); })*
    };
}

on_each_store!(memory, redis, postgres, mariadb, sqlite);

/// Session management schema.
fn wstg_sess_01_tokens_are_random_and_unguessable(store: &StoreServer) {
    let app = store.instance(&["--sessions-per-user", "unlimited"]);
    let tokens: Vec<String> = (0..50).map(|_| app.signed_in("ada").token().to_owned()).collect();
    assert_eq!(tokens.iter().collect::<HashSet<_>>().len(), 50);
    for token in &tokens {
        assert_eq!(token.len(), 48, "an id of 96 bits, 144 random bits and a mark of 48");
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    }
    // Each position varies as random characters do.
    for place in 0..48 {
        let different: HashSet<u8> = tokens.iter().map(|token| token.as_bytes()[place]).collect();
        assert!(different.len() > 16, "{place}: {different:?}");
    }
    let ada = app.signed_in("ada");
    let token = ada.token();
    let mut known = ada.clone();
    assert_eq!(known.get("/profile").status, 200);
    for place in 0..token.len() {
        let mut changed = token.to_owned().into_bytes();
        changed[place] = if changed[place] == b'A' { b'Q' } else { b'A' };
        let mut client = app.client();
        client.jar.insert("session_id".into(), String::from_utf8(changed).unwrap());
        assert_eq!(client.get("/profile").status, 401, "{place}");
    }
    for wrong in
        [&token[..47], &format!("{token}A"), "", "null", "0", "admin", "' OR 1=1 --", "%00"]
    {
        let mut client = app.client();
        client.jar.insert("session_id".into(), wrong.to_owned());
        assert_eq!(client.get("/profile").status, 401, "{wrong}");
    }
}

/// Cookie attributes.
fn wstg_sess_02_the_cookie_has_all_protecting_attributes(store: &StoreServer) {
    let app = store.instance(&["--behind-tls"]);
    let login = app.client().sign_in("ada", "");
    let cookies: Vec<_> = login.headers_of("set-cookie").collect();
    let [cookie] = cookies[..] else { panic!("one cookie: {cookies:?}") };
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    assert!(pair.starts_with("__Host-session_id=") && cookie.len() < 4_096);
    assert_eq!(attributes, "Path=/; HttpOnly; Secure; SameSite=Lax", "and no Domain");
    let remembered = app.client().sign_in("ada", "&remember=on").header("set-cookie").unwrap();
    assert!(remembered.contains("; Max-Age=2592000; "), "30 days: {remembered}");
    let mut client = app.client();
    client.sign_in("ada", "");
    let out = client.post("/logout").header("set-cookie").unwrap();
    for kept in ["__Host-session_id=;", "Max-Age=0", "Path=/", "Secure", "HttpOnly"] {
        assert!(out.contains(kept), "browsers would ignore it without {kept}: {out}");
    }
    assert!(client.jar.is_empty());
}

/// Session fixation.
fn wstg_sess_03_a_sign_in_replaces_the_token(store: &StoreServer) {
    let app = store.instance(&[]);
    let mut victim = app.client();
    let chosen = "A".repeat(48);
    victim.jar.insert("session_id".into(), chosen.clone());
    let mut attacker = victim.clone();
    assert_eq!(victim.get("/").header("set-cookie"), None, "no session without a sign-in");
    victim.sign_in("ada", "");
    assert_ne!(victim.token(), chosen);
    assert_eq!(victim.get("/profile").status, 200);
    assert_eq!(attacker.get("/profile").status, 401);
    // An attacker plants a valid session, and the victim signs in with it.
    let mut attacker = app.signed_in("bob");
    let mut victim = attacker.clone();
    victim.sign_in("ada", "");
    assert_eq!(attacker.get("/profile").status, 401);
    assert_eq!(victim.get("/profile").json()["name"], "ada");
    // The same by header.
    let form = [("content-type", "application/x-www-form-urlencoded"), ("x-session-id", &*chosen)];
    let body = format!("username=ada&password={PASSWORD}");
    let login = app.client().send("POST", "/api/login", &form, &body);
    assert_ne!(login.header("x-session-id").unwrap(), chosen);
    let header = [("x-session-id", &*chosen)];
    assert_eq!(app.client().send("GET", "/api/profile", &header, "").status, 401);
    // A confirmed password changes the token too, and the previous one ends after its grace.
    let app = store.instance(&["--rotation-grace", "1ms"]);
    let mut ada = app.signed_in("ada");
    let mut saved = ada.clone();
    let json = [("content-type", "application/json")];
    let proof = format!(r#"{{"password":"{PASSWORD}"}}"#);
    assert_eq!(ada.send("POST", "/reauthenticate", &json, &proof).status, 200);
    assert_eq!(saved.get_while("/profile", 200).status, 401);
    assert_eq!(ada.get("/profile").status, 200);
}

/// Exposed session variables.
fn wstg_sess_04_tokens_are_in_the_cookie_only(store: &StoreServer) {
    let app = store.instance(&[]);
    let mut root = app.browser();
    root.sign_in("root", "");
    let token = root.token().to_owned();
    for path in
        ["/", "/profile", "/sessions", "/csrf", "/reauthenticate", "/password", "/admin", "/audit"]
    {
        let answer = root.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.text.contains(&token), "{path} shows the token");
        assert_eq!(answer.header("set-cookie"), None, "{path} sends it again");
        assert_eq!(answer.header("cache-control").as_deref(), Some("no-store"), "{path}");
        assert!(answer.header("vary").unwrap().to_lowercase().contains("cookie"), "{path}");
        assert_eq!(answer.header("referrer-policy").as_deref(), Some("same-origin"));
    }
    // The token is read from the cookie only.
    let mut client = app.client();
    for path in ["session_id", "token", "sid", "x-session-id"]
        .map(|name| format!("/profile?{name}={token}"))
    {
        assert_eq!(client.get(&path).status, 401, "{path}");
    }
    for name in ["x-session-id", "authorization", "session_id"] {
        let value = if name == "authorization" { format!("Bearer {token}") } else { token.clone() };
        assert_eq!(client.send("GET", "/profile", &[(name, &value)], "").status, 401, "{name}");
    }
    assert_eq!(
        client.get(&format!("/login?username=ada&password={PASSWORD}")).header("set-cookie"),
        None
    );
}

/// Cross-site request forgery.
fn wstg_sess_05_other_sites_change_nothing(store: &StoreServer) {
    let app = store.instance(&[]);
    let mut ada = app.browser();
    ada.sign_in("ada", "");
    let token = csrf_token(&ada.get("/").text).to_owned();
    let acts = [
        "/counter",
        "/logout",
        "/sessions/revoke-all",
        "/sessions/revoke-others",
        "/password",
        "/reauthenticate",
        "/admin/end-everyone",
        "/login",
    ];
    let form = ("content-type", "application/x-www-form-urlencoded");
    let mut cross = app.moved(&ada);
    cross.browser = false;
    for from in
        [("sec-fetch-site", "cross-site"), ("origin", "https://evil.test"), ("origin", "null")]
    {
        for path in acts {
            // Even with a form token, which another site can't know.
            let body = format!("csrf_token={token}");
            let refused = cross.send("POST", path, &[from, form], &body);
            assert_eq!(refused.status, 403, "{path} from {from:?}");
            assert_eq!(refused.header("set-cookie"), None);
        }
        assert_eq!(Socket::open(&ada, &[from]).err(), Some(403));
    }
    for path in acts.into_iter().filter(|path| *path != "/login") {
        assert_eq!(ada.post_form(path, "").status, 403, "{path} without a form token");
    }
    for path in ["/logout", "/sessions/revoke-all", "/admin/end-everyone"] {
        assert!([404, 405].contains(&ada.get(path).status), "a link does nothing: {path}");
    }
    assert_eq!(ada.get("/counter").json()["counter"], 0);
    assert_eq!(ada.post_form("/counter", &format!("csrf_token={token}")).status, 303);
}

/// Logout functionality.
fn wstg_sess_06_a_sign_out_is_final_everywhere(store: &StoreServer) {
    let app = store.instance(&[]);
    let mut root = app.signed_in("root");
    let mut replay = root.clone();
    for path in PRIVATE.into_iter().filter(|path| *path != "/events") {
        assert_eq!(replay.get(path).status, 200, "{path}");
    }
    let mut socket = Socket::open(&root, &[]).unwrap();
    assert_eq!(socket.counter(), 0);
    assert_eq!(root.post("/logout").status, 200);
    socket.ends();
    for path in PRIVATE {
        let refused = replay.get(path);
        assert_eq!((refused.status, refused.header("set-cookie")), (401, None), "{path}");
    }
    for path in ["/counter", "/sessions/revoke-all", "/password", "/admin/end-everyone"] {
        assert_eq!(replay.post(path).status, 401, "{path}");
    }
    assert_eq!(Socket::open(&replay, &[]).err(), Some(401));
    let header = [("x-session-id", replay.token())];
    assert_eq!(app.client().send("GET", "/api/profile", &header, "").status, 401);
    assert!(replay.get("/").text.contains("Sign in"));
    assert_eq!(replay.post("/logout").status, 200, "a second sign-out is no error");
    // A new sign-in does not revive the old session.
    app.signed_in("root");
    assert_eq!(replay.get("/profile").status, 401);
}

/// Session timeout.
fn wstg_sess_07_sessions_end_by_the_server_s_clock(store: &StoreServer) {
    let timeouts = ["--idle", "2s", "--lifetime", "5s", "--remember-lifetime", "3s"];
    let app = store.instance(&timeouts);
    let mut remembered = app.client();
    remembered.sign_in("bob", "&remember=on");
    let mut idle = app.signed_in("ada");
    let began = Instant::now();
    let mut used = app.signed_in("ada");
    // An open connection does not extend a session, and the cookie's own lifetime has no effect.
    idle.jar.insert("Max-Age".into(), "999999".into());
    let mut watching = Socket::open(&idle, &[]).unwrap();
    let watching = std::thread::spawn(move || {
        assert_eq!(watching.counter(), 0);
        watching.ends();
    });
    while !watching.is_finished() {
        assert_eq!(used.get("/profile").status, 200, "a session in use: {:?}", began.elapsed());
    }
    watching.join().unwrap();
    assert_eq!(idle.get("/profile").status, 401);
    assert_eq!(used.get_while("/profile", 200).status, 401, "and use does not help for ever");
    let lived = began.elapsed();
    assert!(lived > Duration::from_millis(4_900) && lived < Duration::from_secs(20), "{lived:?}");
    assert_eq!(remembered.get("/profile").status, 401, "nor does being remembered");
}

/// Session puzzling.
fn wstg_sess_08_unfinished_sign_ins_have_no_effect(store: &StoreServer) {
    let app = store.instance(&[]);
    // Failed and unfinished sign-ins create no session.
    let mut visitor = app.client();
    visitor.get("/?next=/admin");
    visitor.get("/login?next=/admin");
    visitor.post_form("/login", "username=root&password=wrong");
    visitor.post_form("/login", "username=root");
    visitor.post_form("/reauthenticate", &format!("password={PASSWORD}"));
    assert!(visitor.jar.is_empty());
    for path in PRIVATE {
        assert_eq!(visitor.get(path).status, 401, "{path}");
    }
    // A failed sign-in as another user does not change the session's user.
    let mut ada = app.signed_in("ada");
    assert_eq!(ada.post_form("/login", "username=root&password=wrong").status, 401);
    let both = format!("username=root&password={PASSWORD}");
    assert_eq!(
        ada.post_form("/reauthenticate", &both).status,
        200,
        "ada's password, whatever else"
    );
    assert_eq!(ada.get("/profile").json()["name"], "ada");
    assert_eq!(ada.get("/admin").status, 403);
    assert_eq!(
        ada.post_form("/counter", "counter=9&id=3&role=admin&name=root").json()["counter"],
        1
    );
    assert_eq!(ada.get("/profile").json()["role"], "user");
    // A sign-in as another user creates a new session without the old data.
    let mut first = ada.clone();
    assert_eq!(ada.sign_in("bob", "").status, 200);
    assert_eq!(ada.get("/profile").json()["name"], "bob");
    assert_eq!(ada.get("/counter").json()["counter"], 0);
    assert_eq!(first.get("/profile").status, 401);
    // Session ids are not tokens.
    let id = ada.get("/sessions").json()[0]["id"].as_str().unwrap().to_owned();
    for name in [id.clone(), id.repeat(2), with_id_of(ada.token(), first.token())] {
        let mut client = app.client();
        client.jar.insert("session_id".into(), name);
        assert_eq!(client.get("/profile").status, 401);
    }
}

/// Session hijacking.
fn wstg_sess_09_a_stolen_token_is_soon_invalid(store: &StoreServer) {
    let app = store.instance(&["--behind-tls"]);
    let cookie = app.client().sign_in("ada", "").header("set-cookie").unwrap();
    assert!(cookie.contains("; Secure") && cookie.contains("; HttpOnly"), "{cookie}");
    // The plain cookie, which an attacker on the network can plant, is not read.
    let mut planted = app.client();
    planted.jar.insert("session_id".into(), cookie.split(['=', ';']).nth(1).unwrap().to_owned());
    assert_eq!(planted.get("/profile").status, 401);

    let app = store.instance(&[
        "--rotate-every",
        "300ms",
        "--rotation-grace",
        "10ms",
        "--token-reuse",
        "end",
    ]);
    let mut ada = app.signed_in("ada");
    let mut thief = ada.clone();
    let stolen = ada.token().to_owned();
    while ada.token() == stolen {
        assert_eq!(ada.get("/profile").status, 200);
    }
    // If the old token is used again, it is refused, and the session ends for both.
    assert_eq!(thief.get_while("/profile", 200).status, 401);
    // During another grace, a late request is not taken for a theft.
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(thief.get("/profile").status, 401);
    assert_eq!(ada.get_while("/profile", 200).status, 401);
    let audit = app.signed_in("root").get("/audit").text;
    assert!(audit.contains("\"reused\"") && audit.contains("\"reuse\""), "{audit}");
    // The owner sees the unknown session in the list, and ends it.
    let app = store.instance(&[]);
    let mut thief = app.signed_in("bob");
    let mut bob = app.signed_in("bob");
    let list = bob.get("/sessions").json();
    let other = list.as_array().unwrap().iter().find(|row| row["current"] == false).unwrap();
    let path = format!("/sessions/{}/end", other["id"].as_str().unwrap());
    assert_eq!(bob.post(&path).status, 200);
    assert_eq!(thief.get("/profile").status, 401);
}

/// JSON Web Tokens: the program uses none, and accepts no token without a stored session.
fn wstg_sess_10_forged_tokens_are_refused(store: &StoreServer) {
    let app = store.instance(&[]);
    let mut ada = app.signed_in("ada");
    assert!(!ada.token().contains('.'), "not a JWT");
    // {"alg":"none"} and {"sub":"3","name":"root","role":"admin"}, unsigned and badly signed.
    let (none, root) =
        ("eyJhbGciOiJub25lIn0", "eyJzdWIiOiIzIiwibmFtZSI6InJvb3QiLCJyb2xlIjoiYWRtaW4ifQ");
    for made in
        [format!("{none}.{root}."), format!("{none}.{root}.AAAA"), root.into(), root[..48].into()]
    {
        let mut client = app.client();
        client.jar.insert("session_id".into(), made.clone());
        for path in ["/profile", "/admin"] {
            assert_eq!(client.get(path).status, 401, "{made}");
        }
        for header in [("x-session-id", made.clone()), ("authorization", format!("Bearer {made}"))]
        {
            let header = [(header.0, &*header.1)];
            assert_eq!(app.client().send("GET", "/api/profile", &header, "").status, 401);
        }
    }
    // Permissions are checked on the server.
    assert_eq!(ada.get("/admin").status, 403);
}

/// Concurrent sessions.
fn wstg_sess_11_concurrent_sessions_are_limited_and_ended(store: &StoreServer) {
    let app = store.instance(&["--sessions-per-user", "3"]);
    let mut ada: Vec<Client> = (0..4).map(|_| app.signed_in("ada")).collect();
    let mut bob = app.signed_in("bob");
    let alive = |clients: &mut [Client]| -> Vec<bool> {
        clients.iter_mut().map(|client| client.get("/profile").status == 200).collect()
    };
    assert_eq!(alive(&mut ada), [false, true, true, true], "the oldest has made room");
    let list = ada[3].get("/sessions").json();
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 3);
    for row in list {
        assert_eq!(row["address"], "127.0.0.1");
        assert!(row["created"].is_string() && row["last_seen"].is_string());
    }
    let id = list[0]["id"].as_str().unwrap();
    assert_eq!(bob.send("DELETE", &format!("/sessions/{id}"), &[], "").status, 404, "not bob's");
    assert_eq!(alive(&mut ada[1..]), [true; 3]);
    assert_eq!(ada[3].send("DELETE", &format!("/sessions/{id}"), &[], "").status, 200);
    assert_eq!(alive(&mut ada[1..]), [false, true, true]);
    assert_eq!(ada[3].post("/sessions/revoke-others").json()["ended"], 1);
    assert_eq!(alive(&mut ada[2..]), [false, true]);
    assert_eq!(ada[3].post("/sessions/revoke-all").status, 200);
    assert_eq!(alive(&mut ada), [false; 4]);
    assert_eq!(bob.get("/profile").status, 200, "nobody else's");
    let refusing = store.instance(&["--sessions-per-user", "1", "--at-limit", "refuse"]);
    let _one = refusing.signed_in("ada");
    assert_eq!(refusing.client().sign_in("ada", "").status, 409);
}
