use std::time::Duration;

use axum::http::StatusCode;
use kvolt::cache::testing::{Call, Faults};
use kvolt::testing::ManualClock;
use serde_json::{Value, json};

use super::browser::Browser;
use super::stage::{LIMIT, Server, Stage, can_run, http, until};
use crate::back_channel::CLOCK_SKEW;

fn header() -> Value {
    json!({ "alg": "RS256", "typ": "logout+jwt", "kid": "own" })
}

/// Sends a logout token as the provider does.
async fn report(server: &Server, token: &str) -> StatusCode {
    let request = http().build().unwrap().post(server.at("/back-channel-logout"));
    let response = request.form(&[("logout_token", token)]).send().await.unwrap();
    assert_eq!(response.headers()["cache-control"], "no-store");
    response.status()
}

/// Signs in later than a logout, also for a server whose clock is behind, in another session at the
/// provider.
async fn sign_in_later(stage: &Stage, browser: &mut Browser) {
    let skew = Duration::from_millis(CLOCK_SKEW * 1000 + 1);
    stage.first().manager.clock().advance(skew).unwrap();
    browser.forget_provider();
    browser.sign_in(stage.first()).await;
}

/// Reports a logout with these claims, signed by the provider.
async fn log_out(stage: &Stage, claims: &Value) -> StatusCode {
    report(stage.second(), &stage.sign(&header(), claims, "own").await).await
}

async fn until_signed_out(stage: &Stage, browser: &mut Browser) {
    for server in &stage.servers {
        until("the session ends", async || !browser.is_signed_in(server).await).await;
    }
}

/// Whether both servers know the user. Both have a copy of the session then.
async fn is_signed_in(stage: &Stage, browser: &mut Browser) -> bool {
    browser.is_signed_in(stage.first()).await && browser.is_signed_in(stage.second()).await
}

#[tokio::test]
async fn sign_out_at_the_provider_ends_exactly_its_sessions() {
    if !can_run() {
        return;
    }
    let stage = Stage::on_redis().await;
    let mut laptop = Browser::of("ada");
    let mut phone = Browser::of("ada");
    let mut bob = Browser::of("bob");
    for browser in [&mut laptop, &mut phone, &mut bob] {
        browser.sign_in(stage.first()).await;
        assert!(is_signed_in(&stage, browser).await);
    }
    // Another session here, within the same session at the provider.
    let mut laptop_again = laptop.clone();
    laptop_again.forget_session();
    laptop_again.sign_in(stage.first()).await;
    assert!(is_signed_in(&stage, &mut laptop).await);
    assert_eq!(stage.first().sid(&laptop).await, stage.first().sid(&laptop_again).await);

    // With the latest cookies of the provider.
    laptop_again.clone().sign_out_at_provider(stage.sign_out_page()).await;
    until_signed_out(&stage, &mut laptop).await;
    until_signed_out(&stage, &mut laptop_again).await;
    assert!(is_signed_in(&stage, &mut phone).await);
    assert!(is_signed_in(&stage, &mut bob).await);
}

#[tokio::test]
async fn logout_of_a_user_ends_exactly_their_sessions() {
    if !can_run() {
        return;
    }
    let stage = Stage::on_redis().await;
    let mut laptop = Browser::of("ada");
    let mut phone = Browser::of("ada");
    let mut bob = Browser::of("bob");
    for browser in [&mut laptop, &mut phone, &mut bob] {
        browser.sign_in(stage.first()).await;
        assert!(is_signed_in(&stage, browser).await);
    }
    assert_eq!(log_out(&stage, &stage.claims_with("sub", "ada")).await, StatusCode::OK);
    until_signed_out(&stage, &mut laptop).await;
    until_signed_out(&stage, &mut phone).await;
    assert!(is_signed_in(&stage, &mut bob).await);
}

