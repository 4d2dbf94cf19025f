//! The builder.

use std::fmt;
#[cfg(feature = "tls")]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{Credentials, CredentialsProvider, Error, Namespace, Result};
use redis::aio::ConnectionManager;

use crate::RedisStore;
use crate::check;
use crate::connect::Options;
use crate::names::Names;
use crate::servers::Servers;
#[cfg(feature = "tls")]
use crate::tls::{Settings, Tls};
use crate::url::{Deployment, Url};

/// Settings of a [`RedisStore`], made by [`RedisStore::builder`].
///
/// ```no_run
/// use std::time::Duration;
/// use kvolt_redis::RedisStore;
///
/// #[tokio::main]
/// async fn main() -> kvolt_cache::Result<()> {
///     let store = RedisStore::builder("redis+sentinel://a.internal,b.internal,c.internal/main", "shop")
///         .credentials(Some("app"), "password")
///         .wait_replicas(1, Duration::from_millis(500))
///         .open()
///         .await?;
///     Ok(())
/// }
/// ```
#[derive(Clone)]
#[must_use = "`open` opens the store"]
pub struct RedisStoreBuilder {
    connects: Connects,
    listen_url: Option<String>,
    namespace: String,
    timeout: Duration,
    slide_after: f64,
    replicas: Option<(u32, Duration)>,
    credentials: Option<(Option<String>, String)>,
    provider: Option<CredentialsProvider>,
    sentinel_credentials: Option<(Option<String>, String)>,
    #[cfg(feature = "tls")]
    tls: Settings,
}

/// The way to the server.
#[derive(Clone)]
enum Connects {
    Url(String),
    Existing(ConnectionManager),
}

impl RedisStoreBuilder {
    pub(crate) fn new(url: String, namespace: String) -> Self {
        Self::by(Connects::Url(url), namespace)
    }

    pub(crate) fn on(connection: ConnectionManager, namespace: String) -> Self {
        Self::by(Connects::Existing(connection), namespace)
    }

    fn by(connects: Connects, namespace: String) -> Self {
        Self {
            connects,
            listen_url: None,
            namespace,
            timeout: Duration::from_secs(2),
            slide_after: 1.0 / 16.0,
            replicas: None,
            credentials: None,
            provider: None,
            sentinel_credentials: None,
            #[cfg(feature = "tls")]
            tls: Settings::default(),
        }
    }

    /// Sets the time limit of each call. A call that takes longer returns an error
    /// ([`Error::is_unavailable`]). Defaults to 2 seconds; at least 10 milliseconds.
    ///
    /// For [`scan`](kvolt_cache::Store::scan), [`count`](kvolt_cache::Store::count) and
    /// [`clear`](kvolt_cache::Store::clear), it is the limit of each of their steps.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_redis::RedisStore;
    ///
    /// let builder = RedisStore::builder("redis://127.0.0.1:6379", "shop").timeout(Duration::from_secs(1));
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the fraction of the idle time that must pass after a use before another use is written.
    /// Defaults to 1/16; 0 to 1/2.
    ///
    /// An unused entry may expire earlier than its idle time by this fraction. With 0, each use is a
    /// write, and is pushed to every near cache.
    ///
    /// ```
    /// use kvolt_redis::RedisStore;
    ///
    /// let builder = RedisStore::builder("redis://127.0.0.1:6379", "shop").slide_after(0.1);
    /// ```
    pub fn slide_after(mut self, fraction: f64) -> Self {
        self.slide_after = fraction;
        self
    }

    /// Makes each change wait until this many replicas have it (`WAIT`). Defaults to 0.
    ///
    /// If fewer replicas have it within `timeout`, which must be less than three quarters of the
    /// [store's timeout](Self::timeout), the call returns an error ([`Error::is_unavailable`]): the
    /// change is on the master, and may be lost with it. This narrows what a failover can undo, and
    /// costs a round trip to the replicas. Changes are sent one after the other on a connection of
    /// their own. The README describes what this does not guarantee.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_redis::RedisStore;
    ///
    /// let builder = RedisStore::builder("redis://127.0.0.1:6379", "shop").wait_replicas(1, Duration::from_millis(500));
    /// ```
    pub fn wait_replicas(mut self, replicas: u32, timeout: Duration) -> Self {
        self.replicas = (replicas > 0).then_some((replicas, timeout));
        self
    }

