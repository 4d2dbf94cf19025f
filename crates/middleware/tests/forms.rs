//! Form tokens over HTTP.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![cfg(feature = "axum")]

mod support;

use std::cell::Cell;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, get, post};
use http::{Method, StatusCode};
use kvolt_middleware::{Csrf, CsrfForm, Result, Session};
use kvolt_session::RefusalReason;
use serde::de::{self, Deserialize, Deserializer};
use support::{Answer, Client, User, World, refusals, router};

/// The fields of a form, each reading of which is counted.
#[derive(Debug)]
struct Fields {
    amount: u32,
}

thread_local! {
    /// Each test has a thread, on which its application runs too.
    static READ: Cell<usize> = const { Cell::new(0) };
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Read {
            amount: String,
        }
        READ.set(READ.get() + 1);
        let Read { amount } = Read::deserialize(deserializer)?;
        Ok(Self { amount: amount.parse().map_err(de::Error::custom)? })
    }
}

async fn pay(CsrfForm(session, fields): CsrfForm<User, Fields>) -> String {
    format!("{} pays {}", session.name, fields.amount)
}

async fn script(Csrf(session): Csrf<User>) -> String {
    session.name.clone()
}

async fn page(session: Session<User>) -> Result<String> {
    Ok(session.csrf_field()?.to_string())
}

async fn token(session: Session<User>) -> Result<String> {
    Ok(session.csrf_token()?.to_string())
}

fn app(world: &World) -> Router {
    Router::new()
        .route("/pay", any(pay))
        .route("/pay-little", post(pay).layer(DefaultBodyLimit::max(200)))
        .route("/script", any(script))
        .route("/page", get(page))
        .route("/token", get(token))
        .route_layer(world.sessions().layer())
        .merge(router(world.sessions()))
}

async fn signed_in(world: &World) -> Client {
    let mut client = Client::new(app(world));
    client.post("/login").await;
    client
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

async fn send(client: &mut Client, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    client.send_body(Method::POST, path, headers, body.to_owned()).await
}

#[tokio::test]
async fn form_is_accepted_with_its_token() {
    for at_once in [true, false] {
        let world = World::new();
        world.faults.answers_at_once(at_once);
        let mut client = signed_in(&world).await;
        let page = client.get("/page").await.text;
        let token =
            page.strip_prefix("<input type=\"hidden\" name=\"csrf_token\" value=\"").unwrap();
        let token = token.strip_suffix("\">").unwrap();
        for kind in [
            "application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded; charset=UTF-8",
        ] {
            let headers = [("content-type", kind)];
            for body in [
                format!("amount=7&csrf_token={token}"),
                format!("csrf_token={token}&amount=7"),
                format!("amount=7&csrf%5Ftoken={}", token.replace('-', "%2D")),
                format!("amount=7&CSRF_TOKEN=x&csrf_token2=x&csrf_token={token}"),
            ] {
                let answer = send(&mut client, "/pay", &headers, &body).await;
                assert_eq!(
                    (answer.status, &*answer.text),
                    (StatusCode::OK, "ada pays 7"),
                    "{body}"
                );
            }
        }
        let headers = [FORM, ("x-csrf-token", token)];
        assert_eq!(send(&mut client, "/pay", &headers, "amount=7").await.text, "ada pays 7");
        let headers = [("x-csrf-token", token)];
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::GET] {
            assert_eq!(client.send(method, "/script", &headers).await.text, "ada");
        }
    }
}

