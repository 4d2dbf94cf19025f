//! The tables, and which version of them there is.

use std::time::Duration;

use kvolt_cache::{Error, Result};

#[cfg(any(feature = "postgres", feature = "sqlite"))]
use crate::builder::OPEN_TIMEOUTS;
use crate::builder::check_table;
use crate::dialect::{Argument, Dialect};
use crate::failure::{Failure, Kind, Outcome};
use crate::lease::Lease;
use crate::pool::Pool;
use crate::statements::{fill, statement};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use crate::store::Core;
use crate::store::SqlStore;

impl<D: Dialect> SqlStore<D> {
    /// The statements that make the tables, oldest first, for those who run them by hand.
    ///
    /// Each is to be recorded in the table `…_meta` afterwards, as
    /// `INSERT INTO …_meta (version, applied) VALUES (1, 0)`, counted from 1.
    ///
    /// # Errors
    ///
    /// Misconfigured, for a name that is not a table's.
    pub fn migrations(table: &str) -> Result<Vec<String>> {
        check_table(table)?;
        Ok(D::MIGRATIONS.iter().map(|sql| fill::<D>(table, sql)).collect())
    }
}

/// Looks which version of the tables there is, and brings them to this one if that is wanted.
pub(crate) async fn open<D: Dialect>(
    pool: &Pool<D>,
    table: &str,
    timeout: Duration,
    migrate: bool,
) -> Outcome<()> {
    let mut lease = pool.lease().await?;
    // Without a lock first: nearly always it is as it should be, and reading is all that has
    // to be allowed.
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
    lease.lock_schema(table, timeout).await?;
    let done = apply(&mut lease, table).await;
    lease.unlock_schema(table, done.is_ok()).await?;
    done
}

async fn apply<D: Dialect>(lease: &mut Lease<'_, D>, table: &str) -> Outcome<()> {
    // Somebody else may have done it while this waited.
    let version = version(lease, table).await?;
    if is_current::<D>(table, version)? {
        return Ok(());
    }
    for (number, sql) in (1..).zip(D::MIGRATIONS).skip(version) {
        lease.run(fill::<D>(table, sql)).await?;
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
        Failure::from(Error::misconfigured(format!(
            "the table {table}_meta is not one of this crate's"
        )))
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

/// What makes a database tell what changes: made when somebody first wants to be told.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) struct Triggers {
    /// Returns a row if they are there.
    pub(crate) exist: &'static str,
    pub(crate) sql: &'static str,
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl Triggers {
    pub(crate) fn filled<D: Dialect>(&self, table: &str) -> Result<String> {
        check_table(table)?;
        Ok(fill::<D>(table, self.sql))
    }
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl<D: Dialect> Core<D> {
    /// Makes the triggers unless they are there.
    pub(crate) async fn make_triggers(&self, triggers: &Triggers) -> Result<()> {
        // It can be done twice: the second finds them.
        self.call_within(self.timeout * OPEN_TIMEOUTS, true, || self.try_make(triggers)).await
    }

    async fn try_make(&self, triggers: &Triggers) -> Outcome<()> {
        let table = &self.sql.table;
        let exist = statement::<D>(table, triggers.exist);
        let mut lease = self.write.lease().await?;
        if !lease.fetch(&exist, &[]).await?.is_empty() {
            return Ok(());
        }
        if !self.migrates {
            return Err(Failure::new(
                Kind::Misconfigured,
                format!("the table {table} has no triggers for pushing, and migrations are off"),
            ));
        }
        lease.lock_schema(table, self.timeout).await?;
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
