//! Sessions that are bound to the device of their browser, over HTTP.
#![cfg(feature = "device-bound")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{any, post};
use http::{Method, Request, StatusCode};
use kvolt_cache::{MemoryStore, NearCache};
use kvolt_middleware::{
    CookiePolicy, DeviceBound, Missing, Refusal, Result, SameSite, Session, SessionHandle, Sessions,
};
use kvolt_session::{Level, Manager, Record, RefusalReason, StepUp};
use kvolt_testkit::device::{DeviceKey, challenge_in};
use kvolt_testkit::{Call, FaultyStore, ManualClock, PushingStore};
use support::{Answer, User, World, refusals, user};
use tower::ServiceExt;

const LIFETIME: Duration = Duration::from_secs(600);
const MAIN: &str = "__Host-session_id";
const BOUND: &str = "__Host-session_bound";
const TICK: Duration = Duration::from_millis(1);

const PAGE: &[(&str, &str)] =
    &[("sec-fetch-mode", "navigate"), ("sec-fetch-site", "same-origin"), ("accept", "text/html")];
const SCRIPT: &[(&str, &str)] = &[("sec-fetch-mode", "cors"), ("sec-fetch-site", "same-origin")];
const LINK: &[(&str, &str)] =
    &[("sec-fetch-mode", "navigate"), ("sec-fetch-site", "cross-site"), ("accept", "text/html")];

/// Unlike the manager's, this one outlives many bound cookies.
fn world() -> World {
    World::with(|builder| builder.idle_timeout(10 * 60 * Duration::from_secs(60)))
}

fn sessions(world: &World, device_bound: DeviceBound<User>) -> Sessions<User> {
    let builder = Sessions::builder(world.manager.clone()).device_bound(device_bound);
    builder.refusal(Refusal::redirect_browsers("/login").unwrap()).build().unwrap()
}

fn app(sessions: &Sessions<User>) -> Router {
    let fresh = StepUp::device_proved_within(Duration::from_secs(60));
    let required = Router::new()
        .route("/profile", any(profile))
        .route("/rotate", post(rotate))
        .route("/prove", post(prove))
        .route("/logout-here", post(logout_here))
        .route("/impersonate", post(impersonate))
        .route("/return", post(end_impersonation))
        .route("/pay-in-handler", any(pay))
        .route_layer(sessions.layer());
    let optional = Router::new()
        .route("/", any(home))
        .route("/login", any(login))
        .route("/logout", post(logout))
        .route("/unproven", any(is_unproven))
        .route_layer(sessions.layer().optional());
    let nested = Router::new()
        .route("/nested", any(profile))
        .route_layer(sessions.layer())
        .route_layer(sessions.layer().optional());
    let paid = Router::new()
        .route("/pay", any(profile))
        .route_layer(sessions.layer().require(fresh))
        .merge(
            Router::new()
                .route("/pay-perhaps", any(home))
                .route_layer(sessions.layer().optional().require(fresh)),
        );
    let layer = sessions.layer().optional();
    required.merge(optional).merge(nested).merge(paid).fallback(async || "handler").layer(layer)
}

async fn profile(session: Session<User>) -> String {
    session.name.clone()
}

async fn home(session: Option<Session<User>>) -> String {
    session.map_or_else(|| String::from("nobody"), |session| session.name.clone())
}

async fn is_unproven(client: SessionHandle<User>) -> String {
    format!("{} {}", client.is_unproven(), client.session().is_some())
}

async fn login(client: SessionHandle<User>) -> Result<&'static str> {
    client.login(user("ada")).await?;
    Ok("in")
}

async fn logout(client: SessionHandle<User>) -> Result<&'static str> {
    client.logout().await?;
    Ok("out")
}

async fn logout_here(session: Session<User>) -> Result<&'static str> {
    session.logout().await?;
    Ok("out")
}

async fn rotate(session: Session<User>) -> Result<&'static str> {
    session.rotate().await?;
    Ok("rotated")
}

async fn prove(session: Session<User>) -> Result<&'static str> {
    session.reauthenticate(Level::Two).await?;
    Ok("proved")
}

async fn impersonate(session: Session<User>) -> Result<&'static str> {
    session.impersonate(StepUp::at_level(Level::One), user("bob")).await?;
    Ok("acting")
}

async fn end_impersonation(session: Session<User>) -> Result<&'static str> {
    session.end_impersonation().await?;
    Ok("back")
}

async fn pay(session: Session<User>) -> Result<&'static str> {
    session.require(StepUp::device_proved_within(Duration::from_secs(60)))?;
    Ok("paid")
}

/// A browser that has keys.
#[derive(Clone)]
struct Browser {
    app: Router,
    jar: BTreeMap<String, String>,
    device: DeviceKey,
    id: String,
    challenge: String,
}

impl Browser {
    fn new(app: Router) -> Self {
        let (id, challenge) = Default::default();
        Self { app, jar: BTreeMap::new(), device: DeviceKey::new(1), id, challenge }
    }

