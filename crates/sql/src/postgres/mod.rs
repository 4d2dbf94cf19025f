//! PostgreSQL.

mod push;

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{Error, Result};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};

use crate::builder::SqlStoreBuilder;
use crate::core::lock;
use crate::dialect::{Argument, Dialect, Options, Statement, TAKE_OVER, bound, by_driver};
use crate::failure::{Kind, Trouble};
use crate::statements::{after_number, leading_index};
use crate::store::SqlStore;
use crate::url::{Url, warn_of_plain_text};

/// A store on PostgreSQL, from version 13 on.
pub type PostgresStore = SqlStore<Postgres>;

/// PostgreSQL.
#[derive(Clone, Default)]
pub struct Postgres {
    is_pooled: bool,
    /// Where to listen, if not where everything else is done.
    listen: Option<Arc<PgConnectOptions>>,
    /// Sets what must not be as the server has it: once for a connection, or behind a pooler with
    /// each statement.
    settings: Arc<str>,
}

/// The oldest version that was maintained when this was written, less one.
const VERSION_MIN: u32 = 13;

/// How much longer than a call a transaction may hold its locks after its client is gone.
const ABANDONED_TIMEOUTS: u32 = 5;

/// Names the running server: when it was started, in microseconds.
const SERVER: &str = "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint";

impl SqlStoreBuilder<Postgres> {
    /// Sets whether there is a pooler before the server that gives a connection away after every
    /// transaction, such as PgBouncer with `pool_mode = transaction`. Defaults to `false`;
    /// `pooled_by_transactions=true` in the URL sets it, too.
    ///
    /// Then no statement is prepared, since the next one may go to another connection: each goes
    /// as text, with its arguments in it, in one round trip. The price is that the server plans
    /// each again, and that its log and `pg_stat_activity` show values
    /// ([`Encrypted`](kvolt_cache::codec) ones are unreadable there, too).
    pub fn pooled_by_transactions(self, is_pooled: bool) -> Self {
        self.with_dialect(|dialect| dialect.is_pooled = is_pooled)
    }

    /// Sets the URL of the server itself, for [`ChangeFeed`](kvolt_cache::ChangeFeed) behind a pooler.
    ///
    /// A near cache listens on a connection of its own, which a pooler would give away.
    ///
    /// # Errors
    ///
    /// Returns an error if it is not such a URL ([`Error::is_misconfigured`]).
    pub fn listen_url(self, url: &str) -> Result<Self> {
        let listen = Some(Arc::new(parse(url)?.0));
        Ok(self.with_dialect(|dialect| dialect.listen = listen))
    }
}

impl Dialect for Postgres {
    type Db = sqlx::Postgres;

