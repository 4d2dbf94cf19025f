use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{Error, Namespace, Result};

use crate::cleaner::Cleaning;
use crate::connections::Pool;
use crate::core::Settings;
use crate::dialect::Dialect;
use crate::store::SqlStore;

/// How long a call may take by default: two seconds.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest time that a call may take.
const MAX_TIMEOUT: Duration = Duration::from_secs(3_600);

/// Settings of a [`SqlStore`]. Made by [`SqlStore::builder`].
#[must_use = "`open` opens the store"]
pub struct SqlStoreBuilder<D: Dialect> {
    dialect: D,
    url: String,
    namespace: String,
    max_connections: usize,
    settings: Settings,
}

impl<D: Dialect> SqlStoreBuilder<D> {
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn with_dialect(mut self, set: impl FnOnce(&mut D)) -> Self {
        set(&mut self.dialect);
        self
    }

    pub(crate) fn new(url: &str, namespace: &str) -> Self {
        Self {
            dialect: D::default(),
            url: url.to_owned(),
            namespace: namespace.to_owned(),
            max_connections: 10,
            settings: Settings {
                timeout: DEFAULT_TIMEOUT,
                slide_after: 1.0 / 16.0,
                migrate: true,
                cleaning: Cleaning::default(),
            },
        }
    }

    /// Sets how long a call may take, waiting for a connection included, before it is
    /// unavailable. Defaults to [`DEFAULT_TIMEOUT`]; more than an hour counts as an hour. `clear` and
    /// `count` may take 30 times as long.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout.min(MAX_TIMEOUT);
        self
    }

    /// Sets how many connections it has at most. Defaults to 10.
    pub fn max_connections(self, count: usize) -> Self {
        Self { max_connections: count, ..self }
    }

    /// Sets the part of an entry's idle time that must have passed since its last recorded use
    /// before another is recorded, from 0 (every use is recorded) to 0.5: an unused entry may end
    /// earlier than its idle time by so much. Defaults to 1/16.
    pub fn slide_after(mut self, part: f64) -> Self {
        self.settings.slide_after = part;
        self
    }

    /// Sets whether to create and change the tables if need be. Defaults to `true`.
    ///
    /// With `false`, the operator does it (see [`migrations`](SqlStore::migrations)), and the
    /// database's user needs no more than the right to read and write the tables.
    pub fn migrate(mut self, migrate: bool) -> Self {
        self.settings.migrate = migrate;
        self
    }

    /// Sets how often expired rows are deleted; `None` for never, where something else does it.
    /// Then this store can't [report](kvolt_cache::Store::on_expired) them, either.
    ///
    /// Defaults to a minute. Each time is drawn between half of this and one and a half, so that
    /// many servers don't do it at once.
    pub fn clean_every(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.settings.cleaning.interval = interval.into();
        self
    }

    /// Sets how many expired rows are deleted at once, in a transaction of their own. Defaults
    /// to 1,000.
    pub fn max_cleaned_rows(mut self, rows: u32) -> Self {
        self.settings.cleaning.max_rows = rows;
        self
    }

    /// Connects, creates the tables if need be, and starts cleaning.
    ///
    /// # Errors
    ///
    /// Returns an error if the operator must act ([`Error::is_misconfigured`]): a setting, the
    /// namespace or the URL can't work, a password is refused, a database does not exist, a
    /// server is too old, a schema is of a newer version, or rights are missing. Returns an error
    /// if the server is down or can't be reached ([`Error::is_unavailable`]).
    ///
    /// # Panics
    ///
    /// Panics outside of a Tokio runtime.
    pub async fn open(self) -> Result<SqlStore<D>> {
        let namespace = Namespace::new(&self.namespace)?;
        self.check()?;
        let Self { mut dialect, url, max_connections, settings, .. } = self;
        let options = dialect.options(&url, settings.timeout)?;
        let pool = |options, max_connections| {
            Arc::new(Pool::new(dialect.clone(), options, max_connections, settings.timeout))
        };
        let read = pool(options.read, max_connections);
        let write = options.write.map_or_else(|| Arc::clone(&read), |options| pool(options, 1));
        SqlStore::on(read, write, settings, namespace).await
    }

    fn check(&self) -> Result<()> {
        let Settings { timeout, slide_after, cleaning, .. } = self.settings;
        let wrong = if timeout.is_zero() {
            "the timeout is zero"
        } else if self.max_connections == 0 || self.max_connections > 10_000 {
            "the number of connections is not between 1 and 10,000"
        } else if !(0.0..=0.5).contains(&slide_after) {
            "the part of the idle time after which to slide is not between 0 and 0.5"
        } else if cleaning.max_rows == 0 {
            "cleaning no rows at a time never ends"
        } else if cleaning.interval.is_some_and(|interval| interval.is_zero()) {
            "the time between two cleanings is zero"
        } else {
            return Ok(());
        };
        Err(Error::misconfigured(wrong))
    }
}

// Without the URL, which may have a password.
impl<D: Dialect> fmt::Debug for SqlStoreBuilder<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStoreBuilder")
            .field("dialect", &self.dialect)
            .field("namespace", &self.namespace)
            .field("max_connections", &self.max_connections)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
