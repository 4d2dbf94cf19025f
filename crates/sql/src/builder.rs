use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{Error, Result};
use tokio::time::timeout;

use crate::cleaner::{Cleaner, Cleaning};
use crate::dialect::Dialect;
use crate::migrate;
use crate::pool::Pool;
use crate::statements::Statements;
use crate::store::{Core, SqlStore};

/// The table, unless another is set.
pub const TABLE_DEFAULT: &str = "kvolt_entries";

/// How long a call may take, unless set: two seconds.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);

/// The longest name of a table: databases allow 63 bytes, and views and indices are named after it.
const TABLE_LEN_MAX: usize = 40;

/// Settings of a [`SqlStore`].
#[must_use = "`open` opens the store"]
pub struct Builder<D: Dialect> {
    dialect: D,
    table: String,
    timeout: Duration,
    connections_max: usize,
    slide_after: f64,
    migrate: bool,
    cleaning: Cleaning,
}

impl<D: Dialect> Builder<D> {
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn with_dialect(mut self, set: impl FnOnce(&mut D)) -> Self {
        set(&mut self.dialect);
        self
    }

    pub(crate) fn new() -> Self {
        Self {
            dialect: D::default(),
            table: TABLE_DEFAULT.to_owned(),
            timeout: TIMEOUT_DEFAULT,
            connections_max: 10,
            slide_after: 1.0 / 16.0,
            migrate: true,
            cleaning: Cleaning::default(),
        }
    }

    /// The table: letters in lower case, digits and `_`, a letter or `_` first, 40 at the most.
    /// [`TABLE_DEFAULT`] unless set.
    ///
    /// Two stores in one database with two tables have nothing to do with each other.
    pub fn table(self, name: impl Into<String>) -> Self {
        Self { table: name.into(), ..self }
    }

    /// How long a call may take, waiting for a connection included, before it
    /// is unavailable. [`TIMEOUT_DEFAULT`] unless set. `clear` and `count` may
    /// take 30 times as long.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// How many connections it has at the most. Ten unless set.
    pub fn connections_max(self, count: usize) -> Self {
        Self { connections_max: count, ..self }
    }

    /// The part of an entry's idle time that must have passed since its last
    /// recorded use before another is recorded: up to so much less than its
    /// idle time may an entry live unused. From 0 (every use is written) to 0.5; 1/16 unless set.
    pub fn slide_after(self, part: f64) -> Self {
        Self { slide_after: part, ..self }
    }

    /// Whether to make and change the tables as need be. `true` unless set.
    ///
    /// Otherwise whoever deploys does it (see
    /// [`migrations`](SqlStore::migrations)), and the user needs no more than
    /// the right to read and write the tables.
    pub fn migrate(self, migrate: bool) -> Self {
        Self { migrate, ..self }
    }

    /// How often what has ended is deleted; `None` for never, where something else does it.
    /// Then this store can't [tell](kvolt_cache::Store::on_expired) what has ended, either.
    /// About a minute unless set: each time is drawn anew, between half of this
    /// and one and a half, so that many servers don't do it at once.
    pub fn clean_every(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.cleaning.interval = interval.into();
        self
    }

    /// How many rows are deleted at once, in a transaction of its own. 1,000 unless set.
    pub fn clean_rows_max(mut self, rows: u32) -> Self {
        self.cleaning.rows_max = rows;
        self
    }

    /// Connects, makes the tables if need be, and starts cleaning.
    ///
    /// # Errors
    ///
    /// Misconfigured, where somebody has to act: a setting or the URL that
    /// can't work, a password that is refused, a database that does not exist,
    /// a server that is too old, a schema of a newer version, rights that are missing.
    /// Unavailable, where the server is down or can't be reached.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub async fn open(self, url: &str) -> Result<SqlStore<D>> {
        self.check()?;
        let scheme = url.split(':').next().unwrap_or_default();
        if !D::SCHEMES.contains(&scheme) {
            let expected = D::SCHEMES.join(": or ");
            return Err(Error::misconfigured(format!("the URL does not begin with {expected}:")));
        }
        let mut dialect = self.dialect.clone();
        dialect.read_url(url);
        let options = dialect.options(url, self.timeout)?;
        let pool = |options, connections_max| {
            Arc::new(Pool::new(dialect.clone(), options, connections_max, self.timeout))
        };
        let read = pool(options.read, self.connections_max);
        let write = options.write.map_or_else(|| Arc::clone(&read), |options| pool(options, 1));
        let migrating = migrate::open::<D>(&write, &self.table, self.timeout, self.migrate);
        match timeout(self.timeout * OPEN_TIMEOUTS, migrating).await {
            Ok(done) => done.map_err(|failure| failure.error)?,
            Err(_) => return Err(Error::unavailable(format!("no answer from {}", D::NAME))),
        }
        let sql = Arc::new(Statements::new::<D>(&self.table));
        let cleaner = self.cleaning.interval.map(|_| {
            Cleaner::start(Arc::clone(&read), Arc::clone(&write), &sql, self.cleaning, self.timeout)
        });
        let core = Core {
            dialect,
            read,
            write,
            sql,
            timeout: self.timeout,
            slide_after: self.slide_after,
            migrates: self.migrate,
            cleaner,
        };
        Ok(SqlStore { core: Arc::new(core) })
    }

    fn check(&self) -> Result<()> {
        check_table(&self.table)?;
        let wrong = if self.timeout.is_zero() {
            "the timeout is zero"
        } else if self.connections_max == 0 || self.connections_max > 10_000 {
            "the number of connections is not between 1 and 10,000"
        } else if !(0.0..=0.5).contains(&self.slide_after) {
            "the part of the idle time after which to slide is not between 0 and 0.5"
        } else if self.cleaning.rows_max == 0 {
            "cleaning no rows at a time never ends"
        } else if self.cleaning.interval.is_some_and(|interval| interval.is_zero()) {
            "the time between two cleanings is zero"
        } else {
            return Ok(());
        };
        Err(Error::misconfigured(wrong))
    }
}

/// How much longer than a call opening may take: a server that starts beside others waits for their migrations.
pub(crate) const OPEN_TIMEOUTS: u32 = 5;

/// Refuses what is not surely an identifier, since it becomes part of the statements.
pub(crate) fn check_table(name: &str) -> Result<()> {
    let is_sound = matches!(name.as_bytes(), [b'a'..=b'z' | b'_', ..])
        && name.len() <= TABLE_LEN_MAX
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    if is_sound {
        return Ok(());
    }
    Err(Error::misconfigured(format!(
        "a table's name is made of a-z, 0-9 and _, with no digit first and at most {TABLE_LEN_MAX} of them"
    )))
}

impl<D: Dialect> fmt::Debug for Builder<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("dialect", &self.dialect)
            .field("table", &self.table)
            .field("timeout", &self.timeout)
            .field("connections_max", &self.connections_max)
            .field("slide_after", &self.slide_after)
            .field("migrate", &self.migrate)
            .field("cleaning", &self.cleaning)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_s_name_can_not_be_anything_else() {
        for name in ["kvolt_entries", "_", "a1", &"a".repeat(40)] {
            assert!(check_table(name).is_ok(), "{name}");
        }
        for name in ["", "1a", "A", "a b", "a;drop", "a\"", "a.b", "é", "a-b", &"a".repeat(41)] {
            assert!(check_table(name).is_err(), "{name}");
        }
    }
}
