//! The tables and their version.

use kvolt_cache::Result;

use crate::connections::{Lease, OPEN_TIMEOUTS};
use crate::core::Core;
use crate::dialect::Dialect;
use crate::failure::{Failure, Kind, Outcome};
use crate::statements::{fill, statement};

/// The triggers that report changes, created when the first near cache needs them.
pub(crate) struct Triggers {
    /// Returns a row if they exist.
    pub(crate) exist: &'static str,
    pub(crate) sql: &'static str,
}

/// The statements that create the tables, oldest first.
pub(crate) fn migrations<D: Dialect>(table: &str) -> Vec<String> {
    D::MIGRATIONS.iter().map(|sql| fill::<D>(table, sql)).collect()
}

impl<D: Dialect> Core<D> {
    /// Makes sure that the tables, or these triggers, exist in the current version. Returns the
    /// table's name in statements.
    pub(crate) async fn ensure_schema(&self, triggers: Option<&Triggers>) -> Result<String> {
        // Repeatable: the second time, everything exists.
        let limit = self.settings.timeout * OPEN_TIMEOUTS;
        self.call_within(limit, true, || self.try_ensure(triggers)).await
    }

    async fn try_ensure(&self, triggers: Option<&Triggers>) -> Outcome<String> {
        let table = &self.sql.table;
        let mut lease = self.write.lease().await?;
        if !self.write.is_existing() {
            self.ensure_on(&mut lease, triggers).await?;
            return Ok(table.clone());
        }
        lease.check_version().await?;
        // Triggers must be added to the table that statements name.
        if triggers.is_some() && qualified(&mut lease, table).await? != self.sql.qualified {
            lease.close();
            let message = "other code has set another schema on the connections of its pool";
            return Err(Failure::new(Kind::Again, message));
        }
        self.ensure_on(&mut lease, triggers).await?;
        qualified(&mut lease, table).await
    }

    async fn ensure_on(
        &self,
        lease: &mut Lease<'_, D>,
        triggers: Option<&Triggers>,
    ) -> Outcome<()> {
        let table = &self.sql.table;
        // Without a lock at first: usually nothing is missing, and the user may only be allowed to read.
        if self.missing(lease, triggers).await?.is_empty() {
            return Ok(());
        }
        if !self.settings.migrate {
            let state = match triggers {
                Some(_) => "has no triggers for pushing",
                None => "is missing or of an older version",
            };
            let message = format!("the table {table} {state}, and migrations are off");
            return Err(Failure::new(Kind::Misconfigured, message));
        }
        lease.lock_schema(table).await?;
        let adding = async {
            // Another process may have added them while this one waited for the lock.
            for sql in self.missing(lease, triggers).await? {
                lease.run(sql).await?;
            }
            Ok(())
        };
        let done = adding.await;
        lease.unlock_schema(table, done.is_ok()).await?;
        done
    }

    /// The statements that remain to be run.
    async fn missing(
        &self,
        lease: &mut Lease<'_, D>,
        triggers: Option<&Triggers>,
    ) -> Outcome<Vec<String>> {
        let table = &self.sql.table;
        if let Some(triggers) = triggers {
            let exist = lease.fetch(&statement::<D>(table, triggers.exist), &[]).await?;
            return Ok(Vec::from_iter(exist.is_empty().then(|| fill::<D>(table, triggers.sql))));
        }
        let (version, newest) = (version(lease, table).await?, D::MIGRATIONS.len());
        if version > newest {
            return Err(Failure::new(
                Kind::Misconfigured,
                format!(
                    "the table {table} has version {version}, which a newer program created: \
                     this program works with versions up to {newest}"
                ),
            ));
        }
        let steps = (1..).zip(migrations::<D>(table)).skip(version).flat_map(|(number, sql)| {
            let record =
                format!("INSERT INTO {{t}}_meta (version, applied) VALUES ({number}, {{now}})");
            [sql, fill::<D>(table, &record)]
        });
        Ok(steps.collect())
    }
}

/// The table's name after that of its schema, for connections on which other code may set another
/// schema.
async fn qualified<D: Dialect>(lease: &mut Lease<'_, D>, table: &str) -> Outcome<String> {
    let rows = lease.fetch(&statement::<D>(table, D::SCHEMA), &[]).await?;
    let schema = rows.first().and_then(|row| D::bytes(row, 0).ok().flatten());
    let schema = schema.and_then(|schema| String::from_utf8(schema).ok());
    // These characters stand for other texts in a statement.
    let schema = schema.filter(|schema| !schema.contains(['$', '{', '}']));
    let schema = schema.ok_or_else(|| {
        let message = "the pool's connections name no database or schema, or one whose name \
             contains `$`, `{` or `}`";
        Failure::new(Kind::Misconfigured, message)
    })?;
    Ok(format!("{schema}.{table}"))
}

/// The version of the tables; 0 if they do not exist.
async fn version<D: Dialect>(lease: &mut Lease<'_, D>, table: &str) -> Outcome<usize> {
    let exists = statement::<D>(table, D::TABLE_EXISTS);
    if lease.fetch(&exists, &[]).await?.is_empty() {
        return Ok(0);
    }
    let sql = statement::<D>(table, "SELECT COALESCE(MAX(version), 0) FROM {t}_meta");
    let version = lease.fetch_integer(&sql).await?;
    let version = version.and_then(|version| usize::try_from(version).ok());
    version.ok_or_else(|| {
        let message = format!("another program has created the table {table}_meta");
        Failure::new(Kind::Misconfigured, message)
    })
}
