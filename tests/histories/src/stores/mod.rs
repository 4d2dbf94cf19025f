//! The stores under test, with their servers.

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
use crate::{FaultInjector, Ledger, Process};

/// A store, and the arrangement of its servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreKind {
    /// The memory store, behind a wrapper that injects faults.
    Memory,
    /// A single Redis server that writes each change to disk before it answers.
    Redis,
    /// A single Redis server without persistence; the checker must detect its losses.
    RedisForgetful,
    /// Redis with replicas and sentinels.
    RedisSentinel,
    /// A Redis Cluster.
    RedisCluster,
    /// PostgreSQL.
    Postgres,
    /// PostgreSQL that acknowledges before it writes (`synchronous_commit = off`); the
    /// checker must detect its losses.
    PostgresForgetful,
    /// MariaDB.
    MariaDb,
    /// SQLite: several pools on one file.
    Sqlite,
}

impl StoreKind {
    /// All stores.
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
    /// Returns the packages that the servers need.
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
        named.copied().ok_or_else(|| format!("unknown store {name}"))
    }
}

/// Options of a store.
#[derive(Debug, Clone, Default)]
pub struct StoreOptions {
    /// Bound of the near cache in each process; `None` for no near cache.
    pub near_cache: Option<Duration>,
    /// Number of replicas that must have a change before it is acknowledged.
    pub wait_replicas: u32,
    /// Name of the only fault to inject, for a single server or its network.
    pub only: Option<String>,
}

/// A store with its servers, ready for a run.
pub struct Setup {
    /// The application's server processes on this store.
    pub processes: Vec<Process>,
    /// The promises of the store.
    pub rules: Rules,
    /// The fault injector, which owns the servers.
    pub injector: Box<dyn FaultInjector>,
}

/// Starts the servers of a store and connects to them.
///
/// # Errors
///
/// Returns a message if a server does not start or can't be reached.
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
        // These stores push no changes, so a near cache could not be invalidated.
        StoreKind::MariaDb if near_cache.is_some() => {
            Err(format!("{kind} does not support a near cache"))
        }
        StoreKind::MariaDb => sql::mariadb(&options).await,
        StoreKind::Sqlite => sql::sqlite(&options).await,
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// Number of server processes of the application.
const PROCESSES: usize = 3;

/// Namespace of the sessions.
const NAMESPACE: &str = "histories";

/// Returns the part of the idle timeout after which a process extends a session. The first
/// process extends at every use, so that extensions race with all other calls; the others
/// do not within a run.
const fn slide_after(process: usize) -> f64 {
    if process == 0 { 0.0 } else { 0.0625 }
}

/// Creates a process on a store of bytes.
fn process(store: impl Store<Vec<u8>>, rules: &Rules) -> Result<Process, String> {
    Process::new(Encoded::new(store, RecordJson::<Ledger>::new()), rules.grace).map_err(to_text)
}

/// Creates a process on a store of bytes, with a near cache if a bound is given.
fn process_near(
    store: impl Store<Vec<u8>> + ChangeFeed,
    near_cache: Option<Duration>,
    rules: &Rules,
) -> Result<Process, String> {
    let Some(bound) = near_cache else { return process(store, rules) };
    let store = Encoded::new(store, RecordJson::<Ledger>::new());
    let near = NearCache::builder(store).bound(bound).build().map_err(to_text)?;
    Process::new(near, rules.grace).map_err(to_text)
}

/// Runs a blocking function; a server that does not start panics with the reason.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|_| String::from("a server did not start"))
}

/// Converts an error to text.
fn to_text(error: impl fmt::Display) -> String {
    error.to_string()
}
