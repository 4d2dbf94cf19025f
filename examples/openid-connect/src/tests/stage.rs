use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, mpsc};
use std::time::Duration;

use kvolt::cache::codec::{Encrypted, EncryptionKey, EncryptionKeys, Json};
use kvolt::cache::{AnyStore, Clock};
use kvolt::session::Record;
use kvolt::testing::{Faults, FaultyStore};
use kvolt::{Encoded, Manager, MemoryStore, NearCache, RecordJson, RedisStore, Token};
use kvolt_servers::{Package, Redis};
use openidconnect::url::Url;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::browser::Browser;
use crate::back_channel::Note;
use crate::provider::{Provider, Settings};
use crate::{Limits, Visit, app, manager};

/// The limit of every wait; generous, as other tests may keep the machine busy.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// No test is decided by them.
pub(super) const LIMITS: Limits =
    Limits { provider: Duration::from_secs(120), store: Duration::from_secs(120) };

/// A client whose requests end.
pub(super) fn http() -> reqwest::ClientBuilder {
    reqwest::Client::builder().timeout(LIMIT.saturating_mul(2))
}

/// Two servers of the application on one store, and the provider.
pub(super) struct Stage {
    pub(super) servers: [Server; 2],
    client_id: String,
    http: reqwest::Client,
}

/// One server.
pub(super) struct Server {
    origin: Url,
    pub(super) manager: Manager<Visit>,
}

/// The faults of the first server's stores.
pub(super) struct ServerFaults {
    pub(super) sessions: Faults,
    pub(super) notes: Faults,
}

type Stores = (Manager<Visit>, AnyStore<Note>);

/// Whether the test can run: see `KVOLT_SKIP_SERVERS` in CONTRIBUTING.md.
pub(super) fn can_run() -> bool {
    if provider_folder().join("node_modules/oidc-provider/lib/index.js").is_file() {
        return kvolt_servers::require(&[Package::Redis]);
    }
    if std::env::var_os("KVOLT_SKIP_SERVERS").is_some_and(|value| value == "1") {
        eprintln!("skipped: oidc-provider is not installed");
        return false;
    }
    panic!("oidc-provider is not installed: `cargo xtask test --only servers --install` does it");
}

fn provider_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/oidc-provider")
}

/// The provider of all tests, which ends with this process: then its standard input is closed.
static PROVIDER: LazyLock<(String, Child)> = LazyLock::new(|| {
    let mut node = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("provider/provider.mjs"))
        .arg(provider_folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is installed");
    let output = node.stdout.take().expect("it is a pipe");
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let _ = send.send(line);
        }
    });
    let issuer = receive.recv_timeout(LIMIT).expect("the provider starts").unwrap();
    (issuer, node)
});

static REDIS: LazyLock<Redis> = LazyLock::new(Redis::start);

fn memory() -> (MemoryStore<Record<Visit>>, MemoryStore<Note>) {
    memory_on(Clock::system())
}

fn memory_on(clock: Clock) -> (MemoryStore<Record<Visit>>, MemoryStore<Note>) {
    let sessions = MemoryStore::builder().clock(clock.clone()).build();
    (sessions, MemoryStore::builder().clock(clock).build())
}

impl Stage {
    /// On Redis, each server with its own connections and its own near cache.
    pub(super) async fn on_redis() -> Self {
        static STAGES: AtomicUsize = AtomicUsize::new(0);
        let name = format!("stage{}", STAGES.fetch_add(1, Ordering::Relaxed));
        let key = EncryptionKey::from_bytes(&[7; 32]);
        let stores = async || {
            let url = REDIS.url();
            let codec = Encrypted::new(RecordJson::new(), EncryptionKeys::new(key.clone()));
            let redis = RedisStore::open(url.as_str(), name.as_str()).await.unwrap();
            let store = NearCache::new(Encoded::new(redis, codec)).unwrap();
            let manager = manager(store, LIMITS).unwrap();
            let notes = RedisStore::open(url, &format!("{name}_logouts")).await.unwrap();
            (manager, AnyStore::new(Encoded::new(notes, Json)))
        };
        Self::new([stores().await, stores().await]).await
    }

    pub(super) async fn in_memory() -> Self {
        Self::faulty(memory()).await.0
    }

    /// On a clock that [`Clock::advance`] moves, with the faults of the first server's stores.
    pub(super) async fn on_clock(clock: Clock) -> (Self, ServerFaults) {
        Self::faulty(memory_on(clock)).await
    }

    pub(super) async fn with_faults() -> (Self, ServerFaults) {
        Self::faulty(memory()).await
    }

    async fn faulty(
        (sessions, notes): (MemoryStore<Record<Visit>>, MemoryStore<Note>),
    ) -> (Self, ServerFaults) {
        let second = (manager(sessions.clone(), LIMITS).unwrap(), AnyStore::new(notes.clone()));
        let (sessions, session_faults) = FaultyStore::new(sessions);
        let (notes, note_faults) = FaultyStore::new(notes);
        let first = (manager(sessions, LIMITS).unwrap(), AnyStore::new(notes));
        let faults = ServerFaults { sessions: session_faults, notes: note_faults };
        (Self::new([first, second]).await, faults)
    }