    const NAME: &'static str = "PostgreSQL";
    // The clock itself: `now()` is the transaction's beginning. Version 13 has a floating-point
    // number of seconds here, exact to the microsecond once it is rounded.
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
    // The array is made once.
    const REMOVE: &'static str =
        "DELETE FROM {t} WHERE key = ANY (ARRAY({found})) RETURNING {removed}";
    const CLEAN: &'static str = "DELETE FROM {t} WHERE key = ANY (ARRAY( \
        SELECT key FROM {t} WHERE expires <= (SELECT {now}) \
        ORDER BY expires LIMIT $1 FOR UPDATE SKIP LOCKED)) RETURNING {removed}";
    const LOCK: &'static str = " AND (SELECT pg_advisory_xact_lock($3)) IS NOT NULL";
    const TABLE_EXISTS: &'static str =
        "SELECT 1 FROM pg_catalog.pg_class WHERE oid = to_regclass('{t}_meta')";
    const MIGRATIONS: &'static [&'static str] =
        &[include_str!("../../migrations/postgres/0001_entries.sql")];

    fn begin(&self, _: &str, lock: Option<u64>, timeout: Duration) -> String {
        let millis = timeout.as_millis();
        // Local to the transaction, as everything must be behind a pooler. A call whose client
        // has given up stops waiting for a lock, and one that was cut off loses its own.
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

    fn lock_schema(&self, table: &str, timeout: Duration) -> String {
        let key = kvolt_cache::Key::of(format!("the schema of {table}"));
        self.begin(table, Some(lock(&key)), timeout)
    }

    fn unlock_schema(&self, _: &str, done: bool) -> String {
        if done { "COMMIT" } else { "ROLLBACK" }.to_owned()
    }

    fn options(&mut self, url: &str, timeout: Duration) -> Result<Options<Self>> {
        let (mut options, is_pooled) = parse(url)?;
        self.is_pooled |= is_pooled;
        // Isolation is each transaction's own; a conflict is retried at any level.
        let scope = if self.is_pooled {
            options = options.statement_cache_capacity(0);
            "SET LOCAL"
        } else {
            "SET default_transaction_isolation = 'read committed'; SET"
        };
        let millis = timeout.as_millis();
        let mut settings =
            format!("{scope} lock_timeout = {millis}; {scope} bytea_output = 'hex'; ");
        // What the URL asks for stands.
        if !options.get_options().is_some_and(|options| options.contains("synchronous_commit")) {
            let _ = write!(settings, "{scope} synchronous_commit = 'on'; ");
        }
        self.settings = settings.into();
        Ok(Options { read: options, write: None })
    }

    async fn prepare(&self, connection: &mut PgConnection, _: Duration) -> Result<i64, Trouble> {
        let version = connection.server_version_num().map(|number| number / 10_000);
        if let Some(version) = version.filter(|version| *version < VERSION_MIN) {
            return Err(Trouble::Refused(Error::misconfigured(format!(
                "the server is PostgreSQL {version}, and {VERSION_MIN} is the oldest that works"
            ))));
        }
        if self.is_pooled {
            return Ok(0);
        }
        let sql = AssertSqlSafe(format!("{}{SERVER}", self.settings));
        Ok(sqlx::raw_sql(sql).fetch_one(connection).await?.try_get(0)?)
    }

    by_driver!();

    async fn fetch(
        &self,
        connection: &mut PgConnection,
        statement: &Statement,
        arguments: &[Argument<'_>],
    ) -> sqlx::Result<Vec<PgRow>> {
        if self.is_pooled {
            let sql = inlined(&self.settings, statement, arguments);
            return sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await;
        }
        bound(statement, arguments).fetch_all(connection).await
    }

    async fn execute(
        &self,
        connection: &mut PgConnection,
        statement: &Statement,
        arguments: &[Argument<'_>],
    ) -> sqlx::Result<u64> {
        let done = if self.is_pooled {
            let sql = inlined(&self.settings, statement, arguments);
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await
        } else {
            bound(statement, arguments).execute(connection).await
        };
        Ok(done?.rows_affected())
    }

    fn hint(error: &dyn sqlx::error::DatabaseError) -> Option<&'static str> {
        // A prepared statement that is not there, or that another client has made.
        matches!(error.code().as_deref(), Some("26000" | "42P05"))
            .then_some("behind a pooler by transactions, set `pooled_by_transactions`")
    }

    fn kind(error: &dyn sqlx::error::DatabaseError) -> Kind {
        let code = error.code().unwrap_or_default();
        match &*code {
            // Serialization, deadlock.
            "40001" | "40P01" => Kind::Again,
            "23505" => Kind::Taken,
            "53100" => Kind::Full,
            // Read-only: another server has taken over. A new connection may reach that one.
            "25006" => Kind::Lost,
            // What was prepared is out of date.
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

/// More than there are statements.
const MAX_STATEMENTS: usize = 64;

impl Postgres {
    /// Where to listen; nowhere if there is only a pooler.
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

/// How to connect, and whether the URL says that there is a pooler by transactions.
fn parse(url: &str) -> Result<(PgConnectOptions, bool)> {
    let mut url = Url::parse(url, &["postgres", "postgresql"], PARAMETERS)?;
    let is_pooled = url.take("pooled_by_transactions") == Some("true");
    let options: PgConnectOptions = url.text.parse().map_err(|_| {
        Error::misconfigured(
            "the URL is not postgres://USER:PASSWORD@HOST:PORT/DATABASE, \
             with special characters percent-encoded, or it has a parameter that can't work",
        )
    })?;
    url.warn_of_unknown(Postgres::NAME);
    if matches!(options.get_ssl_mode(), PgSslMode::Prefer | PgSslMode::Allow)
        && options.get_socket().is_none()
    {
        warn_of_plain_text(Postgres::NAME, options.get_host(), "sslmode=verify-full");
    }
    // Statements are never logged: behind a pooler, values are in them.
    let options = options.statement_cache_capacity(MAX_STATEMENTS).disable_statement_logging();
    // There are no fractions here, and poolers refuse parameters that they do not know.
    let options = options.extra_float_digits(None);
    let options = match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("kvolt"),
    };
    Ok((options, is_pooled))
}

/// The statement with its arguments in it, numbers, and bytes in hexadecimal, neither of which can
/// be anything else. The settings before it hold until it ends.
fn inlined(settings: &str, statement: &Statement, arguments: &[Argument<'_>]) -> String {
    let mut sql = settings.to_owned();
    let mut parts = statement.sql.split('$');
    sql.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let Some(index) = leading_index(part) else { continue };
        match &arguments[index] {
            Argument::Integer(Some(number)) => {
                let _ = write!(sql, "({number})::bigint");
            }
            Argument::Integer(None) => sql.push_str("NULL::bigint"),
            Argument::Bytes(Some(bytes)) => {
                sql.push_str("decode('");
                for byte in bytes.iter() {
                    let _ = write!(sql, "{byte:02x}");
                }
                sql.push_str("', 'hex')");
            }
            Argument::Bytes(None) => sql.push_str("NULL::bytea"),
        }
        sql.push_str(after_number(part));
    }
    sql
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
        assert_eq!(inlined("", &statement, &arguments), expected);
    }
}
