//! The target of an attack: a store, and two servers of one application on it.

mod elsewhere;
mod mariadb;
mod memory;
mod postgres;
mod redis;
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

/// An empty store, and two servers of one application on it.
pub struct Stage {
    /// The first server.
    pub one: Server,
    /// The second server, as if in another process: it shares only the store with the
    /// first.
    pub other: Server,
    namespace: String,
    clock: Option<ManualClock>,
    bound: Option<Duration>,
    raw: Box<dyn Raw>,
    /// Opens a deployment in another namespace on the same server.
    neighbour: Box<dyn Fn(String) -> Opening + Send + Sync>,
}

/// A deployment that is being opened.
type Opening = Pin<Box<dyn Future<Output = Stage> + Send>>;

/// Direct access to the store, without the library.
pub(crate) trait Raw: Send + Sync {
    /// Returns the number of entries and other objects.
    fn count(&self) -> usize;

    /// Returns the whole content. Binary data may be raw, in hexadecimal, or both.
    fn dump(&self) -> Vec<u8>;
}

/// Bound of the near caches.
const BOUND: Duration = Duration::from_millis(400);

/// Polling interval of live sessions on stores without pushes.
const LIVE_INTERVAL: Duration = Duration::from_millis(250);

impl Stage {
    /// Opens the memory store, with a clock controlled by the test.
    pub async fn memory() -> Option<Self> {
        Some(memory::open())
    }

    /// Opens Redis; `None` if its tests are skipped.
    pub async fn redis() -> Option<Self> {
        redis::open(None).await
    }

    /// Opens Redis with a near cache in each server; `None` if its tests are skipped.
    pub async fn redis_near() -> Option<Self> {
        redis::open(Some(BOUND)).await
    }

    /// Opens PostgreSQL; `None` if its tests are skipped.
    pub async fn postgres() -> Option<Self> {
        postgres::open(None).await
    }

    /// Opens PostgreSQL with a near cache in each server; `None` if its tests are skipped.
    pub async fn postgres_near() -> Option<Self> {
        postgres::open(Some(BOUND)).await
    }

    /// Opens MariaDB; `None` if its tests are skipped.
    pub async fn mariadb() -> Option<Self> {
        mariadb::open().await
    }

    /// Opens SQLite, with a separate pool for each server.
    pub async fn sqlite() -> Option<Self> {
        Some(sqlite::open().await)
    }

    /// Returns both servers.
    pub fn servers(&self) -> [&Server; 2] {
        [&self.one, &self.other]
    }

    /// Opens another application on the same server: its namespace is this one's plus a
    /// suffix. One of its servers shares this deployment's connections. In memory, it is
    /// another store.
    pub async fn neighbour(&self, more: &str) -> Self {
        (self.neighbour)(format!("{}{more}", self.namespace)).await
    }

    /// Returns the bound of the near caches, if there are any.
    pub fn bound(&self) -> Option<Duration> {
        self.bound
    }

    /// Returns settings for a manager whose live sessions are notified of changes, and the
    /// maximum delay of a notification.
    pub async fn live(&self, server: &Server) -> (ManagerBuilder<User>, Duration) {
        match server.listening(BOUND).await {
            Some(store) if self.clock.is_none() => (server.builder_on(store), BOUND),
            // In memory only this process changes sessions, and a clock moved by a test
            // must be polled.
            _ => (server.builder().live_interval(LIVE_INTERVAL), LIVE_INTERVAL),
        }
    }

    /// Returns whether values are kept in memory without encoding.
    pub fn is_in_memory(&self) -> bool {
        self.clock.is_some()
    }

    /// Returns a short timeout that a test can wait for.
    pub fn moment(&self) -> Duration {
        Duration::from_secs(if self.clock.is_some() { 60 } else { 1 })
    }

    /// Advances the store's clock; waits if it can't be moved.
    pub async fn pass(&self, time: Duration) {
        match &self.clock {
            Some(clock) => clock.advance(time),
            None => tokio::time::sleep(time).await,
        }
    }

    /// Returns the time by the clock used for deadlines.
    pub fn now(&self) -> Timestamp {
        match &self.clock {
            Some(clock) => clock.clock().now(),
            None => Clock::system().now(),
        }
    }

    /// Returns the maximum difference between [`now`](Self::now) and the store's clock.
    pub fn inexactness(&self) -> Duration {
        if self.clock.is_some() { Duration::ZERO } else { Duration::from_millis(100) }
    }

    /// Returns the number of objects in the store.
    pub fn count(&self) -> usize {
        tokio::task::block_in_place(|| self.raw.count())
    }

    /// Returns the whole content of the store.
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

    /// Asserts that both servers reject a token: the store at once, and near caches in
    /// every read that begins after the bound.
    pub async fn is_refused(&self, token: &Token) {
        let since = Waiting::begin(self);
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

    /// Waits until all current copies have expired.
    pub async fn outlive_copies(&self) {
        if let Some(bound) = self.bound {
            tokio::time::sleep(bound).await;
        }
    }
}

/// The period in which copies may still be used.
pub(crate) struct Waiting {
    begun: Instant,
    bound: Duration,
}

/// Near caches round times to milliseconds.
const ROUNDING: Duration = Duration::from_millis(5);

impl Waiting {
    pub(crate) fn begin(stage: &Stage) -> Self {
        let bound = stage.bound.map_or(Duration::ZERO, |bound| bound + ROUNDING);
        Self { begun: Instant::now(), bound }
    }

    /// Returns whether a read that begins now must return the current state.
    pub(crate) fn is_over(&self) -> bool {
        self.begun.elapsed() >= self.bound
    }

    /// Waits after an outdated answer; panics if `last` says that it was too old.
    pub(crate) async fn goes_on(&self, last: bool) {
        assert!(!last, "what was ended is still used after the bound of {:?}", self.bound);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").field("bound", &self.bound).finish_non_exhaustive()
    }
}
