use std::fmt;

use sqlx::{AssertSqlSafe, SqlitePool};

use super::record;
use super::sql::{Statements, failure, quoted};
use crate::{OldCookie, OldSession, OldSessionError, OldSessions};

/// The sessions of tower-sessions 0.14 in `SqliteStore` of `tower-sessions-sqlx-store`.
///
/// The pool is one of sqlx 0.9. It may be the application's own.
///
/// ```
/// use kvolt_bridge::{OldCookie, OldSessions, TowerSessionsSqlite};
/// use kvolt_session::Result;
/// use sqlx::SqlitePool;
///
/// fn old(pool: SqlitePool) -> Result<impl OldSessions> {
///     Ok(TowerSessionsSqlite::new(pool).table("tower_sessions")?.cookie(OldCookie::plain("sid")))
/// }
/// ```
#[derive(Clone)]
pub struct TowerSessionsSqlite {
    pool: SqlitePool,
    statements: Statements,
    cookie: OldCookie,
}

impl TowerSessionsSqlite {
    /// The sessions of the table `tower_sessions`, with the cookie `id`: the defaults of
    /// tower-sessions.
    pub fn new(pool: SqlitePool) -> Self {
        let statements = Statements::new(r#""tower_sessions""#, "?");
        Self { pool, statements, cookie: OldCookie::plain("id") }
    }

    /// Sets the cookie. Defaults to a plain one with the name `id`.
    #[must_use]
    pub fn cookie(self, cookie: OldCookie) -> Self {
        Self { cookie, ..self }
    }

    /// Sets the table. Defaults to `tower_sessions`.
    ///
    /// # Errors
    ///
    /// Returns an error if a name is empty or contains a quotation mark
    /// ([`is_misconfigured`](kvolt_session::Error::is_misconfigured)).
    pub fn table(self, table: &str) -> kvolt_session::Result<Self> {
        let table = quoted(table)?;
        Ok(Self { statements: Statements::new(&table, "?"), ..self })
    }
}

impl OldSessions for TowerSessionsSqlite {
    fn cookie(&self) -> &OldCookie {
        &self.cookie
    }

    fn id(&self, cookie: &str) -> Option<String> {
        record::id(&self.cookie.open(cookie)?)
    }

    async fn read(&self, id: &str) -> Result<Option<OldSession>, OldSessionError> {
        let query = sqlx::query_scalar(AssertSqlSafe(self.statements.read.as_str())).bind(id);
        let record: Option<Vec<u8>> = query.fetch_optional(&self.pool).await.map_err(failure)?;
        record.map(|record| OldSession::from_tower_sessions(id, &record)).transpose()
    }

    async fn remove(&self, id: &str) -> Result<bool, OldSessionError> {
        let query = sqlx::query(AssertSqlSafe(self.statements.remove.as_str())).bind(id);
        let removed = query.execute(&self.pool).await.map_err(failure)?;
        Ok(removed.rows_affected() > 0)
    }
}

impl fmt::Debug for TowerSessionsSqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TowerSessionsSqlite").field("cookie", &self.cookie).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn missing_table_is_a_misconfiguration() {
        let pool = SqlitePool::connect("sqlite::memory:").await.unwrap();
        let old = TowerSessionsSqlite::new(pool.clone());
        assert!(old.read("id").await.unwrap_err().is_misconfigured());
        assert!(old.remove("id").await.unwrap_err().is_misconfigured());
        pool.close().await;
        assert!(old.read("id").await.unwrap_err().is_unavailable());
    }
}
