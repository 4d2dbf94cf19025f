//! PostgreSQL.

mod push;

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{Credentials, CredentialsProvider, Error, Result};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgPool, Row as _};

use crate::builder::SqlStoreBuilder;
use crate::dialect::{
    Argument, Dialect, Driver, Options, Statement, TAKE_OVER, by_driver, failure,
};
use crate::failure::{Failure, Kind, Outcome};
use crate::statements::substitute;
use crate::store::SqlStore;
use crate::url::{Url, warn_of_plain_text};

/// A store on PostgreSQL 13 or later.
///
/// ```no_run
/// use kvolt_sql::PostgresStore;
///
/// #[tokio::main]
/// async fn main() -> kvolt_cache::Result<()> {
///     let url = "postgres://app:password@db.internal/app?sslmode=verify-full";
///     let store = PostgresStore::open(url, "shop").await?;
///     Ok(())
/// }
/// ```
pub type PostgresStore = SqlStore<Postgres>;

/// PostgreSQL, as the type parameter of [`SqlStore`].
///
/// ```no_run
/// use kvolt_sql::{Postgres, SqlStore};
///
/// /// `PostgresStore` is an alias of this type.
/// async fn open(url: &str) -> kvolt_cache::Result<SqlStore<Postgres>> {
///     SqlStore::open(url, "shop").await
/// }
/// ```
#[derive(Clone, Default)]
pub struct Postgres {
    is_pooled: bool,
    /// The server that pushes changes, if not the one for everything else.
    listen: Option<Arc<PgConnectOptions>>,
    /// Sets variables whose value at the server would change what a statement does: once for each
    /// connection, or with each statement behind a pooler.
    settings: Arc<str>,
}

/// The oldest version that works.
const MIN_VERSION: u32 = 13;

/// A transaction keeps its locks for this many timeouts after its client is gone.
const ABANDONED_TIMEOUTS: u32 = 5;

/// Identifies the running server: its start, in microseconds.
const SERVER: &str = "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint";

impl SqlStoreBuilder<Postgres> {
    /// Sets whether the URL is that of a pooler which assigns another connection to every
    /// transaction, such as PgBouncer with `pool_mode = transaction`. Defaults to `false`;
    /// `pooled_by_transactions=true` in the URL sets it too.
    ///
    /// Statements are then not prepared. Each is sent as text, with its arguments in it, in one round
    /// trip. The server plans every statement again, and its log and `pg_stat_activity` show values
    /// (those of the codec `Encrypted` are unreadable there too).
    ///
    /// ```
    /// use kvolt_sql::PostgresStore;
    ///
    /// let builder = PostgresStore::builder("postgres://app:password@pgbouncer:6432/app", "shop")
    ///     .pooled_by_transactions(true);
    /// ```
    pub fn pooled_by_transactions(self, is_pooled: bool) -> Self {
        self.with_dialect(|dialect| dialect.is_pooled = is_pooled)
    }

    /// Sets the URL of the server itself, for [`ChangeFeed`](kvolt_cache::ChangeFeed) behind a pooler.
    ///
    /// A near cache listens on a connection of its own, which such a pooler does not support.
    ///
    /// ```
    /// # fn main() -> kvolt_cache::Result<()> {
    /// use kvolt_sql::PostgresStore;
    ///
    /// let builder = PostgresStore::builder("postgres://app:password@pgbouncer:6432/app", "shop")
    ///     .pooled_by_transactions(true)
    ///     .listen_url("postgres://app:password@db.internal/app")?;
    /// # let _ = builder;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the URL is invalid ([`is_misconfigured`](kvolt_cache::Error::is_misconfigured)).
    pub fn listen_url(self, url: &str) -> Result<Self> {
        let listen = Some(Arc::new(own(parse(url)?.0)));
        Ok(self.with_dialect(|dialect| dialect.listen = listen))
    }

