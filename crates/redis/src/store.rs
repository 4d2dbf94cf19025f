//! The store.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{
    Clock, Cursor, Deadlines, Entry, EntryList, EntryPage, Expiry, Freshness, InsertOutcome, Key,
    Namespace, NewEntry, Owner, RemoveOutcome, ReplaceOutcome, Result, Store, Target, Version,
};

use redis::aio::ConnectionManager;

use crate::builder::RedisStoreBuilder;
use crate::errors::Fault;
use crate::names::{self, Names};
use crate::reply;
use crate::servers::Servers;
use crate::snapshots::Snapshots;

/// A [`Store`] of bytes on Redis or Valkey.
///
/// [`Encoded`](kvolt_cache::Encoded) makes a store of values of it. Cloning it is cheap: all clones
/// share their connections. It must be opened and used on a Tokio runtime.
///
/// ```no_run
/// use kvolt_cache::{Encoded, codec::Json};
/// use kvolt_redis::RedisStore;
///
/// #[tokio::main]
/// async fn main() -> kvolt_cache::Result<()> {
///     let bytes = RedisStore::open("redis://127.0.0.1:6379", "shop").await?;
///     let store: Encoded<String, RedisStore, Json> = Encoded::new(bytes, Json);
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct RedisStore {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) servers: Arc<Servers>,
    pub(crate) names: Names,
    pub(crate) slide_after: f64,
    pub(crate) snapshots: Snapshots,
}

impl RedisStore {
    /// Opens a namespace on a server, with the default settings.
    ///
    /// [`builder`](Self::builder) describes the URL and the namespace, and has the settings.
    ///
    /// ```no_run
    /// # #[tokio::main]
    /// # async fn main() -> kvolt_cache::Result<()> {
    /// use kvolt_redis::RedisStore;
    ///
    /// let store = RedisStore::open("redis://127.0.0.1:6379", "shop").await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the server is unavailable ([`is_unavailable`](kvolt_cache::Error::is_unavailable)), or if the operator
    /// must act ([`is_misconfigured`](kvolt_cache::Error::is_misconfigured)): see [`RedisStoreBuilder::open`].
    pub async fn open(url: impl Into<String>, namespace: &str) -> Result<Self> {
        Self::builder(url, namespace).open().await
    }

