//! Telling near caches what was changed, by `LISTEN` and `NOTIFY`.

use std::time::Duration;

use kvolt_cache::{Clock, Error, Key, Listener, Push, Timestamp};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{AssertSqlSafe, Row as _};
use tokio::time::timeout;

use super::{Postgres, PostgresStore};
use crate::dialect::Dialect;
use crate::failure::{Failure, Kind, Outcome};
use crate::migrate::Triggers;
use crate::row::fresh_number;
use crate::store::Core;

/// The triggers, made when somebody first wants to be told: with them, transactions that change
/// entries commit one after the other.
const TRIGGERS: Triggers = Triggers {
    exist: "SELECT 1 FROM pg_catalog.pg_trigger \
        WHERE tgrelid = to_regclass('{t}') AND tgname = '{t}_push_1'",
    sql: include_str!("../../migrations/postgres/push.sql"),
};

impl PostgresStore {
    /// The statements that make the triggers which [`watch`](Push::watch) needs, for those who
    /// run them by hand because [migrations](crate::Builder::migrate) are off.
    ///
    /// # Errors
    ///
    /// Misconfigured, for a name that is not a table's.
    pub fn push_migration(table: &str) -> kvolt_cache::Result<String> {
        TRIGGERS.filled::<Postgres>(table)
    }
}

impl Push for PostgresStore {
    /// # Why nothing is missed
    ///
    /// A trigger notifies within the transaction that changes an entry, so
    /// there is no change without it, not even one by hand. The server
    /// appends what a transaction notifies to one queue when it commits, in
    /// the order of the commits, and each connection that listens gets it in
    /// that order. A beat is such a notification, on a channel of this
    /// call's own, from a transaction that began after `asked`. What was
    /// committed before `asked` is before it in the queue: when the beat
    /// arrives, that has arrived. `LISTEN` takes effect when it returns, and
    /// only then everything is said to have changed, which covers what was missed before.
    /// A lost connection ends the call; it is never made anew behind the listener's back.
    async fn watch(&self, interval: Duration, listener: &dyn Listener) -> Error {
        match self.core.watch(interval, listener).await {
            Ok(()) => Error::unavailable("the server ended the listening"),
            Err(failure) => failure.error,
        }
    }
}

impl Core<Postgres> {
    async fn watch(&self, interval: Duration, listener: &dyn Listener) -> Outcome<()> {
        let Some(options) = self.dialect.listens_at(self.read.options()) else {
            return Err(Failure::new(
                Kind::Misconfigured,
                "behind a pooler by transactions nobody can listen: \
                 set `listen_url` to the server itself",
            ));
        };
        self.make_triggers(&TRIGGERS).await?;
        let mut heart = Heart::new(&self.sql.table, self.timeout.max(interval))?;
        let mut hearing = within(self.timeout, heart.listen(options.clone())).await?;
        listener.all_changed();
        loop {
            if heart.is_due() {
                within(self.timeout, heart.beat(&mut hearing, listener)).await?;
                heart.due = heart.clock.now().saturating_add(interval / 2);
            }
            let wait = heart.due.since(heart.clock.now()).max(Duration::from_millis(1));
            match timeout(wait, hearing.try_recv()).await {
                Err(_) => {}
                Ok(Ok(Some(told))) => heart.tell(told.channel(), told.payload(), listener),
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => return Err(Failure::of::<Postgres>(error)),
            }
            heart.check()?;
        }
    }
}

/// The beats by which it is known that everything before them was told.
struct Heart {
    clock: Clock,
    changes: String,
    beats: String,
    number: u64,
    /// The beat that was not heard yet: when it was asked, and the server's clock then.
    pending: Option<(Timestamp, Timestamp)>,
    /// When the next is due, and until when the pending one has to be heard.
    due: Timestamp,
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
            pending: None,
            due: now,
            sent: now,
            patience,
        })
    }

    /// A connection of its own, straight to the server.
    async fn listen(&self, options: PgConnectOptions) -> Outcome<PgListener> {
        let listen = async {
            let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
            let mut hearing = PgListener::connect_with(&pool).await?;
            hearing.eager_reconnect(false);
            hearing.listen_all([self.changes.as_str(), self.beats.as_str()]).await?;
            Ok(hearing)
        };
        listen.await.map_err(Failure::of::<Postgres>)
    }

    fn is_due(&self) -> bool {
        self.pending.is_none() && self.due <= self.clock.now()
    }

    async fn beat(&mut self, hearing: &mut PgListener, listener: &dyn Listener) -> Outcome<()> {
        self.number += 1;
        let sql = format!(
            "SELECT pg_notify('{}', '{}'), {}",
            self.beats,
            self.number,
            <Postgres as Dialect>::NOW
        );
        let asked = listener.now();
        let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(hearing).await;
        let time = row.and_then(|row| row.try_get::<i64, _>(1)).map_err(Failure::of::<Postgres>)?;
        let store_time = Timestamp::from_millis(u64::try_from(time).unwrap_or(0));
        self.pending = Some((asked, store_time));
        self.sent = self.clock.now();
        Ok(())
    }

    fn tell(&mut self, channel: &str, payload: &str, listener: &dyn Listener) {
        if channel == self.beats {
            if payload.parse() == Ok(self.number)
                && let Some((asked, store_time)) = self.pending.take()
            {
                listener.heard(asked, store_time);
            }
        } else if let Ok(key) = payload.parse::<Key>() {
            listener.changed(&key);
        } else {
            // Too many to name, or a truncation, or nothing that this version knows.
            listener.all_changed();
        }
    }

    /// Whether the last beat is not overdue.
    fn check(&self) -> Outcome<()> {
        if self.pending.is_some() && self.clock.now().since(self.sent) > self.patience {
            return Err(Failure::new(Kind::Unavailable, "the server stopped telling what changes"));
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
