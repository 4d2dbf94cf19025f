use axum::body::Body;
use http_body_util::BodyExt;
use kvolt::cache::Clock;
use kvolt::testing::{Faults, FaultyStore, ManualClock, TestClient};
use serde_json::Value;
use tower::ServiceExt;

use super::*;

const STEP: Duration = Duration::from_secs(30);
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Clone)]
struct Site {
    app: Router,
    sessions: Sessions<User>,
}

impl Site {
    fn new() -> Self {
        Self::with_faults().0
    }

    fn with_faults() -> (Self, Faults) {
        let store = MemoryStore::builder().clock(ManualClock::new().clock()).build();
        let (store, faults) = FaultyStore::new(store);
        let sessions = Sessions::new(Manager::new(store));
        (Self { app: app(&sessions), sessions }, faults)
    }

    fn clock(&self) -> &Clock {
        self.sessions.manager().clock()
    }

    /// A client after the password: at level one.
    async fn login(&self, name: &str, password: &str) -> Client {
        let mut client = Client { site: self.clone(), client: TestClient::new(&self.sessions) };
        let form = format!("name={name}&password={password}");
        assert_eq!(client.post("/login", &form).await.0, StatusCode::OK);
        client
    }

    async fn ada(&self) -> Client {
        self.login("ada", "lovelace").await
    }
}

#[derive(Clone)]
struct Client {
    site: Site,
    client: TestClient<User>,
}

impl Client {
    async fn send(&mut self, method: &str, path: &str, form: &str) -> Response {
        let request = self
            .client
            .request(method.parse().unwrap(), path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form.to_owned()))
            .unwrap();
        let response = self.site.app.clone().oneshot(request).await.unwrap();
        self.client.keep(response.headers());
        response
    }

    async fn post(&mut self, path: &str, form: &str) -> (StatusCode, Value) {
        let response = self.send("POST", path, form).await;
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn code(&mut self, code: &str) -> StatusCode {
        self.post("/code", &format!("code={code}")).await.0
    }

    async fn profile(&mut self) -> StatusCode {
        self.send("GET", "/profile", "").await.status()
    }

    async fn start_enrolment(&mut self) -> Authenticator {
        let (status, started) = self.post("/enroll", "").await;
        assert_eq!(status, StatusCode::OK);
        let (secret, url) = (started["secret"].as_str().unwrap(), started["url"].as_str().unwrap());
        assert!(url.starts_with("otpauth://totp/Example:") && url.contains(secret), "{url}");
        Authenticator { totp: Totp::from_url(url).unwrap(), clock: self.site.clock().clone() }
    }

    async fn confirm(&mut self, code: &str) -> (StatusCode, Vec<String>) {
        let (status, body) = self.post("/enroll/confirm", &format!("code={code}")).await;
        let codes = body["recovery_codes"].as_array().cloned().unwrap_or_default();
        (status, codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect())
    }

    /// Enrols, and moves the clock past the code that this has used.
    async fn enrolled(&mut self) -> (Authenticator, Vec<String>) {
        let authenticator = self.start_enrolment().await;
        let (status, recovery) = self.confirm(&authenticator.code(0)).await;
        assert_eq!((status, recovery.len()), (StatusCode::OK, 10));
        self.site.clock().advance(STEP).unwrap();
        (authenticator, recovery)
    }
}

struct Authenticator {
    totp: Totp,
    clock: Clock,
}

impl Authenticator {
    /// The code that it shows some steps from now.
    fn code(&self, steps: i64) -> String {
        let time = seconds(self.clock.now()).checked_add_signed(steps * 30).unwrap();
        self.totp.generate(time).to_string()
    }

    /// A code that is wrong now.
    fn wrong(&self) -> String {
        let right: Vec<String> = (-1..=1).map(|steps| self.code(steps)).collect();
        let mut codes = (0..).map(|code| format!("{code:06}"));
        codes.find(|code| !right.contains(code)).unwrap()
    }
}

