//! The tables, and which version of them there is.

use std::time::Duration;

use kvolt_cache::{Error, Result};
use tokio::time::timeout;

use crate::connections::{Lease, OPEN_TIMEOUTS, Pool};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use crate::core::Core;
use crate::dialect::{Argument, Dialect};
use crate::failure::{Failure, Kind, Outcome};
use crate::statements::{fill, statement};

/// The statements that create the tables, oldest first.
pub(crate) fn migrations<D: Dialect>(table: &str) -> Vec<String> {
    D::MIGRATIONS.iter().map(|sql| fill::<D>(table, sql)).collect()
}

/// Reads which version of the tables there is, and brings them to this one if that is wanted.
pub(crate) async fn open<D: Dialect>(
    pool: &Pool<D>,
    table: &str,
    limit: Duration,
    migrate: bool,
) -> Result<()> {
    match timeout(limit * OPEN_TIMEOUTS, try_open(pool, table, migrate)).await {
        Ok(done) => done.map_err(|failure| failure.error),
        Err(_) => Err(Error::unavailable(format!("no answer from {}", D::NAME))),
    }
}

async fn try_open<D: Dialect>(pool: &Pool<D>, table: &str, migrate: bool) -> Outcome<()> {
    let mut lease = pool.lease().await?;
    // Without a lock first: nearly always it is as it should be, and only reading must be allowed.
    let version = version(&mut lease, table).await?;
    if is_current::<D>(table, version)? {
        return Ok(());
    }
    if !migrate {
        return Err(Failure::new(
            Kind::Misconfigured,
            format!("the table {table} is missing or of an older version, and migrations are off"),
        ));
    }
    lease.lock_schema(table).await?;
    let done = apply(&mut lease, table).await;
    lease.unlock_schema(table, done.is_ok()).await?;
    done
}

async fn apply<D: Dialect>(lease: &mut Lease<'_, D>, table: &str) -> Outcome<()> {
    // Another process may have done it while this waited.
    let version = version(lease, table).await?;
    if is_current::<D>(table, version)? {
        return Ok(());
    }
    for (number, sql) in (1..).zip(migrations::<D>(table)).skip(version) {
        lease.run(sql).await?;
        let record = "INSERT INTO {t}_meta (version, applied) VALUES ($1, {now})";
        let number = Argument::from(i64::from(number));
        lease.execute(&statement::<D>(table, record), &[number]).await?;
    }
    Ok(())
}

/// The version of the tables; 0 if there are none.
async fn version<D: Dialect>(lease: &mut Lease<'_, D>, table: &str) -> Outcome<usize> {
    let exists = statement::<D>(table, D::TABLE_EXISTS);
    if lease.fetch(&exists, &[]).await?.is_empty() {
        return Ok(0);
    }
    let sql = statement::<D>(table, "SELECT COALESCE(MAX(version), 0) FROM {t}_meta");
    let rows = lease.fetch(&sql, &[]).await?;
    let version = rows.first().and_then(|row| D::integer(row, 0).ok().flatten());
    let version = version.and_then(|version| usize::try_from(version).ok());
    version.ok_or_else(|| {
        Failure::new(
            Kind::Misconfigured,
            format!("the table {table}_meta is not one of this crate's"),
        )
    })
}

fn is_current<D: Dialect>(table: &str, version: usize) -> Outcome<bool> {
    let known = D::MIGRATIONS.len();
    if version > known {
        return Err(Failure::new(
            Kind::Misconfigured,
            format!(
                "the table {table} is of version {version}, and this program knows up to {known}: \
                 it was changed by a newer one"
            ),
        ));
    }
    Ok(version == known)
}

/// The triggers that report changes, created when the first near cache needs them.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) struct Triggers {
    /// Returns a row if they exist.
    pub(crate) exist: &'static str,
    pub(crate) sql: &'static str,
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl<D: Dialect> Core<D> {
    /// Creates the triggers unless they exist.
    pub(crate) async fn make_triggers(&self, triggers: &Triggers) -> Result<()> {
        // It can be done twice: the second finds them.
        self.call_within(self.long(), true, || self.try_make(triggers)).await
    }

    async fn try_make(&self, triggers: &Triggers) -> Outcome<()> {
        let table = &self.sql.table;
        let exist = statement::<D>(table, triggers.exist);
        let mut lease = self.write.lease().await?;
        if !lease.fetch(&exist, &[]).await?.is_empty() {
            return Ok(());
        }
        if !self.settings.migrate {
            return Err(Failure::new(
                Kind::Misconfigured,
                format!("the table {table} has no triggers for pushing, and migrations are off"),
            ));
        }
        lease.lock_schema(table).await?;
        let made = match lease.fetch(&exist, &[]).await {
            // Waits for every transaction that writes, so none escapes them.
            Ok(rows) if rows.is_empty() => lease.run(fill::<D>(table, triggers.sql)).await,
            Ok(_) => Ok(()),
            Err(failure) => Err(failure),
        };
        lease.unlock_schema(table, made.is_ok()).await?;
        made
    }
}
