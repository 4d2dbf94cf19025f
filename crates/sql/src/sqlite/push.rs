//! Pushing changes to near caches, by a log that triggers write.

use std::time::Duration;

use kvolt_cache::{ChangeFeed, ChangeObserver, Error, Key, Namespace, Result, Timestamp};
use tokio::time::sleep;

use super::{Sqlite, SqliteStore};
use crate::core::Core;
use crate::dialect::{Argument, Dialect};
use crate::failure::Outcome;
use crate::migrate::Triggers;
use crate::row::timestamp;
use crate::statements::{fill, statement, table};

/// Created when the first near cache needs them: with them, each change is written twice.
const TRIGGERS: Triggers = Triggers {
    exist: "SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND name = '{t}_push_1'",
    sql: include_str!("../../migrations/sqlite/push.sql"),
};

impl SqliteStore {
    /// The statements that create the triggers which [`watch`](ChangeFeed::run) needs, for operators
    /// that run them by hand because [migrations](crate::SqlStoreBuilder::migrate) are off.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is not that of a namespace ([`Error::is_misconfigured`]).
    pub fn push_migration(namespace: &str) -> Result<String> {
        Ok(fill::<Sqlite>(&table(&Namespace::new(namespace)?), TRIGGERS.sql))
    }
}

impl ChangeFeed for SqliteStore {
    /// Reads the log twice in every interval: a change is pushed no later than half an interval
    /// after it.
    ///
    /// # Why nothing is missed
    ///
    /// A trigger writes the log within the transaction that changes an entry. There is one writer
    /// at a time, so numbers in the log are in the order of the commits and without gaps. A read
    /// that begins after `asked` has what was committed before. The log has the last 10,000
    /// changes; where the next one is gone, everything is said to have changed.
    async fn run(&self, interval: Duration, listener: &dyn ChangeObserver) -> Error {
        self.core.run(interval, listener).await
    }
}

impl Core<Sqlite> {
    /// Until a read fails.
    async fn run(&self, interval: Duration, listener: &dyn ChangeObserver) -> Error {
        if let Err(error) = self.make_triggers(&TRIGGERS).await {
            return error;
        }
        // Nowhere yet: the first read says that anything may have changed.
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
            listener.confirmed(asked, look.time);
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
        let mut lease = self.read.lease_unchecked().await?;
        let rows = lease.fetch(&sql, &[Argument::from(last.unwrap_or(i64::MAX))]).await?;
        let mut look = Look { newest: 0, time: Timestamp::from_millis(0), changes: Vec::new() };
        for row in rows {
            let integer = |index| Sqlite::integer(&row, index).ok().flatten().unwrap_or(0);
            let key = Sqlite::bytes(&row, 1).ok().flatten();
            match key.and_then(|key| key.try_into().ok()) {
                Some(key) => look.changes.push((integer(0), Key::from_bytes(key))),
                None => {
                    look.newest = integer(0);
                    look.time = timestamp(integer(2));
                }
            }
        }
        Ok(look)
    }
}

/// What a read of the log has found.
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
