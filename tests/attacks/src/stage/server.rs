use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use kvolt_cache::near::DEFAULT_MAX_COPIES;
use kvolt_cache::{AnyStore, ChangeFeed, Clock, Encoded, NearCache, Store};
use kvolt_middleware::Sessions;
use kvolt_servers::Proxy;
use kvolt_session::{Manager, ManagerBuilder, Record, RecordJson};
use kvolt_testkit::Faults;

use crate::application::router;
use crate::client::Client;
use crate::gated::{Collisions, Gated};
use crate::user::User;

/// A server of the application, with its own connections to the store and a network that
/// can be cut.
pub struct Server {
    /// The store as this server sees it.
    pub store: AnyStore<Record<User>>,
    /// The store below the codec and the near cache; `None` in memory.
    pub bytes: Option<AnyStore<Vec<u8>>>,
    /// Injects faults directly above the driver.
    pub faults: Faults,
    /// Injects key collisions.
    pub collisions: Collisions,
    proxy: Option<Proxy>,
    clock: Option<Clock>,
    listen: Option<Listen>,
}

/// Opens the store again with change notifications, if it pushes changes and has no near
/// cache.
type Listen = Box<dyn Fn(Duration) -> Listening + Send + Sync>;
type Listening = Pin<Box<dyn Future<Output = AnyStore<Record<User>>> + Send>>;

/// Generous, since a store on a busy machine may be slow; no test here depends on it.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

impl Server {
    /// Creates a server with a store in its own memory.
    pub(super) fn in_memory(store: impl Store<Record<User>>, clock: Clock) -> Self {
        let (store, faults, collisions) = Gated::new(store);
        let store = AnyStore::new(store);
        Self {
            store,
            bytes: None,
            faults,
            collisions,
            proxy: None,
            clock: Some(clock),
            listen: None,
        }
    }

    /// Creates a server with a remote store.
    pub(super) fn elsewhere(store: impl Store<Vec<u8>> + Clone, proxy: Option<Proxy>) -> Self {
        let (gated, faults, collisions) = Gated::new(store);
        let bytes = Some(AnyStore::new(gated.clone()));
        let store = AnyStore::new(Encoded::new(gated, RecordJson::new()));
        Self { store, bytes, faults, collisions, proxy, clock: None, listen: None }
    }

    /// Creates a server with a remote store that pushes changes: with a near cache with
    /// this bound, or without a subscriber until [`listening`](Self::listening) is called.
    pub(super) async fn pushing(
        store: impl Store<Vec<u8>> + ChangeFeed + Clone,
        proxy: Option<Proxy>,
        bound: Option<Duration>,
    ) -> Self {
        let (gated, faults, collisions) = Gated::new(store);
        let bytes = Some(AnyStore::new(gated.clone()));
        let (store, listen) = match bound {
            Some(bound) => (listened_to(gated, bound, DEFAULT_MAX_COPIES).await, None),
            None => {
                let store = AnyStore::new(Encoded::new(gated.clone(), RecordJson::new()));
                let listen: Listen =
                    Box::new(move |bound| Box::pin(listened_to(gated.clone(), bound, 0)));
                (store, Some(listen))
            }
        };
        Self { store, bytes, faults, collisions, proxy, clock: None, listen }
    }

    /// Returns a manager builder for this server's store.
    pub fn builder(&self) -> ManagerBuilder<User> {
        self.builder_on(self.store.clone())
    }

    /// Returns this server's store with notifications about changes by other servers;
    /// `None` if the store pushes no changes.
    pub(super) async fn listening(&self, bound: Duration) -> Option<AnyStore<Record<User>>> {
        match &self.listen {
            Some(listen) => Some(listen(bound).await),
            None => self.store.changes().map(|_| self.store.clone()),
        }
    }

    /// Returns a manager builder for this store, with this server's clock.
    pub(super) fn builder_on(&self, store: AnyStore<Record<User>>) -> ManagerBuilder<User> {
        let builder = Manager::builder(store);
        match &self.clock {
            Some(clock) => builder.clock(clock.clone()),
            None => builder,
        }
    }

    /// Returns a manager with default settings.
    pub fn manager(&self) -> Manager<User> {
        self.builder().build().expect("the defaults work")
    }

    /// Returns a client of this server's application with an empty jar.
    pub fn client(&self) -> Client {
        self.client_of(self.manager())
    }

    /// Returns a client of an application with this manager.
    pub fn client_of(&self, manager: Manager<User>) -> Client {
        let sessions = Sessions::builder(manager).store_timeout(TIMEOUT * 2);
        Client::new(router(sessions.build().expect("the settings work")))
    }

    /// Returns the proxy between this server and the store, if there is one.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// Makes the store unavailable to this server.
    pub fn cut(&self) {
        match &self.proxy {
            Some(proxy) => proxy.cut(),
            None => self.faults.fail_all(true),
        }
    }

    /// Makes the store available again.
    pub fn restore(&self) {
        match &self.proxy {
            Some(proxy) => proxy.restore(),
            None => self.faults.fail_all(false),
        }
    }
}

/// Returns a store behind a near cache with this bound and number of copies, once it is
/// current.
async fn listened_to(
    store: impl Store<Vec<u8>> + ChangeFeed,
    bound: Duration,
    max_copies: usize,
) -> AnyStore<Record<User>> {
    let near = NearCache::builder(Encoded::new(store, RecordJson::new()));
    let near = near.bound(bound).max_copies(max_copies).build().expect("there is a runtime");
    while !near.is_current() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    AnyStore::new(near)
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("proxy", &self.proxy).finish_non_exhaustive()
    }
}
