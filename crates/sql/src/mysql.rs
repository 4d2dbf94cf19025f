//! MySQL and MariaDB.

use std::time::Duration;

use kvolt_cache::{Credentials, CredentialsProvider, Error, Result};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlSslMode};
use sqlx::{ConnectOptions as _, MySqlPool, Row as _};

use crate::builder::SqlStoreBuilder;
use crate::dialect::{Dialect, Driver, Options, by_driver, failure};
use crate::failure::{Kind, Outcome};
use crate::store::SqlStore;
use crate::url::{Url, warn_of_plain_text};

/// A store on MySQL 8.0 or later, or MariaDB 10.6 or later.
///
/// ```no_run
/// use kvolt_sql::MySqlStore;
///
/// #[tokio::main]
/// async fn main() -> kvolt_cache::Result<()> {
///     let store = MySqlStore::open("mysql://app:password@db.internal/app", "shop").await?;
///     Ok(())
/// }
/// ```
pub type MySqlStore = SqlStore<MySql>;

/// MySQL and MariaDB, as the type parameter of [`SqlStore`].
///
/// ```no_run
/// use kvolt_sql::{MySql, SqlStore};
///
/// /// `MySqlStore` is an alias of this type.
/// async fn open(url: &str) -> kvolt_cache::Result<SqlStore<MySql>> {
///     SqlStore::open(url, "shop").await
/// }
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct MySql;

/// The parameters of a URL that the driver knows.
const PARAMETERS: &str = "sslmode ssl-mode sslca ssl-ca sslcert ssl-cert sslkey ssl-key charset \
    collation statement-cache-capacity socket timezone time-zone";

impl SqlStoreBuilder<MySql> {
    /// Sets a callback that returns the user name and the password, instead of those in the URL. Each
    /// new connection asks it. So a password that was changed needs no
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
    /// use kvolt_sql::MySqlStore;
    ///
    /// /// A file that an operator, or a secrets agent, replaces.
    /// async fn from_file() -> std::io::Result<Credentials> {
    ///     let password = std::fs::read_to_string("/run/secrets/database")?;
    ///     Ok(Credentials::new("app", password.trim_end()))
    /// }
    ///
    /// let builder = MySqlStore::builder("mysql://db.internal/app", "shop").credentials_from(from_file);
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

impl SqlStore<MySql> {
    /// Returns a builder for a store on a pool of the application, in the table
    /// `{namespace}_sessions`.
    ///
    /// Build the pool with [`connect_options`](Self::connect_options). Its connections are inspected
    /// when the store is opened and each time that a call takes one, which costs one round trip and
    /// takes the place of the driver's own ping. [`open`](SqlStoreBuilder::open) rejects a pool
    /// whose settings would undo a promise, and names the setting. [`close`](Self::close) does not
    /// close the pool.
    ///
    /// ```no_run
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use kvolt_sql::MySqlStore;
    /// use sqlx::mysql::MySqlPoolOptions;
    ///
    /// let options = MySqlStore::connect_options("mysql://app:password@db.internal/app")?;
    /// let pool = MySqlPoolOptions::new().max_connections(20).connect_with(options).await?;
    /// let store = MySqlStore::builder_on(pool.clone(), "shop").open().await?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder_on(pool: MySqlPool, namespace: &str) -> SqlStoreBuilder<MySql> {
        SqlStoreBuilder::on(pool, namespace)
    }

    /// Returns connection options for a pool that an application shares with a store
    /// ([`builder_on`](Self::builder_on)).
    ///
    /// They are the driver's, from a URL that names a database. The defaults of a server are what a
    /// store needs.
    ///
    /// ```
    /// # fn main() -> kvolt_cache::Result<()> {
    /// use kvolt_sql::MySqlStore;
    ///
    /// let options = MySqlStore::connect_options("mysql://app:password@db.internal/app")?;
    /// assert_eq!(options.get_database(), Some("app"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the URL is invalid ([`Error::is_misconfigured`]).
    pub fn connect_options(url: &str) -> Result<MySqlConnectOptions> {
        parse(url)
    }
}

impl Dialect for MySql {}

impl Driver for MySql {
    type Db = sqlx::MySql;