    async fn signed_in(app: &Router) -> Self {
        let mut browser = Self::new(app.clone());
        let answer = browser.send(Method::POST, "/login", &[]).await;
        let offer = answer.header("secure-session-registration").unwrap();
        let answer = browser.register(offer).await;
        assert_eq!(answer.status, 200);
        browser
    }

    /// Signed in, with a session that is old enough to need its cookie.
    async fn settled(world: &World, app: &Router) -> Self {
        let browser = Self::signed_in(app).await;
        world.clock.advance(Duration::from_secs(5));
        browser
    }

    async fn send(&mut self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "app.test");
        let pairs: Vec<_> =
            self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !pairs.is_empty() {
            request = request.header("cookie", pairs.join("; "));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        let answer = Answer::read(response).await;
        for set in answer.set_cookies() {
            let (name, rest) = set.split_once('=').unwrap();
            match rest.split(';').next().unwrap() {
                "" => _ = self.jar.remove(name),
                value => _ = self.jar.insert(name.to_owned(), value.to_owned()),
            }
        }
        answer
    }

    async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, path, headers).await
    }

    async fn register(&mut self, offer: &str) -> Answer {
        let proof = self.device.registration(challenge_in(offer).unwrap());
        let proof = [("secure-session-response", &*proof)];
        let answer = self.send(Method::POST, "/dbsc/register", &proof).await;
        if answer.status == 200 {
            self.learn(&answer);
        }
        answer
    }

    /// One request, with a proof of the challenge that it has.
    async fn try_refresh(&mut self) -> Answer {
        let proof = self.device.proof(&self.challenge);
        let id = self.id.clone();
        let headers = [("sec-secure-session-id", &*id), ("secure-session-response", &*proof)];
        let answer = self.send(Method::POST, "/dbsc/refresh", &headers).await;
        if matches!(answer.status.as_u16(), 200 | 403) {
            self.learn(&answer);
        }
        answer
    }

    async fn refresh(&mut self) {
        if self.try_refresh().await.status == 403 {
            assert_eq!(self.try_refresh().await.status, 200);
        }
    }

    fn learn(&mut self, answer: &Answer) {
        let header = answer.header("secure-session-challenge").unwrap();
        challenge_in(header).unwrap().clone_into(&mut self.challenge);
        let (_, id) = header.split_once(";id=\"").unwrap();
        id.trim_end_matches('"').clone_into(&mut self.id);
    }

    /// A copy without the cookie of this name.
    fn without(&self, name: &str) -> Self {
        let mut copy = self.clone();
        copy.jar.remove(name).unwrap();
        copy
    }
}

