mod authenticator;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use kvolt::cache::Clock;
use kvolt::cache::testing::Call;
use kvolt::testing::{Faults, FaultyStore, ManualClock, TestClient};
use kvolt::{Encoded, RecordJson};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use authenticator::Authenticator;

const ORIGIN: &str = "http://localhost:3000";
const MINUTE: Duration = Duration::from_secs(60);

/// The application on a store that keeps bytes, as Redis and a database do.
#[derive(Clone)]
struct Site {
    app: Router,
    sessions: Sessions<Data>,
}

impl Site {
    fn new() -> Self {
        Self::with_faults().0
    }

    fn with_faults() -> (Self, Faults) {
        let bytes = MemoryStore::builder().clock(ManualClock::new().clock()).build();
        let (bytes, faults) = FaultyStore::new(bytes);
        let sessions = sessions(Encoded::new(bytes, RecordJson::new())).unwrap();
        (Self { app: app(&sessions, ORIGIN).unwrap(), sessions }, faults)
    }

    fn clock(&self) -> &Clock {
        self.sessions.manager().clock()
    }

    fn browser(&self) -> Browser {
        Browser { site: self.clone(), client: TestClient::new(&self.sessions) }
    }

    /// A browser that has just created an account with this authenticator.
    async fn signed_up(&self, name: &str, authenticator: &mut Authenticator) -> Browser {
        let mut browser = self.browser();
        assert_eq!(browser.sign_up(name, authenticator).await, StatusCode::OK);
        browser
    }
}

#[derive(Clone)]
struct Browser {
    site: Site,
    client: TestClient<Data>,
}