    const NAME: &'static str = "MySQL";
    // In UTC, because a local time repeats an hour in autumn.
    const NOW: &'static str =
        "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000)";
    const CREATED: &'static str = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))";
    const TIE: &'static str = "`key`";
    const KEY: &'static str = "`key`";
    // A taken key is an error that undoes nothing else.
    const ON_TAKEN: &'static str = "";
    const TOUCH: &'static str = "{slide}";
    // The nested query reads a snapshot, and the outer one locks the rows by their keys.
    const REMOVE: &'static str = "SELECT {removed} FROM {t} \
        WHERE {key} IN (SELECT {key} FROM ({found}) found) FOR UPDATE";
    const CLEAN: &'static str = "SELECT {removed} FROM {t} WHERE expires <= {now} \
        ORDER BY expires LIMIT $1 FOR UPDATE SKIP LOCKED";
    // Only MariaDB has `RETURNING`.
    const RETURNS_REMOVED: bool = false;
    // As many as the migration makes rows to lock.
    const LOCKS: u64 = 512;
    const NUMBERS_ARGUMENTS: bool = false;
    const SCHEMA: &'static str =
        "SELECT CAST(CONCAT('`', REPLACE(DATABASE(), '`', '``'), '`') AS BINARY)";
    // The first statement is an error in a transaction.
    const INSPECT: &'static str = "SET TRANSACTION READ WRITE; SELECT CAST({found} AS SIGNED)";
    const TABLE_EXISTS: &'static str = "SELECT 1 FROM information_schema.tables \
        WHERE table_schema = DATABASE() AND table_name = '{t}_meta'";
    const MIGRATIONS: &'static [&'static str] =
        &[include_str!("../migrations/mysql/0001_entries.sql")];

    fn begin(&self, table: &str, lock: Option<u64>, _: Duration) -> String {
        // A connection of the application's pool may have another level.
        let begin = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION";
        match lock {
            Some(slot) => {
                format!("{begin}; SELECT slot FROM {table}_locks WHERE slot = {slot} FOR UPDATE")
            }
            None => begin.to_owned(),
        }
    }

    fn lock_schema(&self, table: &str, timeout: Duration) -> String {
        // The lock ends with the connection. If it is not granted, the function returns 0 and no
        // error, so a subquery with two rows makes one.
        // With 0 seconds, it would not wait at all.
        let seconds = timeout.as_secs().max(1);
        format!(
            "SELECT IF(GET_LOCK('{table}_schema', {seconds}) = 1, 1, \
             (SELECT 1 UNION SELECT 2))"
        )
    }

    fn unlock_schema(&self, table: &str, _: bool) -> String {
        // Schema changes can't be rolled back here. They are written so that they can be repeated.
        format!("SELECT RELEASE_LOCK('{table}_schema')")
    }

    fn options(&mut self, url: &str, _: Duration) -> Result<Options<Self>> {
        // `prepare` sets the mode.
        let options = parse(url)?.pipes_as_concat(false).no_engine_substitution(false);
        Ok((options.disable_statement_logging(), None))
    }

    fn with_credentials(
        options: MySqlConnectOptions,
        credentials: &Credentials,
    ) -> MySqlConnectOptions {
        options.username(credentials.user()).password(credentials.password())
    }

    async fn check_version(&self, connection: &mut MySqlConnection) -> Outcome<()> {
        let version = version(connection).await?;
        Ok(check_version(&version, version.contains("MariaDB"))?)
    }

    async fn prepare(&self, connection: &mut MySqlConnection, timeout: Duration) -> Outcome<i64> {
        let is_mariadb = version(connection).await?.contains("MariaDB");
        // Sets every variable whose value at the server would change what a statement does. A call
        // whose client has given up must not keep waiting for a lock.
        let seconds = timeout.as_secs().max(1);
        let mut sql = format!(
            "SET SESSION autocommit = 1, SESSION completion_type = 0, \
             SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', \
             SESSION sql_safe_updates = 0, SESSION sql_big_selects = 1, \
             SESSION sql_select_limit = 18446744073709551615, \
             SESSION innodb_lock_wait_timeout = {seconds}; \
             SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
        );
        if is_mariadb {
            // A client that was disconnected loses its locks.
            sql += &format!("; SET SESSION idle_transaction_timeout = {}", seconds * 5);
        }
        self.run(connection, sql).await.map_err(failure::<Self>)?;
        Ok(0)
    }

    fn check_existing(&self) -> Result<()> {
        Ok(())
    }

    fn flaws(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("@@autocommit = 0", "`autocommit` 0"),
            ("@@completion_type <> 'NO_CHAIN'", "a `completion_type` other than `NO_CHAIN`"),
            (
                "NOT FIND_IN_SET('STRICT_ALL_TABLES', @@sql_mode) \
                 AND NOT FIND_IN_SET('STRICT_TRANS_TABLES', @@sql_mode)",
                "an `sql_mode` without `STRICT_TRANS_TABLES`",
            ),
            (
                "FIND_IN_SET('EMPTY_STRING_IS_NULL', @@sql_mode) \
                 OR FIND_IN_SET('ORACLE', @@sql_mode)",
                "an `sql_mode` with `EMPTY_STRING_IS_NULL` or `ORACLE`",
            ),
            ("@@sql_safe_updates <> 0", "`sql_safe_updates` 1"),
            ("@@sql_big_selects = 0", "`sql_big_selects` 0"),
            ("@@sql_select_limit < 1000000000", "an `sql_select_limit`"),
            // Such a statement could take effect long after its call has failed.
            (
                "@@innodb_lock_wait_timeout > 50",
                "an `innodb_lock_wait_timeout` of more than 50 seconds",
            ),
            // The session's clock stands still.
            ("ABS(TIMESTAMPDIFF(SECOND, NOW(), SYSDATE())) > 5", "a fixed `timestamp`"),
        ]
    }

    fn is_in_transaction(error: &dyn sqlx::error::DatabaseError) -> bool {
        number(error) == 1568
    }

    by_driver!();

    fn kind(error: &dyn sqlx::error::DatabaseError) -> Kind {
        match number(error) {
            // Deadlock; changed since it was read.
            1213 | 1020 => Kind::Again,
            1062 => Kind::Taken,
            1021 | 1114 => Kind::Full,
            // Read-only: another server has taken over, and a new connection may reach it.
            1290 | 1792 | 1836 => Kind::Lost,
            // Shutting down; killed; idle for too long.
            1053 | 1077..=1079 | 1152 | 1154..=1160 | 1317 | 1927 | 4031 => Kind::Lost,
            // User, database, rights, table, syntax, settings.
            1044..=1046 | 1049 | 1054 | 1064 | 1142 | 1143 | 1146 | 1227 => Kind::Misconfigured,
            1251 | 1370 | 1524 | 1665 | 1698 | 1820 => Kind::Misconfigured,
            _ => Kind::Unavailable,
        }
    }
}