/// The names of the headers that an endpoint has sent.
fn names(answer: &Answer) -> Vec<&str> {
    let names = answer.head.headers().keys().map(|name| name.as_str());
    // That is the server's.
    let mut names: Vec<_> = names.filter(|name| *name != "content-length").collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn sign_in_offers_a_binding() {
    let world = world();
    let app = app(&sessions(&world, DeviceBound::new()));
    for site in [None, Some("same-origin"), Some("same-site"), Some("none")] {
        let headers: Vec<_> = site.map(|site| ("sec-fetch-site", site)).into_iter().collect();
        let answer = Browser::new(app.clone()).send(Method::GET, "/login", &headers).await;
        let offer = answer.header("secure-session-registration").unwrap();
        let challenge = challenge_in(offer).unwrap();
        let expected = format!("(ES256);path=\"/dbsc/register\";challenge=\"{challenge}\"");
        assert_eq!(offer, expected);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let mut browser = Browser::signed_in(&app).await;
    for path in ["/", "/profile", "/nested"] {
        let answer = browser.get(path, PAGE).await;
        assert_eq!(answer.header("secure-session-registration"), None);
    }
}

#[tokio::test]
async fn offer_follows_the_rule_and_the_source() {
    let world = world();
    let rule = DeviceBound::new().offer_to(|user: &User| user.name == "root");
    let mut browser = Browser::new(app(&sessions(&world, rule)));
    let answer = browser.send(Method::POST, "/login", &[]).await;
    assert_eq!(
        (answer.status, answer.header("secure-session-registration")),
        (StatusCode::OK, None)
    );
    let foreign = browser.get("/login", &[("sec-fetch-site", "cross-site")]).await;
    assert_eq!(foreign.header("secure-session-registration"), None);
    assert_eq!(browser.get("/", PAGE).await.header("secure-session-registration"), None);

    // A program, whose token is in a header.
    let builder = Sessions::builder(world.manager.clone()).device_bound(DeviceBound::new());
    let by_header = builder.lookup(format!("header:x-id,cookie:{MAIN}").parse().unwrap());
    let answer = Browser::new(app(&by_header.build().unwrap())).get("/login", &[]).await;
    assert!(answer.header("x-id").is_some());
    assert_eq!(answer.header("secure-session-registration"), None);
}

/// As after an identity provider's redirect: the registration would come without the cookie.
#[tokio::test]
async fn sign_in_from_another_site_is_offered_later_and_once() {
    for at_once in [true, false] {
        let world = world();
        world.faults.answers_at_once(at_once);
        let app = app(&sessions(&world, DeviceBound::new()));
        let mut browser = Browser::new(app.clone());
        let login = browser.get("/login", LINK).await;
        assert_eq!(
            (login.status, login.header("secure-session-registration")),
            (StatusCode::OK, None)
        );
        for headers in [LINK, &[]] {
            let answer = browser.get("/", headers).await;
            assert_eq!(
                (&*answer.text, answer.header("secure-session-registration")),
                ("ada", None)
            );
        }
        let mut late = browser.clone();
        let answer = browser.get("/profile", PAGE).await;
        assert_eq!(answer.text, "ada");
        let offer = answer.header("secure-session-registration").unwrap().to_owned();
        assert_eq!(late.get("/", PAGE).await.header("secure-session-registration"), None);
        assert_eq!(browser.register(&offer).await.status, 200);

        let mut slow = Browser::new(app);
        slow.get("/login", LINK).await;
        world.clock.advance(Duration::from_secs(300));
        assert_eq!(slow.get("/", PAGE).await.header("secure-session-registration"), None);
    }
}

/// Such as a second factor after an identity provider.
#[tokio::test]
async fn offer_survives_a_new_token_in_the_same_response() {
    for path in ["/prove", "/rotate"] {
        let world = world();
        let mut browser = Browser::new(app(&sessions(&world, DeviceBound::new())));
        browser.get("/login", LINK).await;
        let answer = browser.send(Method::POST, path, SCRIPT).await;
        assert_eq!(answer.status, 200);
        let offer = answer.header("secure-session-registration").expect(path).to_owned();
        assert_eq!(browser.register(&offer).await.status, 200);
    }
    // A logout leaves nothing to bind.
    let world = world();
    let mut browser = Browser::new(app(&sessions(&world, DeviceBound::new())));
    browser.get("/login", LINK).await;
    let answer = browser.send(Method::POST, "/logout", SCRIPT).await;
    assert_eq!(answer.header("secure-session-registration"), None);
}

#[tokio::test]
async fn registration_answers_with_its_instructions() {
    let world = world();
    let device_bound = DeviceBound::new().refresh_initiator("https://www.app.test");
    let app = app(&sessions(&world, device_bound));
    let mut browser = Browser::new(app.clone());
    let login = browser.send(Method::POST, "/login", &[]).await;
    let offer = login.header("secure-session-registration").unwrap().to_owned();
    let answer = browser.register(&offer).await;
    assert_eq!(answer.status, 200);
    let expected = ["cache-control", "content-type", "secure-session-challenge", "set-cookie"];
    assert_eq!(names(&answer), expected);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let (id, challenge) = (&browser.id, &browser.challenge);
    let header = format!("\"{challenge}\";id=\"{id}\"");
    assert_eq!(answer.header("secure-session-challenge"), Some(&*header));
    let attributes = "Path=/; HttpOnly; Secure; SameSite=Lax";
    let cookie = format!(
        "{BOUND}={}; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Lax",
        browser.jar[BOUND]
    );
    assert_eq!(answer.set_cookies(), [cookie]);
    let instructions = format!(
        "{{\"session_identifier\":\"{id}\",\"refresh_url\":\"/dbsc/refresh\",\
         \"scope\":{{\"include_site\":false}},\"credentials\":[{{\"type\":\"cookie\",\
         \"name\":\"{BOUND}\",\"attributes\":\"{attributes}\"}}],\
         \"allowed_refresh_initiators\":[\"www.app.test\"]}}"
    );
    assert_eq!(answer.text, instructions);

    // By another device, without a session, and without a proof.
    let mut thief = Browser { device: DeviceKey::new(2), ..browser.clone() };
    assert_eq!(thief.register(&offer).await.status, 409);
    assert_eq!(Browser::new(app.clone()).register(&offer).await.status, 400);
    let mut other = Browser::new(app);
    other.send(Method::POST, "/login", &[]).await;
    let answer = other.send(Method::POST, "/dbsc/register", &[]).await;
    assert_eq!((answer.status.as_u16(), &*answer.text), (400, ""));
    assert_eq!(other.register(&offer).await.status, 400);
    assert_eq!(names(&answer), ["cache-control"]);
}

#[tokio::test]
async fn refresh_answers_with_the_five_statuses() {
    let world = world();
    let app = app(&sessions(&world, DeviceBound::new()));
    let mut browser = Browser::settled(&world, &app).await;
    let before = browser.jar[BOUND].clone();
    let answer = browser.try_refresh().await;
    assert_eq!((answer.status.as_u16(), &*answer.text), (200, ""));
    assert_eq!(names(&answer), ["cache-control", "secure-session-challenge", "set-cookie"]);
    assert_ne!(browser.jar[BOUND], before);

    let id = browser.id.clone();
    let refresh = async |headers: &[(&str, &str)]| {
        browser.clone().send(Method::POST, "/dbsc/refresh", headers).await
    };
    let current = format!("\"{}\";id=\"{id}\"", browser.challenge);
    let forged = DeviceKey::new(2).proof(&browser.challenge);
    let own_key = DeviceKey::new(2).registration(&browser.challenge);
    for proof in ["", "x", "a.b.c", &*forged, &*own_key, &*"A".repeat(5_000)] {
        let answer =
            refresh(&[("sec-secure-session-id", &id), ("secure-session-response", proof)]).await;
        assert_eq!((answer.status.as_u16(), &*answer.text), (403, ""), "{proof}");
        assert_eq!(answer.header("secure-session-challenge"), Some(&*current));
        assert_eq!(names(&answer), ["cache-control", "secure-session-challenge"]);
    }
    let quoted = format!("\"{id}\"");
    assert_eq!(refresh(&[("sec-secure-session-id", &quoted)]).await.status, 403);
    for id in ["", "x", "AAAAAAAAAAAAAAAAAAAAAA", &*format!("{id}A")] {
        let answer = refresh(&[("sec-secure-session-id", id)]).await;
        assert_eq!((answer.status.as_u16(), names(&answer)), (404, vec!["cache-control"]), "{id}");
    }
    assert_eq!(browser.without(MAIN).try_refresh().await.status, 404);
    assert_eq!(browser.without(BOUND).try_refresh().await.status, 200);
    browser.refresh().await;
    assert_eq!(browser.get("/profile", PAGE).await.text, "ada");
}

#[tokio::test]
async fn endpoints_ask_the_browser_to_wait_while_they_cannot_answer() {
    let world = world();
    let app = app(&sessions(&world, DeviceBound::new()));
    let mut browser = Browser::settled(&world, &app).await;
    let mut unbound = Browser::new(app.clone());
    let login = unbound.send(Method::POST, "/login", &[]).await;
    let offer = login.header("secure-session-registration").unwrap().to_owned();
    for call in [Call::Get, Call::Replace] {
        world.faults.only(&[call]);
        world.faults.fail_all(true);
        for answer in [browser.try_refresh().await, unbound.register(&offer).await] {
            assert_eq!((answer.status.as_u16(), &*answer.text), (503, ""));
            assert_eq!(names(&answer), ["cache-control", "retry-after"]);
        }
        world.faults.reset();
    }
    // Another site of the same domain may have added a cookie.
    let own = browser.jar[MAIN].clone();
    for other in [&*"A".repeat(48), "x", ""] {
        world.events.kinds();
        browser.jar.insert(MAIN.to_owned(), format!("{own}; {MAIN}={other}"));
        assert_eq!(browser.try_refresh().await.status, 503);
        assert_eq!(refusals(&world.events), [RefusalReason::Ambiguous]);
    }
    browser.jar.insert(MAIN.to_owned(), own);
    assert_eq!(browser.try_refresh().await.status, 200);
    assert_eq!(unbound.register(&offer).await.status, 200);
}

#[tokio::test]
async fn every_layer_answers_the_endpoints_and_only_posts() {
    let world = world();
    let sessions = sessions(&world, DeviceBound::new().paths("/a/register", "/a/refresh"));
    let nested = Router::new().fallback(async || "handler").layer(sessions.layer());
    let apps = [
        Router::new().fallback(async || "handler").layer(sessions.layer()),
        Router::new().fallback(async || "handler").layer(sessions.layer().optional().peek()),
        nested.clone().layer(sessions.layer().optional()),
        Router::new().nest("/a", nested),
    ];
    for app in apps {
        for (path, status) in [("/a/register", 400), ("/a/refresh", 404), ("/a/refresh?a=b", 404)] {
            let answer = Browser::new(app.clone()).send(Method::POST, path, &[]).await;
            assert_eq!((answer.status.as_u16(), &*answer.text), (status, ""), "{path}");
            // Also from another site, which no form of ours could be.
            let answer = Browser::new(app.clone()).send(Method::POST, path, LINK).await;
            assert_eq!(answer.status.as_u16(), status);
            assert_eq!(answer.header("location"), None);
        }
    }
    let app = app(&sessions);
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS] {
        let answer = Browser::new(app.clone()).send(method.clone(), "/a/refresh", &[]).await;
        assert_eq!(answer.status, 200, "{method} goes to the handler");
    }
    let answer = Browser::new(app).send(Method::POST, "/a/refresh/", &[]).await;
    assert_eq!(answer.text, "handler");
}

#[tokio::test]
async fn gate_refuses_what_does_not_prove_its_device() {
    let world = world();
    let app = app(&sessions(&world, DeviceBound::new()));
    let browser = Browser::signed_in(&app).await;
    world.clock.advance(Duration::from_secs(5) - TICK);
    assert_eq!(browser.without(BOUND).get("/profile", &[]).await.text, "ada", "it is under way");
    world.clock.advance(TICK);
    assert_eq!(browser.clone().get("/profile", &[]).await.text, "ada");
    world.events.kinds();

    let thief = browser.without(BOUND);
    let answer = thief.clone().get("/profile", &[]).await;
    let text = "this device did not prove its key: load the page again, or sign in again\n";
    assert_eq!((answer.status.as_u16(), &*answer.text), (401, text));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("vary"), Some("cookie"));
    assert!(answer.set_cookies().is_empty(), "the owner keeps its own");
    assert_eq!(refusals(&world.events), [RefusalReason::DeviceUnproven]);
    let json = [("accept", "application/json")];
    assert!(
        thief
            .clone()
            .get("/profile", &json)
            .await
            .text
            .starts_with("{\"error\":\"device_unproven\"")
    );
    for path in ["/profile", "/nested", "/pay", "/pay-in-handler"] {
        for method in [Method::GET, Method::POST, Method::PUT, Method::HEAD] {
            let answer = thief.clone().send(method.clone(), path, SCRIPT).await;
            assert_eq!(answer.status, 401, "{method} {path}");
        }
    }
    // The page for signing in.
    let answer = thief.clone().get("/profile", PAGE).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("location")),
        (303, Some("/login?next=/profile"))
    );
    // An upgrade, and a call of gRPC.
    let upgrade =
        [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-fetch-mode", "websocket")];
    assert_eq!(thief.clone().get("/profile", &upgrade).await.status, 401);
    let call = [("content-type", "application/grpc"), ("te", "trailers")];
    let answer = thief.clone().send(Method::POST, "/profile", &call).await;
    assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (200, Some("16")));

    world.clock.advance(LIFETIME + Duration::from_secs(2) - Duration::from_secs(5) - TICK);
    assert_eq!(browser.clone().get("/profile", &[]).await.text, "ada");
    world.clock.advance(TICK);
    assert_eq!(browser.clone().get("/profile", &[]).await.status, 401);
    let mut owner = browser;
    owner.refresh().await;
    assert_eq!(owner.get("/profile", &[]).await.text, "ada");
}