#[tokio::test]
async fn session_that_has_ended_at_the_provider_is_refused() {
    if !can_run() {
        return;
    }
    let clock = ManualClock::new();
    let (stage, _) = Stage::on_clock(clock.clock()).await;
    let mut ada = Browser::of("ada");
    ada.sign_in(stage.first()).await;
    let sid = stage.first().sid(&ada).await;
    assert_eq!(log_out(&stage, &stage.claims_with("sid", sid)).await, StatusCode::OK);
    // The clock of the server of the sign-in is ahead.
    clock.advance(Duration::from_secs(120));
    let callback = ada.begin(stage.first(), "/").await;
    assert_eq!(ada.get(callback).await.status, StatusCode::FORBIDDEN);
    assert!(!ada.is_signed_in(stage.first()).await);
    sign_in_later(&stage, &mut ada).await;
}

#[tokio::test]
async fn user_named_beside_a_session_loses_that_session_only() {
    if !can_run() {
        return;
    }
    let stage = Stage::in_memory().await;
    let (mut laptop, mut phone) = (Browser::of("ada"), Browser::of("ada"));
    for browser in [&mut laptop, &mut phone] {
        browser.sign_in(stage.first()).await;
    }
    let claims = |sid: &str| {
        let mut claims = stage.claims_with("sub", "ada");
        claims["sid"] = json!(sid);
        claims
    };
    let sid = stage.first().sid(&laptop).await;
    for _ in 0..2 {
        assert_eq!(log_out(&stage, &claims(&sid)).await, StatusCode::OK);
        assert!(!laptop.is_signed_in(stage.first()).await);
        assert!(phone.is_signed_in(stage.first()).await);
    }
    assert_eq!(log_out(&stage, &claims("unknown")).await, StatusCode::OK);
    assert!(phone.is_signed_in(stage.first()).await);
}

