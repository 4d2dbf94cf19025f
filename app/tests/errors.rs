//! Errors of the running program: a page for a browser, JSON for a program.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use support::{Answer, App, Client};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn assert_page(answer: &Answer, status: u16, title: &str) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.header("content-type").unwrap(), "text/html; charset=utf-8");
    for part in [&format!("<h1>{title}</h1>")[..], "class=\"mark\"", "<a href=\"/\">"] {
        assert!(answer.text.contains(part), "{part}: {}", answer.text);
    }
    assert!(answer.header("content-security-policy").is_some());
}

fn assert_json(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.header("content-type").unwrap(), "application/json");
    let json = answer.json();
    assert_eq!(json["error"], code, "{json}");
    assert!(json["message"].as_str().is_some_and(|text| !text.is_empty()), "{json}");
}

#[test]
fn every_error_is_a_page_or_json() {
    let app = App::start();
    let long = format!("username=ada&password={}", "x".repeat(20_000));
    let cross_site = ("sec-fetch-site", "cross-site");
    let signed_in = |browser: bool| {
        let mut client = app.signed_in("ada");
        client.browser = browser;
        client
    };
    type Send = fn(&mut Client, &str) -> Answer;
    let cases: [(Send, u16, &str, &str); 8] = [
        (|c, _| c.get("/nothing"), 404, "Page not found", "not_found"),
        (|c, _| c.get("/logout"), 405, "Not available", "method_not_allowed"),
        (|c, _| c.send("PUT", "/", &[], ""), 405, "Not available", "method_not_allowed"),
        (|c, long| c.post_form("/login", long), 413, "Too much data", "payload_too_large"),
        (
            |c, _| c.send("POST", "/login", &[("content-type", "text/plain")], "x"),
            415,
            "This request did not work",
            "unsupported_media_type",
        ),
        (
            |c, _| c.post_form("/login", "username=ada"),
            422,
            "This request did not work",
            "unprocessable_entity",
        ),
        (
            |c, _| c.send("POST", "/counter", &[("origin", "http://x.test")], ""),
            403,
            "Not allowed",
            "cross_origin",
        ),
        (|c, _| c.get("/admin"), 403, "Not allowed", "forbidden"),
    ];
    for (send, status, title, code) in cases {
        assert_page(&send(&mut signed_in(true), &long), status, title);
        assert_json(&send(&mut signed_in(false), &long), status, code);
    }
    // A form without its token, and one that another site sends.
    let mut browser = signed_in(true);
    assert_page(&browser.send("POST", "/counter", &[FORM], ""), 403, "Not allowed");
    let mut script = signed_in(false);
    let origin = format!("http://{}", app.address);
    let refused = script.send("POST", "/counter", &[FORM, ("origin", &origin)], "");
    assert_json(&refused, 403, "form_token");
    assert_json(&script.send("POST", "/counter", &[cross_site], ""), 403, "cross_origin");
}

#[test]
fn refusals_of_the_layer_are_json_for_programs() {
    let app = App::start_with(&["--fresh", "1s", "--failed-sign-ins", "1"]);
    let mut visitor = app.client();
    for path in ["/profile", "/api/profile", "/sessions", "/events", "/admin"] {
        assert_json(&visitor.get(path), 401, "no_session");
    }
    let mut root = app.signed_in("root");
    let stale = root.get_while("/admin", 200);
    assert_json(&stale, 401, "insufficient_user_authentication");
    assert!(stale.header("cache-control").unwrap().contains("no-store"));
    let wrong = "username=ada&password=x";
    assert_json(&visitor.post_form("/login", wrong), 401, "wrong_credentials");
    let locked_out = visitor.post_form("/login", wrong);
    assert_json(&locked_out, 429, "locked_out");
    assert!(locked_out.header("retry-after").is_some());
}

#[test]
fn an_error_page_of_a_signed_in_user_keeps_the_navigation() {
    let app = App::start();
    let mut ada = app.browser();
    ada.sign_in("ada", "");
    let refused = ada.get("/admin");
    assert_page(&refused, 403, "Not allowed");
    assert!(refused.text.contains("This page is for administrators only."));
    assert!(refused.text.contains("action=\"/logout\""), "{}", refused.text);
}
