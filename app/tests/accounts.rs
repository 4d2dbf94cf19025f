//! Sign-in, "remember me", step-up and password change, on the running program.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::collections::HashSet;

use support::{App, PASSWORD, csrf_token};

#[test]
fn only_remembered_sessions_have_a_persistent_cookie() {
    let app = App::start_with(&["--remember-lifetime", "20d", "--idle", "10m"]);
    let mut browser = app.browser();
    let cookie = |more: &str| {
        let login = app.browser().sign_in("ada", more);
        login.header("set-cookie").unwrap()
    };
    assert!(!cookie("").contains("Max-Age"), "a session cookie");
    assert!(!cookie("&remember=").contains("Max-Age"));
    assert!(cookie("&remember=on").contains("; Max-Age=1728000"), "{}", cookie("&remember=on"));
    let json = [("content-type", "application/json")];
    let mut program = app.client();
    let body = format!(r#"{{"username":"ada","password":"{PASSWORD}","remember":true}}"#);
    let login = program.send("POST", "/login", &json, &body);
    assert!(login.header("set-cookie").unwrap().contains("; Max-Age=1728000"));
    let list = program.get("/sessions").json();
    let row = list.as_array().unwrap().iter().find(|row| row["current"] == true).unwrap();
    assert_eq!(row["remembered"], true);
    // A new token keeps the lifetime of the cookie.
    browser.sign_in("ada", "&remember=on");
    let again = browser.reauthenticate(PASSWORD);
    assert!(again.header("set-cookie").unwrap().contains("; Max-Age=1728000"));
    assert!(browser.get("/").text.contains("remembers you"));
}

#[test]
fn too_many_failures_lock_out_the_name() {
    let app = App::start_with(&["--failed-sign-ins", "3"]);
    let mut ada = app.signed_in("ada");
    for name in ["ada", "nobody"] {
        let form = format!("username={name}&password=wrong");
        let statuses = [0; 4].map(|_| app.client().post_form("/login", &form).status);
        assert_eq!(statuses, [401, 401, 401, 429], "{name}");
    }
    let right = app.client().sign_in("ada", "");
    assert_eq!(right.status, 429, "the right password too: it reveals nothing");
    assert_eq!(right.header("set-cookie"), None);
    let wait: u64 = right.header("retry-after").unwrap().parse().unwrap();
    assert!((290..=300).contains(&wait), "{wait}");
    assert_eq!(app.client().post_form("/api/login", "username=ada&password=x").status, 429);
    let page = app.browser().sign_in("ada", "");
    assert!(page.text.contains("Try again in a few minutes") && page.text.contains("<form"));
    assert_eq!(ada.get("/profile").status, 200, "live sessions are unaffected");
    assert_eq!(app.client().sign_in("bob", "").status, 200);
}

#[test]
fn failures_of_one_address_are_limited() {
    let app = App::start_with(&["--failed-sign-ins", "1"]);
    let statuses = (0..11).map(|number| {
        let form = format!("username=name{number}&password=x");
        app.client().post_form("/login", &form).status
    });
    let statuses: Vec<_> = statuses.collect();
    assert_eq!((&statuses[..10], statuses[10]), (&[401; 10][..], 429));
}

#[test]
fn a_step_up_asks_for_the_password_and_goes_on() {
    let app = App::start_with(&["--fresh", "2s"]);
    let mut ada = app.browser();
    ada.sign_in("ada", "");
    let away = ada.get_while("/password", 200);
    let to = away.header("location").unwrap();
    assert_eq!((away.status, &*to), (303, "/reauthenticate?next=/password"));
    let form = ada.get(&to);
    assert!(form.text.contains("name=\"next\" value=\"/password\""));
    let token = csrf_token(&form.text);
    let before = ada.token().to_owned();
    let prove = |ada: &mut support::Client, password: &str, next: &str| {
        let fields = format!("csrf_token={token}&password={password}&next={next}");
        ada.post_form("/reauthenticate", &fields)
    };
    let wrong = prove(&mut ada, "wrong", "/password");
    assert_eq!((wrong.status, wrong.header("set-cookie")), (401, None));
    assert!(wrong.text.contains("Wrong password."));
    assert_eq!(ada.get("/password").status, 303, "a wrong password confirms nothing");
    assert_eq!(prove(&mut ada, PASSWORD, "//evil.test").header("location").as_deref(), Some("/"));
    let right = prove(&mut ada, PASSWORD, "/password");
    assert_eq!((right.status, right.header("location").as_deref()), (303, Some("/password")));
    assert_ne!(ada.token(), before, "a confirmed password changes the token");
    // On a slow machine, the password may be old again.
    while ada.get("/password").status != 200 {
        assert_eq!(prove(&mut ada, PASSWORD, "/password").status, 303);
    }

    let mut program = app.signed_in("ada");
    let refused = program.get_while("/password", 200);
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["error"], "insufficient_user_authentication");
    let json = [("content-type", "application/json")];
    let body = format!(r#"{{"password":"{PASSWORD}"}}"#);
    while program.get("/password").status != 200 {
        let confirmed = program.send("POST", "/reauthenticate", &json, &body);
        assert_eq!(confirmed.json()["level"], 1);
    }
}

#[test]
fn a_changed_password_ends_all_other_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("accounts.json");
    let options = ["--accounts", file.to_str().unwrap()];
    for options in [&options[..], &[]] {
        // Without a grace, requests with the old token are refused at once.
        let app = App::start_with(&[options, &["--rotation-grace", "1ms"]].concat());
        let mut ada = app.browser();
        ada.sign_in("ada", "");
        let (mut phone, mut tablet) = (app.signed_in("ada"), app.signed_in("ada"));
        let mut bob = app.signed_in("bob");
        let mut replay = ada.clone();
        let change = |ada: &mut support::Client, new: &str, again: &str| {
            let fields = format!("new={new}&again={again}");
            ada.submit("/password", "/password", &fields)
        };
        for (new, again, fault) in [
            ("short", "short", "too short"),
            ("long enough", "long enouhg", "not the same"),
            (&*"x".repeat(1_025), &*"x".repeat(1_025), "too long"),
        ] {
            let refused = change(&mut ada, new, again);
            assert_eq!(refused.status, 422);
            assert!(refused.text.contains(fault), "{}", refused.text);
        }
        assert_eq!(phone.get("/profile").status, 200, "nothing has changed yet");
        let changed = change(&mut ada, "another horse", "another horse");
        assert_eq!((changed.status, changed.header("location").as_deref()), (303, Some("/")));
        assert_eq!((phone.get("/profile").status, tablet.get("/profile").status), (401, 401));
        // The token has changed too.
        assert_eq!(replay.get_while("/profile", 200).status, 303);
        assert_eq!(bob.get("/profile").status, 200);
        assert!(ada.get("/").text.contains("Password changed. 2 other sessions were ended."));
        assert!(!ada.get("/").text.contains("Password changed"), "a message is shown once");
        assert_eq!(app.client().sign_in("ada", "").status, 401);
        let form = "username=ada&password=another horse";
        assert_eq!(app.client().post_form("/login", form).status, 200);
    }
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(!kept.contains("horse") && kept.contains("$argon2id$"));
    let restarted = App::start_with(&options);
    assert_eq!(restarted.client().sign_in("ada", "").status, 401, "the file has the new password");
    let form = "username=ada&password=another horse";
    assert_eq!(restarted.client().post_form("/login", form).status, 200);
}