#[tokio::test]
async fn link_from_another_origin_gets_a_page_that_loads_itself_again() {
    let world = world();
    let app = app(&sessions(&world, DeviceBound::new()));
    let thief = Browser::settled(&world, &app).await.without(BOUND);
    for path in ["/profile", "/", "/nested"] {
        for site in ["cross-site", "same-site"] {
            let link = [("sec-fetch-mode", "navigate"), ("sec-fetch-site", site)];
            let answer = thief.clone().get(&format!("{path}?a=1&b=2"), &link).await;
            assert_eq!(answer.status, 401, "{path}");
            assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert!(answer.header("location").is_none() && answer.set_cookies().is_empty());
            let policy = answer.header("content-security-policy").unwrap();
            assert!(policy.starts_with("default-src 'none'; ") && policy.contains("'sha256-"));
            assert!(answer.text.contains("<script>location.reload()</script>"));
            assert!(!answer.text.contains("b=2"), "it names no address: {}", answer.text);
        }
    }
    // Not a page that can be loaded again.
    let answer = thief.clone().send(Method::HEAD, "/profile", LINK).await;
    assert_ne!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    let answer = thief.clone().send(Method::POST, "/profile", LINK).await;
    assert_eq!(answer.status, 403, "it is cross-origin");
    // With its cookie, it passes.
    let link = thief.clone().get("/unproven", LINK).await;
    assert_eq!(link.status, 401);
}