#[tokio::test]
async fn invalid_token_ends_nothing() {
    if !can_run() {
        return;
    }
    let stage = Stage::on_redis().await;
    let mut ada = Browser::of("ada");
    ada.sign_in(stage.first()).await;
    let sid = stage.first().sid(&ada).await;
    let valid = stage.claims_with("sid", sid.as_str());
    let with = |name: &str, value: Value| {
        let mut claims = valid.clone();
        claims[name] = value;
        claims
    };
    let without = |name: &str| {
        let mut claims = valid.clone();
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    let now = valid["iat"].as_u64().unwrap() + 30;
    let claims = [
        ("no session and no user", without("sid")),
        ("wrong audience", with("aud", json!("another"))),
        ("wrong audiences", with("aud", json!(["another", "third"]))),
        ("no audience", without("aud")),
        ("wrong issuer", with("iss", json!("https://evil.example"))),
        ("no issuer", without("iss")),
        ("expired", with("exp", json!(now - 61))),
        ("no expiry", without("exp")),
        ("issued in the future", with("iat", json!(now + 3600))),
        ("no issue time", without("iat")),
        ("no id", without("jti")),
        ("no events", without("events")),
        ("another event", with("events", json!({ "another": {} }))),
        ("an event without its object", {
            with("events", json!({ "http://schemas.openid.net/event/backchannel-logout": 1 }))
        }),
        ("a nonce", with("nonce", json!("n"))),
        ("an empty nonce", with("nonce", json!(null))),
    ];
    for (name, claims) in claims {
        assert_eq!(log_out(&stage, &claims).await, StatusCode::BAD_REQUEST, "{name}");
    }
    let header_with = |name: &str, value: &str| {
        let mut header = header();
        header[name] = json!(value);
        header
    };
    let mut untyped = header();
    untyped.as_object_mut().unwrap().remove("typ");
    let forged = [
        ("another key", header(), "other"),
        ("no signature", header_with("alg", "none"), "none"),
        ("no signature, and the right algorithm", header(), "none"),
        ("the public key as a secret", header_with("alg", "HS256"), "public"),
        ("the public key as a secret, and the right algorithm", header(), "public"),
        ("an ID token's type", header_with("typ", "JWT"), "own"),
        ("no type", untyped, "own"),
        ("an unknown extension", header_with("crit", "exp"), "own"),
    ];
    for (name, header, key) in forged {
        let token = stage.sign(&header, &valid, key).await;
        assert_eq!(report(stage.second(), &token).await, StatusCode::BAD_REQUEST, "{name}");
    }
    let id_token = stage.first().data(&ada).await.unwrap()["user"]["id_token"].clone();
    let signed = stage.sign(&header(), &valid, "own").await;
    let parts: Vec<_> = signed.split('.').collect();
    let other = stage.sign(&header(), &with("sid", json!("other")), "own").await;
    let other: Vec<_> = other.split('.').collect();
    let broken = [
        String::new(),
        "a.b.c".to_owned(),
        id_token.as_str().unwrap().to_owned(),
        format!("{}.{}", parts[0], parts[1]),
        format!("{}.{}.{}", parts[0], parts[1], other[2]),
        format!("{signed}."),
        format!("{signed}.{}", parts[2]),
    ];
    for token in broken {
        assert_eq!(report(stage.second(), &token).await, StatusCode::BAD_REQUEST, "{token}");
    }
    let empty = http().build().unwrap().post(stage.second().at("/back-channel-logout"));
    assert_eq!(empty.send().await.unwrap().status(), StatusCode::BAD_REQUEST);

    assert!(is_signed_in(&stage, &mut ada).await);
    assert_eq!(report(stage.second(), &signed).await, StatusCode::OK);
    until_signed_out(&stage, &mut ada).await;
}

#[tokio::test]
async fn used_token_ends_nothing_again() {
    if !can_run() {
        return;
    }
    let (stage, _) = Stage::on_clock(ManualClock::new().clock()).await;
    let mut ada = Browser::of("ada");
    for (name, is_session) in [("sid", true), ("sub", false)] {
        sign_in_later(&stage, &mut ada).await;
        let value = if is_session { stage.first().sid(&ada).await } else { "ada".to_owned() };
        let claims = stage.claims_with(name, value);
        assert_eq!(log_out(&stage, &claims).await, StatusCode::OK);
        until_signed_out(&stage, &mut ada).await;

        sign_in_later(&stage, &mut ada).await;
        assert_eq!(log_out(&stage, &claims).await, StatusCode::BAD_REQUEST);
        let token = stage.sign(&header(), &claims, "own").await;
        assert_eq!(report(stage.first(), &token).await, StatusCode::BAD_REQUEST);
        assert!(is_signed_in(&stage, &mut ada).await, "{name}");
    }
}

#[tokio::test]
async fn logout_is_repeated_after_an_outage() {
    if !can_run() {
        return;
    }
    let (stage, faults) = Stage::on_clock(ManualClock::new().clock()).await;
    let mut ada = Browser::of("ada");
    let stores = [&faults.notes, &faults.sessions];
    let calls =
        [Call::Get, Call::Insert, Call::List, Call::Remove, Call::RemoveOwner, Call::Replace];
    for (name, is_session) in [("sid", true), ("sub", false)] {
        for (store, call) in stores.into_iter().flat_map(|store| calls.map(|call| (store, call))) {
            sign_in_later(&stage, &mut ada).await;
            let value = if is_session { stage.first().sid(&ada).await } else { "ada".to_owned() };
            let token = stage.sign(&header(), &stage.claims_with(name, value), "own").await;
            store.only(&[call]);
            store.fail_next(1);
            let first = report(stage.first(), &token).await;
            store.reset();
            // Not each call is made for each kind of logout.
            if first != StatusCode::OK {
                assert_eq!(first, StatusCode::SERVICE_UNAVAILABLE, "{name} {call:?}");
                assert_eq!(report(stage.first(), &token).await, StatusCode::OK, "{name} {call:?}");
            }
            assert!(!ada.is_signed_in(stage.second()).await, "{name} {call:?}");
        }
    }
}

/// The sign-in is stopped before each of its steps, and the logout is complete before it continues.
#[tokio::test]
async fn logout_ends_a_sign_in_under_way() {
    if !can_run() {
        return;
    }
    let (stage, faults) = Stage::on_clock(ManualClock::new().clock()).await;
    let steps: [(&str, Option<(&Faults, Call)>); 5] = [
        ("at the provider", None),
        ("before the session", Some((&faults.sessions, Call::Insert))),
        ("before the note of it", Some((&faults.notes, Call::Insert))),
        ("before the check", Some((&faults.notes, Call::Get))),
        ("before the user is stored", Some((&faults.sessions, Call::Replace))),
    ];
    for (name, (step, held)) in
        ["sid", "sub"].into_iter().flat_map(|name| steps.map(|step| (name, step)))
    {
        let user = format!("ada {step}");
        let mut ada = Browser::of(&user);
        ada.sign_in(stage.first()).await;
        let value = if name == "sid" { stage.first().sid(&ada).await } else { user };
        // A second session here, within the same session at the provider.
        let mut again = ada.clone();
        again.forget_session();
        let callback = again.begin(stage.first(), "/").await;
        let claims = stage.claims_with(name, value);
        let sign_in = async {
            let page = again.get(callback).await;
            assert_ne!(page.next, Some(stage.first().at("/")), "{name} {step}");
        };
        let log_out = async {
            if let Some((store, call)) = held {
                // The code is exchanged after the sign-in was taken from the visitor's session.
                stage.until_held().await;
                store.only(&[call]);
                store.hold_calls();
                stage.release_tokens().await;
                let held = store.until_waiting(1);
                tokio::time::timeout(LIMIT, held).await.expect(step);
            }
            assert_eq!(log_out(&stage, &claims).await, StatusCode::OK, "{name} {step}");
            faults.sessions.reset();
            faults.notes.reset();
        };
        match held {
            Some(_) => {
                stage.hold_tokens().await;
                tokio::join!(sign_in, log_out);
            }
            None => {
                log_out.await;
                sign_in.await;
            }
        }
        for browser in [&mut ada, &mut again] {
            assert!(!browser.is_signed_in(stage.first()).await, "{name} {step}");
            assert!(!browser.is_signed_in(stage.second()).await, "{name} {step}");
        }
        // A sign-in that begins now is a new one.
        sign_in_later(&stage, &mut again).await;
    }
}

#[tokio::test]
async fn unknown_keys_cause_one_request_a_minute() {
    if !can_run() {
        return;
    }
    let clock = ManualClock::new();
    let (stage, _) = Stage::on_clock(clock.clock()).await;
    for round in 0..2 {
        for number in 0..10 {
            let header =
                json!({ "alg": "RS256", "typ": "logout+jwt", "kid": format!("k{number}") });
            let token = stage.sign(&header, &stage.claims_with("sub", "ada"), "other").await;
            // The first one is not among the keys; for the others, they are not fetched now.
            let expected =
                if number == 0 { StatusCode::BAD_REQUEST } else { StatusCode::SERVICE_UNAVAILABLE };
            assert_eq!(report(stage.second(), &token).await, expected, "{round} {number}");
        }
        clock.advance(Duration::from_secs(60));
    }
}

#[tokio::test]
async fn new_key_of_the_provider_is_fetched() {
    if !can_run() {
        return;
    }
    let stage = Stage::in_memory().await;
    let mut ada = Browser::of("ada");
    ada.sign_in(stage.first()).await;
    let header = json!({ "alg": "RS256", "typ": "logout+jwt", "kid": "next" });
    stage.ask("/test/publish", &[("key", "next")]).await;
    let token = stage.sign(&header, &stage.claims_with("sub", "ada"), "next").await;
    assert_eq!(report(stage.second(), &token).await, StatusCode::OK);
    assert!(!ada.is_signed_in(stage.first()).await);
}

#[tokio::test]
async fn key_that_replaces_another_of_its_name_is_fetched() {
    if !can_run() {
        return;
    }
    let clock = ManualClock::new();
    let (stage, _) = Stage::on_clock(clock.clock()).await;
    let header = json!({ "alg": "RS256", "typ": "logout+jwt", "kid": "replaced" });
    for key in ["next", "other"] {
        stage.ask("/test/publish", &[("key", key), ("kid", "replaced")]).await;
        let token = stage.sign(&header, &stage.claims_with("sub", "ada"), key).await;
        assert_eq!(report(stage.second(), &token).await, StatusCode::OK, "{key}");
        clock.advance(Duration::from_secs(60));
    }
    // A key that the provider has withdrawn is used for an hour at most.
    stage.ask("/test/publish", &[("key", "next"), ("kid", "replaced")]).await;
    for (wait, expected) in [(0, StatusCode::OK), (60 * 60, StatusCode::BAD_REQUEST)] {
        clock.advance(Duration::from_secs(wait));
        let token = stage.sign(&header, &stage.claims_with("sub", "ada"), "other").await;
        assert_eq!(report(stage.second(), &token).await, expected, "after {wait} seconds");
    }
}