#[test]
fn a_form_needs_its_token_and_a_program_does_not() {
    let app = App::start();
    let mut ada = app.browser();
    ada.sign_in("ada", "");
    let page = ada.get("/");
    let old = csrf_token(&page.text).to_owned();
    let acts = ["/counter", "/logout", "/sessions/revoke-others", "/sessions/revoke-all"];
    let mut bob = app.browser();
    bob.sign_in("bob", "");
    let bobs = csrf_token(&bob.get("/").text).to_owned();
    for path in acts.into_iter().chain(["/password", "/reauthenticate", "/admin/end-everyone"]) {
        for token in ["", "csrf_token=", &format!("csrf_token={bobs}"), "csrf_token=x"] {
            let expected =
                if path.starts_with("/admin") { "administrators only" } else { "form token" };
            let refused = ada.post_form(path, token);
            assert_eq!(refused.status, 403, "{path} with {token}");
            assert!(refused.text.contains(expected), "{path}: {}", refused.text);
        }
        let header = [("x-csrf-token", &*bobs)];
        assert_eq!(ada.send("POST", path, &header, "").status, 403, "{path}");
    }
    assert_eq!(ada.get("/counter").json()["counter"], 0);
    // A script sends it as a header.
    let token = ada.get("/csrf").json()["csrf_token"].as_str().unwrap().to_owned();
    assert_ne!(token, old, "a new one each time");
    for token in [&token, &old] {
        assert_eq!(ada.send("POST", "/counter", &[("x-csrf-token", token)], "").status, 303);
    }
    // A new sign-in invalidates it (Symfony CVE-2022-24895).
    ada.sign_in("ada", "");
    assert_eq!(ada.send("POST", "/counter", &[("x-csrf-token", &*token)], "").status, 403);
    // A program names no page and needs no token, but a token that it sends must be valid.
    let mut program = app.signed_in("ada");
    assert_eq!(program.post("/counter").json()["counter"], 1);
    assert_eq!(program.send("POST", "/counter", &[("x-csrf-token", &*token)], "").status, 403);
    for header in [("origin", &*format!("http://{}", app.address)), ("sec-fetch-mode", "cors")] {
        assert_eq!(program.send("POST", "/counter", &[header], "").status, 403, "{header:?}");
    }
    let agent = [("user-agent", "Mozilla/5.0 (X11; Linux)")];
    assert_eq!(program.send("POST", "/counter", &agent, "").status, 403);
}