#[tokio::test]
async fn no_answer_leads_to_another_site() {
    let world = world();
    let sessions = sessions(&world, DeviceBound::new());
    let app = app(&sessions);
    let owner = Browser::settled(&world, &app).await;
    let thief = owner.without(BOUND);
    let mut unknown = owner.clone();
    unknown.jar.insert(BOUND.to_owned(), "A".repeat(43));
    for layer in [sessions.layer(), sessions.layer().optional()] {
        let app = Router::new().fallback(profile).layer(layer);
        for path in ["//evil.test/profile", "//evil.test", "///evil.test"] {
            let link = Browser { app: app.clone(), ..thief.clone() }.get(path, LINK).await;
            assert_eq!(link.status, 401);
            assert!(!link.text.contains("evil"), "{}", link.text);
            assert!(link.text.contains("location.reload()"));
            let again = Browser { app: app.clone(), ..unknown.clone() }.get(path, PAGE).await;
            assert_eq!((again.status.as_u16(), again.header("location")), (401, None), "{path}");
        }
    }
}

#[tokio::test]
async fn browser_that_could_not_refresh_is_asked_to_wait() {
    let world = world();
    let app = app(&sessions(&world, DeviceBound::new()));
    let thief = Browser::settled(&world, &app).await.without(BOUND);
    for reason in ["server_error", "unreachable", "quota_exceeded"] {
        let skipped = format!("{reason};session_identifier=\"{}\"", thief.id);
        let skipped = [("secure-session-skipped", &*skipped)];
        for path in ["/profile", "/"] {
            let answer = thief.clone().get(path, &skipped).await;
            assert_eq!(answer.status, 503, "{reason} {path}");
            assert_eq!(answer.header("retry-after"), Some("5"));
        }
        let answer = thief.clone().send(Method::POST, "/profile", &skipped).await;
        assert_eq!(answer.status, 503);
    }
    let unknown = [("secure-session-skipped", "signed_out")];
    assert_eq!(thief.clone().get("/profile", &unknown).await.status, 401);
}

