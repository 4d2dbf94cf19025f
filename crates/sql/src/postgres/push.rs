//! Pushed changes: `LISTEN` and `NOTIFY`.

use std::convert::Infallible;
use std::time::Duration;

use kvolt_cache::{ChangeFeed, ChangeObserver, Error, Key, Namespace, Timestamp};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{AssertSqlSafe, Row as _};
use tokio::time::timeout;

use super::{Postgres, PostgresStore, SERVER};
use crate::core::Core;
use crate::dialect::{Driver, failure, in_time};
use crate::failure::{Failure, Kind, Outcome};
use crate::migrate::Triggers;
use crate::row::{random_number, timestamp};
use crate::statements::{fill, statement, table};

/// Created when the first near cache needs them: transactions that change entries then commit one
/// after the other.
const TRIGGERS: Triggers = Triggers {
    exist: "SELECT 1 FROM pg_catalog.pg_trigger \
        WHERE tgrelid = to_regclass('{t}') AND tgname = '{t}_push_1'",
    sql: include_str!("../../migrations/postgres/push.sql"),
};

impl PostgresStore {
    /// Returns the statements that create the triggers which a [change feed](ChangeFeed::run) needs,
    /// for operators who run them by hand because [`migrate`](crate::SqlStoreBuilder::migrate) is
    /// off.
    ///
    /// ```
    /// # fn main() -> kvolt_cache::Result<()> {
    /// use kvolt_sql::PostgresStore;
    ///
    /// let sql = PostgresStore::push_migration("shop")?;
    /// assert!(sql.contains("CREATE TRIGGER shop_sessions_push_1"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the name is not a valid namespace ([`Error::is_misconfigured`]).
    pub fn push_migration(namespace: &str) -> kvolt_cache::Result<String> {
        Ok(fill::<Postgres>(&table(&Namespace::new(namespace)?), TRIGGERS.sql))
    }
}

impl ChangeFeed for PostgresStore {
    /// # Why no change is missed
    ///
    /// A trigger notifies in the transaction that changes an entry, so every change is notified,
    /// also one made by hand. At commit, the server appends the transaction's notifications to one
    /// queue, in the order of the commits, and delivers them to each connection in that order. A
    /// mark is a notification on a channel of this feed's own, from a transaction that began after
    /// `asked`. Everything that was committed before `asked` precedes it in the queue, and has
    /// arrived when the mark arrives.
    ///
    /// `LISTEN` takes effect when it returns. Only then does the feed report that everything may
    /// have changed, which covers earlier changes. A lost connection ends the feed, without
    /// reconnecting. A mark counts only if entries are then read from the server that sent it, so a
    /// server that was replaced is not trusted.
    async fn run(&self, interval: Duration, observer: &dyn ChangeObserver) -> Error {
        let Err(failure) = self.core.run(interval, observer).await;
        failure.error
    }
}

impl Core<Postgres> {
    async fn run(&self, interval: Duration, observer: &dyn ChangeObserver) -> Outcome<Infallible> {
        let options = self.read.options();
        let Some(options) = self.read.dialect.listens_at(&options) else {
            return Err(Failure::new(
                Kind::Misconfigured,
                "a pooler by transactions passes no notifications on: \
                 set `listen_url` to the server itself",
            ));
        };
        self.ensure_schema(Some(&TRIGGERS)).await?;
        let limit = self.settings.timeout;
        let options = self.read.authorized(options.clone()).await?;
        let mut feed =
            in_time::<Postgres, _>(limit, Feed::connect(options, &self.sql.table)).await?;
        observer.all_changed();
        loop {
            let asked = observer.now();
            let store_time = in_time::<Postgres, _>(limit, feed.send_mark()).await?;
            in_time::<Postgres, _>(limit.max(interval), feed.pass_on(observer)).await?;
            in_time::<Postgres, _>(limit, self.check_server(feed.server)).await?;
            observer.confirmed(asked, store_time);
            // No mark is on its way, so this passes on changes until the time is up.
            let pause = (interval / 2).max(Duration::from_millis(1));
            timeout(pause, feed.pass_on(observer)).await.unwrap_or(Ok(()))?;
        }
    }

    /// Checks that entries are read from this server.
    async fn check_server(&self, server: i64) -> Outcome<()> {
        let mut lease = self.read.lease_unchecked().await?;
        let sql = statement::<Postgres>(&self.sql.table, SERVER);
        if lease.fetch_integer(&sql).await? != Some(server) {
            return Err(Failure::new(
                Kind::Unavailable,
                "another server pushes changes than the one that answers reads",
            ));
        }
        Ok(())
    }
}

/// A connection that receives notifications.
struct Feed {
    listener: PgListener,
    /// The channel of the marks, which no other feed uses.
    marks: String,
    /// The last mark that was sent.
    mark: u64,
    /// Identifies the server of this connection.
    server: i64,
}

impl Feed {
    /// Connects straight to the server, apart from the pool.
    async fn connect(options: PgConnectOptions, table: &str) -> Outcome<Self> {
        let marks = format!("{table}_{:x}", random_number()?);
        let connecting = async {
            let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.eager_reconnect(false);
            listener.listen_all([format!("{table}_changes").as_str(), &marks]).await?;
            let server = sqlx::raw_sql(SERVER).fetch_one(&mut listener).await?.try_get(0)?;
            Ok((listener, server))
        };
        let (listener, server) = connecting.await.map_err(failure::<Postgres>)?;
        Ok(Self { listener, marks, mark: 0, server })
    }

    /// Sends a notification to itself, and returns the server's time.
    async fn send_mark(&mut self) -> Outcome<Timestamp> {
        self.mark += 1;
        let (channel, mark, now) = (&self.marks, self.mark, <Postgres as Driver>::NOW);
        let sql = AssertSqlSafe(format!("SELECT pg_notify('{channel}', '{mark}'), {now}"));
        let row = sqlx::raw_sql(sql).fetch_one(&mut self.listener).await;
        let time = row.and_then(|row| row.try_get(1)).map_err(failure::<Postgres>)?;
        Ok(timestamp(time))
    }

    /// Passes changes on until the mark that was sent last arrives.
    async fn pass_on(&mut self, observer: &dyn ChangeObserver) -> Outcome<()> {
        loop {
            let received = self.listener.try_recv().await.map_err(failure::<Postgres>)?;
            let Some(received) = received else {
                return Err(Failure::new(Kind::Unavailable, "the server closed the feed"));
            };
            if received.channel() == self.marks {
                if received.payload().parse() == Ok(self.mark) {
                    return Ok(());
                }
            } else if let Ok(key) = received.payload().parse::<Key>() {
                observer.changed(&key);
            } else {
                // Too many changes to name, a truncation, or a payload of a newer version.
                observer.all_changed();
            }
        }
    }
}