#[test]
fn a_message_is_shown_once_and_escaped() {
    let app = App::start();
    let mut ada = app.browser();
    ada.sign_in("ada", "");
    let _phone = app.signed_in("ada");
    assert_eq!(ada.submit("/", "/sessions/revoke-others", "").status, 303);
    let page = ada.get("/");
    assert!(page.text.contains("role=\"status\">1 other session was ended.<"), "{}", page.text);
    assert!(!ada.get("/").text.contains("role=\"status\""));
}

#[test]
fn the_session_limit_ends_the_oldest_or_refuses() {
    let app = App::start_with(&["--sessions-per-user", "2"]);
    let mut clients = [0; 3].map(|_| app.signed_in("ada"));
    let statuses = clients.each_mut().map(|client| client.get("/profile").status);
    assert_eq!(statuses, [401, 200, 200]);

    let app = App::start_with(&["--sessions-per-user", "2", "--at-limit", "refuse"]);
    let mut clients = [0; 2].map(|_| app.signed_in("ada"));
    let refused = app.client().sign_in("ada", "");
    assert_eq!((refused.status, refused.header("set-cookie")), (409, None));
    let page = app.browser().sign_in("ada", "");
    assert!(page.text.contains("Sign out on one of them first"), "{}", page.text);
    let statuses = clients.each_mut().map(|client| client.get("/profile").status);
    assert_eq!(statuses, [200, 200]);
    assert_eq!(clients[0].sign_in("ada", "").status, 200, "it replaces its own session");
    assert_eq!(app.client().sign_in("bob", "").status, 200);
}