/// Such as after a failover of the store: the browser takes its cookie for valid.
#[tokio::test]
async fn cookie_that_the_store_does_not_know_is_removed() {
    let world = world();
    let app = app(&sessions(&world, DeviceBound::new()));
    let mut owner = Browser::settled(&world, &app).await;
    owner.jar.insert(BOUND.to_owned(), "A".repeat(43));
    for (path, method) in
        [("/profile?a=b", Method::GET), ("/profile?a=b", Method::POST), ("/?c", Method::GET)]
    {
        for headers in [PAGE, SCRIPT] {
            let mut browser = owner.clone();
            let answer = browser.send(method.clone(), path, headers).await;
            assert_eq!((answer.status.as_u16(), answer.header("location")), (307, Some(path)));
            assert!(answer.set_cookies()[0].starts_with(&format!("{BOUND}=; Path=/; Max-Age=0;")));
            assert_eq!((answer.set_cookies().len(), browser.jar.contains_key(BOUND)), (1, false));
            browser.refresh().await;
            assert_eq!(browser.send(method.clone(), path, headers).await.text, "ada");
        }
    }
    // A program does not follow, and a socket can't.
    let socket =
        [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-fetch-mode", "websocket")];
    for headers in [&[][..], &socket] {
        let answer = owner.clone().get("/profile", headers).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (401, None));
        assert_eq!(answer.set_cookies().len(), 1);
    }
}

#[tokio::test]
async fn optional_layer_lets_an_unproven_client_sign_in_and_out() {
    let world = world();
    let app = app(&sessions(&world, DeviceBound::new()));
    let owner = Browser::settled(&world, &app).await;
    let lost = owner.without(BOUND);
    assert_eq!(owner.clone().get("/unproven", PAGE).await.text, "false true");
    for method in [Method::GET, Method::POST, Method::HEAD] {
        let answer = lost.clone().send(method, "/unproven", PAGE).await;
        assert_eq!(answer.status, 200);
        assert!(matches!(&*answer.text, "true false" | ""));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    // The page for signing in, and a script.
    assert_eq!(lost.clone().get("/", PAGE).await.text, "nobody");
    let answer = lost.clone().get("/", SCRIPT).await;
    assert_eq!(answer.status, 401);
    assert_eq!(lost.clone().send(Method::POST, "/", SCRIPT).await.status, 401);

    let mut again = lost.clone();
    let answer = again.send(Method::POST, "/login", SCRIPT).await;
    assert_eq!(answer.text, "in");
    let offer = answer.header("secure-session-registration").unwrap().to_owned();
    assert_eq!(again.register(&offer).await.status, 200);
    assert_eq!(again.get("/profile", SCRIPT).await.text, "ada");
    assert_eq!(owner.clone().get("/profile", SCRIPT).await.status, 401, "its session has ended");
    assert_eq!(owner.clone().try_refresh().await.status, 404);

    let mut out = Browser::settled(&world, &app).await.without(BOUND);
    let answer = out.send(Method::POST, "/logout", SCRIPT).await;
    assert_eq!((answer.status.as_u16(), answer.set_cookies().len()), (200, 2));
    assert!(out.jar.is_empty());
    assert_eq!(out.try_refresh().await.status, 404);
}

#[tokio::test]
async fn logout_and_impersonation_leave_the_right_cookies() {
    for path in ["/logout", "/logout-here"] {
        let world = world();
        let app = app(&sessions(&world, DeviceBound::new()));
        let mut browser = Browser::settled(&world, &app).await;
        browser.send(Method::POST, path, SCRIPT).await;
        assert!(browser.jar.is_empty(), "{path}");
    }
    let world = world();
    let app = app(&sessions(&world, DeviceBound::new()));
    let mut admin = Browser::settled(&world, &app).await;
    let answer = admin.send(Method::POST, "/impersonate", SCRIPT).await;
    assert_eq!((answer.status.as_u16(), answer.set_cookies().len()), (200, 1));
    assert_eq!(answer.header("secure-session-registration"), None);
    assert_eq!(admin.get("/profile", SCRIPT).await.text, "bob");
    assert_eq!(admin.without(BOUND).get("/profile", SCRIPT).await.status, 401);
    admin.refresh().await;
    assert_eq!(admin.get("/profile", SCRIPT).await.text, "bob");
    let answer = admin.send(Method::POST, "/return", SCRIPT).await;
    assert_eq!((answer.status.as_u16(), admin.jar.contains_key(BOUND)), (200, false));
    admin.refresh().await;
    assert_eq!(admin.get("/profile", SCRIPT).await.text, "ada");
}

#[tokio::test]
async fn step_up_asks_for_a_recent_proof() {
    let world = world();
    let app = app(&sessions(&world, DeviceBound::new()));
    let mut unbound = Browser::new(app.clone());
    unbound.send(Method::POST, "/login", &[]).await;
    let mut browser = Browser::signed_in(&app).await;
    world.clock.advance(Duration::from_secs(60));
    for path in ["/pay", "/pay-in-handler", "/pay-perhaps"] {
        assert_eq!(browser.get(path, PAGE).await.status, 200, "{path}");
    }
    world.clock.advance(TICK);
    for path in ["/pay", "/pay-in-handler", "/pay-perhaps"] {
        assert_eq!(unbound.get(path, PAGE).await.status, 200, "{path} unbound");
        let mut program = browser.clone();
        let answer = program.get(path, &[("accept", "application/json")]).await;
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.text.starts_with("{\"error\":\"device_proof_too_old\""), "{}", answer.text);
        assert!(!program.jar.contains_key(BOUND), "{path}");
        let thief = browser.without(BOUND).get(path, SCRIPT).await;
        assert_eq!(thief.status, 401);
    }
    for path in ["/pay?n=1", "/pay-perhaps?n=1"] {
        let mut browser = browser.clone();
        let answer = browser.get(path, PAGE).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (307, Some(path)));
        assert!(!browser.jar.contains_key(BOUND));
        browser.refresh().await;
        assert_eq!(browser.get(path, PAGE).await.text, "ada");
        world.clock.advance(Duration::from_secs(61));
    }
}

