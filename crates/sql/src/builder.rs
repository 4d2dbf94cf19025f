//! The builder.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{CredentialsProvider, Error, Namespace, Result};
use tokio::time::timeout;

use crate::connections::{Pool, Source};
use crate::dialect::Dialect;
use crate::existing_pool::ExistingPool;
use crate::failure::Kind;
use crate::own_connections::OwnConnections;
use crate::settings::Settings;
use crate::store::SqlStore;

/// The default time limit of a call: 2 seconds.
///
/// ```
/// assert_eq!(kvolt_sql::DEFAULT_TIMEOUT.as_secs(), 2);
/// ```
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest time limit of a call.
const MAX_TIMEOUT: Duration = Duration::from_secs(3_600);

/// Settings of a [`SqlStore`], made by [`SqlStore::builder`].
///
/// ```no_run
/// use std::time::Duration;
/// use kvolt_sql::PostgresStore;
///
/// #[tokio::main]
/// async fn main() -> kvolt_cache::Result<()> {
///     let store = PostgresStore::builder("postgres://app:password@db.internal/app", "shop")
///         .timeout(Duration::from_secs(1))
///         .max_connections(20)
///         .open()
///         .await?;
///     Ok(())
/// }
/// ```
#[must_use = "`open` opens the store"]
pub struct SqlStoreBuilder<D: Dialect> {
    dialect: D,
    connects: Connects<D>,
    namespace: String,
    max_connections: usize,
    provider: Option<CredentialsProvider>,
    settings: Settings,
}

/// The way to the database.
enum Connects<D: Dialect> {
    Url(String),
    Pool(sqlx::Pool<D::Db>),
}

impl<D: Dialect> SqlStoreBuilder<D> {
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn with_dialect(mut self, set: impl FnOnce(&mut D)) -> Self {
        set(&mut self.dialect);
        self
    }

    #[cfg(any(feature = "mysql", feature = "postgres"))]
    pub(crate) fn with_provider(mut self, provider: CredentialsProvider) -> Self {
        self.provider = Some(provider);
        self
    }

    pub(crate) fn new(url: &str, namespace: &str) -> Self {
        Self::by(Connects::Url(url.to_owned()), namespace)
    }

    pub(crate) fn on(pool: sqlx::Pool<D::Db>, namespace: &str) -> Self {
        Self::by(Connects::Pool(pool), namespace)
    }

    fn by(connects: Connects<D>, namespace: &str) -> Self {
        Self {
            dialect: D::default(),
            connects,
            namespace: namespace.to_owned(),
            max_connections: 10,
            provider: None,
            settings: Settings {
                timeout: DEFAULT_TIMEOUT,
                slide_after: 1.0 / 16.0,
                migrate: true,
                clean_every: Some(Duration::from_secs(60)),
                max_cleaned_rows: 1_000,
            },
        }
    }

