//! Clients that are signed in for the tests of an application.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use http::request::Builder;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use kvolt_cache::{Clock, Encoded, MemoryStore};
use kvolt_middleware::testing::{
    Call, Failure, FaultyStore, ManualClock, RecordedEvents, TestClient,
};
use kvolt_middleware::{
    CSRF_HEADER, CookiePolicy, CsrfForm, Result, SameSite, Session, SessionHandle, Sessions,
};
use kvolt_session::{
    AnonymousSessions, Device, EndReason, EventKind, Level, Manager, NewSession, Record,
    RecordJson, RefusalReason, StepUp, Timeouts, TokenReuse,
};
use tower::ServiceExt;

const MINUTE: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(10);
const CREATED: EventKind = EventKind::Created { anonymous: false };

async fn profile(user: Session<String>) -> String {
    user.data().clone()
}

async fn login(client: SessionHandle<String>) -> Result<()> {
    client.login(NewSession::new(String::from("ada")).owner("ada")).await
}

async fn logout(client: SessionHandle<String>) -> Result<()> {
    client.logout().await
}

type Fields = Vec<(String, String)>;

async fn rename(CsrfForm(mut user, fields): CsrfForm<String, Fields>) -> Result<()> {
    let name = fields.into_iter().find(|(name, _)| name == "name").unwrap().1;
    user.update(|user| user.clone_from(&name)).await.map(drop)
}

/// An application that knows nothing of these tests.
fn app(sessions: &Sessions<String>) -> Router {
    Router::new()
        .route("/profile", get(profile))
        .route("/rename", post(rename))
        .route_layer(sessions.layer())
        .merge(
            Router::new()
                .route("/recent", get(profile))
                .route_layer(sessions.layer().require(StepUp::within(10 * MINUTE))),
        )
        .merge(
            Router::new()
                .route("/strong", get(profile))
                .route_layer(sessions.layer().require(StepUp::at_level(Level::Two))),
        )
        .merge(
            Router::new().route("/basket", get(profile)).route_layer(sessions.layer().anonymous()),
        )
        .merge(
            Router::new()
                .route("/login", post(login))
                .route("/logout", post(logout))
                .route_layer(sessions.layer().optional()),
        )
}

async fn send(app: &Router, request: Builder) -> StatusCode {
    send_body(app, request, "").await.status()
}

async fn send_body(app: &Router, request: Builder, body: &str) -> http::Response<Body> {
    let request = request.body(Body::from(body.to_owned())).unwrap();
    app.clone().oneshot(request).await.unwrap()
}

fn sessions() -> Sessions<String> {
    Sessions::new(Manager::<String>::new(MemoryStore::new()))
}

fn ada() -> NewSession<String> {
    NewSession::new(String::from("ada")).owner("ada")
}

#[tokio::test]
async fn signed_in_request_passes_the_application_s_layer() {
    let sessions = sessions();
    let ada = TestClient::signed_in(&sessions, ada()).await.unwrap();
    let response = send_body(&app(&sessions), ada.get("/profile"), "").await;
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ada");
    // The same request without a token, and with one of other sessions.
    assert_eq!(send(&app(&sessions), TestClient::new(&sessions).get("/profile")).await, 401);
    assert_eq!(send(&app(&self::sessions()), ada.get("/profile")).await, 401);
}

#[tokio::test]
async fn session_is_the_one_that_the_test_has_described() {
    let sessions = sessions();
    let device = Device::new().with_user_agent("curl/8.5").with_address([192, 0, 2, 7].into());
    let new = ada().level(Level::Two).device(device.clone()).remember(true);
    let ada = TestClient::signed_in(&sessions, new).await.unwrap();
    assert_eq!(send(&app(&sessions), ada.get("/strong")).await, 200);
    let session = ada.session().await.unwrap().unwrap();
    assert_eq!(*session, "ada");
    assert_eq!(session.owner().unwrap().as_str(), "ada");
    assert_eq!((session.level(), session.device()), (Some(Level::Two), &device));
    assert!(session.is_remembered());
    // It is in the store as any other.
    let listed = sessions.manager().list(session.owner().unwrap()).await.unwrap();
    assert_eq!(listed.sessions[0].id(), ada.token().unwrap().id());
}