#[tokio::test]
async fn proof_is_required_only_where_it_is_asked_for() {
    let world = world();
    let app = app(&sessions(&world, DeviceBound::new().require_proof(false)));
    let browser = Browser::settled(&world, &app).await;
    let lost = browser.without(BOUND);
    for path in ["/profile", "/", "/nested"] {
        assert_eq!(lost.clone().get(path, SCRIPT).await.text, "ada", "{path}");
        assert_eq!(lost.clone().get(path, LINK).await.text, "ada", "{path}");
    }
    assert_eq!(lost.clone().get("/unproven", SCRIPT).await.text, "false true");
    for path in ["/pay", "/pay-in-handler", "/pay-perhaps"] {
        assert_eq!(browser.clone().get(path, SCRIPT).await.status, 200, "{path}");
        assert_eq!(lost.clone().get(path, SCRIPT).await.status, 401, "{path}");
    }
    assert_eq!(lost.clone().get("/pay", LINK).await.status, 401);
    let skipped = [("secure-session-skipped", "unreachable")];
    assert_eq!(lost.clone().get("/pay", &skipped).await.status, 503);
}

#[tokio::test]
async fn other_sessions_of_the_manager_refuse_a_bound_session() {
    let world = world();
    let app = app(&sessions(&world, DeviceBound::new()));
    let browser = Browser::settled(&world, &app).await;
    let plain = Sessions::new(world.manager.clone());
    let by_header = world.sessions_by("header:x-id");
    let token = browser.jar[MAIN].clone();
    for sessions in [&plain, &by_header] {
        let app = Router::new()
            .route("/profile", any(profile))
            .route_layer(sessions.layer())
            .route("/", any(home).layer(sessions.layer().optional()));
        let mut client = Browser { app, ..browser.clone() };
        for headers in [&[("x-id", &*token)][..], &[]] {
            assert_eq!(client.get("/profile", headers).await.status, 401);
            assert_eq!(client.send(Method::POST, "/profile", headers).await.status, 401);
            assert_eq!(client.get("/", headers).await.text, "nobody");
        }
    }
}

#[tokio::test]
async fn custom_refusal_sees_what_is_missing() {
    let world = world();
    let refusal = Refusal::with(|refused| {
        let text = format!("{:?}", refused.missing);
        http::Response::builder().status(418).body(text.into()).unwrap()
    });
    let builder = Sessions::builder(world.manager.clone()).device_bound(DeviceBound::new());
    let sessions = builder.refusal(refusal).build().unwrap();
    let app = app(&sessions);
    let mut thief = Browser::settled(&world, &app).await.without(BOUND);
    let answer = thief.get("/profile", SCRIPT).await;
    let expected = format!("{:?}", Missing::DeviceProof);
    assert_eq!((answer.status.as_u16(), &*answer.text), (418, &*expected));
}

