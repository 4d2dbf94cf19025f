//! How a store is set up.

use std::fmt;
#[cfg(feature = "tls")]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{Error, Namespace, Result};

use crate::RedisStore;
use crate::check;
use crate::connect::Options;
use crate::names::Names;
use crate::servers::Servers;
#[cfg(feature = "tls")]
use crate::tls::{Settings, Tls};
use crate::url::Url;

/// Sets up a [`RedisStore`]: see [`RedisStore::builder`].
#[derive(Clone)]
#[must_use = "it does nothing until it is opened"]
pub struct RedisStoreBuilder {
    url: String,
    namespace: String,
    timeout: Duration,
    slide_after: f64,
    replicas: Option<(u32, Duration)>,
    credentials: Option<(Option<String>, String)>,
    sentinel_credentials: Option<(Option<String>, String)>,
    #[cfg(feature = "tls")]
    tls: Settings,
}

impl RedisStoreBuilder {
    pub(crate) fn new(url: String, namespace: String) -> Self {
        Self {
            url,
            namespace,
            timeout: Duration::from_secs(2),
            slide_after: 1.0 / 16.0,
            replicas: None,
            credentials: None,
            sentinel_credentials: None,
            #[cfg(feature = "tls")]
            tls: Settings::default(),
        }
    }

    /// Sets the time limit of each call: a call that takes longer is an unavailable error. Defaults
    /// to 2 seconds.
    ///
    /// A [scan](kvolt_cache::Store::scan) and a [clear](kvolt_cache::Store::clear)
    /// take as long as they take; for them, it is the time of each of their steps.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the fraction of the idle time that must have passed since the last use before another
    /// use writes the new deadline. Defaults to 1/16; at most 1/2.
    ///
    /// After a use, the idle time left falls short by at most this fraction. With zero, each use is
    /// a write, and is pushed to every near cache.
    pub fn slide_after(mut self, fraction: f64) -> Self {
        self.slide_after = fraction;
        self
    }

    /// Waits after each change until so many replicas have it (`WAIT`).
    ///
    /// Where fewer have it within `timeout` (less than three quarters of the
    /// [store's](Self::timeout)), the call is unavailable: the change
    /// is on the master, and may be lost with it. This narrows what a failover
    /// can undo and costs a round trip to the replicas; changes go one after
    /// the other on a connection of their own. See the README for what it does not promise.
    pub fn wait_replicas(mut self, replicas: u32, timeout: Duration) -> Self {
        self.replicas = (replicas > 0).then_some((replicas, timeout));
        self
    }

    /// User name, unless it is `default`, and password, instead of those in the URL.
    pub fn credentials(mut self, user: Option<&str>, password: impl Into<String>) -> Self {
        self.credentials = Some((user.map(String::from), password.into()));
        self
    }

    /// The user name and password of the sentinels, where they have any.
    pub fn sentinel_credentials(mut self, user: Option<&str>, password: impl Into<String>) -> Self {
        self.sentinel_credentials = Some((user.map(String::from), password.into()));
        self
    }

    /// The certificates of the authorities to trust (PEM), instead of the system's.
    #[cfg(feature = "tls")]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.tls.ca_file = Some(path.into());
        self
    }

    /// The client's own certificate and its secret key (PEM), where the server asks for one.
    #[cfg(feature = "tls")]
    pub fn client_certificate(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.tls.client = Some((certificate.into(), key.into()));
        self
    }

    /// Takes whatever certificate the server shows.
    ///
    /// Whoever is in between can then read and change every session. For tests only.
    #[cfg(feature = "tls")]
    pub fn insecure_accept_any_certificate(mut self) -> Self {
        self.tls.insecure = true;
        self
    }

    /// Connects, and checks that the server can do what the store needs.
    ///
    /// # Errors
    ///
    /// Returns an error if the server is down ([`Error::is_unavailable`]), or if a person must act
    /// ([`Error::is_misconfigured`]): for a namespace, a setting or a URL that is not valid, a
    /// password that is refused, a server older than Redis 6.2, a replica, and a user who lacks a
    /// permission. A server that evicts keys is a warning in the log.
    pub async fn open(self) -> Result<RedisStore> {
        self.check()?;
        let namespace = Namespace::new(&self.namespace)?;
        let url = Url::parse(&self.url)?;
        let (user, password) = match self.credentials {
            Some((user, password)) => (user, Some(password)),
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
            database: url.database,
            #[cfg(feature = "tls")]
            tls,
            timeout: self.timeout,
            replicas: self.replicas,
        };
        let (user, password) = self.sentinel_credentials.unzip();
        let sentinel_options =
            Options { user: user.flatten(), password, database: 0, ..options.clone() };
        let servers = Servers::new(url.deployment, options, sentinel_options);
        let store = RedisStore::new(Arc::new(servers), Names::new(namespace), self.slide_after);
        check::check(&store).await?;
        Ok(store)
    }

    fn check(&self) -> Result<()> {
        let wrong = |what: &str| Err(Error::misconfigured(what));
        if !(0.0..=0.5).contains(&self.slide_after) {
            return wrong("`slide_after` has to be from 0 to 0.5");
        }
        if self.timeout < Duration::from_millis(10) {
            return wrong("`timeout` has to be 10 milliseconds at least");
        }
        match self.replicas {
            // The rest is for finding out whom else to ask.
            Some((_, limit)) if limit >= self.timeout / 4 * 3 => wrong(
                "the time limit of `wait_replicas` has to be less than three quarters of `timeout`",
            ),
            _ => Ok(()),
        }
    }
}

// There may be a password in the URL.
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