#[tokio::test]
async fn token_travels_where_the_lookup_says() {
    for (lookup, name, start) in [
        ("cookie:sid", "cookie", "sid="),
        ("header:X-Session-ID", "x-session-id", ""),
        ("header:Authorization", "authorization", "Bearer "),
        ("query:token,cookie:sid", "cookie", "sid="),
    ] {
        let builder = Sessions::builder(Manager::<String>::new(MemoryStore::new()));
        let sessions = builder.lookup(lookup.parse().unwrap()).build().unwrap();
        let ada = TestClient::signed_in(&sessions, ada()).await.unwrap();
        let token = ada.token().unwrap();
        assert_eq!(ada.header(), Some((name, format!("{start}{}", token.expose()).as_str())));
        assert_eq!(ada.cookie().is_some(), name == "cookie", "{lookup}");
        assert_eq!(send(&app(&sessions), ada.get("/profile")).await, 200, "{lookup}");
        // As plain text, for a framework with requests of its own.
        let (name, value) = ada.header().unwrap();
        let mut request = http::Request::get("/profile").body(Body::empty()).unwrap();
        let name: HeaderName = name.parse().unwrap();
        request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
        assert_eq!(app(&sessions).oneshot(request).await.unwrap().status(), 200, "{lookup}");
    }
    // No response can carry the token of a query.
    let builder = Sessions::builder(Manager::<String>::new(MemoryStore::new()));
    let sessions = builder.lookup("query:token".parse().unwrap()).build().unwrap();
    assert!(TestClient::signed_in(&sessions, ada()).await.is_err());
}

#[tokio::test]
async fn cookie_has_the_fields_that_a_browser_keeps() {
    let month = Timeouts::new(30 * 24 * 60 * MINUTE, 30 * 24 * 60 * MINUTE);
    let manager = Manager::<String>::builder(
        MemoryStore::builder().clock(ManualClock::new().clock()).build(),
    );
    let manager = manager.remembered_timeouts(month).build().unwrap();
    let policy = CookiePolicy::builder()
        .path("/app")
        .domain("shop.example")
        .same_site(SameSite::Strict)
        .build();
    let sessions = Sessions::builder(manager).lookup("cookie:sid".parse().unwrap());
    let sessions = sessions.cookie(policy.unwrap()).build().unwrap();
    let cookie = TestClient::signed_in(&sessions, ada()).await.unwrap().cookie().unwrap().clone();
    assert_eq!((cookie.name.as_str(), cookie.path.as_str()), ("sid", "/app"));
    assert_eq!(cookie.domain.as_deref(), Some("shop.example"));
    assert_eq!(cookie.same_site, SameSite::Strict);
    assert!(cookie.secure && cookie.http_only && cookie.expiry.is_none());
    assert!(!format!("{cookie:?}").contains(&cookie.value), "a token is not in a test's log");

    // A browser counts by its own clock, and not by the one that the test moves.
    let before = Clock::system().now();
    let ada = TestClient::signed_in(&sessions, ada().remember(true)).await.unwrap();
    let [earliest, latest] = [before, Clock::system().now()]
        .map(|now| now.saturating_add(month.lifetime).as_millis() / 1_000);
    let expiry = ada.cookie().unwrap().expiry.unwrap();
    assert!((earliest..=latest).contains(&expiry), "{earliest} {expiry} {latest}");
}

#[tokio::test]
async fn one_clock_moves_manager_and_store() {
    let time = ManualClock::new();
    let sessions =
        Sessions::new(Manager::<String>::new(MemoryStore::builder().clock(time.clock()).build()));
    let (app, ada) = (app(&sessions), TestClient::signed_in(&sessions, ada()).await.unwrap());
    let clock = sessions.manager().clock();
    clock.advance(11 * MINUTE).unwrap();
    assert_eq!(send(&app, ada.get("/recent")).await, 401, "the manager's time has passed");
    clock.advance(20 * MINUTE).unwrap();
    assert_eq!(send(&app, ada.get("/profile")).await, 200, "it was used 20 minutes ago");
    clock.advance(30 * MINUTE).unwrap();
    assert_eq!(send(&app, ada.get("/profile")).await, 401, "the store's time has passed");
    assert_eq!(clock.now(), time.clock().now());
}

#[tokio::test]
async fn time_of_the_system_can_not_be_moved() {
    let sessions = sessions();
    let error = sessions.manager().clock().advance(MINUTE).unwrap_err();
    assert!(error.is_misconfigured() && error.to_string().contains("ManualClock"), "{error}");
}