#[tokio::test]
async fn code_raises_the_session_to_level_two() {
    let site = Site::new();
    let (authenticator, _) = site.ada().await.enrolled().await;
    let mut ada = site.ada().await;
    assert_eq!(ada.profile().await, StatusCode::UNAUTHORIZED);
    let before = ada.clone();
    assert_eq!(ada.code(&authenticator.wrong()).await, StatusCode::FORBIDDEN);
    assert_eq!(ada.profile().await, StatusCode::UNAUTHORIZED);
    assert_eq!(ada.code(&authenticator.code(0)).await, StatusCode::OK);
    assert_eq!(ada.profile().await, StatusCode::OK);
    assert_eq!(before.clone().profile().await, StatusCode::UNAUTHORIZED, "the token changed");

    assert_eq!(ada.post("/pay", "").await.0, StatusCode::OK);
    site.clock().advance(6 * MINUTE).unwrap();
    assert_eq!(ada.post("/pay", "").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(ada.code(&authenticator.code(0)).await, StatusCode::OK);
    assert_eq!(ada.post("/pay", "").await.0, StatusCode::OK);
}

#[tokio::test]
async fn code_is_good_once() {
    let site = Site::new();
    let mut first = site.ada().await;
    let authenticator = first.start_enrolment().await;
    let code = authenticator.code(0);
    assert_eq!(first.confirm(&code).await.0, StatusCode::OK);
    let mut ada = site.ada().await;
    assert_eq!(ada.code(&code).await, StatusCode::FORBIDDEN, "the enrolment has used it");

    site.clock().advance(2 * STEP).unwrap();
    let (older, code) = (authenticator.code(-1), authenticator.code(0));
    assert_eq!(ada.code(&code).await, StatusCode::OK);
    for mut client in [ada, site.ada().await] {
        for used in [&code, &older] {
            assert_eq!(client.code(used).await, StatusCode::FORBIDDEN);
        }
    }
    site.clock().advance(STEP).unwrap();
    assert_eq!(site.ada().await.code(&authenticator.code(0)).await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_concurrent_uses_of_a_code_wins() {
    let site = Site::new();
    let (authenticator, recovery) = site.ada().await.enrolled().await;
    for code in [authenticator.code(0), recovery[0].clone()] {
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(site.ada().await);
        }
        let attempts: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                let code = code.clone();
                tokio::spawn(async move { client.code(&code).await })
            })
            .collect();
        let mut right = 0;
        for attempt in attempts {
            right += usize::from(attempt.await.unwrap() == StatusCode::OK);
        }
        assert_eq!(right, 1);
    }
}

#[tokio::test]
async fn clock_may_be_off_by_one_step() {
    for (steps, expected) in [
        (-2, StatusCode::FORBIDDEN),
        (-1, StatusCode::OK),
        (1, StatusCode::OK),
        (2, StatusCode::FORBIDDEN),
    ] {
        let site = Site::new();
        let (authenticator, _) = site.ada().await.enrolled().await;
        site.clock().advance(10 * STEP).unwrap();
        let code = authenticator.code(steps);
        assert_eq!(site.ada().await.code(&code).await, expected, "{steps} steps");
    }
}

#[tokio::test]
async fn wrong_codes_cost_time_in_all_sessions_of_the_user() {
    let site = Site::new();
    let (authenticator, recovery) = site.ada().await.enrolled().await;
    let (bobs, _) = site.login("bob", "builder").await.enrolled().await;
    for _ in 0..5 {
        // A new session for each attempt changes nothing.
        assert_eq!(site.ada().await.code(&authenticator.wrong()).await, StatusCode::FORBIDDEN);
    }
    let mut ada = site.ada().await;
    let response = ada.send("POST", "/code", &format!("code={}", authenticator.code(0))).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS, "even a right one");
    assert_eq!(response.headers()[header::RETRY_AFTER], "31");
    let mut bob = site.login("bob", "builder").await;
    assert_eq!(bob.code(&bobs.code(0)).await, StatusCode::OK, "another user has attempts");

    for pause in [STEP, 2 * STEP, 4 * STEP] {
        site.clock().advance(pause - Duration::from_millis(1)).unwrap();
        let status = ada.code(&authenticator.code(0)).await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{pause:?}");
        site.clock().advance(Duration::from_millis(1)).unwrap();
        assert_eq!(ada.code(&authenticator.wrong()).await, StatusCode::FORBIDDEN, "{pause:?}");
    }
    // A recovery code is good during a pause, and ends it.
    assert_eq!(ada.code(&"A".repeat(100)).await, StatusCode::FORBIDDEN, "too long to be compared");
    assert_eq!(ada.code(&recovery[0]).await, StatusCode::OK);
    assert_eq!(ada.code(&authenticator.wrong()).await, StatusCode::FORBIDDEN, "counted from zero");
    assert_eq!(ada.code(&authenticator.code(0)).await, StatusCode::OK);
}

