//! MySQL and MariaDB.

use std::time::Duration;

use kvolt_cache::{Error, Result};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlDatabaseError};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};

use crate::dialect::{Dialect, Lock, Options, Trouble, by_driver};
use crate::failure::Kind;
use crate::store::SqlStore;

/// A store on MySQL from 8.0 on, or MariaDB from 10.6 on.
pub type MySqlStore = SqlStore<MySql>;

/// MySQL and MariaDB.
#[derive(Debug, Clone, Copy, Default)]
pub struct MySql;

/// How many rows there are to lock for owners, as in the migration.
const SLOTS: u64 = 512;

impl Dialect for MySql {
    type Db = sqlx::MySql;

    const NAME: &'static str = "MySQL";
    const SCHEMES: &'static [&'static str] = &["mysql", "mariadb"];
    // Without the session's time zone, in which an hour of autumn comes twice.
    const NOW: &'static str =
        "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000)";
    const CREATED: &'static str = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))";
    const KEY: &'static str = "`key`";
    const FOR_UPDATE: &'static str = " FOR UPDATE";
    // The error that a taken key makes is told apart, and undoes nothing else.
    const ON_TAKEN: &'static str = "";
    const CLEAN: &'static str = "DELETE FROM {t} WHERE expires <= {now} ORDER BY expires LIMIT $1";
    // Only MariaDB has `RETURNING`.
    const FIND_ENDED: Option<&'static str> = Some(
        "SELECT {key}, successor FROM {t} WHERE expires <= {now} \
         ORDER BY expires LIMIT $1 FOR UPDATE SKIP LOCKED",
    );
    // InnoDB keeps rows in the order of their keys, and a new key puts a row to another place.
    const RENAMES_ESCAPE: bool = true;
    const NUMBERS_ARGUMENTS: bool = false;
    const TABLE_EXISTS: &'static str = "SELECT 1 FROM information_schema.tables \
        WHERE table_schema = DATABASE() AND table_name = '{t}_meta'";
    const MIGRATIONS: &'static [&'static str] =
        &[include_str!("../migrations/mysql/0001_entries.sql")];

    fn begin(&self, table: &str, locks: &[Lock], _: Duration) -> String {
        let mut slots = Vec::new();
        for lock in locks {
            match lock {
                Lock::Owner(digest) => slots.push(digest % SLOTS),
                Lock::Everything => slots.extend(0..SLOTS),
            }
        }
        if slots.is_empty() {
            return "START TRANSACTION".to_owned();
        }
        let slots: Vec<String> = slots.iter().map(u64::to_string).collect();
        format!(
            "START TRANSACTION; \
             SELECT slot FROM {table}_locks WHERE slot IN ({}) ORDER BY slot FOR UPDATE",
            slots.join(", ")
        )
    }

    fn lock_schema(&self, table: &str, timeout: Duration) -> String {
        // It ends with the connection. It says 0 where it was not had, which nobody would
        // look at; two rows in the place of one are an error.
        let seconds = timeout.as_secs() * u64::from(crate::builder::OPEN_TIMEOUTS);
        format!(
            "SELECT IF(GET_LOCK('{table}_schema', {seconds}) = 1, 1, \
             (SELECT 1 UNION SELECT 2))"
        )
    }

    fn unlock_schema(&self, table: &str, _: bool) -> String {
        // What was done can't be undone, here: it is written so that it can be done again.
        format!("SELECT RELEASE_LOCK('{table}_schema')")
    }

    fn options(&self, url: &str, _: Duration) -> Result<Options<Self>> {
        let options: MySqlConnectOptions = url.parse().map_err(|_| {
            Error::misconfigured(
                "the URL is not mysql://USER:PASSWORD@HOST:PORT/DATABASE, \
                 with special characters percent-encoded, or it has a parameter that can't work",
            )
        })?;
        if options.get_database().is_none() {
            return Err(Error::misconfigured("the URL names no database"));
        }
        Ok(Options { read: options.disable_statement_logging(), write: None })
    }

    async fn prepare(
        &self,
        connection: &mut MySqlConnection,
        timeout: Duration,
    ) -> Result<(), Trouble> {
        let version = sqlx::raw_sql("SELECT CAST(VERSION() AS BINARY)");
        let version: Vec<u8> = version.fetch_one(&mut *connection).await?.try_get(0)?;
        let version = String::from_utf8_lossy(&version).into_owned();
        let is_mariadb = version.contains("MariaDB");
        check_version(&version, is_mariadb).map_err(Trouble::Refused)?;
        // Nothing is locked but what is there: no gaps, in which others would have to wait.
        // Whoever waits for a lock gives up with its client.
        let seconds = timeout.as_secs().max(1);
        let mut sql = format!(
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
             SET SESSION innodb_lock_wait_timeout = {seconds}"
        );
        if is_mariadb {
            // Whoever was cut off lets go of its locks.
            sql += &format!("; SET SESSION idle_transaction_timeout = {}", seconds * 5);
        }
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
        Ok(())
    }

    by_driver!();
    by_driver!(statements);

    fn kind(error: &dyn sqlx::error::DatabaseError) -> Kind {
        match error.try_downcast_ref::<MySqlDatabaseError>().map_or(0, MySqlDatabaseError::number) {
            // Deadlock; changed since it was read.
            1213 | 1020 => Kind::Again,
            1062 => Kind::Taken,
            1021 | 1114 => Kind::Full,
            // Read-only: a server that another has taken over from. A new connection may reach that one.
            1290 | 1792 | 1836 => Kind::Lost,
            // Shutting down; killed; idle for too long.
            1053 | 1077..=1079 | 1152 | 1154..=1160 | 1317 | 1927 | 4031 => Kind::Lost,
            // Who, which database, which rights, which table, which syntax, which settings, how large.
            1044..=1046
            | 1049
            | 1054
            | 1064
            | 1142
            | 1143
            | 1146
            | 1227
            | 1251
            | 1370
            | 1524
            | 1665
            | 1698
            | 1820 => Kind::Misconfigured,
            _ => Kind::Unavailable,
        }
    }
}

/// Refuses what has no `SKIP LOCKED`, generated columns, or recursive queries.
fn check_version(version: &str, is_mariadb: bool) -> Result<()> {
    // What MariaDB says to old clients.
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
    fn servers_that_are_too_old_are_refused() {
        for version in ["5.7.44-log", "10.5.23-MariaDB", "5.5.5-10.3.39-MariaDB-log"] {
            let refused = check_version(version, version.contains("MariaDB"));
            assert!(refused.is_err_and(|error| error.is_misconfigured()), "{version}");
        }
        for version in ["8.0.36", "9.1.0", "10.6.1-MariaDB", "5.5.5-10.11.6-MariaDB-0+deb12u1"] {
            assert!(check_version(version, version.contains("MariaDB")).is_ok(), "{version}");
        }
    }
}
