//! Questions to a SQL server.

use sqlx::{ColumnIndex, Connection, Database, Decode, Executor, Row};

use super::Report;

/// A connection on which each answer is one text.
pub(super) struct Server<C>(pub(super) C);

impl<C> Server<C>
where
    C: Connection,
    for<'c> &'c mut C: Executor<'c, Database = C::Database>,
    for<'r> String: Decode<'r, C::Database>,
    usize: ColumnIndex<<C::Database as Database>::Row>,
{
    /// The first column of the first row; `None` if there is no row, or it is null, or the user may
    /// not ask.
    pub(super) async fn ask(&mut self, sql: &'static str) -> Option<String> {
        let row = sqlx::raw_sql(sql).fetch_optional(&mut self.0).await.ok()??;
        row.try_get_unchecked::<Option<String>, _>(0).ok()?
    }

    /// The same for a statement that names a table.
    pub(super) async fn ask_of(&mut self, sql: &str, table: &str) -> Option<String> {
        // The table's name is made of a checked namespace.
        let sql = sqlx::AssertSqlSafe(sql.replace("{t}", table));
        let row = sqlx::raw_sql(sql).fetch_optional(&mut self.0).await.ok()??;
        row.try_get_unchecked::<Option<String>, _>(0).ok()?
    }

    /// Records an answer.
    pub(super) async fn fact(
        &mut self,
        report: &mut Report,
        name: &'static str,
        sql: &'static str,
    ) -> String {
        let answer = self.ask(sql).await.unwrap_or_default();
        if !answer.is_empty() {
            report.fact(name, answer.clone());
        }
        answer
    }
}

/// Judges the connection's encryption.
pub(super) fn tls(
    report: &mut Report,
    cipher: &str,
    is_verified: bool,
    is_near: bool,
    advice: &'static str,
) {
    match (cipher.is_empty(), is_verified) {
        (false, true) => {
            report.ok("tls", format!("{cipher}, and the server's certificate was verified"));
        }
        _ if is_near => report.ok("tls", "not needed on this machine"),
        (false, false) => report.warning(
            "tls",
            format!(
                "{cipher}, but the server's certificate is not verified with the host's name: an \
                     attacker between client and server can read and end sessions"
            ),
            advice,
        ),
        (true, _) => report.warning(
            "tls",
            "the connection is plain text: the network can read the password and all sessions",
            advice,
        ),
    }
}

/// Judges how many expired rows no application has deleted.
pub(super) fn cleaning(report: &mut Report, expired: Option<String>) {
    let expired = expired.and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
    if expired > 0 {
        report.warning(
            "cleaning",
            format!("{expired} rows have expired more than an hour ago: no program deletes them"),
            "let one server of the application clean (clean_every), or delete them by a job",
        );
    } else {
        report.ok("cleaning", "no row has expired for more than an hour");
    }
}
