//! The stores that runs are made on, with their servers.

mod memory;
mod network;
mod redis;
mod sql;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use kvolt_cache::{ChangeFeed, Encoded, NearCache, Store};
use kvolt_servers::{Package, Postgres, Redis};
use kvolt_session::RecordJson;

use crate::checker::Rules;
use crate::{Disturber, Ledger, Process};

/// Which store, and how its servers are arranged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreKind {
    /// The store in memory, behind one that fails on purpose.
    Memory,
    /// One Redis that writes each change to disk before it replies.
    Redis,
    /// One Redis without persistence, which a run must detect.
    RedisForgetful,
    /// Redis with replicas and sentinels.
    RedisSentinel,
    /// A Redis Cluster.
    RedisCluster,
    /// PostgreSQL.
    Postgres,
    /// PostgreSQL that replies before it has written (`synchronous_commit = off`), which a run must
    /// detect.
    PostgresForgetful,
    /// MariaDB.
    MariaDb,
    /// SQLite: several pools on one file.
    Sqlite,
}

impl StoreKind {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Memory,
        Self::Redis,
        Self::RedisForgetful,
        Self::RedisSentinel,
        Self::RedisCluster,
        Self::Postgres,
        Self::PostgresForgetful,
        Self::MariaDb,
        Self::Sqlite,
    ];
}

impl StoreKind {
    /// The servers that it needs; for a test to ask whether they are installed.
    pub const fn packages(self) -> &'static [Package] {
        match self {
            Self::Memory | Self::Sqlite => &[],
            Self::Redis | Self::RedisForgetful | Self::RedisSentinel | Self::RedisCluster => {
                &[Package::Redis]
            }
            Self::Postgres | Self::PostgresForgetful => &[Package::Postgres],
            Self::MariaDb => &[Package::MariaDb],
        }
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::RedisForgetful => "redis-forgetful",
            Self::RedisSentinel => "redis-sentinel",
            Self::RedisCluster => "redis-cluster",
            Self::Postgres => "postgres",
            Self::PostgresForgetful => "postgres-forgetful",
            Self::MariaDb => "mariadb",
            Self::Sqlite => "sqlite",
        })
    }
}

impl FromStr for StoreKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let named = Self::ALL.iter().find(|kind| kind.to_string() == name);
        named.copied().ok_or_else(|| format!("there is no store {name}"))
    }
}

/// Options of a store.
#[derive(Debug, Clone, Default)]
pub struct StoreOptions {
    /// A near cache with this bound in each process.
    pub near_cache: Option<Duration>,
    /// The number of replicas that must have a change before it is acknowledged.
    pub wait_replicas: u32,
    /// The only fault, by its name, where it is one of a server or of the network to it.
    pub only: Option<String>,
}

/// A store with its servers, ready for a run.
pub struct Setup {
    /// Server processes of the application, on this store.
    pub processes: Vec<Process>,
    /// The store's promises.
    pub rules: Rules,
    /// Makes its servers fail. They end with it.
    pub disturber: Box<dyn Disturber>,
}

/// Starts the servers of a store and connects to them.
///
/// # Errors
///
/// Returns an error if a server does not start or can't be reached.
pub async fn open(kind: StoreKind, options: StoreOptions) -> Result<Setup, String> {
    let near_cache = options.near_cache;
    match kind {
        StoreKind::Memory => memory::open(near_cache),
        StoreKind::Redis => redis::alone(&options, Redis::builder().append_only()).await,
        StoreKind::RedisForgetful => redis::alone(&options, Redis::builder()).await,
        StoreKind::RedisSentinel => redis::sentinel(&options).await,
        StoreKind::RedisCluster => redis::cluster(&options).await,
        StoreKind::Postgres => sql::postgres(&options, Postgres::builder()).await,
        StoreKind::PostgresForgetful => {
            let forgetful = Postgres::builder().config("synchronous_commit", "off");
            sql::postgres(&options, forgetful.config("wal_writer_delay", "2s")).await
        }
        // MariaDB pushes no changes.
        StoreKind::MariaDb if near_cache.is_some() => Err(format!("{kind} has no near cache")),
        StoreKind::MariaDb => sql::mariadb(&options).await,
        StoreKind::Sqlite => sql::sqlite(&options).await,
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// How many server processes of the application there are.
const PROCESSES: usize = 3;

/// The namespace of the sessions.
const NAMESPACE: &str = "histories";

/// Which part of the idle time must have passed before a process slides: the first does at each
/// use, so that slides meet everything else; the others do not in so short a time.
const fn slide_after(process: usize) -> f64 {
    if process == 0 { 0.0 } else { 0.0625 }
}

/// A process on a store of bytes.
fn process(store: impl Store<Vec<u8>>, rules: &Rules) -> Result<Process, String> {
    Process::new(Encoded::new(store, RecordJson::<Ledger>::new()), rules.grace).map_err(words)
}

/// A process on a store of bytes, with a near cache if there is a bound.
fn process_near(
    store: impl Store<Vec<u8>> + ChangeFeed,
    near_cache: Option<Duration>,
    rules: &Rules,
) -> Result<Process, String> {
    let Some(bound) = near_cache else { return process(store, rules) };
    let store = Encoded::new(store, RecordJson::<Ledger>::new());
    let near = NearCache::builder(store).bound(bound).build().map_err(words)?;
    Process::new(near, rules.grace).map_err(words)
}

/// Runs what blocks; a server that does not start says why by panicking.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|_| String::from("a server did not start"))
}

/// In words.
fn words(error: impl fmt::Display) -> String {
    error.to_string()
}