    /// Returns a builder for a store on the server, the Sentinel deployment or the cluster at a URL.
    ///
    /// - `redis://[user:password@]host[:port][/database]`: one server; `rediss://` with TLS;
    /// - `unix:///path[?db=database]`: one server, by its socket;
    /// - `redis+sentinel://[user:password@]host[:port],…/master[/database]`: the
    ///   master that these sentinels monitor under this name; `rediss+sentinel://` with TLS;
    /// - `redis+cluster://[user:password@]host[:port],…`: a cluster, by some of its nodes;
    ///   `rediss+cluster://` with TLS.
    ///
    /// In a user name or a password, every character other than a letter, a digit or one of `-._~`
    /// must be percent-encoded, such as `%40` for `@`.
    ///
    /// Every name in the server begins with the namespace: 1 to 32 characters of `a` to `z`, `0` to
    /// `9` and `_`, a letter first. Stores of different namespaces share nothing. One namespace is
    /// one deployment of one application.
    ///
    /// ```no_run
    /// # #[tokio::main]
    /// # async fn main() -> kvolt_cache::Result<()> {
    /// use std::time::Duration;
    /// use kvolt_redis::RedisStore;
    ///
    /// let store = RedisStore::builder("rediss://app:pa%40ss@redis.internal:6380", "shop")
    ///     .timeout(Duration::from_secs(1))
    ///     .open()
    ///     .await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(url: impl Into<String>, namespace: &str) -> RedisStoreBuilder {
        RedisStoreBuilder::new(url.into(), String::from(namespace))
    }

    /// Returns a builder for a store on a connection of the application.
    ///
    /// A [`ConnectionManager`] reconnects, and sends no command twice. The driver's
    /// `MultiplexedConnection` never reconnects, and its cluster connection sends commands again
    /// whose reply was lost, so neither can serve a store. Opening makes the same checks as with a
    /// URL. A near cache needs [`listen_url`](RedisStoreBuilder::listen_url).
    ///
    /// A call fails once [`timeout`](RedisStoreBuilder::timeout) or the connection's own response
    /// timeout has passed (in the driver 500 milliseconds). No other code may select another
    /// database on this connection, block it, or switch replies off.
    ///
    /// A `ConnectionManager` reconnects only when its connection has ended. A network that drops
    /// packets silently does not end it: without a keepalive and a user timeout (Linux), every call
    /// fails until the operating system gives the connection up, which takes a quarter of an hour by
    /// default. A master that became a replica does not end it either: every change fails
    /// (`READONLY`) until something closes the connection. A store with a URL recovers from both.
    ///
    /// ```no_run
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use kvolt_redis::RedisStore;
    /// use redis::IntoConnectionInfo;
    /// use redis::io::tcp::TcpSettings;
    /// use redis::io::tcp::socket2::TcpKeepalive;
    ///
    /// let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(10));
    /// let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    /// #[cfg(target_os = "linux")]
    /// let tcp = tcp.set_user_timeout(Duration::from_secs(10));
    /// let server = "redis://127.0.0.1:6379".into_connection_info()?.set_tcp_settings(tcp);
    /// let connection = redis::Client::open(server)?.get_connection_manager().await?;
    /// let store = RedisStore::builder_on(connection.clone(), "shop").open().await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder_on(connection: ConnectionManager, namespace: &str) -> RedisStoreBuilder {
        RedisStoreBuilder::on(connection, String::from(namespace))
    }

    /// Returns the store of another namespace, on the same connections and with the same settings.
    ///
    /// The call sends nothing to the server: if the user may not access the keys of that namespace,
    /// the first operation returns an error.
    ///
    /// ```no_run
    /// # #[tokio::main]
    /// # async fn main() -> kvolt_cache::Result<()> {
    /// use kvolt_redis::RedisStore;
    ///
    /// let shop = RedisStore::open("redis://127.0.0.1:6379", "shop").await?;
    /// let admin = shop.within("shop_admin")?;
    /// # let _ = admin;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the name is not a valid [`Namespace`] ([`is_misconfigured`](kvolt_cache::Error::is_misconfigured)).
    pub fn within(&self, namespace: &str) -> Result<Self> {
        let names = Names(Namespace::new(namespace)?);
        Ok(Self::new(Arc::clone(&self.inner.servers), names, self.inner.slide_after))
    }

    /// Returns how much earlier than its idle time an unused entry may expire:
    /// [`slide_after`](RedisStoreBuilder::slide_after) times `idle`.
    ///
    /// ```no_run
    /// # #[tokio::main]
    /// # async fn main() -> kvolt_cache::Result<()> {
    /// use std::time::Duration;
    /// use kvolt_redis::RedisStore;
    ///
    /// let store = RedisStore::open("redis://127.0.0.1:6379", "shop").await?;
    /// assert_eq!(store.slack(Duration::from_secs(1_600)), Duration::from_secs(100));
    /// # Ok(())
    /// # }
    /// ```
    pub fn slack(&self, idle: Duration) -> Duration {
        idle.mul_f64(self.inner.slide_after)
    }

    /// Sends a command that changes nothing to each master, and returns the masters' addresses and
    /// replies. A reply is the texts and numbers in it, one after the other.
    ///
    /// For operators' tools. Nothing keeps a caller from sending another command.
    ///
    /// ```no_run
    /// # #[tokio::main]
    /// # async fn main() -> kvolt_cache::Result<()> {
    /// use kvolt_redis::RedisStore;
    ///
    /// let store = RedisStore::open("redis://127.0.0.1:6379", "shop").await?;
    /// for (address, reply) in store.ask_masters(&["CONFIG", "GET", "maxmemory-policy"]).await? {
    ///     println!("{address}: {}", reply.join(" "));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if a master is unavailable ([`is_unavailable`](kvolt_cache::Error::is_unavailable)),
    /// or if it rejects the command ([`is_misconfigured`](kvolt_cache::Error::is_misconfigured) if
    /// the user lacks the permission).
    pub async fn ask_masters(&self, command: &[&str]) -> Result<Vec<(String, Vec<String>)>> {
        let [name, arguments @ ..] = command else { return Ok(Vec::new()) };
        let mut replies = Vec::new();
        let slots = self.in_time(async { Ok(self.inner.servers.refresh().await?) }).await?;
        for node in slots.masters() {
            let command = redis::cmd(name).arg(arguments).clone();
            let sent = async { Ok(node.send(&command).await?) };
            let reply = reply::texts_in(self.in_time(sent).await?);
            replies.push((node.address().to_string(), reply));
        }
        Ok(replies)
    }

    pub(crate) fn new(servers: Arc<Servers>, names: Names, slide_after: f64) -> Self {
        let snapshots = Snapshots::default();
        Self { inner: Arc::new(Inner { servers, names, slide_after, snapshots }) }
    }

    /// Runs `work`; an error if it takes longer than the store's timeout.
    pub(crate) async fn in_time<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let limit = self.inner.servers.options.timeout;
        let no_reply = |_| Err(Fault::no_reply("the server", limit).into());
        tokio::time::timeout(limit, work).await.unwrap_or_else(no_reply)
    }
}

