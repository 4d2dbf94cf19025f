//! The target of an attack: a store, and two servers of one application on it.

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
use kvolt_session::{Access, Manager, ManagerBuilder, Token};
use tokio::time::Instant;

pub use server::Server;

use crate::user::User;

/// An empty store, and two servers of one application on it.
pub struct Deployment {
    /// One server.
    pub one: Server,
    /// Another server, like another process: it shares only the store with the first.
    pub other: Server,
    namespace: String,
    clock: Option<ManualClock>,
    bound: Option<Duration>,
    raw: Box<dyn RawStore>,
    /// Opens the deployment of another namespace on the same server.
    neighbour: Box<dyn Fn(String) -> Opening + Send + Sync>,
}

/// A deployment that is opening.
type Opening = Pin<Box<dyn Future<Output = Deployment> + Send>>;

/// Direct access to the store, without the library.
pub(crate) trait RawStore: Send + Sync {
    /// The number of entries and other objects.
    fn count(&self) -> usize;

    /// All contents. Binary values are raw, in hexadecimal digits, or both.
    fn dump(&self) -> Vec<u8>;
}

/// The bound of the near caches: the maximum age of a copy.
const BOUND: Duration = Duration::from_millis(400);

/// How often a live session checks the store, without a change feed.
const LIVE_INTERVAL: Duration = Duration::from_millis(250);

impl Deployment {
    /// The store in memory, with a clock that the test moves.
    pub async fn memory() -> Option<Self> {
        Some(memory::open())
    }

    /// Redis; `None` if its tests are skipped.
    pub async fn redis() -> Option<Self> {
        redis::open(None).await
    }

    /// Redis with a near cache in each server; `None` if its tests are skipped.
    pub async fn redis_near() -> Option<Self> {
        redis::open(Some(BOUND)).await
    }

    /// PostgreSQL; `None` if its tests are skipped.
    pub async fn postgres() -> Option<Self> {
        postgres::open(None).await
    }

    /// PostgreSQL with a near cache in each server; `None` if its tests are skipped.
    pub async fn postgres_near() -> Option<Self> {
        postgres::open(Some(BOUND)).await
    }

    /// MariaDB; `None` if its tests are skipped.
    pub async fn mariadb() -> Option<Self> {
        mariadb::open().await
    }

    /// SQLite, with a separate pool for each server.
    pub async fn sqlite() -> Option<Self> {
        Some(sqlite::open().await)
    }

    /// Both servers.
    pub fn servers(&self) -> [&Server; 2] {
        [&self.one, &self.other]
    }

    /// Another application on the same server. Its namespace is this one's with a suffix. One of
    /// its servers uses this deployment's connections. In memory, it is another store.
    pub async fn neighbour(&self, more: &str) -> Self {
        (self.neighbour)(format!("{}{more}", self.namespace)).await
    }

    /// The bound of the near caches; `None` without them.
    pub fn bound(&self) -> Option<Duration> {
        self.bound
    }

    /// A manager's builder on a server whose live sessions are notified of changes, and the maximum
    /// delay of a notification.
    pub async fn live(&self, server: &Server) -> (ManagerBuilder<User>, Duration) {
        match server.listening(BOUND).await {
            Some(store) if self.clock.is_none() => (Manager::builder(store), BOUND),
            // In memory, only this process changes sessions, and the clock that a test moves is
            // polled.
            _ => (server.builder().live_interval(LIVE_INTERVAL), LIVE_INTERVAL),
        }
    }

    /// Whether values stay in this process, without a codec.
    pub fn is_in_memory(&self) -> bool {
        self.clock.is_some()
    }

    /// A short timeout, for tests that wait for it.
    pub fn short_timeout(&self) -> Duration {
        Duration::from_secs(if self.clock.is_some() { 60 } else { 1 })
    }

    /// Advances the clock, or waits if the store's clock can't be moved.
    pub async fn advance(&self, time: Duration) {
        match &self.clock {
            Some(clock) => clock.advance(time),
            None => tokio::time::sleep(time).await,
        }
    }

    /// The time, by the clock for deadlines.
    pub fn now(&self) -> Timestamp {
        match &self.clock {
            Some(clock) => clock.clock().now(),
            None => Clock::system().now(),
        }
    }

    /// The maximum difference between [`now`](Self::now) and the store's clock.
    pub fn clock_skew(&self) -> Duration {
        if self.clock.is_some() { Duration::ZERO } else { Duration::from_millis(100) }
    }

    /// The number of objects in the store.
    pub fn count(&self) -> usize {
        tokio::task::block_in_place(|| self.raw.count())
    }

    /// All contents of the store.
    pub fn dump(&self) -> Vec<u8> {
        tokio::task::block_in_place(|| self.raw.dump())
    }

    /// Asserts that both servers accept a token.
    pub async fn is_accepted(&self, token: &Token) {
        for server in self.servers() {
            let found = server.manager().peek(token).await.expect("the store answers");
            assert!(found.is_some(), "a session that should live is not there");
        }
    }

    /// Asserts that both servers refuse a token: at once, or with near caches, at every read that
    /// starts after the bound.
    pub async fn is_refused(&self, token: &Token) {
        let since = CopyLifetime::begin(self);
        for server in self.servers() {
            let manager = server.manager();
            let strict = Access::PEEK.strict();
            let found = manager.get_with(token, strict).await.expect("the store answers");
            assert!(found.is_none(), "the store accepts an ended session");
            loop {
                let last = since.is_over();
                if manager.get(token).await.expect("the store answers").is_none() {
                    break;
                }
                since.retry_or_panic(last).await;
            }
        }
    }

    /// Waits until all current copies have expired.
    pub async fn outlive_copies(&self) {
        if let Some(bound) = self.bound {
            tokio::time::sleep(bound).await;
        }
    }
}

/// How long copies made before may still be used.
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

    /// Whether a read that starts now must show earlier changes.
    pub(crate) fn is_over(&self) -> bool {
        self.begun.elapsed() >= self.bound
    }

    /// Called after an outdated answer: `last` is whether it was outside the bound.
    pub(crate) async fn retry_or_panic(&self, last: bool) {
        assert!(!last, "an ended session is used after the bound of {:?}", self.bound);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

impl fmt::Debug for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deployment").field("bound", &self.bound).finish_non_exhaustive()
    }
}