    /// Sets a callback that returns the user name and the password, instead of those in the URL. Each
    /// new connection asks it, also that of a change feed. So a password that was changed needs no
    /// restart: connections that exist stay valid, and a lost one is replaced with the new password.
    ///
    /// Where they [expire](Credentials::valid_for), as an access token does, a connection is replaced
    /// after three quarters of that time, between two calls.
    ///
    /// An error of the callback makes the store unavailable
    /// ([`Error::is_unavailable`](kvolt_cache::Error::is_unavailable)), and so does a callback that
    /// takes longer than the [timeout](Self::timeout). Keep a token that is valid for some time, and
    /// return it at once. On an existing pool, the application gives the pool new options instead
    /// (`set_connect_options` of sqlx).
    ///
    /// ```
    /// use kvolt_cache::Credentials;
    /// use kvolt_sql::PostgresStore;
    ///
    /// /// A file that an operator, or a secrets agent, replaces.
    /// async fn from_file() -> std::io::Result<Credentials> {
    ///     let password = std::fs::read_to_string("/run/secrets/database")?;
    ///     Ok(Credentials::new("app", password.trim_end()))
    /// }
    ///
    /// let builder = PostgresStore::builder("postgres://db.internal/app", "shop").credentials_from(from_file);
    /// ```
    pub fn credentials_from<F, R, E>(self, callback: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = std::result::Result<Credentials, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.with_provider(CredentialsProvider::new(callback))
    }
}

impl SqlStore<Postgres> {
    /// Returns a builder for a store on a pool of the application, in the table
    /// `{namespace}_sessions`.
    ///
    /// Build the pool with [`connect_options`](Self::connect_options). Its connections are inspected
    /// when the store is opened and each time that a call takes one, which costs one round trip and
    /// takes the place of the driver's own ping. [`open`](SqlStoreBuilder::open) rejects a pool
    /// whose settings would undo a promise, and names the setting. A near cache listens on one
    /// connection beside the pool. [`close`](Self::close) does not close the pool.
    ///
    /// ```no_run
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use kvolt_sql::PostgresStore;
    /// use sqlx::postgres::PgPoolOptions;
    ///
    /// let options = PostgresStore::connect_options("postgres://app:password@db.internal/app")?;
    /// let pool = PgPoolOptions::new().max_connections(20).connect_with(options).await?;
    /// let store = PostgresStore::builder_on(pool.clone(), "shop").open().await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder_on(pool: PgPool, namespace: &str) -> SqlStoreBuilder<Postgres> {
        SqlStoreBuilder::on(pool, namespace)
    }

    /// Returns connection options for a pool that an application shares with a store
    /// ([`builder_on`](Self::builder_on)).
    ///
    /// They set `synchronous_commit` to `on` and `lock_timeout` to 2 seconds, which also holds for
    /// the application's own statements. The URL's `options` take precedence, and so does a
    /// `SET LOCAL` in a transaction of the application.
    ///
    /// ```
    /// # fn main() -> kvolt_cache::Result<()> {
    /// use kvolt_sql::PostgresStore;
    ///
    /// let options = PostgresStore::connect_options("postgres://app:password@db.internal/app")?;
    /// assert_eq!(options.get_options(), Some("-c synchronous_commit=on -c lock_timeout=2s"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the URL is invalid ([`is_misconfigured`](kvolt_cache::Error::is_misconfigured)).
    pub fn connect_options(url: &str) -> Result<PgConnectOptions> {
        let (options, is_pooled) = parse(url)?;
        Postgres { is_pooled, ..Postgres::default() }.check_existing()?;
        let given = options.get_options().unwrap_or_default().to_owned();
        let set = [("synchronous_commit", "on"), ("lock_timeout", "2s")];
        Ok(options.options(set.into_iter().filter(|(name, _)| !given.contains(name))))
    }
}

impl Dialect for Postgres {}

impl Driver for Postgres {
    type Db = sqlx::Postgres;

