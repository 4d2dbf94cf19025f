//! Telling near caches what was changed, by a log that triggers write.

use std::time::Duration;

use kvolt_cache::{Error, Key, Listener, Push, Result, Timestamp};
use tokio::time::sleep;

use super::{Sqlite, SqliteStore};
use crate::dialect::{Argument, Dialect};
use crate::failure::Outcome;
use crate::migrate::Triggers;
use crate::statements::statement;
use crate::store::Core;

/// Made when somebody first wants to be told: with them, each change is written twice.
const TRIGGERS: Triggers = Triggers {
    exist: "SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND name = '{t}_push_1'",
    sql: include_str!("../../migrations/sqlite/push.sql"),
};

impl SqliteStore {
    /// The statements that make the triggers which [`watch`](Push::watch) needs, for those who
    /// run them by hand because [migrations](crate::Builder::migrate) are off.
    ///
    /// # Errors
    ///
    /// Misconfigured, for a name that is not a table's.
    pub fn push_migration(table: &str) -> Result<String> {
        TRIGGERS.filled::<Sqlite>(table)
    }
}

impl Push for SqliteStore {
    /// Looks into the log twice in every interval: a change is told half an
    /// interval after it at the latest.
    ///
    /// # Why nothing is missed
    ///
    /// A trigger writes the log within the transaction that changes an entry.
    /// There is one writer at a time, so numbers in the log are in the order
    /// of the commits and without gaps. What was committed before `asked` is
    /// seen by a look that begins after it. The log has the last 10,000
    /// changes; whoever finds that what comes next is gone is told that everything changed.
    async fn watch(&self, interval: Duration, listener: &dyn Listener) -> Error {
        self.core.watch(interval, listener).await
    }
}

impl Core<Sqlite> {
    /// Until a look fails.
    async fn watch(&self, interval: Duration, listener: &dyn Listener) -> Error {
        if let Err(error) = self.make_triggers(&TRIGGERS).await {
            return error;
        }
        // Nowhere yet: the first look tells that anything may have changed.
        let mut last = None;
        loop {
            let asked = listener.now();
            let look = match self.call(true, || self.look(last)).await {
                Ok(look) => look,
                Err(error) => return error,
            };
            if last.is_some_and(|last| look.follows(last)) {
                look.changes.iter().for_each(|(_, key)| listener.changed(key));
            } else {
                listener.all_changed();
            }
            last = Some(look.newest);
            listener.heard(asked, look.time);
            sleep(interval / 2).await;
        }
    }

    /// The log after the change `last`.
    async fn look(&self, last: Option<i64>) -> Outcome<Look> {
        let sql = statement::<Sqlite>(
            &self.sql.table,
            "SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = '{t}_changes'), 0) AS id, \
             NULL AS key, {now} \
             UNION ALL SELECT id, key, {now} FROM {t}_changes WHERE id > $1 ORDER BY id",
        );
        let mut lease = self.read.lease().await?;
        let rows = lease.fetch(&sql, &[Argument::from(last.unwrap_or(i64::MAX))]).await?;
        let mut look = Look { newest: 0, time: Timestamp::from_millis(0), changes: Vec::new() };
        for row in rows {
            let integer = |index| Sqlite::integer(&row, index).ok().flatten().unwrap_or(0);
            let key = Sqlite::bytes(&row, 1).ok().flatten();
            match key.and_then(|key| key.try_into().ok()) {
                Some(key) => look.changes.push((integer(0), Key::from_bytes(key))),
                None => {
                    look.newest = integer(0);
                    look.time = Timestamp::from_millis(u64::try_from(integer(2)).unwrap_or(0));
                }
            }
        }
        Ok(look)
    }
}

/// What a look into the log has found.
struct Look {
    /// The number of the newest change that there ever was, 0 if there was none.
    newest: i64,
    time: Timestamp,
    changes: Vec<(i64, Key)>,
}

impl Look {
    /// Whether these are all that came after the change `last`.
    fn follows(&self, last: i64) -> bool {
        let numbers = self.changes.iter().map(|(number, _)| *number);
        numbers.eq(last + 1..=self.newest) && last <= self.newest
    }
}
