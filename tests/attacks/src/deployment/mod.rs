//! Where an attack is tried: a store, and two servers of one application on it.

mod mariadb;
mod memory;
mod postgres;
mod redis;
mod remote;
mod server;
mod sqlite;

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use kvolt_cache::{Clock, ManualClock, Timestamp};
use kvolt_session::{Access, ManagerBuilder, Token};
use tokio::time::Instant;

pub use server::Server;

use crate::user::User;

/// A store with nothing in it, and two servers of one application on it.
pub struct Deployment {
    /// One server.
    pub one: Server,
    /// Another one, as if it were another process: it shares nothing with the first but the store.
    pub other: Server,
    namespace: String,
    clock: Option<ManualClock>,
    bound: Option<Duration>,
    raw: Box<dyn RawStore>,
    /// Opens the deployment of another namespace on the same server.
    neighbour: Box<dyn Fn(String) -> Opening + Send + Sync>,
}

/// A deployment that is being opened.
type Opening = Pin<Box<dyn Future<Output = Deployment> + Send>>;

/// What somebody sees who reads the store past the library.
pub(crate) trait RawStore: Send + Sync {
    /// How many entries and other things there are.
    fn count(&self) -> usize;

    /// All of it. What is binary may be there as it is, in hexadecimal digits, or both.
    fn dump(&self) -> Vec<u8>;
}

/// How old an answer of a near cache may be here.
const BOUND: Duration = Duration::from_millis(400);

/// How often a live session looks here, where nothing is pushed.
const LIVE_INTERVAL: Duration = Duration::from_millis(250);

impl Deployment {
    /// The store in memory, on a clock that only the test moves.
    pub async fn memory() -> Option<Self> {
        Some(memory::open())
    }

    /// Redis; `None` where its tests are to be left out.
    pub async fn redis() -> Option<Self> {
        redis::open(None).await
    }

    /// Redis with a near cache in each server; `None` where its tests are to be left out.
    pub async fn redis_near() -> Option<Self> {
        redis::open(Some(BOUND)).await
    }

    /// PostgreSQL; `None` where its tests are to be left out.
    pub async fn postgres() -> Option<Self> {
        postgres::open(None).await
    }

    /// PostgreSQL with a near cache in each server; `None` where its tests are to be left out.
    pub async fn postgres_near() -> Option<Self> {
        postgres::open(Some(BOUND)).await
    }

    /// MariaDB; `None` where its tests are to be left out.
    pub async fn mariadb() -> Option<Self> {
        mariadb::open().await
    }

    /// SQLite, a pool of its own for each server.
    pub async fn sqlite() -> Option<Self> {
        Some(sqlite::open().await)
    }

    /// Both servers.
    pub fn servers(&self) -> [&Server; 2] {
        [&self.one, &self.other]
    }

    /// Another application on the same server: its namespace is this one's with more at its end. One
    /// of its servers shares the connections of this deployment's. In memory, it is another store.
    pub async fn neighbour(&self, more: &str) -> Self {
        (self.neighbour)(format!("{}{more}", self.namespace)).await
    }

    /// How old an answer may be, where there is a near cache.
    pub fn bound(&self) -> Option<Duration> {
        self.bound
    }

    /// The settings of a manager on a server whose live sessions are told of what is changed, and
    /// how late they may be.
    pub async fn live(&self, server: &Server) -> (ManagerBuilder<User>, Duration) {
        match server.listening(BOUND).await {
            Some(store) if self.clock.is_none() => (server.builder_on(store), BOUND),
            // In memory only this process changes anything; a clock that a test moves is looked at.
            _ => (server.builder().live_interval(LIVE_INTERVAL), LIVE_INTERVAL),
        }
    }

    /// Whether values are kept in this process as they are, and so not encoded.
    pub fn is_in_memory(&self) -> bool {
        self.clock.is_some()
    }

    /// A short time, for timeouts that a test waits for.
    pub fn short_timeout(&self) -> Duration {
        Duration::from_secs(if self.clock.is_some() { 60 } else { 1 })
    }

    /// Lets time pass: by the store's own clock where that can't be moved.
    pub async fn advance(&self, time: Duration) {
        match &self.clock {
            Some(clock) => clock.advance(time),
            None => tokio::time::sleep(time).await,
        }
    }

    /// The time by the clock that deadlines here go by.
    pub fn now(&self) -> Timestamp {
        match &self.clock {
            Some(clock) => clock.clock().now(),
            None => Clock::system().now(),
        }
    }

    /// By how much [`now`](Self::now) may differ from the store's own clock.
    pub fn clock_skew(&self) -> Duration {
        if self.clock.is_some() { Duration::ZERO } else { Duration::from_millis(100) }
    }

    /// How many things are in the store, whatever they are.
    pub fn count(&self) -> usize {
        tokio::task::block_in_place(|| self.raw.count())
    }

    /// Everything that is in the store.
    pub fn dump(&self) -> Vec<u8> {
        tokio::task::block_in_place(|| self.raw.dump())
    }

    /// That a token is good on both servers.
    pub async fn is_accepted(&self, token: &Token) {
        for server in self.servers() {
            let found = server.manager().peek(token).await.expect("the store answers");
            assert!(found.is_some(), "a session that should live is not there");
        }
    }

    /// That a token is good nowhere: at once, or with near caches from the bound on, by every read
    /// that begins later than that.
    pub async fn is_refused(&self, token: &Token) {
        let since = CopyLifetime::begin(self);
        for server in self.servers() {
            let manager = server.manager();
            let strict = Access::PEEK.strict();
            let found = manager.get_with(token, strict).await.expect("the store answers");
            assert!(found.is_none(), "the store has what was ended");
            loop {
                let last = since.is_over();
                if manager.get(token).await.expect("the store answers").is_none() {
                    break;
                }
                since.goes_on(last).await;
            }
        }
    }

    /// Lets the time pass after which no copy is used any more that was made before.
    pub async fn outlive_copies(&self) {
        if let Some(bound) = self.bound {
            tokio::time::sleep(bound).await;
        }
    }
}

/// How long copies may still be used.
pub(crate) struct CopyLifetime {
    begun: Instant,
    bound: Duration,
}

/// Near caches count whole milliseconds.
const ROUNDING: Duration = Duration::from_millis(5);

impl CopyLifetime {
    pub(crate) fn begin(deployment: &Deployment) -> Self {
        let bound = deployment.bound.map_or(Duration::ZERO, |bound| bound + ROUNDING);
        Self { begun: Instant::now(), bound }
    }

    /// Whether a read that begins now must show what was done before.
    pub(crate) fn is_over(&self) -> bool {
        self.begun.elapsed() >= self.bound
    }

    /// After an answer that was old: `last` says whether it was too old.
    pub(crate) async fn goes_on(&self, last: bool) {
        assert!(!last, "what was ended is still used after the bound of {:?}", self.bound);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

impl fmt::Debug for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deployment").field("bound", &self.bound).finish_non_exhaustive()
    }
}