    const NAME: &'static str = "PostgreSQL";
    // Not `now()`, which is the beginning of the transaction. In version 13 this is a floating-point
    // number of seconds, exact to the microsecond once it is rounded.
    const NOW: &'static str = "((extract(epoch FROM clock_timestamp()) * 1000000)::bigint / 1000)";
    const CREATED: &'static str = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    const TIE: &'static str = "key";
    const KEY: &'static str = "key";
    const ON_TAKEN: &'static str = TAKE_OVER;
    const TOUCH: &'static str = "WITH slid AS ({slide} RETURNING {times}) \
        SELECT *, 1::bigint FROM slid \
        UNION ALL SELECT {times}, 0::bigint FROM {t} \
        WHERE key = $1 AND expires > {now} AND NOT EXISTS (SELECT 1 FROM slid)";
    const CHANGES_IN_WITH: bool = true;
    // The array is computed once.
    const REMOVE: &'static str =
        "DELETE FROM {t} WHERE key = ANY (ARRAY({found})) RETURNING {removed}";
    const CLEAN: &'static str = "DELETE FROM {t} WHERE key = ANY (ARRAY( \
        SELECT key FROM {t} WHERE expires <= (SELECT {now}) \
        ORDER BY expires LIMIT $1 FOR UPDATE SKIP LOCKED)) RETURNING {removed}";
    const LOCK: &'static str = " AND (SELECT pg_advisory_xact_lock($3)) IS NOT NULL";
    const SCHEMA: &'static str = "SELECT convert_to(quote_ident(nspname), 'UTF8') \
        FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace \
        WHERE pg_class.oid = to_regclass('{t}')";
    const INSPECT: &'static str = "SELECT ({found})::bigint";
    const TABLE_EXISTS: &'static str =
        "SELECT 1 FROM pg_catalog.pg_class WHERE oid = to_regclass('{t}_meta')";
    const MIGRATIONS: &'static [&'static str] =
        &[include_str!("../../migrations/postgres/0001_entries.sql")];

    fn begin(&self, _: &str, lock: Option<u64>, timeout: Duration) -> String {
        let millis = timeout.as_millis();
        // Local to the transaction, for poolers. A call whose client has given up stops waiting for
        // a lock, and a client that was disconnected loses its locks.
        let mut sql = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {millis}; \
             SET LOCAL idle_in_transaction_session_timeout = {};",
            millis * u128::from(ABANDONED_TIMEOUTS)
        );
        if let Some(lock) = lock {
            let _ = write!(sql, "SELECT pg_advisory_xact_lock({});", lock.cast_signed());
        }
        sql
    }

    fn options(&mut self, url: &str, timeout: Duration) -> Result<Options<Self>> {
        let (options, is_pooled) = parse(url)?;
        let mut options = own(options);
        self.is_pooled |= is_pooled;
        // Behind a pooler, the isolation level can't be set; conflicts are retried at any level.
        let scope = if self.is_pooled {
            options = options.statement_cache_capacity(0);
            "SET LOCAL"
        } else {
            "SET default_transaction_isolation = 'read committed'; SET"
        };
        let millis = timeout.as_millis();
        let mut settings =
            format!("{scope} lock_timeout = {millis}; {scope} bytea_output = 'hex'; ");
        // A setting in the URL takes precedence.
        if !options.get_options().is_some_and(|options| options.contains("synchronous_commit")) {
            let _ = write!(settings, "{scope} synchronous_commit = 'on'; ");
        }
        self.settings = settings.into();
        Ok((options, None))
    }

    fn with_credentials(options: PgConnectOptions, credentials: &Credentials) -> PgConnectOptions {
        options.username(credentials.user()).password(credentials.password())
    }

    async fn check_version(&self, connection: &mut PgConnection) -> Outcome<()> {
        let version = connection.server_version_num().map(|number| number / 10_000);
        if let Some(version) = version.filter(|version| *version < MIN_VERSION) {
            return Err(Failure::new(
                Kind::Misconfigured,
                format!(
                    "the server is PostgreSQL {version}, and {MIN_VERSION} is the oldest that works"
                ),
            ));
        }
        Ok(())
    }

    async fn prepare(&self, connection: &mut PgConnection, _: Duration) -> Outcome<i64> {
        if self.is_pooled {
            return Ok(0);
        }
        let sql = AssertSqlSafe(format!("{}{SERVER}", self.settings));
        let row = sqlx::raw_sql(sql).fetch_one(connection).await;
        row.and_then(|row| row.try_get(0)).map_err(failure::<Self>)
    }

    fn check_existing(&self) -> Result<()> {
        if self.is_pooled {
            return Err(Error::misconfigured(
                "`pooled_by_transactions` needs a URL: a store on an existing pool prepares statements",
            ));
        }
        Ok(())
    }

    /// Two connections of a session are two processes of the server. Behind such a pooler, the second
    /// usually gets the process that the first has just used.
    async fn check_pooler(pool: &PgPool) -> Outcome<()> {
        if pool.options().get_max_connections() < 2 {
            return Ok(());
        }
        let mut one = pool.acquire().await.map_err(failure::<Self>)?;
        let mut two = pool.acquire().await.map_err(failure::<Self>)?;
        let process = async |connection: &mut PgConnection| {
            let row = sqlx::raw_sql("SELECT pg_backend_pid()").fetch_one(connection).await;
            row.and_then(|row| row.try_get::<i32, _>(0)).map_err(failure::<Self>)
        };
        if process(&mut one).await? == process(&mut two).await? {
            return Err(Failure::new(
                Kind::Misconfigured,
                "the application's pool leads to a pooler by transactions, such as PgBouncer with \
                 `pool_mode = transaction`: open the store with a URL and `pooled_by_transactions`",
            ));
        }
        Ok(())
    }

    fn flaws(&self) -> &'static [(&'static str, &'static str)] {
        &[
            // Equal if the transaction began with this statement.
            ("now() <> statement_timestamp()", "a transaction that other code left open"),
            ("pg_is_in_recovery()", "a replica for its server"),
            ("current_setting('synchronous_commit') = 'off'", "`synchronous_commit` off"),
            // The triggers of the near cache do not run.
            (
                "current_setting('session_replication_role') = 'replica'",
                "`session_replication_role` replica",
            ),
            // Such a statement could take effect long after its call has failed.
            (
                "current_setting('lock_timeout')::interval NOT BETWEEN '1 ms' AND '50 s'",
                "a `lock_timeout` that is 0 or more than 50 seconds",
            ),
        ]
    }

    fn is_in_transaction(error: &dyn sqlx::error::DatabaseError) -> bool {
        // The transaction has failed.
        error.code().as_deref() == Some("25P02")
    }

    by_driver!();

    fn inlined(&self, statement: &Statement, arguments: &[Argument<'_>]) -> Option<String> {
        let literal = |index: usize| literal(&arguments[index]);
        // The settings apply until the statement ends.
        self.is_pooled.then(|| self.settings.to_string() + &substitute(&statement.sql, literal))
    }

    fn hint(error: &dyn sqlx::error::DatabaseError) -> Option<&'static str> {
        // A prepared statement is missing, or another client has made it; or a pooler does not know
        // the options.
        (matches!(error.code().as_deref(), Some("26000" | "42P05"))
            || error.message().contains("unsupported startup parameter"))
        .then_some("behind a pooler by transactions, set `pooled_by_transactions`")
    }

    fn kind(error: &dyn sqlx::error::DatabaseError) -> Kind {
        let code = error.code().unwrap_or_default();
        match &*code {
            // Serialization, deadlock.
            "40001" | "40P01" => Kind::Again,
            "23505" => Kind::Taken,
            "53100" => Kind::Full,
            // Read-only: another server has taken over, and a new connection may reach it.
            "25006" => Kind::Lost,
            // A prepared statement is outdated.
            "0A000" => Kind::Lost,
            "57014" => Kind::Unavailable,
            _ => match code.get(..2).unwrap_or_default() {
                // Connection, shutdown.
                "08" | "57" => Kind::Lost,
                // User, database, rights, table.
                "26" | "28" | "3D" | "3F" | "42" => Kind::Misconfigured,
                _ => Kind::Unavailable,
            },
        }
    }
}

