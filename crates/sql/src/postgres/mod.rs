//! PostgreSQL.

mod push;

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{Error, Result};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _};

use crate::builder::Builder;
use crate::dialect::{
    Argument, Dialect, Lock, Options, Statement, TAKE_OVER, Trouble, bound, by_driver,
};
use crate::failure::Kind;
use crate::statements::{after_number, leading_index};
use crate::store::SqlStore;

/// A store on PostgreSQL, from version 13 on.
pub type PostgresStore = SqlStore<Postgres>;

/// PostgreSQL.
#[derive(Clone, Default)]
pub struct Postgres {
    is_pooled: bool,
    /// Where to listen, if not where everything else is done.
    listen: Option<Arc<PgConnectOptions>>,
}

/// The oldest version that its makers cared for when this was written, less one.
const VERSION_MIN: u32 = 13;

/// How much longer a transaction of a client that is gone may hold its locks.
const ABANDONED_TIMEOUTS: u32 = 5;

impl Builder<Postgres> {
    /// Whether there is a pooler before the server that gives a connection
    /// away after every transaction, such as PgBouncer with `pool_mode =
    /// transaction`. `false` unless set, or asked for by
    /// `pooled_by_transactions=true` in the URL.
    ///
    /// Then no statement is prepared, since the next one may go to another
    /// connection: each goes as text, with its arguments in it, in one round
    /// trip. The price is that the server plans each anew, and that whoever
    /// may read its log or `pg_stat_activity` sees values
    /// ([`Encrypted`](kvolt_cache::codec) ones are unreadable there, too).
    pub fn pooled_by_transactions(self, is_pooled: bool) -> Self {
        self.with_dialect(|dialect| dialect.is_pooled = is_pooled)
    }

    /// The URL of the server itself, for [`Push`](kvolt_cache::Push) behind a pooler.
    ///
    /// Whoever has a near cache listens on a connection of its own, which a pooler would give away.
    ///
    /// # Errors
    ///
    /// Misconfigured, for what is no such URL.
    pub fn listen_url(self, url: &str) -> Result<Self> {
        let listen = Some(Arc::new(parse(url)?));
        Ok(self.with_dialect(|dialect| dialect.listen = listen))
    }
}

impl Dialect for Postgres {
    type Db = sqlx::Postgres;

