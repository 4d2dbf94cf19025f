//! A fixture of the laws: a store on a server that runs, in a namespace of its own.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::codec::{Encrypted, EncryptionKey, EncryptionKeys, Json};
use kvolt_cache::{Codec, Encoded, Key, Store};
use kvolt_redis::RedisStore;
use kvolt_servers::{Proxy, Redis, RedisCluster};
use kvolt_testkit::Fixture;
use kvolt_testkit::conformance::{Asked, Cost, Costs, check_costs, check_laws_on_a_real_clock};

use crate::support::{acl_lines, cluster_url, connection, namespace, runtime};

pub(crate) fn sealing() -> Encrypted<Json> {
    Encrypted::new(Json, EncryptionKeys::new(EncryptionKey::from_bytes(&[7; 32])))
}

/// The servers that the laws are checked on.
#[derive(Clone)]
pub(crate) enum Servers {
    One(Arc<Redis>),
    Cluster(Arc<RedisCluster>),
}

/// A store with values by a codec.
#[derive(Clone)]
pub(crate) struct On<C> {
    servers: Servers,
    url: String,
    codec: C,
    /// Counts what is asked, where that is checked.
    proxy: Option<Arc<Proxy>>,
    /// Whether the store is on a connection of the application.
    is_existing: bool,
    /// How often the concurrent laws are tried: 5 times, or as `KVOLT_ROUNDS` says.
    rounds: usize,
}

impl<C> On<C> {
    pub(crate) fn new(server: Redis, codec: C) -> Self {
        let url = server.url();
        Self::of(Servers::One(Arc::new(server)), url, codec)
    }

    pub(crate) fn cluster(cluster: RedisCluster, codec: C) -> Self {
        let url = cluster_url(&cluster);
        Self::of(Servers::Cluster(Arc::new(cluster)), url, codec)
    }

    fn of(servers: Servers, url: String, codec: C) -> Self {
        let rounds = std::env::var("KVOLT_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
        Self { servers, url, codec, proxy: None, is_existing: false, rounds: rounds.unwrap_or(5) }
    }

    /// The same servers by another URL.
    pub(crate) fn by(self, url: impl FnOnce(&Redis) -> String) -> Self {
        match &self.servers {
            Servers::One(server) => Self { url: url(server), ..self },
            Servers::Cluster(_) => self,
        }
    }

    /// As the user of the README, who may do nothing else.
    pub(crate) fn with_fewest_permissions(self) -> Self {
        self.by(|server| {
            for line in acl_lines("app") {
                server.cli(&line.iter().map(String::as_str).collect::<Vec<_>>());
            }
            server.url_as("app", "password")
        })
    }

    /// On a connection of the application.
    pub(crate) fn on_existing(self) -> Self {
        Self { is_existing: true, ..self }
    }

    fn counted(self) -> Self {
        let Servers::One(server) = &self.servers else { return self };
        let proxy = Proxy::to(server.port());
        Self { url: proxy.url(&self.url), proxy: Some(Arc::new(proxy)), ..self }
    }

    /// Runs a command on an entry's name, where it lies.
    fn change(&self, store: &RedisStore, key: &Key, command: impl Fn(&str) -> Vec<String>) {
        let length = if key.is_in(store.namespace()) { 24 } else { 64 };
        let pattern = format!("{}:{{*}}:{}", store.namespace(), &key.to_string()[..length]);
        let on = |server: &Redis| {
            let name = server.cli(&["KEYS", &pattern]);
            if !name.is_empty() {
                server.cli(&command(&name).iter().map(String::as_str).collect::<Vec<_>>());
            }
        };
        match &self.servers {
            Servers::One(server) => on(server),
            Servers::Cluster(cluster) => {
                cluster.masters().iter().for_each(|node| on(&cluster.nodes()[*node]));
            }
        }
    }
}

impl<C: Codec<String> + Clone> On<C> {
    async fn open(&self, namespace: &str) -> Encoded<String, RedisStore, C> {
        let builder = match self.is_existing {
            false => RedisStore::builder(self.url.as_str(), namespace),
            true => RedisStore::builder_on(connection(&self.url).await, namespace),
        };
        // A law holds however busy the machine is.
        let store = builder.timeout(Duration::from_secs(20)).open().await.expect("it opens");
        Encoded::new(store, self.codec.clone())
    }
}

impl<C: Codec<String> + Clone> Fixture for On<C> {
    type Store = Encoded<String, RedisStore, C>;

    async fn store(&self) -> Self::Store {
        self.open(&namespace()).await
    }

    // The server's clock can't be moved.
    async fn advance(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }

    fn tick(&self) -> Duration {
        Duration::from_millis(100)
    }

    fn slack(&self, idle: Duration) -> Duration {
        idle / 16
    }

    fn rounds(&self) -> usize {
        self.rounds
    }

    async fn peer(&self, store: &Self::Store) -> Option<Self::Store> {
        Some(self.open(store.namespace().as_str()).await)
    }

    async fn neighbour(&self, store: &Self::Store) -> Option<Self::Store> {
        let other = store.store().within(&namespace()).expect("the name is valid");
        Some(Encoded::new(other, self.codec.clone()))
    }

    async fn damage(&self, store: &Self::Store, key: &Key) -> bool {
        let command = |name: &str| ["SETRANGE", name, "25", "damaged"].map(String::from).to_vec();
        self.change(store.store(), key, command);
        true
    }

    async fn write_newer(&self, store: &Self::Store, key: &Key) -> bool {
        let command = |name: &str| ["SETRANGE", name, "0", "kv2 "].map(String::from).to_vec();
        self.change(store.store(), key, command);
        true
    }

    async fn asked(&self, _: &Self::Store) -> Option<Asked> {
        let counts = self.proxy.as_ref()?.counts();
        Some(Asked {
            commands: counts.commands,
            turns: counts.round_trips,
            bytes_sent: counts.bytes_to_server,
            bytes_received: counts.bytes_to_client,
            rows: None,
        })
    }

    fn costs(&self) -> Costs {
        let two = Cost::new(2, 2);
        Costs { insert_at_limit: two, list: two, remove_owner: two, ..Costs::default() }
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        // Its threads do what the store waits for; the laws wait in each other.
        let _context = runtime().enter();
        pollster::block_on(future)
    }
}

/// Why laws are not checked here: this store reports no expiry, and costs have a test of their own.
const NOT_CHECKED: [&str; 2] =
    ["the store can't tell what has ended", "the fixture does not count what the store asks"];

/// Checks every law but those about costs, many at a time as most of them sleep, and panics if any is
/// broken, or was not checked.
pub(crate) fn all_laws_hold<F: Fixture>(fixture: F) {
    let report = check_laws_on_a_real_clock(&fixture, 16);
    assert_eq!(report.broken, []);
    let others = report.not_checked.iter().filter(|law| !NOT_CHECKED.contains(&law.why));
    assert_eq!(others.count(), 0, "{:#?}", report.not_checked);
}

/// Checks the laws about costs.
pub(crate) fn costs_are_as_stated<C: Codec<String> + Clone>(fixture: On<C>) {
    let report = check_costs(&fixture.counted());
    assert_eq!((report.broken, report.not_checked), (Vec::new(), Vec::new()));
}
