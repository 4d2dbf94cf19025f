//! Sessions that are bound to a device: requests, refreshes, and bytes in the record.

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kvolt::cache::{Encoded, MemoryStore, Store};
use kvolt::middleware::{DeviceBound, Session, SessionHandle, Sessions};
use kvolt::session::{DeviceAnswer, DeviceOutcome, Manager, NewSession, RecordJson};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};

use crate::harness::{Contender, Race, Settings, Table, processor_time, progress};
use crate::http::{self, App, ada};
use crate::user::User;

const LIFETIME: Duration = Duration::from_secs(600);

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

pub(crate) fn run(settings: Settings) {
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
    progress(0, 2, "requests");
    let race = Race { column: "a request", rounds: settings.pick(21, 5), threads: 1, ops: 10_000 };
    race.run(&Table::new("device", "requests"), &contenders);
    progress(1, 2, "refreshes");
    http::runtime().block_on(async {
        refresh(settings.pick(2_000, 300)).await;
        record().await;
    });
}

/// The time of a refresh, without the browser's signature.
async fn refresh(refreshes: usize) {
    let manager = Manager::<User>::new(MemoryStore::new());
    let mut session = NewSession::new(ada());
    let key = Key::new();
    let offer = manager.offer_device(&mut session).expect("there is randomness");
    let token = manager.create(session).await.expect("a store in memory");
    let registration = key.registration(&offer);
    let outcome = manager.bind_device(&token, registration.as_bytes(), LIFETIME).await;
    let mut answer = bound(outcome.expect("a store in memory"));
    let (mut good, mut refused) = (Vec::new(), Vec::new());
    for _ in 0..refreshes {
        let proof = key.refresh(&answer.challenge);
        let start = processor_time();
        let outcome = manager.prove_device(&token, answer.id.as_bytes(), b"", LIFETIME).await;
        refused.push(processor_time() - start);
        assert!(bound(outcome.expect("a store in memory")).cookie.is_none());
        let start = processor_time();
        let id = answer.id.as_bytes();
        let outcome = manager.prove_device(&token, id, proof.as_bytes(), LIFETIME).await;
        good.push(processor_time() - start);
        answer = bound(outcome.expect("a store in memory"));
        assert!(answer.cookie.is_some());
    }
    let table = Table::new("device", "refreshes");
    for (row, mut times) in [("with a good proof", good), ("without a proof", refused)] {
        times.sort_unstable();
        let micros =
            |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_nanos() as f64 / 1e3;
        table.add(row, "median", "us", &[micros(0.5)]);
        table.add(row, "p99", "us", &[micros(0.99)]);
    }
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
    let table = Table::new("device", "the record as JSON");
    for (row, bytes) in
        [("not bound", unbound), ("bound", first), ("from the first refresh on", later)]
    {
        table.add(row, "size", "bytes", &[bytes as f64]);
    }
}
