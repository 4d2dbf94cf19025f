//! Sessions that are bound to a device: requests, refreshes, and bytes in the record.

use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kvolt::cache::{Encoded, MemoryStore, Store};
use kvolt::middleware::{DeviceBound, Session, SessionHandle, Sessions};
use kvolt::session::{DeviceAnswer, DeviceOutcome, Manager, NewSession, RecordJson};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};

use crate::harness::{Contender, race};
use crate::http::{self, App, User, ada};

const LIFETIME: Duration = Duration::from_secs(600);
const REFRESHES: u32 = 2_000;

/// The browser's part.
struct Key(SigningKey);

impl Key {
    fn new() -> Self {
        Self(SigningKey::from_slice(&[1; 32]).expect("it is below the order"))
    }

    fn sign(&self, header: &str, challenge: &str) -> String {
        let payload = format!(r#"{{"jti":"{challenge}"}}"#);
        let [header, payload] = [header, &payload].map(|part| URL_SAFE_NO_PAD.encode(part));
        let signed = format!("{header}.{payload}");
        let signature: Signature = self.0.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }

    fn registration(&self, challenge: &str) -> String {
        let point = self.0.verifying_key().to_sec1_point(false);
        let [x, y] = [&point.as_bytes()[1..33], &point.as_bytes()[33..]]
            .map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
        let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        self.sign(&format!(r#"{{"alg":"ES256","jwk":{jwk},"typ":"dbsc+jwt"}}"#), challenge)
    }

    fn refresh(&self, challenge: &str) -> String {
        self.sign(r#"{"alg":"ES256","typ":"dbsc+jwt"}"#, challenge)
    }
}

fn bound(outcome: DeviceOutcome) -> DeviceAnswer {
    match outcome {
        DeviceOutcome::Bound(answer) => answer,
        other => panic!("{other:?}"),
    }
}

/// A client whose session is bound, or one of the same application whose session is not.
pub(crate) async fn app(is_bound: bool) -> App {
    async fn login(handle: SessionHandle<User>) -> kvolt::middleware::Result<()> {
        handle.login(NewSession::new(ada())).await
    }
    async fn profile(user: Session<User>) -> String {
        user.name.clone()
    }
    let manager = Manager::<User>::new(MemoryStore::new());
    let mut session = NewSession::new(ada());
    let offer = manager.offer_device(&mut session).expect("there is randomness");
    let token = manager.create(session).await.expect("a store in memory");
    let registration = Key::new().registration(&offer);
    let outcome = manager.bind_device(&token, registration.as_bytes(), LIFETIME).await;
    let cookie = bound(outcome.expect("a store in memory")).cookie.expect("it is bound");
    let sessions = Sessions::builder(manager).device_bound(DeviceBound::new());
    let sessions = sessions.build().expect("the defaults");
    let router = Router::new()
        .route("/profile", get(profile))
        .route_layer(sessions.layer())
        .route("/login", post(login).route_layer(sessions.layer().optional()));
    let app = App::new(router).await;
    if !is_bound {
        return app;
    }
    let cookies = format!("__Host-session_id={}; __Host-session_bound={cookie}", token.expose());
    app.with_cookies(&cookies)
}

pub(crate) fn run() {
    println!("\n== device: sessions that are bound to a device, in memory");
    let apps = http::runtime().block_on(async {
        [
            ("device binding off", http::kvolt().await),
            ("on, the session is not bound", app(false).await),
            ("on, the session is bound", app(true).await),
        ]
    });
    let contender = |(name, app): &'static (&'static str, App)| {
        Contender::new(name, move |_, requests| http::runtime().block_on(app.requests(requests)))
    };
    let apps: &'static [(&str, App)] = Box::leak(Box::new(apps));
    let contenders: Vec<Contender> = apps.iter().map(contender).collect();
    race("GET /profile", 1, 50_000, &contenders);
    http::runtime().block_on(async {
        refresh().await;
        record().await;
    });
}

/// The time of a refresh, without the browser's signature.
async fn refresh() {
    let manager = Manager::<User>::new(MemoryStore::new());
    let mut session = NewSession::new(ada());
    let key = Key::new();
    let offer = manager.offer_device(&mut session).expect("there is randomness");
    let token = manager.create(session).await.expect("a store in memory");
    let registration = key.registration(&offer);
    let outcome = manager.bind_device(&token, registration.as_bytes(), LIFETIME).await;
    let mut answer = bound(outcome.expect("a store in memory"));
    let (mut good, mut refused) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..REFRESHES {
        let proof = key.refresh(&answer.challenge);
        let start = Instant::now();
        let outcome = manager.prove_device(&token, answer.id.as_bytes(), b"", LIFETIME).await;
        refused += start.elapsed();
        assert!(bound(outcome.expect("a store in memory")).cookie.is_none());
        let start = Instant::now();
        let id = answer.id.as_bytes();
        let outcome = manager.prove_device(&token, id, proof.as_bytes(), LIFETIME).await;
        good += start.elapsed();
        answer = bound(outcome.expect("a store in memory"));
        assert!(answer.cookie.is_some());
    }
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(REFRESHES);
    println!("\n  a refresh with a good proof    {:>8.1} us", micros(good));
    println!("  a refresh without a proof      {:>8.1} us", micros(refused));
}

/// The bytes of the stored record.
async fn record() {
    let store = MemoryStore::<Vec<u8>>::new();
    let bytes = async || {
        let page = store.scan(None, 1).await.expect("a store in memory");
        page.listing.entries[0].value.len()
    };
    let manager = Manager::<User>::new(Encoded::new(store.clone(), RecordJson::new()));
    let mut session = NewSession::new(ada()).owner("42");
    let offer = manager.offer_device(&mut session).expect("there is randomness");
    let token = manager.create(session).await.expect("a store in memory");
    let unbound = bytes().await;
    let key = Key::new();
    let registration = key.registration(&offer);
    let outcome = manager.bind_device(&token, registration.as_bytes(), LIFETIME).await;
    let answer = bound(outcome.expect("a store in memory"));
    let first = bytes().await;
    let proof = key.refresh(&answer.challenge);
    let id = answer.id.as_bytes();
    let refreshed = manager.prove_device(&token, id, proof.as_bytes(), LIFETIME).await;
    assert!(bound(refreshed.expect("a store in memory")).cookie.is_some());
    let later = bytes().await;
    println!(
        "  bytes of the record as JSON: {unbound} unbound, {first} bound, {later} after a refresh"
    );
}