/// The parameters of a URL that the driver knows.
const PARAMETERS: &str = "sslmode ssl-mode sslrootcert ssl-root-cert ssl-ca sslcert ssl-cert sslkey \
    ssl-key statement-cache-capacity host hostaddr port dbname user password application_name \
    options";

/// More than the store has statements.
const MAX_STATEMENTS: usize = 64;

impl Postgres {
    /// The server that pushes changes; `None` if only a pooler is known.
    fn listens_at<'a>(&'a self, options: &'a PgConnectOptions) -> Option<&'a PgConnectOptions> {
        self.listen.as_deref().or((!self.is_pooled).then_some(options))
    }
}

// Without the options, which may have a password.
impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("is_pooled", &self.is_pooled).finish_non_exhaustive()
    }
}

/// How to connect, and whether the URL sets `pooled_by_transactions`.
fn parse(url: &str) -> Result<(PgConnectOptions, bool)> {
    let mut url = Url::parse(url, &["postgres", "postgresql"], PARAMETERS)?;
    let is_pooled = url.take("pooled_by_transactions") == Some("true");
    let options: PgConnectOptions = url.options(Postgres::NAME, "postgres")?;
    if matches!(options.get_ssl_mode(), PgSslMode::Prefer | PgSslMode::Allow)
        && options.get_socket().is_none()
    {
        warn_of_plain_text(Postgres::NAME, options.get_host(), "sslmode=verify-full");
    }
    Ok((options, is_pooled))
}

