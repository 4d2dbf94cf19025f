//! Pushed changes: a log that triggers write.

use std::convert::Infallible;
use std::time::Duration;

use kvolt_cache::{ChangeFeed, ChangeObserver, Error, Key, Namespace, Result, Timestamp};
use tokio::time::sleep;

use super::{Sqlite, SqliteStore};
use crate::core::Core;
use crate::dialect::{Argument, Driver};
use crate::failure::Outcome;
use crate::migrate::Triggers;
use crate::row::timestamp;
use crate::statements::{fill, statement, table};

/// Created when the first near cache needs them: each change is then written twice.
const TRIGGERS: Triggers = Triggers {
    exist: "SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND name = '{t}_push_1'",
    sql: include_str!("../../migrations/sqlite/push.sql"),
};

impl SqliteStore {
    /// Returns the statements that create the triggers which a [change feed](ChangeFeed::run) needs,
    /// for operators who run them by hand because [`migrate`](crate::SqlStoreBuilder::migrate) is
    /// off.
    ///
    /// ```
    /// # fn main() -> kvolt_cache::Result<()> {
    /// use kvolt_sql::SqliteStore;
    ///
    /// let sql = SqliteStore::push_migration("shop")?;
    /// assert!(sql.contains("CREATE TRIGGER shop_sessions_push_1"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the name is not a valid namespace ([`Error::is_misconfigured`]).
    pub fn push_migration(namespace: &str) -> Result<String> {
        Ok(fill::<Sqlite>(&table(&Namespace::new(namespace)?), TRIGGERS.sql))
    }
}

impl ChangeFeed for SqliteStore {
    /// Reads the log twice in every interval, so a change is pushed at most half an interval after
    /// it is made.
    ///
    /// # Why no change is missed
    ///
    /// A trigger writes the log in the transaction that changes an entry. There is one writer at a
    /// time, so the numbers in the log are in the order of the commits and have no gaps. A read that
    /// begins after `asked` returns everything that was committed before. The log has the last
    /// 10,000 changes; if the next one is no longer in it, the feed reports that everything may have
    /// changed.
    async fn run(&self, interval: Duration, observer: &dyn ChangeObserver) -> Error {
        let Err(error) = self.core.run(interval, observer).await;
        error
    }
}

impl Core<Sqlite> {
    async fn run(&self, interval: Duration, observer: &dyn ChangeObserver) -> Result<Infallible> {
        self.ensure_schema(Some(&TRIGGERS)).await?;
        // The number of the last change that was passed on.
        let mut last = None;
        loop {
            let asked = observer.now();
            let log = self.call(true, || self.read_log(last)).await?;
            let numbers = log.changes.iter().map(|(number, _)| *number);
            if last.is_some_and(|last| last <= log.newest && numbers.eq(last + 1..=log.newest)) {
                log.changes.iter().for_each(|(_, key)| observer.changed(key));
            } else {
                // The first read, or changes are missing.
                observer.all_changed();
            }
            last = Some(log.newest);
            observer.confirmed(asked, log.time);
            sleep(interval / 2).await;
        }
    }

    /// Reads the changes after the one with the number `last`.
    async fn read_log(&self, last: Option<i64>) -> Outcome<Log> {
        // The first row has the newest number and no key.
        let sql = statement::<Sqlite>(
            &self.sql.table,
            "SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = '{t}_changes'), 0) AS id, \
             NULL AS key, {now} \
             UNION ALL SELECT id, key, {now} FROM {t}_changes WHERE id > $1 ORDER BY id",
        );
        let mut lease = self.read.lease_unchecked().await?;
        let rows = lease.fetch(&sql, &[Argument::from(last.unwrap_or(i64::MAX))]).await?;
        let mut log = Log { newest: 0, time: Timestamp::from_millis(0), changes: Vec::new() };
        for row in rows {
            let integer = |index| Sqlite::integer(&row, index).ok().flatten().unwrap_or(0);
            let key = Sqlite::bytes(&row, 1).ok().flatten();
            match key.and_then(|key| key.try_into().ok()) {
                Some(key) => log.changes.push((integer(0), Key::from_bytes(key))),
                None => (log.newest, log.time) = (integer(0), timestamp(integer(2))),
            }
        }
        Ok(log)
    }
}

/// Changes that were read from the log, with their numbers.
struct Log {
    /// The number of the newest change ever made, 0 if there was none.
    newest: i64,
    time: Timestamp,
    changes: Vec<(i64, Key)>,
}