/// Behind a near cache that receives no changes of the store.
#[tokio::test]
async fn refresh_by_another_server_is_found_by_one_strict_read() {
    let clock = ManualClock::new();
    let store = MemoryStore::<Record<User>>::builder().clock(clock.clock()).build();
    let (counted, faults) = FaultyStore::new(store);
    faults.answers_at_once(false);
    let (remote, pushes) = PushingStore::new(counted);
    let near = NearCache::builder(remote.clone()).build().unwrap();
    pushes.beat().await;
    let app_of = |manager: Manager<User>| {
        let builder = Sessions::builder(manager).device_bound(DeviceBound::new());
        app(&builder.build().unwrap())
    };
    let (here, there) = (app_of(Manager::new(near)), app_of(Manager::new(remote)));
    let mut browser = Browser::signed_in(&there).await;
    clock.advance(Duration::from_secs(10));
    pushes.beat().await;
    let mut at_here = Browser { app: here.clone(), ..browser.clone() };
    assert_eq!(at_here.get("/profile", &[]).await.text, "ada");
    let gets = || faults.count(Call::Get);
    let before = gets();
    assert_eq!(at_here.get("/profile", &[]).await.text, "ada");
    assert_eq!(gets() - before, 0, "a copy answers");

    pushes.hold();
    browser.refresh().await;
    let mut at_here = Browser { app: here.clone(), ..browser.clone() };
    let before = gets();
    assert_eq!(at_here.get("/profile", &[]).await.text, "ada");
    assert_eq!(gets() - before, 1);
    // Without a cookie, the copy decides.
    let before = gets();
    assert_eq!(at_here.without(BOUND).get("/profile", &[]).await.status, 401);
    assert_eq!(gets() - before, 0);
    let before = gets();
    at_here.jar.insert(BOUND.to_owned(), "A".repeat(43));
    assert_eq!(at_here.get("/profile", &[]).await.status, 401);
    assert!(gets() - before <= 1);
}

#[tokio::test]
async fn bound_session_costs_the_store_no_more_than_another() {
    let world = world();
    let app = app(&sessions(&world, DeviceBound::new()));
    let mut unbound = Browser::new(app.clone());
    unbound.send(Method::POST, "/login", &[]).await;
    let mut bound = Browser::settled(&world, &app).await;
    for path in ["/profile", "/", "/nested", "/pay"] {
        let mut costs = Vec::new();
        for browser in [&mut unbound, &mut bound] {
            world.faults.reset();
            world.faults.answers_at_once(false);
            assert_eq!(browser.get(path, PAGE).await.text, "ada");
            costs.push(world.faults.count_all());
        }
        assert_eq!(costs[0], costs[1], "{path}");
    }
    world.faults.reset();
    world.faults.answers_at_once(false);
    bound.refresh().await;
    assert_eq!((world.faults.count(Call::Get), world.faults.count(Call::Replace)), (1, 1));
}

#[tokio::test]
async fn settings_that_no_browser_would_accept_are_errors() {
    let world = world();
    let build = |device_bound| {
        Sessions::builder(world.manager.clone()).device_bound(device_bound).build().map(drop)
    };
    let new = || DeviceBound::<User>::new();
    let seconds = Duration::from_secs;
    build(new().lifetime(seconds(300))).unwrap();
    build(new().dangerous_lifetime(seconds(1))).unwrap();
    build(new().lifetime(seconds(86_400))).unwrap();
    build(new().cookie("bound").paths("/x", "/y")).unwrap();
    let bad = [
        new().lifetime(seconds(299)),
        new().dangerous_lifetime(seconds(0)),
        new().lifetime(Duration::from_millis(300_500)),
        new().dangerous_lifetime(seconds(1)).lifetime(seconds(299)),
        new().lifetime(seconds(86_401)),
        new().dangerous_lifetime(seconds(u64::MAX)),
        new().cookie(MAIN),
        new().cookie("a b"),
        new().cookie(""),
        new().paths("/x", "/x"),
        new().paths("x", "/y"),
        new().paths("//x", "/y"),
        new().paths("/x", "https://app.test/y"),
        new().paths("/x\"", "/y"),
        new().paths("/x\\y", "/y"),
        new().paths("/é", "/y"),
        new().paths("/x y", "/y"),
        new().paths("/x?y", "/y"),
        new().paths("/{x}", "/y"),
        new().paths("/x", "/y#z"),
        new().refresh_initiator("www.app.test"),
        new().refresh_initiator("https://www.app.test/path"),
        new().refresh_initiator("https://\"]"),
    ];
    for settings in bad {
        let shown = format!("{settings:?}");
        assert!(build(settings).is_err(), "{shown}");
    }
    let with = |cookie: CookiePolicy, settings, lookup: &str| {
        let builder = Sessions::builder(world.manager.clone()).device_bound(settings);
        builder.cookie(cookie).lookup(lookup.parse().unwrap()).build().map(drop)
    };
    let policy = CookiePolicy::builder;
    with(CookiePolicy::new(), new(), "header:x-id").unwrap_err();
    with(policy().insecure_plain_http(true).build().unwrap(), new().cookie("b"), "cookie:id")
        .unwrap_err();
    let wide = policy().domain("app.test").build().unwrap();
    with(wide, new().cookie("b"), "cookie:id").unwrap_err();
    // The browser would send no cookie to the endpoints.
    let below = || policy().path("/app").build().unwrap();
    with(below(), new(), "cookie:id").unwrap_err();
    with(below(), new().cookie("b"), "cookie:id").unwrap_err();
    with(below(), new().cookie("b").paths("/application/r", "/app/s"), "cookie:id").unwrap_err();
    with(below(), new().cookie("b").paths("/app/r", "/app/s"), "cookie:id").unwrap();
    let none = policy().same_site(SameSite::None).partitioned(true).build().unwrap();
    with(none, new(), "cookie:id").unwrap();
}