    const NAME: &'static str = "PostgreSQL";
    const SCHEMES: &'static [&'static str] = &["postgres", "postgresql"];
    // The clock itself: `now()` is the transaction's beginning.
    const NOW: &'static str = "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    const CREATED: &'static str = "floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    const KEY: &'static str = "key";
    const FOR_UPDATE: &'static str = " FOR UPDATE";
    const ON_TAKEN: &'static str = TAKE_OVER;
    // The array is made once, and what is in it is locked. What is locked by others is skipped.
    const CLEAN: &'static str = "DELETE FROM {t} WHERE key = ANY (ARRAY( \
        SELECT key FROM {t} WHERE expires <= (SELECT {now}) \
        ORDER BY expires LIMIT $1 FOR UPDATE SKIP LOCKED)) AND expires <= {now}";
    // A row that is being moved is locked, and followed to where it is then.
    const RENAMES_ESCAPE: bool = false;
    const TABLE_EXISTS: &'static str =
        "SELECT 1 FROM pg_catalog.pg_class WHERE oid = to_regclass('{t}_meta')";
    const MIGRATIONS: &'static [&'static str] =
        &[include_str!("../../migrations/postgres/0001_entries.sql")];

    fn begin(&self, _: &str, locks: &[Lock], timeout: Duration) -> String {
        let millis = timeout.as_millis();
        // Local to the transaction, as everything has to be behind a pooler. Whoever waits for a
        // lock gives up with its client; whoever was cut off lets go of its own.
        let mut sql = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {millis}; \
             SET LOCAL idle_in_transaction_session_timeout = {};",
            millis * u128::from(ABANDONED_TIMEOUTS)
        );
        for lock in locks {
            // `clear` is one statement, and follows rows that are being moved.
            if let Lock::Owner(digest) = lock {
                let _ = write!(sql, "SELECT pg_advisory_xact_lock({});", digest.cast_signed());
            }
        }
        sql
    }

    fn lock_schema(&self, table: &str, timeout: Duration) -> String {
        let digest = kvolt_cache::Key::of(format!("the schema of {table}"));
        let wait = timeout * crate::builder::OPEN_TIMEOUTS;
        self.begin(table, &[Lock::of(&digest)], wait)
    }

    fn unlock_schema(&self, _: &str, done: bool) -> String {
        if done { "COMMIT" } else { "ROLLBACK" }.to_owned()
    }

    fn read_url(&mut self, url: &str) {
        self.is_pooled |= url.contains(&format!("{POOLED}=true"));
    }

    fn options(&self, url: &str, _: Duration) -> Result<Options<Self>> {
        let mut options = parse(url)?;
        if self.is_pooled {
            options = options.statement_cache_capacity(0);
        }
        Ok(Options { read: options, write: None })
    }

    async fn prepare(
        &self,
        connection: &mut PgConnection,
        timeout: Duration,
    ) -> Result<(), Trouble> {
        let version = connection.server_version_num().map(|number| number / 10_000);
        if let Some(version) = version.filter(|version| *version < VERSION_MIN) {
            return Err(Trouble::Refused(Error::misconfigured(format!(
                "the server is PostgreSQL {version}, and {VERSION_MIN} is the oldest that works"
            ))));
        }
        if !self.is_pooled {
            // Who has given up must not go on waiting there: the server would not notice.
            let sql = format!("SET lock_timeout = {}", timeout.as_millis());
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
        }
        Ok(())
    }

    by_driver!();

    async fn fetch(
        &self,
        connection: &mut PgConnection,
        statement: &Statement,
        arguments: &[Argument<'_>],
    ) -> sqlx::Result<Vec<PgRow>> {
        if self.is_pooled {
            let sql = AssertSqlSafe(inlined(statement, arguments));
            return sqlx::raw_sql(sql).fetch_all(connection).await;
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
            sqlx::raw_sql(AssertSqlSafe(inlined(statement, arguments))).execute(connection).await
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
            // Read-only: a server that another has taken over from. A new connection may reach that one.
            "25006" => Kind::Lost,
            // What was prepared is not what there is any more.
            "0A000" => Kind::Lost,
            "57014" => Kind::Unavailable,
            _ => match code.get(..2).unwrap_or_default() {
                // Connection, shutdown.
                "08" | "57" => Kind::Lost,
                // Who, which database, which rights, which table.
                "26" | "28" | "3D" | "3F" | "42" => Kind::Misconfigured,
                _ => Kind::Unavailable,
            },
        }
    }
}

/// The parameter of the URL.
const POOLED: &str = "pooled_by_transactions";

/// More than there are statements.
const STATEMENTS_MAX: usize = 64;

impl Postgres {
    /// Where to listen; nowhere if there is but a pooler.
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

fn parse(url: &str) -> Result<PgConnectOptions> {
    // The driver does not know this parameter, and would say so in the log.
    let url = url
        .replace(&format!("?{POOLED}=true&"), "?")
        .replace(&format!("?{POOLED}=true"), "")
        .replace(&format!("&{POOLED}=true"), "");
    let options: PgConnectOptions = url.parse().map_err(|_| {
        Error::misconfigured(
            "the URL is not postgres://USER:PASSWORD@HOST:PORT/DATABASE, \
             with special characters percent-encoded, or it has a parameter that can't work",
        )
    })?;
    // Statements are never logged: behind a pooler, values are in them.
    let options = options.statement_cache_capacity(STATEMENTS_MAX).disable_statement_logging();
    // There are no fractions here, and poolers refuse parameters that they do not know.
    let options = options.extra_float_digits(None);
    Ok(match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("kvolt"),
    })
}

/// The statement with its arguments in it: numbers, and bytes in hexadecimal, neither of which
/// can be anything else.
fn inlined(statement: &Statement, arguments: &[Argument<'_>]) -> String {
    let mut sql = String::with_capacity(statement.sql.len() * 2);
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

    #[test]
    fn arguments_become_literals() {
        let text = "SELECT $2, $1, $10 WHERE a = $1";
        let statement = crate::statements::statement::<Postgres>("t", text);
        let mut arguments = vec![Argument::from(b"'\\\0".as_slice()), Argument::from(-1)];
        arguments.extend((0..7).map(|_| Argument::Integer(None)));
        arguments.push(Argument::Bytes(None));
        let hex = "decode('275c00', 'hex')";
        let expected = format!("SELECT (-1)::bigint, {hex}, NULL::bytea WHERE a = {hex}");
        assert_eq!(inlined(&statement, &arguments), expected);
    }
}
