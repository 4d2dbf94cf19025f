//! The log and the audit log of the running program, and its start options.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use support::{App, PASSWORD};

#[test]
fn failed_sign_ins_and_lock_outs_are_in_the_log_and_the_audit_log() {
    let app = App::start_with_log(&["--failed-sign-ins", "2"], "info");
    let mut root = app.signed_in("root");
    for password in ["x", "y", "z"] {
        app.client().post_form("/login", &format!("username=ada&password={password}"));
    }
    app.client().post_form("/login", "username=hunter2&password=x");
    let log = app.log_with("user=\"unknown\"");
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!(lines("sign-in failed"), 3, "{log}");
    assert_eq!(lines("locked out further sign-ins"), 1, "once, not for each attempt: {log}");
    let failed = log.lines().find(|line| line.contains("sign-in failed")).unwrap();
    assert!(failed.contains("user=\"ada\"") && failed.contains("address=\"127.0.0.1\""), "{log}");
    assert!(!log.contains("hunter2"), "an unknown name may be a password: {log}");

    let audit = root.get("/audit").json();
    let rows = |event: &str, user: Option<&str>| {
        let fits = |row: &&serde_json::Value| row["event"] == event && row["user"].as_str() == user;
        audit.as_array().unwrap().iter().filter(fits).count()
    };
    assert_eq!(rows("sign_in_failed", Some("ada")), 2);
    assert_eq!(rows("sign_in_failed", None), 1);
    assert_eq!(rows("locked_out", Some("ada")), 1);
    let row = &audit[0];
    assert_eq!((&row["address"], &row["device"]), (&"127.0.0.1".into(), &"Unknown program".into()));
}

#[test]
fn a_new_session_is_logged_with_owner_address_and_device() {
    let app = App::start_with_log(&[], "info");
    let mut browser = app.browser();
    browser.sign_in("ada", "");
    let log = app.log_with("session created");
    let line = log.lines().find(|line| line.contains("session created")).unwrap();
    assert!(line.contains("owner=1"), "{line}");
    let log = app.log_with("signed in");
    let line = log.lines().find(|line| line.contains("signed in")).unwrap();
    for part in ["user=\"ada\"", "owner=1", "address=\"127.0.0.1\"", "device=\"Firefox on Linux\""]
    {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[test]
fn the_audit_page_has_exact_times() {
    let app = App::start();
    let mut root = app.browser();
    root.sign_in("root", "");
    let audit = root.get("/audit").text;
    let (_, rows) = audit.split_once("<tbody>").unwrap();
    let time = rows.split_once("<td>").unwrap().1.split('<').next().unwrap();
    let form: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(form, "0000-00-00 00:00:00");
    assert!(!audit.contains("just now"));
}

#[test]
fn names_and_passwords_are_compared_in_one_unicode_form() {
    let app = App::launch(&["--user", "caf\u{e9}:caf\u{e9} horse"], "off");
    let decomposed = "username=cafe%CC%81&password=cafe%CC%81 horse";
    assert_eq!(app.client().post_form("/login", decomposed).status, 200);
    let composed = "username=caf%C3%A9&password=caf%C3%A9 horse";
    assert_eq!(app.client().post_form("/login", composed).status, 200);
}

#[test]
fn a_host_name_can_be_listened_on() {
    let app = App::launch(&["--listen", "localhost:0"], "off");
    assert!(app.address.ip().is_loopback());
    assert_eq!(app.client().get("/healthz").status, 200);
    assert!(app.greeting.contains("plain HTTP"), "{}", app.greeting);
}

#[test]
fn an_empty_log_level_is_the_default() {
    let app = App::start_with_log(&[], "");
    assert_eq!(app.client().sign_in("ada", "").status, 200);
    app.log_with("session created");
}

#[test]
fn readiness_is_the_store_s() {
    let app = App::start();
    let ready = app.client().get("/readyz");
    assert_eq!((ready.status, &*ready.text), (200, "ready\n"));
    let mut root = app.signed_in("root");
    assert_eq!(root.post_form("/login", &format!("username=root&password={PASSWORD}")).status, 200);
    let audit = root.get("/audit").text;
    assert!(!audit.contains("refused"), "a probe leaves no event: {audit}");
}
