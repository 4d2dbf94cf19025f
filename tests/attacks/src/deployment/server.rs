use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use kvolt_cache::near::DEFAULT_MAX_COPIES;
use kvolt_cache::{AnyStore, ChangeFeed, Encoded, NearCache, Store};
use kvolt_middleware::{DeviceBound, Sessions};
use kvolt_servers::Proxy;
use kvolt_session::{Manager, ManagerBuilder, Record, RecordJson};
use kvolt_testkit::{Faults, FaultyStore};

use crate::application::router;
use crate::client::Client;
use crate::user::User;

/// A server of the application: its own connections to the store, and a network that can be cut.
pub struct Server {
    /// The store, as this server sees it.
    pub store: AnyStore<Record<User>>,
    /// The store below the codec and the near cache; `None` in memory.
    pub bytes: Option<AnyStore<Vec<u8>>>,
    /// Faults of its calls, between codec and driver.
    pub faults: Faults,
    proxy: Option<Proxy>,
    listen: Option<Listen>,
}

/// Opens the store with a subscription to its changes, if it has a change feed and no near cache.
type Listen = Box<dyn Fn(Duration) -> Listening + Send + Sync>;
type Listening = Pin<Box<dyn Future<Output = AnyStore<Record<User>>> + Send>>;

/// Generous, because the machine may be busy: no attack is about this timeout.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

impl Server {
    /// A server with sessions in its own memory.
    pub(super) fn in_memory(store: impl Store<Record<User>>) -> Self {
        let (store, faults) = FaultyStore::new(store);
        Self { store: AnyStore::new(store), bytes: None, faults, proxy: None, listen: None }
    }

    /// A server on a remote store.
    pub(super) fn remote(store: impl Store<Vec<u8>> + Clone, proxy: Option<Proxy>) -> Self {
        let (faulty, faults) = FaultyStore::new(store);
        let bytes = Some(AnyStore::new(faulty.clone()));
        let store = AnyStore::new(Encoded::new(faulty, RecordJson::new()));
        Self { store, bytes, faults, proxy, listen: None }
    }

    /// A server on a remote store with a change feed: with a near cache of this bound, or with a
    /// subscription only on [request](Self::listening).
    pub(super) async fn pushing(
        store: impl Store<Vec<u8>> + ChangeFeed + Clone,
        proxy: Option<Proxy>,
        bound: Option<Duration>,
    ) -> Self {
        let (faulty, faults) = FaultyStore::new(store);
        let bytes = Some(AnyStore::new(faulty.clone()));
        let (store, listen) = match bound {
            Some(bound) => (listened_to(faulty, bound, DEFAULT_MAX_COPIES).await, None),
            None => {
                let store = AnyStore::new(Encoded::new(faulty.clone(), RecordJson::new()));
                let listen: Listen =
                    Box::new(move |bound| Box::pin(listened_to(faulty.clone(), bound, 0)));
                (store, Some(listen))
            }
        };
        Self { store, bytes, faults, proxy, listen }
    }

    /// The builder of a manager on this server.
    pub fn builder(&self) -> ManagerBuilder<User> {
        Manager::builder(self.store.clone())
    }

    /// The store as this server sees it, with notifications of other servers' changes; `None` if it
    /// has no change feed.
    pub(super) async fn listening(&self, bound: Duration) -> Option<AnyStore<Record<User>>> {
        match &self.listen {
            Some(listen) => Some(listen(bound).await),
            None => self.store.changes().map(|_| self.store.clone()),
        }
    }

    /// A manager with default settings.
    pub fn manager(&self) -> Manager<User> {
        self.builder().build().expect("valid settings")
    }

    /// A client of this server's application, without cookies.
    pub fn client(&self) -> Client {
        self.client_of(self.manager())
    }

    /// A client of the application with this manager.
    pub fn client_of(&self, manager: Manager<User>) -> Client {
        let sessions = Sessions::builder(manager).store_timeout(TIMEOUT * 2);
        Client::new(router(sessions.build().expect("valid settings")))
    }

    /// A client of the application with sessions that are bound to the device of their browser.
    pub fn device_bound_client(&self) -> Client {
        let sessions = Sessions::builder(self.manager()).store_timeout(TIMEOUT * 2);
        let sessions = sessions.device_bound(DeviceBound::new());
        let sessions = sessions.build().expect("valid settings");
        // Around the paths of a registration and a refresh, too.
        let layer = sessions.layer().optional();
        Client::new(router(sessions).layer(layer))
    }

    /// The network to the store, if it has one.
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

/// A store behind a near cache with this many copies.
async fn listened_to(
    store: impl Store<Vec<u8>> + ChangeFeed,
    bound: Duration,
    max_copies: usize,
) -> AnyStore<Record<User>> {
    let near = NearCache::builder(Encoded::new(store, RecordJson::new()));
    let near = near.bound(bound).max_copies(max_copies).build().expect("a runtime");
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