impl Store<Vec<u8>> for RedisStore {
    fn namespace(&self) -> &Namespace {
        &self.inner.names.0
    }

    fn clock(&self) -> Clock {
        Clock::system()
    }

    async fn get(&self, key: &Key, _: Freshness) -> Result<Option<Entry<Vec<u8>>>> {
        self.in_time(self.get_now(key)).await
    }

    async fn touch(&self, at: Target<'_>) -> Result<Option<Deadlines>> {
        self.in_time(self.touch_now(at, self.inner.slide_after)).await
    }

    async fn insert(&self, key: Key, entry: NewEntry<Vec<u8>>) -> Result<InsertOutcome> {
        self.insert_now(key, entry).await
    }

    async fn replace(
        &self,
        at: Target<'_>,
        seen: Version,
        value: Vec<u8>,
        expiry: Option<Expiry>,
    ) -> Result<ReplaceOutcome<Vec<u8>>> {
        self.in_time(self.replace_now(at, seen, &value, expiry)).await
    }

    async fn remove(&self, at: Target<'_>, seen: Option<Version>) -> Result<RemoveOutcome> {
        self.in_time(self.remove_now(at, seen)).await
    }

    async fn list(&self, owner: &Owner) -> Result<EntryList<Vec<u8>>> {
        self.in_time(self.list_now(owner)).await
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        self.in_time(self.remove_owner_now(owner, keep)).await
    }

    async fn scan(&self, after: Option<&Cursor>, max_entries: usize) -> Result<EntryPage<Vec<u8>>> {
        self.scan_now(after, max_entries).await
    }

    async fn clear(&self) -> Result<()> {
        self.clear_now().await
    }

    /// Counts names, without reading entries. Above 100,000 entries, some may be counted twice while
    /// the server resizes its table.
    async fn count(&self) -> Result<u64> {
        self.count_now().await
    }

    fn place(&self, key: Key, owner: Option<&Owner>) -> Key {
        match owner {
            Some(owner) if self.inner.servers.is_cluster() => names::placed(key, owner),
            _ => key,
        }
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("namespace", &self.inner.names.0)
            .field("is_cluster", &self.inner.servers.is_cluster())
            .field("timeout", &self.inner.servers.options.timeout)
            .finish_non_exhaustive()
    }
}
