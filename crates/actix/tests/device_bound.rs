//! Sessions that are bound to the device of their browser, behind the types of actix-web.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use actix_web::http::Method;
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, web};
use kvolt_actix::{Result, Session, SessionHandle, SessionMiddleware};
use kvolt_cache::{ManualClock, MemoryStore};
use kvolt_middleware::{DeviceBound, Sessions};
use kvolt_session::Manager;
use kvolt_testkit::device::{DeviceKey, challenge_in};
use support::{Client, User, user};

async fn profile(session: Session<User>) -> String {
    session.name.clone()
}

async fn login(client: SessionHandle<User>) -> Result<&'static str> {
    client.login(user("ada")).await?;
    Ok("in")
}

fn with(request: TestRequest, headers: &[(&str, &str)]) -> TestRequest {
    headers.iter().fold(request, |request, header| request.insert_header(*header))
}

#[actix_web::test]
async fn endpoints_and_the_gate_work() {
    let clock = ManualClock::new();
    let manager = Manager::<User>::new(MemoryStore::builder().clock(clock.clock()).build());
    let sessions = Sessions::builder(manager).device_bound(DeviceBound::new()).build().unwrap();
    let routes = App::new()
        .service(
            web::resource("/profile").wrap(SessionMiddleware::new(sessions.layer())).to(profile),
        )
        .route("/login", web::post().to(login))
        .wrap(SessionMiddleware::new(sessions.layer().optional()));
    let app = init_service(routes).await;
    let mut client = Client::default();
    let answer = client.post(&app, "/login").await;
    let offer = answer.header("secure-session-registration").unwrap();
    let device = DeviceKey::new(1);
    let proof = device.registration(challenge_in(offer).unwrap());
    // The client keeps one cookie.
    let (main, keep) = (client.cookie.clone(), |client: &mut Client, cookie: &str| {
        cookie.clone_into(&mut client.cookie);
    });

    let register = with(
        client.request(Method::POST, "/dbsc/register"),
        &[("secure-session-response", &proof)],
    );
    let answer = client.send(&app, register).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert!(answer.text.contains("\"refresh_url\":\"/dbsc/refresh\""), "{}", answer.text);
    let bound = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    assert!(bound.starts_with("__Host-session_bound="), "{bound}");
    let header = answer.header("secure-session-challenge").unwrap();
    let (_, id) = header.trim_end_matches('"').split_once(";id=\"").unwrap();
    let proof = device.proof(challenge_in(header).unwrap());
    clock.advance(std::time::Duration::from_secs(10));

    keep(&mut client, &format!("{main}; {bound}"));
    assert_eq!(client.get(&app, "/profile").await.text, "ada");
    keep(&mut client, &main);
    let refused = client.get(&app, "/profile").await;
    assert_eq!(refused.status, 401);
    assert!(refused.text.starts_with("this device did not prove its key"), "{}", refused.text);
    let link = [("sec-fetch-mode", "navigate"), ("sec-fetch-site", "cross-site")];
    let link = with(client.request(Method::GET, "/profile"), &link);
    let page = client.send(&app, link).await;
    assert_eq!(page.status, 401);
    assert!(page.text.contains("location.reload()"), "{}", page.text);

    for (proof, status) in [("x", 403), (&*proof, 200), (&*proof, 403)] {
        keep(&mut client, &main);
        let headers = [("sec-secure-session-id", id), ("secure-session-response", proof)];
        let refresh = with(client.request(Method::POST, "/dbsc/refresh"), &headers);
        assert_eq!(client.send(&app, refresh).await.status, status);
    }
    keep(&mut client, "");
    assert_eq!(client.post(&app, "/dbsc/refresh").await.status, 404);
    assert_eq!(client.post(&app, "/dbsc/register").await.status, 400);
}