/// The number of an error.
fn number(error: &dyn sqlx::error::DatabaseError) -> u16 {
    error.try_downcast_ref::<MySqlDatabaseError>().map_or(0, MySqlDatabaseError::number)
}

/// How to connect.
fn parse(url: &str) -> Result<MySqlConnectOptions> {
    let url = Url::parse(url, &["mysql", "mariadb"], PARAMETERS)?;
    let options: MySqlConnectOptions = url.options(MySql::NAME, "mysql")?;
    if options.get_database().is_none() {
        return Err(Error::misconfigured("the URL names no database"));
    }
    if matches!(options.get_ssl_mode(), MySqlSslMode::Preferred) && options.get_socket().is_none() {
        warn_of_plain_text(MySql::NAME, options.get_host(), "ssl-mode=VERIFY_IDENTITY");
    }
    Ok(options)
}

/// The server's version.
async fn version(connection: &mut MySqlConnection) -> Outcome<String> {
    let row = sqlx::raw_sql("SELECT CAST(VERSION() AS BINARY)").fetch_one(connection).await;
    let version: Vec<u8> = row.and_then(|row| row.try_get(0)).map_err(failure::<MySql>)?;
    Ok(String::from_utf8_lossy(&version).into_owned())
}

/// Rejects a server without `SKIP LOCKED`, generated columns or recursive queries.
fn check_version(version: &str, is_mariadb: bool) -> Result<()> {
    // MariaDB's prefix for old clients.
    let mut numbers = version.strip_prefix("5.5.5-").unwrap_or(version).split(['.', '-']);
    let mut number = || numbers.next().and_then(|number| number.parse::<u32>().ok());
    let (name, least) = if is_mariadb { ("MariaDB", (10, 6)) } else { ("MySQL", (8, 0)) };
    match (number(), number()) {
        (Some(major), Some(minor)) if (major, minor) < least => Err(Error::misconfigured(format!(
            "the server is {name} {major}.{minor}, and {}.{} is the oldest that works",
            least.0, least.1
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_on_the_schema_is_waited_for() {
        let sql = MySql.lock_schema("shop_sessions", Duration::from_millis(500));
        assert!(sql.contains("GET_LOCK('shop_sessions_schema', 1)"), "{sql}");
    }

    #[test]
    fn old_server_is_rejected() {
        for version in ["5.7.44-log", "10.5.23-MariaDB", "5.5.5-10.3.39-MariaDB-log"] {
            let refused = check_version(version, version.contains("MariaDB"));
            assert!(refused.is_err_and(|error| error.is_misconfigured()), "{version}");
        }
        for version in ["8.0.36", "9.1.0", "10.6.1-MariaDB", "5.5.5-10.11.6-MariaDB-0+deb12u1"] {
            assert!(check_version(version, version.contains("MariaDB")).is_ok(), "{version}");
        }
    }
}