#[tokio::test]
async fn recovery_code_is_good_once() {
    let site = Site::new();
    let (_, recovery) = site.ada().await.enrolled().await;
    for code in &recovery {
        let mut ada = site.ada().await;
        assert_eq!(ada.code(&code.to_lowercase()).await, StatusCode::OK);
        assert_eq!(ada.profile().await, StatusCode::OK);
        assert_eq!(site.ada().await.code(code).await, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn enrolment_needs_the_right_code_in_its_own_session() {
    let site = Site::new();
    let (mut ada, mut other) = (site.ada().await, site.ada().await);
    let authenticator = ada.start_enrolment().await;
    assert_eq!(other.confirm(&authenticator.code(0)).await.0, StatusCode::FORBIDDEN);
    assert_eq!(ada.confirm(&authenticator.wrong()).await.0, StatusCode::FORBIDDEN);
    assert_eq!(ada.code(&authenticator.code(0)).await, StatusCode::FORBIDDEN, "not confirmed");
    assert_eq!(ada.confirm(&authenticator.code(0)).await.0, StatusCode::OK);
    assert_eq!(ada.confirm(&authenticator.code(0)).await.0, StatusCode::FORBIDDEN, "good once");
    assert_eq!(ada.profile().await, StatusCode::OK);
    assert_eq!(other.post("/enroll", "").await.0, StatusCode::UNAUTHORIZED, "it has ended");
}

#[tokio::test]
async fn password_alone_replaces_no_second_factor() {
    let site = Site::new();
    let mut thief = site.ada().await;
    let thiefs = thief.start_enrolment().await;
    let mut ada = site.ada().await;
    let (authenticator, recovery) = ada.enrolled().await;
    assert_eq!(thief.confirm(&thiefs.code(0)).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(site.ada().await.post("/enroll", "").await.0, StatusCode::UNAUTHORIZED);

    assert_eq!(ada.code(&authenticator.code(0)).await, StatusCode::OK);
    let (another, _) = ada.enrolled().await;
    let mut ada = site.ada().await;
    assert_eq!(ada.code(&authenticator.code(0)).await, StatusCode::FORBIDDEN);
    assert_eq!(ada.code(&recovery[0]).await, StatusCode::FORBIDDEN);
    assert_eq!(ada.code(&another.code(0)).await, StatusCode::OK);
}

#[tokio::test]
async fn enrolment_during_an_outage_is_complete_or_repeated() {
    let mut outages = 0;
    for nth in 1.. {
        let (site, faults) = Site::with_faults();
        let (mut ada, mut thief) = (site.ada().await, site.ada().await);
        let authenticator = ada.start_enrolment().await;
        let before = faults.count_all();
        faults.fail_nth(nth);
        let (status, recovery) = ada.confirm(&authenticator.code(0)).await;
        let calls = faults.count_all() - before;
        faults.reset();
        if status == StatusCode::OK {
            assert_eq!(thief.post("/enroll", "").await.0, StatusCode::UNAUTHORIZED, "{nth}");
            assert_eq!(site.ada().await.code(&recovery[0]).await, StatusCode::OK, "{nth}");
        } else {
            outages += 1;
            site.ada().await.enrolled().await;
        }
        if calls < nth {
            break;
        }
    }
    assert!(outages > 0);
}

#[test]
fn enrolment_under_way_replaces_no_second_factor() {
    let users = Users::default();
    let enroll = |replaces| {
        let totp = totp("ada", random::<20>()).unwrap();
        users.enroll("ada", totp, 0, replaces)
    };
    assert!(enroll(false).is_some());
    assert!(enroll(false).is_none(), "it was checked before the other was stored");
    assert!(enroll(true).is_some());
}