    /// Sets the user name and the password, instead of those in the URL. Without a user name, the
    /// user is `default`.
    ///
    /// ```
    /// use kvolt_redis::RedisStore;
    ///
    /// let builder = RedisStore::builder("redis://127.0.0.1:6379", "shop").credentials(Some("app"), "password");
    /// ```
    pub fn credentials(mut self, user: Option<&str>, password: impl Into<String>) -> Self {
        self.credentials = Some((user.map(String::from), password.into()));
        self
    }

    /// Sets a callback that returns the user name and the password, instead of those in the URL and
    /// of [`credentials`](Self::credentials). Each new connection asks it, to a server, to a node of
    /// a cluster, to the master that the sentinels name, and for a change feed. So a password that
    /// was changed needs no restart.
    ///
    /// Where they [expire](Credentials::valid_for), as an access token does, each connection
    /// authenticates again (`AUTH`) after three quarters of that time. If that fails, the store logs
    /// a warning and tries again.
    ///
    /// An error of the callback makes the store unavailable ([`Error::is_unavailable`]), and so does
    /// a callback that takes longer than the [timeout](Self::timeout). A store with several
    /// connections asks several times: keep a token that is valid for some time, and return it at
    /// once. The sentinels' own password stays that of
    /// [`sentinel_credentials`](Self::sentinel_credentials).
    ///
    /// ```
    /// use kvolt_cache::Credentials;
    /// use kvolt_redis::RedisStore;
    ///
    /// /// A file that an operator, or a secrets agent, replaces.
    /// async fn from_file() -> std::io::Result<Credentials> {
    ///     let password = std::fs::read_to_string("/run/secrets/redis")?;
    ///     Ok(Credentials::new("app", password.trim_end()))
    /// }
    ///
    /// let builder = RedisStore::builder("rediss://redis.internal", "shop").credentials_from(from_file);
    /// ```
    pub fn credentials_from<F, R, E>(mut self, callback: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = std::result::Result<Credentials, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.provider = Some(CredentialsProvider::new(callback));
        self
    }

    /// Sets the user name and the password of the sentinels. Defaults to none.
    ///
    /// ```
    /// use kvolt_redis::RedisStore;
    ///
    /// let builder = RedisStore::builder("redis+sentinel://a.internal,b.internal/main", "shop")
    ///     .sentinel_credentials(None, "password");
    /// ```
    pub fn sentinel_credentials(mut self, user: Option<&str>, password: impl Into<String>) -> Self {
        self.sentinel_credentials = Some((user.map(String::from), password.into()));
        self
    }