/// On every store: no clock is moved. The records of the second store are bytes.
#[tokio::test]
async fn sign_in_can_have_been_earlier() {
    let bytes = Encoded::new(MemoryStore::new(), RecordJson::new());
    for manager in [Manager::<String>::new(MemoryStore::new()), Manager::<String>::new(bytes)] {
        let sessions = Sessions::new(manager);
        let app = app(&sessions);
        let mut ada = TestClient::signed_in(&sessions, ada()).await.unwrap();
        assert_eq!(send(&app, ada.get("/recent")).await, 200);
        ada.make_older(20 * MINUTE).await.unwrap();
        assert_eq!(send(&app, ada.get("/recent")).await, 401);
        assert_eq!(send(&app, ada.get("/profile")).await, 200);
        let session = ada.session().await.unwrap().unwrap();
        let now = sessions.manager().clock().now();
        assert!(now.since(session.created()) >= 20 * MINUTE);
        let left = session.ends_at().since(now);
        assert!(left <= sessions.manager().timeouts().lifetime - 20 * MINUTE, "{left:?}");
        let idle = session.expires_at().since(now);
        assert!(idle > 29 * MINUTE, "it is in use: {idle:?}");

        ada.reauthenticate(Level::Two).await.unwrap();
        for path in ["/recent", "/strong"] {
            assert_eq!(send(&app, ada.get(path)).await, 200, "{path}");
        }
        // A re-authentication starts the lifetime again.
        ada.make_older(11 * 60 * MINUTE).await.unwrap();
        assert!(ada.make_older(60 * MINUTE).await.is_err(), "its lifetime is 12 hours");
        assert_eq!(send(&app, ada.get("/profile")).await, 200, "that changed nothing");
        ada.run(async |client| client.logout().await).await.unwrap();
        assert!(ada.make_older(MINUTE).await.unwrap_err().is_ended());
    }
}

#[tokio::test]
async fn old_token_of_a_rotation_is_kept_by_a_clone() {
    let manager = Manager::<String>::builder(MemoryStore::new()).rotation_grace(GRACE);
    let manager = manager.token_reuse(TokenReuse::EndSession).build().unwrap();
    let (events, sessions) = (RecordedEvents::of(&manager), Sessions::new(manager));
    let app = app(&sessions);
    let mut ada = TestClient::signed_in(&sessions, ada()).await.unwrap();
    let thief = ada.clone();
    ada.rotate().await.unwrap();
    assert_ne!(ada.header(), thief.header());
    assert_eq!(events.kinds(), [CREATED, EventKind::Rotated]);
    assert_eq!(send(&app, thief.get("/profile")).await, 200, "in its grace");

    // The grace passes, without a clock that moves.
    ada.make_older(2 * GRACE).await.unwrap();
    assert_eq!(send(&app, thief.get("/profile")).await, 401);
    let (reused, reason) = (EventKind::Reused, EndReason::Reuse);
    let refused = EventKind::Refused { reason: RefusalReason::Reuse };
    assert_eq!(events.kinds(), [reused, EventKind::Ended { reason }, refused]);
    assert_eq!(send(&app, ada.get("/profile")).await, 401, "the session has ended");
    assert!(ada.rotate().await.unwrap_err().is_ended());
}

#[tokio::test]
async fn visitor_has_an_anonymous_session() {
    let anonymous = AnonymousSessions::new(10);
    let manager =
        Manager::<String>::builder(MemoryStore::new()).anonymous(anonymous).build().unwrap();
    let sessions = Sessions::new(manager);
    let visitor = TestClient::visitor(&sessions, String::from("basket")).await.unwrap();
    assert_eq!(send(&app(&sessions), visitor.get("/basket")).await, 200);
    assert_eq!(send(&app(&sessions), visitor.get("/profile")).await, 401);
    assert!(TestClient::visitor(&self::sessions(), String::new()).await.is_err(), "by default");
}

#[tokio::test]
async fn form_token_is_the_session_s() {
    let sessions = sessions();
    let app = app(&sessions);
    let ada = TestClient::signed_in(&sessions, ada()).await.unwrap();
    let eve = TestClient::signed_in(&sessions, String::from("eve")).await.unwrap();
    let rename = || ada.post("/rename").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(send_body(&app, rename(), "name=x").await.status(), 403);
    let token = eve.csrf_token().await.unwrap();
    let body = format!("name=x&csrf_token={token}");
    assert_eq!(send_body(&app, rename(), &body).await.status(), 403);

    let body = format!("name=Ada&csrf_token={}", ada.csrf_token().await.unwrap());
    assert_eq!(send_body(&app, rename(), &body).await.status(), 200);
    let request = rename().header(CSRF_HEADER, ada.csrf_token().await.unwrap().as_str());
    assert_eq!(send_body(&app, request, "name=Lovelace").await.status(), 200);
    assert_eq!(*ada.session().await.unwrap().unwrap(), "Lovelace");
}