#[test]
fn a_token_rotates_on_schedule_and_its_reuse_is_reported() {
    let options = ["--rotate-every", "100ms", "--rotation-grace", "10ms"];
    for (reuse, survives) in [("ignore", true), ("report", true), ("end", false)] {
        let app = App::start_with(&[&options[..], &["--token-reuse", reuse]].concat());
        let mut ada = app.signed_in("ada");
        let mut seen = HashSet::from([ada.token().to_owned()]);
        let mut old = ada.clone();
        while seen.len() < 3 {
            assert_eq!(ada.get("/profile").status, 200);
            seen.insert(ada.token().to_owned());
        }
        old.get_while("/profile", 200);
        assert_eq!(ada.get("/profile").status == 200, survives, "{reuse}");
        let mut root = app.signed_in("root");
        let reported = root.get("/audit").text.contains("\"reused\"");
        assert_eq!(reported, reuse != "ignore", "{reuse}");
    }
}

/// The path of the printed link.
fn link(app: &App) -> String {
    let url = app.greeting.split_whitespace().find(|word| word.contains("/login/link?")).unwrap();
    let root = format!("http://{}", app.address);
    url.strip_prefix(&root).unwrap().to_owned()
}

#[test]
fn a_printed_link_signs_in_once() {
    let app = App::start_with(&["--sign-in-link", "ada"]);
    let path = link(&app);
    // A browser that loads it in advance, a program that checks it, and a signed-in user.
    for purpose in [("sec-purpose", "prefetch;prerender"), ("purpose", "prefetch")] {
        assert_eq!(app.browser().send("GET", &path, &[purpose], "").status, 403);
    }
    assert_eq!(app.browser().send("HEAD", &path, &[], "").status, 403);
    let mut bob = app.browser();
    bob.sign_in("bob", "");
    let kept = bob.get(&path);
    assert_eq!((kept.status, kept.header("set-cookie")), (303, None));
    let wrong = app.browser().get("/login/link?code=AAAA");
    assert!(wrong.status == 401 && wrong.text.contains("This link is wrong, was used before"));

    let cross_site = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
    let mut ada = app.browser();
    let answer = ada.send("GET", &path, &cross_site, "");
    assert_eq!((answer.status, answer.header("location").as_deref()), (303, Some("/")));
    assert!(answer.header("set-cookie").unwrap().ends_with("; Path=/; HttpOnly; SameSite=Lax"));
    assert_eq!(answer.header("referrer-policy").unwrap(), "no-referrer");
    assert!(ada.get("/").text.contains("Hello, ada"));
    for answer in [answer, wrong, app.browser().get(&path)] {
        assert_eq!(answer.header("cache-control").unwrap(), "no-store");
        assert!(answer.status == 401 || answer.header("location").is_some());
    }
    assert_eq!(app.client().get(&path).json()["error"], "wrong_link");
    // Its session ends with the password, as every session of the user does.
    assert_eq!(
        ada.submit("/password", "/password", "new=another horse&again=another horse").status,
        303
    );
    let log = app.signed_in("root").get("/audit").json().to_string();
    assert!(log.contains("signed_in") && !log.contains(path.split_once('=').unwrap().1));
}

#[test]
fn the_demo_user_gets_a_link_and_an_unknown_one_an_error() {
    let app = App::launch(&[], "off");
    let mut demo = app.client();
    assert_eq!(demo.get(&link(&app)).json()["name"], "demo");
    assert_eq!(demo.get("/profile").json()["name"], "demo");
    assert!(!App::start().greeting.contains("/login/link"));
    let unknown = std::process::Command::new(env!("CARGO_BIN_EXE_kvolt-app"))
        .args(["--listen", "127.0.0.1:0", "--user", "ada:secret", "--sign-in-link", "eve"])
        .output()
        .unwrap();
    let error = String::from_utf8(unknown.stderr).unwrap();
    assert!(!unknown.status.success() && error.contains("no user \"eve\""), "{error}");
}