    /// Sets the file with the certificates of the authorities to trust (PEM). Defaults to the
    /// authorities that the system trusts.
    ///
    /// ```
    /// use kvolt_redis::RedisStore;
    ///
    /// let builder = RedisStore::builder("rediss://redis.internal", "shop").ca_file("/etc/redis/ca.pem");
    /// ```
    #[cfg(feature = "tls")]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls.ca_file = Some(path.into());
        self
    }

    /// Sets the files with the client's certificate and its secret key (PEM), for a server that asks
    /// for one. Defaults to none.
    ///
    /// ```
    /// use kvolt_redis::RedisStore;
    ///
    /// let builder = RedisStore::builder("rediss://redis.internal", "shop")
    ///     .client_certificate("/etc/redis/client.pem", "/etc/redis/client.key");
    /// ```
    #[cfg(feature = "tls")]
    pub fn client_certificate(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.tls.client = Some((certificate.into(), key.into()));
        self
    }

    /// Accepts any certificate of the server. For tests only: an attacker between client and server
    /// can then read and change every session.
    ///
    /// ```
    /// use kvolt_redis::RedisStore;
    ///
    /// let builder =
    ///     RedisStore::builder("rediss://127.0.0.1", "shop").insecure_accept_any_certificate();
    /// ```
    #[cfg(feature = "tls")]
    pub fn insecure_accept_any_certificate(mut self) -> Self {
        self.tls.insecure = true;
        self
    }

    /// Sets the URL of the server for [`ChangeFeed`](kvolt_cache::ChangeFeed), if all other calls use
    /// an existing connection ([`builder_on`](RedisStore::builder_on)). Defaults to none.
    ///
    /// A near cache listens on a connection of its own, to which `credentials` and the certificates
    /// apply. It must lead to the same server as the existing one, which the feed checks.
    ///
    /// ```no_run
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use kvolt_redis::RedisStore;
    ///
    /// let url = "redis://127.0.0.1:6379";
    /// let connection = redis::Client::open(url)?.get_connection_manager().await?;
    /// let store = RedisStore::builder_on(connection, "shop").listen_url(url).open().await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub fn listen_url(mut self, url: impl Into<String>) -> Self {
        self.listen_url = Some(url.into());
        self
    }

    /// Connects, and checks that the server can do what the store needs.
    ///
    /// ```no_run
    /// # #[tokio::main]
    /// # async fn main() -> kvolt_cache::Result<()> {
    /// use kvolt_redis::RedisStore;
    ///
    /// let store = RedisStore::builder("redis://127.0.0.1:6379", "shop").open().await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the server is unavailable ([`Error::is_unavailable`]), or if the operator
    /// must act ([`Error::is_misconfigured`]): a namespace, a setting or the URL is invalid, the
    /// password is rejected, the server is older than Redis 6.2 or is a replica, or the user lacks a
    /// permission. If the server evicts keys, a warning is logged.
    pub async fn open(self) -> Result<RedisStore> {
        self.check()?;
        let namespace = Namespace::new(&self.namespace)?;
        let servers = match &self.connects {
            Connects::Url(url) => {
                let (deployment, options) = self.target(url)?;
                let (user, password) = self.sentinel_credentials.unzip();
                let mut sentinel_options = options.clone();
                (sentinel_options.user, sentinel_options.password) = (user.flatten(), password);
                sentinel_options.provider = None;
                sentinel_options.database = 0;
                Servers::new(deployment, options, sentinel_options)
            }
            Connects::Existing(connection) => {
                let target = self.listen_url.as_deref().map(|url| self.target(url)).transpose()?;
                let listen = match target {
                    None => None,
                    Some((Deployment::Single(address), options)) => Some((address, options)),
                    Some(_) => {
                        return Err(Error::misconfigured(
                            "`listen_url` must name the one server of the existing connection",
                        ));
                    }
                };
                Servers::existing(connection.clone(), Options::new(self.timeout), listen)
            }
        };
        let store = RedisStore::new(Arc::new(servers), Names(namespace), self.slide_after);
        // Boxed, so that the futures of programs that open a store are small.
        Box::pin(store.in_time(check::check(&store.inner.servers, &store.inner.names))).await?;
        Ok(store)
    }

    /// The servers of a URL, and how to connect to them.
    fn target(&self, url: &str) -> Result<(Deployment, Options)> {
        let url = Url::parse(url)?;
        let (user, password) = match &self.credentials {
            Some((user, password)) => (user.clone(), Some(password.clone())),
            None => (url.user, url.password),
        };
        #[cfg(feature = "tls")]
        let tls = url.tls.then(|| Tls::new(&self.tls)).transpose()?;
        #[cfg(not(feature = "tls"))]
        if url.tls {
            return Err(Error::misconfigured(
                "the URL asks for TLS, and kvolt-redis was built without its feature `tls`",
            ));
        }
        let options = Options {
            user,
            password,
            provider: self.provider.clone(),
            database: url.database,
            #[cfg(feature = "tls")]
            tls,
            replicas: self.replicas,
            ..Options::new(self.timeout)
        };
        Ok((url.deployment, options))
    }

    fn check(&self) -> Result<()> {
        let wrong = |what: &str| Err(Error::misconfigured(what));
        if !(0.0..=0.5).contains(&self.slide_after) {
            return wrong("`slide_after` must be 0 to 0.5");
        }
        if self.timeout < Duration::from_millis(10) {
            return wrong("`timeout` must be at least 10 milliseconds");
        }
        let is_existing = matches!(self.connects, Connects::Existing(_));
        if self.listen_url.is_some() && !is_existing {
            return wrong("`listen_url` is for a store on an existing connection");
        }
        if self.provider.is_some() && is_existing && self.listen_url.is_none() {
            return wrong(
                "`credentials_from` is for the store's own connections: give the existing one a \
                 provider of the driver",
            );
        }
        match self.replicas {
            Some(_) if is_existing => wrong(
                "`wait_replicas` needs a URL: on an existing connection, all other commands would \
                 wait too",
            ),
            // The rest is for discovering another server.
            Some((_, limit)) if limit >= self.timeout / 4 * 3 => wrong(
                "the timeout of `wait_replicas` must be less than three quarters of `timeout`",
            ),
            _ => Ok(()),
        }
    }
}

// Without the URL, which may have a password.
impl fmt::Debug for RedisStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStoreBuilder")
            .field("namespace", &self.namespace)
            .field("timeout", &self.timeout)
            .field("slide_after", &self.slide_after)
            .field("replicas", &self.replicas)
            .finish_non_exhaustive()
    }
}