/// The application signs the client in, and the layer gives it new tokens.
#[tokio::test]
async fn client_keeps_what_responses_give_and_take() {
    for lookup in ["cookie:sid", "header:X-Session-ID", "header:Authorization"] {
        let time = ManualClock::new();
        let manager =
            Manager::<String>::builder(MemoryStore::builder().clock(time.clock()).build());
        let manager = manager.rotate_every(MINUTE).build().unwrap();
        let sessions = Sessions::builder(manager).lookup(lookup.parse().unwrap()).build().unwrap();
        let (app, mut client) = (app(&sessions), TestClient::new(&sessions));
        assert_eq!((client.header(), client.token().is_none()), (None, true));
        let mut step = async |path: &str, method: Method| {
            let response = send_body(&app, client.request(method, path), "").await;
            client.keep(response.headers());
            (response.status(), client.token())
        };
        let (status, first) = step("/login", Method::POST).await;
        assert_eq!(status, 200);
        let (_, same) = step("/profile", Method::GET).await;
        assert_eq!(same.unwrap().expose(), first.as_ref().unwrap().expose());
        time.advance(MINUTE);
        let (status, second) = step("/profile", Method::GET).await;
        assert!(status == 200 && second.unwrap().expose() != first.unwrap().expose());
        let (status, third) = step("/logout", Method::POST).await;
        // A program that has its token in a header forgets it itself.
        assert_eq!((status.as_u16(), third.is_none()), (200, lookup.starts_with("cookie")));
        assert_eq!(step("/profile", Method::GET).await.0, 401);
        assert!(client.session().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn events_are_recorded_when_a_call_returns() {
    let sessions = sessions();
    let events = RecordedEvents::of(sessions.manager());
    let ada = TestClient::signed_in(&sessions, ada()).await.unwrap();
    assert_eq!(send(&app(&sessions), ada.get("/strong")).await, 401);
    assert_eq!(send(&app(&sessions), ada.post("/logout")).await, 200);
    let refused = EventKind::Refused { reason: RefusalReason::StepUp };
    let reason = EndReason::Logout;
    let recorded = events.take();
    let kinds: Vec<_> = recorded.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [CREATED, refused, EventKind::Ended { reason }]);
    assert!(recorded.iter().all(|event| event.id == Some(ada.token().unwrap().id())));
    assert!(events.kinds().is_empty());
}

#[tokio::test]
async fn expired_session_is_an_event() {
    let time = ManualClock::new();
    let store: MemoryStore<Record<String>> = MemoryStore::builder().clock(time.clock()).build();
    let sessions = Sessions::new(Manager::<String>::new(store.clone()));
    let events = RecordedEvents::of(sessions.manager());
    TestClient::signed_in(&sessions, ada()).await.unwrap();
    time.advance(60 * MINUTE);
    store.clean();
    assert_eq!(events.kinds(), [CREATED, EventKind::Expired]);
}

/// The clock of the runtime stands still but for what waits for it.
#[tokio::test(start_paused = true)]
async fn store_fails_on_demand() {
    let (store, faults) = FaultyStore::new(MemoryStore::new());
    let sessions = Sessions::new(Manager::<String>::new(store));
    let app = app(&sessions);
    let ada = TestClient::signed_in(&sessions, ada()).await.unwrap();
    let get = async || send(&app, ada.get("/profile")).await.as_u16();
    assert_eq!(get().await, 200);
    for failure in [Failure::Unavailable, Failure::Misconfigured] {
        faults.fail_with(failure);
        faults.fail_all(true);
        assert_eq!(get().await, 503, "{failure:?}");
        faults.reset();
        assert_eq!(get().await, 200, "{failure:?}");
    }

    // Reads work on a store that is full, and sign-ins don't.
    faults.fail_with(Failure::Full);
    faults.fail_all(true);
    assert_eq!(get().await, 200);
    let request = TestClient::new(&sessions).post("/login");
    assert_eq!(send(&app, request).await, 503);
    assert!(TestClient::signed_in(&sessions, self::ada()).await.unwrap_err().is_unavailable());
    faults.reset();

    // The third read.
    faults.fail_nth(3);
    assert_eq!([get().await, get().await, get().await, get().await], [200, 200, 503, 200]);

    // One operation.
    faults.only(&[Call::Remove]);
    faults.fail_all(true);
    assert_eq!(send(&app, ada.post("/logout")).await, 503);
    assert_eq!(get().await, 200, "no user is signed out");
    faults.reset();

    // A store that hangs, and one that is slow.
    faults.hold_calls();
    assert_eq!(get().await, 503, "after the store's timeout");
    let slow = async {
        faults.until_waiting(1).await;
        faults.release();
    };
    assert_eq!(tokio::join!(get(), slow).0, 200);

    // A client whose store fails has the error.
    faults.fail_all(true);
    let mut client = ada.clone();
    assert!(client.rotate().await.unwrap_err().is_unavailable());
    assert!(client.session().await.unwrap_err().is_unavailable());
}