/// The options of a connection that only the store uses.
fn own(options: PgConnectOptions) -> PgConnectOptions {
    // Statements are not logged, because behind a pooler they contain values.
    let options = options.statement_cache_capacity(MAX_STATEMENTS).disable_statement_logging();
    // The store has no fractions, and poolers reject parameters that they do not know.
    let options = options.extra_float_digits(None);
    match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("kvolt"),
    }
}

/// An argument as text: a number, or bytes in hexadecimal, neither of which can be anything else.
fn literal(argument: &Argument<'_>) -> String {
    match argument {
        Argument::Integer(Some(number)) => format!("({number})::bigint"),
        Argument::Integer(None) => String::from("NULL::bigint"),
        Argument::Bytes(Some(bytes)) => {
            let mut text = String::from("decode('");
            for byte in bytes.iter() {
                let _ = write!(text, "{byte:02x}");
            }
            text + "', 'hex')"
        }
        Argument::Bytes(None) => String::from("NULL::bytea"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 13 divides microseconds by a million, in floating point.
    #[test]
    fn microseconds_survive_floating_point() {
        let now = 1_800_000_000_000_000_i64;
        for micros in (now..now + 50_000).chain(now * 2..now * 2 + 50_000) {
            assert_eq!((micros as f64 / 1e6 * 1e6).round() as i64, micros);
        }
    }

    #[test]
    fn arguments_become_literals() {
        let text = "SELECT $2, $1, $10 WHERE a = $1";
        let statement = crate::statements::statement::<Postgres>("t", text);
        let mut arguments = vec![Argument::from(b"'\\\0".as_slice()), Argument::from(-1)];
        arguments.extend((0..7).map(|_| Argument::Integer(None)));
        arguments.push(Argument::Bytes(None));
        let hex = "decode('275c00', 'hex')";
        let expected = format!("SELECT (-1)::bigint, {hex}, NULL::bytea WHERE a = {hex}");
        let postgres = Postgres { is_pooled: true, ..Postgres::default() };
        assert_eq!(postgres.inlined(&statement, &arguments).as_deref(), Some(&*expected));
        assert_eq!(Postgres::default().inlined(&statement, &arguments), None);
    }
}