/// NIST SP 800-63B-4, section 5.1: content that changes state carries a session-bound identifier.
#[tokio::test]
async fn form_without_its_token_is_not_parsed() {
    let world = World::new();
    let mut client = signed_in(&world).await;
    let token = client.get("/token").await.text;
    let other = {
        let mut other = signed_in(&world).await;
        other.get("/token").await.text
    };
    assert_eq!(world.events.take().len(), 2);
    let wrong = format!("{}x", &token[..63]);
    let wrong = if wrong == token { format!("{}y", &token[..63]) } else { wrong };
    let read = READ.get();
    let mut refused = 0;
    let bodies = [
        String::new(),
        String::from("amount=7"),
        String::from("amount=7&csrf_token="),
        String::from("amount=7&csrf_token"),
        format!("amount=7&csrf_token={wrong}"),
        format!("amount=7&csrf_token={other}"),
        format!("amount=7&csrf_token={token}&csrf_token={token}"),
        format!("amount=7&csrf_token={token}&csrf_token="),
        format!("amount=7&csrf_token={token}&csrf_token={wrong}"),
        format!("amount=7&csrf_token=%20{token}"),
        format!("amount=7&csrf_token={token}%00"),
        format!("amount=7&csrf-token={token}"),
        format!("amount=7&x-csrf-token={token}"),
        "\u{fffd}=&;%%%".repeat(100),
    ];
    for body in &bodies {
        let answer = send(&mut client, "/pay", &[FORM], body).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{body}");
        assert!(answer.text.contains("form token") && answer.is_text(), "{}", answer.text);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        refused += 1;
    }
    let good = format!("amount=7&csrf_token={token}");
    // In a body of another sort, in an address, and in a cookie it is no field of the form.
    for kind in ["text/plain", "multipart/form-data; boundary=x", "application/json", ""] {
        let answer = send(&mut client, "/pay", &[("content-type", kind)], &good).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{kind}");
        refused += 1;
    }
    let in_address = format!("/pay?csrf_token={token}");
    assert_eq!(send(&mut client, &in_address, &[FORM], "amount=7").await.status, 403);
    let mut with_cookie = client.same();
    with_cookie.cookie = client
        .cookie
        .as_ref()
        .map(|cookie| format!("{cookie}; csrf_token={token}; x-csrf-token={token}"));
    assert_eq!(send(&mut with_cookie, "/pay", &[FORM], "amount=7").await.status, 403);
    assert_eq!(send(&mut with_cookie, "/script", &[], "").await.status, 403);
    // Where a header is sent, that is it.
    for header in [&*wrong, &*other, ""] {
        let headers = [FORM, ("x-csrf-token", header)];
        assert_eq!(send(&mut client, "/pay", &headers, &good).await.status, 403);
        assert_eq!(send(&mut client, "/script", &headers, &good).await.status, 403);
        refused += 2;
    }
    assert_eq!(send(&mut client, "/script", &[FORM], &good).await.status, 403);
    assert_eq!(READ.get(), read, "nothing was parsed");
    assert_eq!(refusals(&world.events), vec![RefusalReason::Csrf; refused + 4]);
    assert!(world.events.take().is_empty());
    assert_eq!(send(&mut client, "/pay", &[FORM], &good).await.text, "ada pays 7");
    assert_eq!(READ.get(), read + 1, "so that it is counted");
}

#[tokio::test]
async fn malformed_form_is_answered_by_axum() {
    let world = World::new();
    let mut client = signed_in(&world).await;
    let token = client.get("/token").await.text;
    let long = format!("csrf_token={token}&amount=7&more={}", "x".repeat(200));
    let answer = send(&mut client, "/pay-little", &[FORM], &long).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let huge = format!("csrf_token={token}&amount=7&more={}", "x".repeat(3 << 20));
    let answer = send(&mut client, "/pay", &[FORM], &huge).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "unless set otherwise too");
    let short = format!("csrf_token={token}&amount=7");
    assert_eq!(send(&mut client, "/pay-little", &[FORM], &short).await.text, "ada pays 7");
    let nonsense = format!("csrf_token={token}&amount=seven");
    let answer = send(&mut client, "/pay", &[FORM], &nonsense).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let headers = [("x-csrf-token", &*token), ("content-type", "application/json")];
    let answer = send(&mut client, "/pay", &headers, "{}").await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

/// The form is that of the body, whatever the address says.
#[tokio::test]
async fn form_is_never_read_from_a_query() {
    let world = World::new();
    let mut client = signed_in(&world).await;
    let token = client.get("/token").await.text;
    let address = format!("/pay?amount=9&csrf_token={token}");
    assert_eq!(client.get(&address).await.status, StatusCode::FORBIDDEN);
    let body = format!("csrf_token={token}&amount=7");
    let answer = send(&mut client, &address, &[FORM], &body).await;
    assert_eq!(answer.text, "ada pays 7");
    let answer = client.send_body(Method::GET, &address, &[FORM], body).await;
    assert!(!answer.text.contains("pays 9"), "{}", answer.text);
}
