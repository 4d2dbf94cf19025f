//! Pushing changes to near caches, by `LISTEN` and `NOTIFY`.

use std::time::Duration;

use kvolt_cache::{ChangeFeed, ChangeObserver, Clock, Error, Key, Namespace, Timestamp};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{AssertSqlSafe, Row as _};
use tokio::time::timeout;

use super::{Postgres, PostgresStore, SERVER};
use crate::core::Core;
use crate::dialect::{Dialect, failure};
use crate::failure::{Failure, Kind, Outcome};
use crate::migrate::Triggers;
use crate::row::fresh_number;
use crate::statements::{fill, statement, table};

/// The triggers, created when the first near cache needs them: with them, transactions that
/// change entries commit one after the other.
const TRIGGERS: Triggers = Triggers {
    exist: "SELECT 1 FROM pg_catalog.pg_trigger \
        WHERE tgrelid = to_regclass('{t}') AND tgname = '{t}_push_1'",
    sql: include_str!("../../migrations/postgres/push.sql"),
};

impl PostgresStore {
    /// The statements that create the triggers which [`watch`](ChangeFeed::run) needs, for operators
    /// that run them by hand because [migrations](crate::SqlStoreBuilder::migrate) are off.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is not that of a namespace ([`Error::is_misconfigured`]).
    pub fn push_migration(namespace: &str) -> kvolt_cache::Result<String> {
        Ok(fill::<Postgres>(&table(&Namespace::new(namespace)?), TRIGGERS.sql))
    }
}

impl ChangeFeed for PostgresStore {
    /// # Why nothing is missed
    ///
    /// A trigger notifies within the transaction that changes an entry, so there is no change
    /// without it, not even one by hand. The server appends what a transaction notifies to one
    /// queue when it commits, in the order of the commits, and each connection that listens gets
    /// it in that order. A beat is such a notification, on a channel of this call's own, from a
    /// transaction that began after `asked`. What was committed before `asked` is before it in
    /// the queue: when the beat arrives, that has arrived. `LISTEN` takes effect when it returns,
    /// and only then everything is said to have changed, which covers what was missed before. A
    /// lost connection ends the call; it is never made again unnoticed. A beat counts only if the
    /// entries are then read from the server that was listened to, so one that another has taken
    /// over from is not believed.
    async fn run(&self, interval: Duration, listener: &dyn ChangeObserver) -> Error {
        match self.core.run(interval, listener).await {
            Ok(()) => Error::unavailable("the server ended the listening"),
            Err(failure) => failure.error,
        }
    }
}

impl Core<Postgres> {
    async fn run(&self, interval: Duration, listener: &dyn ChangeObserver) -> Outcome<()> {
        let Some(options) = self.read.dialect.listens_at(self.read.options()) else {
            return Err(Failure::new(
                Kind::Misconfigured,
                "a pooler by transactions passes no notifications on: \
                 set `listen_url` to the server itself",
            ));
        };
        self.make_triggers(&TRIGGERS).await?;
        let limit = self.settings.timeout;
        let mut heart = Heart::new(&self.sql.table, limit.max(interval))?;
        let mut hearing = within(limit, heart.listen(options.clone())).await?;
        listener.all_changed();
        loop {
            if heart.is_due() {
                within(limit, heart.beat(&mut hearing, listener)).await?;
                heart.due = heart.clock.now().saturating_add(interval / 2);
            }
            let wait = heart.due.since(heart.clock.now()).max(Duration::from_millis(1));
            match timeout(wait, hearing.try_recv()).await {
                Err(_) => {}
                Ok(Ok(Some(pushed))) => {
                    let beat = heart.receive(pushed.channel(), pushed.payload(), listener);
                    if let Some((asked, store_time)) = beat {
                        within(limit, self.check_server(heart.server)).await?;
                        listener.confirmed(asked, store_time);
                    }
                }
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => return Err(failure::<Postgres>(error)),
            }
            heart.check()?;
        }
    }

