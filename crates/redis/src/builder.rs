//! How a store is set up.

use std::fmt;
#[cfg(feature = "tls")]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{Error, Result};

use crate::RedisStore;
use crate::check;
use crate::cluster::Cluster;
use crate::connect::Options;
use crate::expired::Events;
use crate::names::Names;
use crate::node::{Node, Source};
use crate::sentinel::Sentinels;
use crate::server::Server;
use crate::store::Limits;
#[cfg(feature = "tls")]
use crate::tls::{Settings, Tls};
use crate::url::{Place, Url};

/// Sets up a [`RedisStore`]: see [`RedisStore::builder`].
#[derive(Clone)]
#[must_use = "it does nothing until it is opened"]
pub struct RedisStoreBuilder {
    url: String,
    prefix: String,
    timeout: Duration,
    slide_after: f64,
    replicas: Option<(u32, Duration)>,
    assumes_events: bool,
    credentials: Option<(Option<String>, String)>,
    sentinel_credentials: Option<(Option<String>, String)>,
    #[cfg(feature = "tls")]
    tls: Settings,
}

/// The longest prefix, in bytes.
const PREFIX_LEN_MAX: usize = 64;

impl RedisStoreBuilder {
    pub(crate) fn new(url: String) -> Self {
        Self {
            url,
            prefix: String::from("kvolt"),
            timeout: Duration::from_secs(2),
            slide_after: 1.0 / 16.0,
            replicas: None,
            assumes_events: false,
            credentials: None,
            sentinel_credentials: None,
            #[cfg(feature = "tls")]
            tls: Settings::default(),
        }
    }

    /// What the names of all keys begin with; `kvolt` unless set.
    ///
    /// Stores of different prefixes know nothing of each other. At most 64
    /// letters, digits, and `. _ - : /`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Within which time each call ends, if need be with an unavailable error; 2 seconds unless set.
    ///
    /// A [scan](kvolt_cache::Store::scan) and a [clear](kvolt_cache::Store::clear)
    /// take as long as they take; for them, it is the time of each of their steps.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Which fraction of the idle time may have been used up before a read that
    /// counts as use writes the new deadline; 1/16 unless set, at most 1/2.
    ///
    /// After a use, the idle time left falls short by this fraction at the most.
    /// With zero, each such read is a write, and pushed to whoever keeps copies.
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

    /// Takes it that every master notifies of what has expired, by `notify-keyspace-events` with
    /// `E` and `x`, so that this store can [tell](kvolt_cache::Store::on_expired) of it.
    ///
    /// Only where the masters can't be asked: some services have no `CONFIG GET`.
    /// Otherwise they are asked when the store is opened.
    pub fn assume_expired_events(mut self) -> Self {
        self.assumes_events = true;
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
    /// Unavailable, if the server is down. Misconfigured, where a person has to
    /// act: for a setting or a URL that is not valid, a password that is
    /// refused, a server older than Redis 6.2, a replica, and a user who lacks
    /// a permission. A server that evicts keys is a warning in the log.
    pub async fn open(self) -> Result<RedisStore> {
        self.check()?;
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
        let shared = Arc::new(options.clone());
        let server = match url.place {
            Place::One(address) => Server::One(Arc::new(Node::new(Source::At(address), shared))),
            Place::Sentinel { sentinels, master } => {
                let (user, password) = self.sentinel_credentials.unzip();
                let for_sentinels =
                    Options { user: user.flatten(), password, database: 0, ..options };
                let sentinels = Sentinels::new(sentinels, master, for_sentinels);
                Server::One(Arc::new(Node::new(Source::MasterOf(sentinels), shared)))
            }
            Place::Cluster(seeds) => Server::Cluster(Cluster::new(seeds, shared)),
        };
        let names = Names::new(self.prefix);
        let limits = Limits { timeout: self.timeout, slide_after: self.slide_after };
        let store = RedisStore::new(server, names, limits);
        check::check(&store).await?;
        let events = if self.assumes_events {
            Some(Events::ByEvent)
        } else {
            store.within(check::events(store.server())).await?
        };
        Ok(store.with_events(events))
    }

    fn check(&self) -> Result<()> {
        let wrong = |what: &str| Err(Error::misconfigured(what));
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:/".contains(&byte);
        if self.prefix.is_empty()
            || self.prefix.len() > PREFIX_LEN_MAX
            || !self.prefix.bytes().all(is_plain)
        {
            return wrong("a prefix is 1 to 64 letters, digits, and any of `. _ - : /`");
        }
        if !(0.0..=0.5).contains(&self.slide_after) {
            return wrong("`slide_after` has to be from 0 to 0.5");
        }
        if self.timeout < Duration::from_millis(10) {
            return wrong("`timeout` has to be 10 milliseconds at least");
        }
        match self.replicas {
            // The rest is for finding out whom else to ask.
            Some((_, limit)) if limit >= self.timeout * 3 / 4 => wrong(
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
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("slide_after", &self.slide_after)
            .field("replicas", &self.replicas)
            .finish_non_exhaustive()
    }
}
