//! Form tokens over actix-web.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::cell::Cell;

use actix_http::Request;
use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::Method;
use actix_web::test::init_service;
use actix_web::web::FormConfig;
use actix_web::{App, web};
use kvolt_actix::{Csrf, CsrfForm, Result, Session};
use serde::{Deserialize, Deserializer};
use support::{Answer, Client, User, World};

/// The fields of a form, each reading of which is counted.
struct Fields {
    amount: u32,
}

thread_local! {
    /// Each test has a thread, on which its application runs too.
    static READ: Cell<usize> = const { Cell::new(0) };
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Read {
            amount: u32,
        }
        READ.set(READ.get() + 1);
        let Read { amount } = Read::deserialize(deserializer)?;
        Ok(Self { amount })
    }
}

async fn pay(CsrfForm(session, fields): CsrfForm<User, Fields>) -> String {
    format!("{} pays {}", session.name, fields.amount)
}

async fn script(Csrf(session): Csrf<User>) -> String {
    session.name.clone()
}

async fn token(session: Session<User>) -> Result<String> {
    Ok(session.csrf_token()?.to_string())
}

fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/pay", web::route().to(pay))
        .service(web::resource("/pay-little").app_data(FormConfig::default().limit(200)).to(pay))
        .route("/script", web::route().to(script))
        .route("/token", web::get().to(token));
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

async fn send<A, B>(
    client: &mut Client,
    app: &A,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer
where
    A: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody,
{
    let request = client.request(Method::POST, path).set_payload(body.to_owned());
    let add = |request: actix_web::test::TestRequest, header: &(&str, &str)| {
        request.insert_header(*header)
    };
    let request = headers.iter().fold(request, add);
    client.send(app, request).await
}

#[actix_web::test]
async fn form_is_accepted_with_its_token() {
    for at_once in [true, false] {
        let world = World::new();
        world.faults.answers_at_once(at_once);
        let app = init_service(App::new().configure(routes).wrap(world.required())).await;
        let mut client = world.signed_in("ada").await;
        let token = client.get(&app, "/token").await.text;
        for kind in [
            "application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded; charset=UTF-8",
        ] {
            for body in [
                format!("amount=7&csrf_token={token}"),
                format!("csrf_token={token}&amount=7"),
                format!("amount=7&csrf%5Ftoken={}", token.replace('-', "%2D")),
                format!("amount=7&CSRF_TOKEN=x&csrf_token2=x&csrf_token={token}"),
            ] {
                let headers = [("content-type", kind)];
                let answer = send(&mut client, &app, "/pay", &headers, &body).await;
                assert_eq!((answer.status, &*answer.text), (200, "ada pays 7"), "{body}");
            }
        }
        let headers = [FORM, ("x-csrf-token", &*token)];
        let answer = send(&mut client, &app, "/pay", &headers, "amount=7").await;
        assert_eq!(answer.text, "ada pays 7");
        let headers = [("x-csrf-token", &*token)];
        assert_eq!(send(&mut client, &app, "/script", &headers, "").await.text, "ada");
    }
}

#[actix_web::test]
async fn form_without_its_token_is_not_parsed() {
    let world = World::new();
    let app = init_service(App::new().configure(routes).wrap(world.required())).await;
    let mut client = world.signed_in("ada").await;
    let token = client.get(&app, "/token").await.text;
    let other = world.signed_in("ada").await.get(&app, "/token").await.text;
    let read = READ.get();
    for body in [
        String::new(),
        String::from("amount=7"),
        String::from("amount=7&csrf_token="),
        format!("amount=7&csrf_token={other}"),
        format!("amount=7&csrf_token={token}&csrf_token={token}"),
        format!("amount=7&csrf_token={token}&csrf_token={other}"),
        format!("amount=7&csrf_token=%20{token}"),
        format!("amount=7&csrf_token={token}%00"),
        "\u{fffd}=&;%%%".repeat(100),
    ] {
        let answer = send(&mut client, &app, "/pay", &[FORM], &body).await;
        assert_eq!(answer.status, 403, "{body}");
        assert!(answer.text.contains("form token"), "{}", answer.text);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let good = format!("amount=7&csrf_token={token}");
    for kind in ["text/plain", "multipart/form-data; boundary=x", "application/json", ""] {
        let headers = [("content-type", kind)];
        assert_eq!(send(&mut client, &app, "/pay", &headers, &good).await.status, 403, "{kind}");
    }
    let in_address = format!("/pay?csrf_token={token}");
    assert_eq!(send(&mut client, &app, &in_address, &[FORM], "amount=7").await.status, 403);
    // Where a header is sent, that is it.
    for header in [&*other, ""] {
        let headers = [FORM, ("x-csrf-token", header)];
        assert_eq!(send(&mut client, &app, "/pay", &headers, &good).await.status, 403);
        assert_eq!(send(&mut client, &app, "/script", &headers, &good).await.status, 403);
    }
    assert_eq!(READ.get(), read, "nothing was parsed");
    assert_eq!(send(&mut client, &app, "/pay", &[FORM], &good).await.text, "ada pays 7");
    assert_eq!(READ.get(), read + 1, "so that it is counted");
}

#[actix_web::test]
async fn form_without_a_session_is_refused() {
    let world = World::new();
    let app = App::new().configure(routes).wrap(world.optional());
    let app = init_service(app).await;
    let token = world.signed_in("ada").await.get(&app, "/token").await.text;
    let body = format!("amount=7&csrf_token={token}");
    let answer = send(&mut Client::default(), &app, "/pay", &[FORM], &body).await;
    assert_eq!((answer.status, &*answer.text), (401, "sign in first\n"));
}

#[actix_web::test]
async fn malformed_form_is_answered_by_actix() {
    let world = World::new();
    let app = init_service(App::new().configure(routes).wrap(world.required())).await;
    let mut client = world.signed_in("ada").await;
    let token = client.get(&app, "/token").await.text;
    let long = format!("csrf_token={token}&amount=7&more={}", "x".repeat(200));
    assert_eq!(send(&mut client, &app, "/pay-little", &[FORM], &long).await.status, 413);
    let huge = format!("csrf_token={token}&amount=7&more={}", "x".repeat(20_000));
    assert_eq!(send(&mut client, &app, "/pay", &[FORM], &huge).await.status, 413);
    let short = format!("csrf_token={token}&amount=7");
    assert_eq!(send(&mut client, &app, "/pay-little", &[FORM], &short).await.text, "ada pays 7");
    let nonsense = format!("csrf_token={token}&amount=seven");
    assert_eq!(send(&mut client, &app, "/pay", &[FORM], &nonsense).await.status, 400);
    let headers = [("x-csrf-token", &*token), ("content-type", "application/json")];
    assert_eq!(send(&mut client, &app, "/pay", &headers, "{}").await.status, 415);
}