    /// Whether entries are read from this server.
    async fn check_server(&self, server: i64) -> Outcome<()> {
        let mut lease = self.read.lease_unchecked().await?;
        let rows = lease.fetch(&statement::<Postgres>(&self.sql.table, SERVER), &[]).await?;
        let read_from = rows.first().and_then(|row| Postgres::integer(row, 0).ok().flatten());
        if read_from != Some(server) {
            return Err(Failure::new(
                Kind::Unavailable,
                "changes are pushed by another server than the one that entries are read from",
            ));
        }
        Ok(())
    }
}

/// The beats by which it is known that everything before them was pushed.
struct Heart {
    clock: Clock,
    changes: String,
    beats: String,
    number: u64,
    /// The server that is listened to.
    server: i64,
    /// The beat that did not arrive yet: when it was asked for, and the server's clock then.
    pending: Option<(Timestamp, Timestamp)>,
    /// When the next is due.
    due: Timestamp,
    /// When the last was sent, and how long it may take.
    sent: Timestamp,
    patience: Duration,
}

impl Heart {
    fn new(table: &str, patience: Duration) -> Outcome<Self> {
        let clock = Clock::system();
        let now = clock.now();
        Ok(Self {
            clock,
            changes: format!("{table}_changes"),
            beats: format!("{table}_{:x}", fresh_number()?),
            number: 0,
            server: 0,
            pending: None,
            due: now,
            sent: now,
            patience,
        })
    }

    /// A connection of its own, straight to the server.
    async fn listen(&mut self, options: PgConnectOptions) -> Outcome<PgListener> {
        let listening = async {
            let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
            let mut hearing = PgListener::connect_with(&pool).await?;
            hearing.eager_reconnect(false);
            hearing.listen_all([self.changes.as_str(), self.beats.as_str()]).await?;
            let server = sqlx::raw_sql(SERVER).fetch_one(&mut hearing).await?.try_get(0)?;
            Ok((hearing, server))
        };
        let (hearing, server) = listening.await.map_err(failure::<Postgres>)?;
        self.server = server;
        Ok(hearing)
    }

    fn is_due(&self) -> bool {
        self.pending.is_none() && self.due <= self.clock.now()
    }

    async fn beat(
        &mut self,
        hearing: &mut PgListener,
        listener: &dyn ChangeObserver,
    ) -> Outcome<()> {
        self.number += 1;
        let sql = format!(
            "SELECT pg_notify('{}', '{}'), {}",
            self.beats,
            self.number,
            <Postgres as Dialect>::NOW
        );
        let asked = listener.now();
        let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(hearing).await;
        let time = row.and_then(|row| row.try_get::<i64, _>(1)).map_err(failure::<Postgres>)?;
        let store_time = Timestamp::from_millis(u64::try_from(time).unwrap_or(0));
        self.pending = Some((asked, store_time));
        self.sent = self.clock.now();
        Ok(())
    }

    /// Passes a change on, or returns the beat that has arrived.
    fn receive(
        &mut self,
        channel: &str,
        payload: &str,
        listener: &dyn ChangeObserver,
    ) -> Option<(Timestamp, Timestamp)> {
        if channel == self.beats {
            return if payload.parse() == Ok(self.number) { self.pending.take() } else { None };
        }
        match payload.parse::<Key>() {
            Ok(key) => listener.changed(&key),
            // Too many to name, or a truncation, or nothing that this version knows.
            Err(_) => listener.all_changed(),
        }
        None
    }

    /// Whether the last beat is not overdue.
    fn check(&self) -> Outcome<()> {
        if self.pending.is_some() && self.clock.now().since(self.sent) > self.patience {
            return Err(Failure::new(Kind::Unavailable, "the server stopped pushing changes"));
        }
        Ok(())
    }
}

async fn within<T>(limit: Duration, step: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    timeout(limit, step).await.unwrap_or_else(|_| {
        let millis = limit.as_millis();
        Err(Failure::new(Kind::Unavailable, format!("no answer from PostgreSQL in {millis} ms")))
    })
}