    /// Sets the time limit of each call, including the wait for a connection. Defaults to
    /// [`DEFAULT_TIMEOUT`], which is 2 seconds; from a millisecond to an hour.
    ///
    /// A call that takes longer returns an error ([`Error::is_unavailable`]).
    /// [`clear`](kvolt_cache::Store::clear) and [`count`](kvolt_cache::Store::count) may take 30
    /// times as long.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_sql::PostgresStore;
    ///
    /// let builder = PostgresStore::builder("postgres://localhost/app", "shop").timeout(Duration::from_secs(1));
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout.min(MAX_TIMEOUT);
        self
    }

    /// Sets the maximum number of connections. Defaults to 10; 1 to 10,000.
    ///
    /// On an existing pool, it is the number of the pool's connections that the store uses at most
    /// at the same time.
    ///
    /// ```
    /// use kvolt_sql::PostgresStore;
    ///
    /// let builder = PostgresStore::builder("postgres://localhost/app", "shop").max_connections(20);
    /// ```
    pub fn max_connections(self, count: usize) -> Self {
        Self { max_connections: count, ..self }
    }

    /// Sets the fraction of the idle time that must pass after a use before another use is recorded.
    /// Defaults to 1/16; 0 to 0.5.
    ///
    /// An unused entry may expire earlier than its idle time by this fraction. With 0, every use is
    /// recorded.
    ///
    /// ```
    /// use kvolt_sql::PostgresStore;
    ///
    /// let builder = PostgresStore::builder("postgres://localhost/app", "shop").slide_after(0.1);
    /// ```
    pub fn slide_after(mut self, fraction: f64) -> Self {
        self.settings.slide_after = fraction;
        self
    }

    /// Sets whether to create and change the tables when necessary. Defaults to `true`.
    ///
    /// With `false`, the operator does it (see [`migrations`](SqlStore::migrations)), and the
    /// database's user only needs the permissions to read and write the tables.
    ///
    /// ```
    /// use kvolt_sql::PostgresStore;
    ///
    /// let builder = PostgresStore::builder("postgres://localhost/app", "shop").migrate(false);
    /// ```
    pub fn migrate(mut self, migrate: bool) -> Self {
        self.settings.migrate = migrate;
        self
    }

    /// Sets how often expired rows are deleted; `None` for never, if another program does it.
    /// Defaults to 1 minute.
    ///
    /// Each pause is random, between half and one and a half of this, so that many servers do not
    /// clean at the same time. A store that never cleans can't
    /// [report](kvolt_cache::Store::on_expired) expired entries.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_sql::PostgresStore;
    ///
    /// let builder = PostgresStore::builder("postgres://localhost/app", "shop").clean_every(Duration::from_secs(300));
    /// ```
    pub fn clean_every(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.settings.clean_every = interval.into();
        self
    }

    /// Sets how many expired rows are deleted at once, in a transaction of their own. Defaults to
    /// 1,000.
    ///
    /// ```
    /// use kvolt_sql::PostgresStore;
    ///
    /// let builder = PostgresStore::builder("postgres://localhost/app", "shop").max_cleaned_rows(100);
    /// ```
    pub fn max_cleaned_rows(mut self, rows: u32) -> Self {
        self.settings.max_cleaned_rows = rows;
        self
    }

    /// Connects, creates the tables when necessary, and starts cleaning.
    ///
    /// ```no_run
    /// # #[tokio::main]
    /// # async fn main() -> kvolt_cache::Result<()> {
    /// use kvolt_sql::SqliteStore;
    ///
    /// let store = SqliteStore::builder("sqlite:sessions.db", "shop").open().await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the server is unavailable ([`Error::is_unavailable`]), or if the operator
    /// must act ([`Error::is_misconfigured`]): a setting, the namespace or the URL is invalid, the
    /// password is rejected, the database does not exist, the server is too old, the schema is of a
    /// newer version, or a permission is missing.
    ///
    /// # Panics
    ///
    /// Panics outside of a Tokio runtime.
    pub async fn open(self) -> Result<SqlStore<D>> {
        let namespace = Namespace::new(&self.namespace)?;
        self.check()?;
        let Self { mut dialect, connects, max_connections, provider, settings, .. } = self;
        let (read, write) = match connects {
            Connects::Url(url) => {
                let (read, write) = dialect.options(&url, settings.timeout)?;
                let own = |options| Source::Own(OwnConnections::new(options, provider.clone()));
                (own(read), write.map(own))
            }
            Connects::Pool(_) if provider.is_some() => {
                return Err(Error::misconfigured(
                    "`credentials_from` is for the store's own connections: give an existing pool \
                     new options with `set_connect_options`",
                ));
            }
            Connects::Pool(pool) => {
                dialect.check_existing()?;
                Box::pin(check_pooler::<D>(&pool, settings.timeout)).await?;
                let existing = || Source::Existing(ExistingPool::new(pool.clone(), &dialect));
                (existing(), (!D::IS_REMOTE).then(existing))
            }
        };
        let pool = |source, max_connections| {
            Arc::new(Pool::new(dialect.clone(), source, max_connections, settings.timeout))
        };
        let read = pool(read, max_connections);
        // A file has one writer at a time.
        let write = write.map_or_else(|| Arc::clone(&read), |source| pool(source, 1));
        // Boxed, so that the futures of programs that open a store are small.
        Box::pin(SqlStore::on(read, write, settings, namespace)).await
    }

    fn check(&self) -> Result<()> {
        let Settings { timeout, slide_after, clean_every, max_cleaned_rows, .. } = self.settings;
        let faults = [
            // For the databases, zero is no limit, and they count in milliseconds.
            (timeout < Duration::from_millis(1), "`timeout` is less than a millisecond"),
            (!(1..=10_000).contains(&self.max_connections), "`max_connections` is not 1 to 10,000"),
            (!(0.0..=0.5).contains(&slide_after), "`slide_after` is not 0 to 0.5"),
            (max_cleaned_rows == 0, "`max_cleaned_rows` is zero"),
            (clean_every.is_some_and(|interval| interval.is_zero()), "`clean_every` is zero"),
        ];
        match faults.iter().find(|(is_fault, _)| *is_fault) {
            Some((_, fault)) => Err(Error::misconfigured(*fault)),
            None => Ok(()),
        }
    }
}

/// Checks the pool unless other code uses all its connections, or there is no server: opening reports
/// that.
async fn check_pooler<D: Dialect>(pool: &sqlx::Pool<D::Db>, limit: Duration) -> Result<()> {
    match timeout(limit, D::check_pooler(pool)).await {
        Ok(Err(failure)) if failure.kind == Kind::Misconfigured => Err(failure.error),
        _ => Ok(()),
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