    async fn new(stores: [Stores; 2]) -> Self {
        let http = http().build().unwrap();
        let mut listeners = Vec::new();
        for _ in &stores {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let origins: Vec<_> = listeners
            .iter()
            .map(|listener| format!("http://{}", listener.local_addr().unwrap()))
            .collect();
        // Browsers come to the first server, and the provider reports logouts to the second.
        let registration = json!({
            "redirect_uris": [format!("{}/callback", origins[0])],
            "post_logout_redirect_uris": [format!("{}/", origins[0])],
            "backchannel_logout_uri": format!("{}/back-channel-logout", origins[1]),
            "backchannel_logout_session_required": true,
            "grant_types": ["authorization_code", "refresh_token"],
        });
        let request = http.post(format!("{}/reg", PROVIDER.0)).body(registration.to_string());
        let answer = request.header("content-type", "application/json").send().await.unwrap();
        let client: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let text = |name: &str| client[name].as_str().unwrap().to_owned();
        let mut servers = Vec::new();
        for (listener, (manager, notes)) in listeners.into_iter().zip(stores) {
            let settings = Settings {
                origin: origins[0].clone(),
                issuer: PROVIDER.0.clone(),
                client_id: text("client_id"),
                client_secret: text("client_secret"),
                asks_for_consent: true,
            };
            let origin = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
            let provider = Arc::new(Provider::discover(settings, LIMITS.provider).await.unwrap());
            let app = app(provider, manager.clone(), notes, LIMITS).unwrap();
            tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
            servers.push(Server { origin, manager });
        }
        let servers = servers.try_into().unwrap_or_else(|_| unreachable!("there are two"));
        Self { servers, client_id: text("client_id"), http }
    }

    pub(super) fn first(&self) -> &Server {
        &self.servers[0]
    }

    pub(super) fn second(&self) -> &Server {
        &self.servers[1]
    }

    /// How often this application has asked the provider for new tokens.
    pub(super) async fn refreshes(&self) -> u64 {
        self.count(&format!("refresh_token {}", self.client_id)).await
    }

    pub(super) async fn count(&self, what: &str) -> u64 {
        let counts = self.ask("/test/counts", &[]).await;
        let counts: HashMap<String, u64> = serde_json::from_str(&counts).unwrap();
        counts.get(what).copied().unwrap_or(0)
    }

    /// Makes the provider wait with its answers to this application's requests of tokens.
    pub(super) async fn hold_tokens(&self) {
        self.ask("/test/tokens", &[("client", &self.client_id), ("fault", "hold")]).await;
    }

    /// Makes the provider answer such requests with 503.
    pub(super) async fn refuse_tokens(&self) {
        self.ask("/test/tokens", &[("client", &self.client_id), ("fault", "refuse")]).await;
    }

    pub(super) async fn until_held(&self) {
        let what = format!("held {}", self.client_id);
        until("the request of tokens is held", async || self.count(&what).await == 1).await;
    }

    pub(super) async fn release_tokens(&self) {
        self.ask("/test/tokens", &[("client", &self.client_id)]).await;
    }

    /// Returns a token that the provider has signed with the key of this name.
    pub(super) async fn sign(&self, header: &Value, claims: &Value, key: &str) -> String {
        let token = json!({ "header": header, "claims": claims, "key": key }).to_string();
        self.ask("/test/sign", &[("token", &token)]).await
    }

    /// The claims of a valid logout token that names neither session nor user, issued in the past.
    pub(super) fn claims(&self) -> Value {
        static TOKENS: AtomicUsize = AtomicUsize::new(0);
        let now = self.first().manager.clock().now().as_millis() / 1000;
        json!({
            "iss": PROVIDER.0,
            "aud": self.client_id,
            "iat": now - 30,
            "exp": now + 90,
            "jti": format!("token {}", TOKENS.fetch_add(1, Ordering::Relaxed)),
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        })
    }

    /// The claims of a valid logout token with another claim.
    pub(super) fn claims_with(&self, name: &str, value: impl Into<Value>) -> Value {
        let mut claims = self.claims();
        claims[name] = value.into();
        claims
    }

    pub(super) async fn ask(&self, path: &str, query: &[(&str, &str)]) -> String {
        let url = Url::parse_with_params(&format!("{}{path}", PROVIDER.0), query).unwrap();
        self.http.get(url).send().await.unwrap().text().await.unwrap()
    }

    /// The page at which a user signs out of the provider itself.
    pub(super) fn sign_out_page(&self) -> Url {
        let client = [("client_id", &self.client_id)];
        Url::parse_with_params(&format!("{}/session/end", PROVIDER.0), client).unwrap()
    }
}

impl Server {
    pub(super) fn at(&self, path: &str) -> Url {
        self.origin.join(path).unwrap()
    }

    /// The data of a browser's session, as JSON.
    pub(super) async fn data(&self, browser: &Browser) -> Option<Value> {
        let token: Token = Token::parse(browser.token()?).unwrap();
        let session = self.manager.get(&token).await.unwrap()?;
        Some(serde_json::to_value(session.data()).unwrap())
    }

    /// Changes the data of a browser's session.
    pub(super) async fn edit(&self, browser: &Browser, change: impl Fn(&mut Value) + Sync) {
        let token: Token = Token::parse(browser.token().unwrap()).unwrap();
        let edit = |visit: &mut Visit| {
            let mut value = serde_json::to_value(&*visit).unwrap();
            change(&mut value);
            *visit = serde_json::from_value(value).unwrap();
        };
        self.manager.update(&token, edit).await.unwrap().expect("the session is live");
    }

    /// The provider's name of the session there.
    pub(super) async fn sid(&self, browser: &Browser) -> String {
        let data = self.data(browser).await.unwrap();
        let id_token = data["user"]["id_token"].as_str().unwrap();
        let claims: Value = crate::provider::part(id_token, 1).unwrap();
        claims["sid"].as_str().unwrap().to_owned()
    }
}

/// Waits for a condition, for at most a minute.
pub(super) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(LIMIT, wait).await.is_ok(), "within a minute: {what}");
}