impl Browser {
    async fn post(&mut self, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = self.client.post(path).header(header::CONTENT_TYPE, "application/json");
        let request = request.body(Body::from(body.to_string())).unwrap();
        let response = self.site.app.clone().oneshot(request).await.unwrap();
        self.client.keep(response.headers());
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn start(&mut self, path: &str, body: &Value) -> Value {
        let (status, options) = self.post(path, body).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        options
    }

    async fn finish(&mut self, path: &str, answer: &Value) -> StatusCode {
        self.post(path, answer).await.0
    }

    async fn sign_up(&mut self, name: &str, authenticator: &mut Authenticator) -> StatusCode {
        let options = self.start("/account/start", &json!({ "name": name })).await;
        self.finish("/account", &authenticator.create(&options)).await
    }

    async fn prove(&mut self, path: &str, authenticator: &mut Authenticator) -> StatusCode {
        let options = self.start("/proof/start", &json!({})).await;
        self.finish(path, &authenticator.prove(&options)).await
    }

    /// Name, level and number of passkeys. `None` for a visitor.
    async fn profile(&self) -> Option<(String, u64, u64)> {
        let request = self.client.get("/profile").body(Body::empty()).unwrap();
        let response = self.site.app.clone().oneshot(request).await.unwrap();
        if response.status() == StatusCode::UNAUTHORIZED {
            return None;
        }
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let profile: Value = serde_json::from_slice(&body).unwrap();
        let number = |name: &str| profile[name].as_u64().unwrap();
        Some((profile["name"].as_str().unwrap().to_owned(), number("level"), number("passkeys")))
    }
}

#[tokio::test]
async fn passkey_signs_in_without_a_name() {
    let site = Site::new();
    let (mut key, mut synced) = (Authenticator::new("key"), Authenticator::new("phone"));
    synced.is_synced = true;
    let first = site.signed_up("ada", &mut key).await;
    assert_eq!(first.profile().await, Some(("ada".to_owned(), 2, 1)));
    site.signed_up("bob", &mut synced).await;

    let mut browser = site.browser();
    assert_eq!(browser.prove("/sign-in", &mut key).await, StatusCode::OK);
    assert_eq!(browser.profile().await, Some(("ada".to_owned(), 3, 1)));
    let old = browser.clone();
    assert_eq!(browser.prove("/sign-in", &mut synced).await, StatusCode::OK);
    assert_eq!(browser.profile().await, Some(("bob".to_owned(), 2, 1)), "a copied key is level 2");
    assert_eq!(old.profile().await, None, "a sign-in ends the session before it");
}

#[tokio::test]
async fn answer_is_good_once() {
    let site = Site::new();
    let mut key = Authenticator::new("key");
    site.signed_up("ada", &mut key).await;

    let mut browser = site.browser();
    let options = browser.start("/proof/start", &json!({})).await;
    let answer = key.prove(&options);
    let visitor = browser.clone();
    assert_eq!(browser.finish("/sign-in", &answer).await, StatusCode::OK);
    assert_eq!(browser.finish("/sign-in", &answer).await, StatusCode::CONFLICT);
    assert_eq!(browser.finish("/confirm", &answer).await, StatusCode::CONFLICT);
    assert_eq!(visitor.clone().finish("/sign-in", &answer).await, StatusCode::UNAUTHORIZED);

    // A wrong answer uses the state up too: a challenge is for one attempt.
    let options = browser.start("/proof/start", &json!({})).await;
    let mut wrong = key.prove(&options);
    let right = wrong.clone();
    wrong["response"]["signature"] = json!("AAAA");
    assert_eq!(browser.finish("/confirm", &wrong).await, StatusCode::FORBIDDEN);
    assert_eq!(browser.finish("/confirm", &right).await, StatusCode::CONFLICT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_concurrent_answers_wins() {
    let site = Site::new();
    // Without a counter, as most passkeys: it would refuse a second answer too.
    let mut key = Authenticator::new("key");
    key.counts = false;
    site.signed_up("ada", &mut key).await;
    for _ in 0..20 {
        let mut browser = site.browser();
        let options = browser.start("/proof/start", &json!({})).await;
        let answer = key.prove(&options);
        let attempts: Vec<_> = (0..8)
            .map(|_| {
                let (mut browser, answer) = (browser.clone(), answer.clone());
                tokio::spawn(async move { browser.finish("/sign-in", &answer).await })
            })
            .collect();
        let mut signed_in = 0;
        for attempt in attempts {
            match attempt.await.unwrap() {
                StatusCode::OK => signed_in += 1,
                StatusCode::CONFLICT | StatusCode::UNAUTHORIZED => {}
                other => panic!("{other}"),
            }
        }
        assert_eq!(signed_in, 1);
    }
    let sessions = site.sessions.manager().count().await.unwrap();
    assert_eq!(sessions, 21, "one of the account's creation, and one of each sign-in");
}

#[tokio::test]
async fn state_is_useless_in_another_session() {
    let site = Site::new();
    let mut key = Authenticator::new("key");
    let mut ada = site.signed_up("ada", &mut key).await;

    let mut other = site.browser();
    let answer = key.prove(&other.start("/proof/start", &json!({})).await);
    // A session with a state of its own, one whose state is of another kind, one without, and none.
    let mut busy = site.browser();
    busy.start("/proof/start", &json!({})).await;
    assert_eq!(busy.finish("/sign-in", &answer).await, StatusCode::FORBIDDEN);
    let mut signing_up = site.browser();
    signing_up.start("/account/start", &json!({ "name": "eve" })).await;
    assert_eq!(signing_up.finish("/sign-in", &answer).await, StatusCode::CONFLICT);
    assert_eq!(ada.finish("/confirm", &answer).await, StatusCode::CONFLICT);
    assert_eq!(site.browser().finish("/sign-in", &answer).await, StatusCode::UNAUTHORIZED);
    assert_eq!(other.finish("/sign-in", &answer).await, StatusCode::OK, "none of these used it");
}

#[tokio::test]
async fn state_expires_after_five_minutes() {
    let site = Site::new();
    let mut key = Authenticator::new("key");
    site.signed_up("ada", &mut key).await;
    let mut browser = site.browser();
    for (wait, expected) in
        [(CEREMONY, StatusCode::CONFLICT), (CEREMONY - Duration::from_millis(1), StatusCode::OK)]
    {
        let answer = key.prove(&browser.start("/proof/start", &json!({})).await);
        site.clock().advance(wait).unwrap();
        assert_eq!(browser.finish("/sign-in", &answer).await, expected, "after {wait:?}");
    }
}

#[tokio::test]
async fn adding_a_passkey_needs_a_recent_proof() {
    let site = Site::new();
    let (mut key, mut phone) = (Authenticator::new("key"), Authenticator::new("phone"));
    let mut ada = site.signed_up("ada", &mut key).await;
    let nothing = json!({});

    site.clock().advance(6 * MINUTE).unwrap();
    assert_eq!(ada.post("/passkeys/start", &nothing).await.0, StatusCode::UNAUTHORIZED);
    let stale = ada.clone();
    assert_eq!(ada.prove("/confirm", &mut key).await, StatusCode::OK);
    assert_eq!(stale.clone().post("/passkeys/start", &nothing).await.0, StatusCode::UNAUTHORIZED);
    let options = ada.start("/passkeys/start", &nothing).await;
    let answer = phone.create(&options);
    site.clock().advance(4 * MINUTE).unwrap();
    assert_eq!(ada.finish("/passkeys", &answer).await, StatusCode::OK);
    assert_eq!(ada.profile().await.unwrap().2, 2);
    assert_eq!(site.browser().prove("/sign-in", &mut phone).await, StatusCode::OK);

    // Another account's passkey is no proof for this one.
    let mut eves = Authenticator::new("eve's key");
    site.signed_up("eve", &mut eves).await;
    assert_eq!(ada.prove("/confirm", &mut eves).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn copied_key_is_refused_and_ends_all_sessions() {
    let site = Site::new();
    let mut key = Authenticator::new("key");
    let ada = site.signed_up("ada", &mut key).await;
    let mut copy = key.clone();
    let mut thief = site.browser();
    for _ in 0..2 {
        assert_eq!(thief.prove("/sign-in", &mut copy).await, StatusCode::OK);
    }

    assert_eq!(site.browser().prove("/sign-in", &mut key).await, StatusCode::FORBIDDEN);
    assert_eq!((thief.profile().await, ada.profile().await), (None, None));
    key.counter = 100;
    for device in [&mut key, &mut copy] {
        assert_eq!(site.browser().prove("/sign-in", device).await, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn copied_key_ends_the_sessions_after_an_outage() {
    let (site, faults) = Site::with_faults();
    let mut key = Authenticator::new("key");
    let ada = site.signed_up("ada", &mut key).await;
    let mut copy = key.clone();
    let mut thief = site.browser();
    assert_eq!(thief.prove("/sign-in", &mut copy).await, StatusCode::OK);

    let mut browser = site.browser();
    let options = browser.start("/proof/start", &json!({})).await;
    faults.only(&[Call::List, Call::Remove, Call::RemoveOwner]);
    faults.fail_all(true);
    let status = browser.finish("/sign-in", &key.prove(&options)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    faults.reset();
    // Its id alone ends nothing.
    let mut another = Authenticator::new("key");
    another.create(&site.browser().start("/account/start", &json!({ "name": "eve" })).await);
    assert_eq!(site.browser().prove("/sign-in", &mut another).await, StatusCode::FORBIDDEN);
    assert!(ada.profile().await.is_some());

    key.counter = 100;
    assert_eq!(site.browser().prove("/sign-in", &mut key).await, StatusCode::FORBIDDEN);
    assert_eq!((thief.profile().await, ada.profile().await), (None, None));
}

#[tokio::test]
async fn copied_key_ends_a_sign_in_under_way() {
    let (site, faults) = Site::with_faults();
    let mut key = Authenticator::new("key");
    site.signed_up("ada", &mut key).await;
    let mut copy = key.clone();
    let (mut thief, mut browser) = (site.browser(), site.browser());
    let of_thief = copy.prove(&thief.start("/proof/start", &json!({})).await);
    let of_ada = key.prove(&browser.start("/proof/start", &json!({})).await);
    // The thief's proof is accepted, and the session waits to be stored.
    faults.only(&[Call::Insert]);
    faults.hold_calls();
    let sign_in = tokio::spawn(async move { (thief.finish("/sign-in", &of_thief).await, thief) });
    tokio::time::timeout(MINUTE, faults.until_waiting(1)).await.unwrap();
    assert_eq!(browser.finish("/sign-in", &of_ada).await, StatusCode::FORBIDDEN);
    faults.reset();
    let (status, thief) = tokio::time::timeout(MINUTE, sign_in).await.unwrap().unwrap();
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(thief.profile().await, None);
}

#[tokio::test]
async fn unreadable_session_is_replaced() {
    let bytes = MemoryStore::new();
    // Of a program whose data has another type.
    let other = Encoded::new(bytes.clone(), RecordJson::new());
    let other = Sessions::new(Manager::<u32>::new(other));
    let client = TestClient::signed_in(&other, NewSession::new(7)).await.unwrap();
    let (_, cookie) = client.header().unwrap();
    let sessions = sessions(Encoded::new(bytes, RecordJson::new())).unwrap();
    let site = Site { app: app(&sessions, ORIGIN).unwrap(), sessions };
    let mut browser = site.browser();
    let cookie = format!("{cookie}; Path=/; Secure").parse().unwrap();
    browser.client.keep(&HeaderMap::from_iter([(header::SET_COOKIE, cookie)]));
    assert_eq!(browser.sign_up("ada", &mut Authenticator::new("key")).await, StatusCode::OK);
}

#[tokio::test]
async fn credential_id_is_of_one_account() {
    let site = Site::new();
    let mut key = Authenticator::new("key");
    site.signed_up("ada", &mut key).await;

    // Ids are no secrets: an authenticator can claim any.
    let mut eves = Authenticator::new("key");
    assert_eq!(site.browser().sign_up("eve", &mut eves).await, StatusCode::CONFLICT);
    assert_eq!(site.browser().prove("/sign-in", &mut eves).await, StatusCode::FORBIDDEN);
    let mut another = Authenticator::new("another");
    assert_eq!(site.browser().sign_up("ada", &mut another).await, StatusCode::CONFLICT);
    let mut browser = site.browser();
    assert_eq!(browser.prove("/sign-in", &mut key).await, StatusCode::OK);
    assert_eq!(browser.profile().await.unwrap().0, "ada");
}

#[tokio::test]
async fn wrong_origin_and_unverified_user_are_refused() {
    let site = Site::new();
    let mut key = Authenticator::new("key");
    site.signed_up("ada", &mut key).await;
    for origin in ["http://localhost:3001", "https://localhost:3000", "http://evil.localhost:3000"]
    {
        let mut elsewhere = Authenticator::new("elsewhere");
        elsewhere.origin = origin;
        assert_eq!(site.browser().sign_up("eve", &mut elsewhere).await, StatusCode::FORBIDDEN);
        key.origin = origin;
        assert_eq!(site.browser().prove("/sign-in", &mut key).await, StatusCode::FORBIDDEN);
    }
    key.origin = ORIGIN;
    key.verifies_user = false;
    assert_eq!(site.browser().prove("/sign-in", &mut key).await, StatusCode::FORBIDDEN);
    key.verifies_user = true;
    assert_eq!(site.browser().prove("/sign-in", &mut key).await, StatusCode::OK);
}
