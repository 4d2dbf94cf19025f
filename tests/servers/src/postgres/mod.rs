//! PostgreSQL, and a pooler in front of it.

mod builder;
mod pgbouncer;

use std::ops::Deref;
use std::path::{Path, PathBuf};

pub use builder::PostgresBuilder;
pub use pgbouncer::PgBouncer;

use crate::failure::OrPanic;
use crate::launch::Launch;
use crate::{Failure, Server};

/// A PostgreSQL server of its own, with the user and the database `kvolt`.
///
/// The user is a superuser, so that tests can make whatever others they need.
/// It dereferences to [`Server`].
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    client: Client,
    password: Option<String>,
    tls: bool,
}

/// How the harness speaks to a server: over its Unix socket, which needs no password.
#[derive(Debug, Clone)]
struct Client {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    user: &'static str,
}

const USER: &str = "kvolt";
const DATABASE: &str = "kvolt";

impl Postgres {
    /// One as an installation leaves it: every commit is on disk.
    ///
    /// # Panics
    ///
    /// Panics if it is not installed or does not start.
    #[track_caller]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Returns a builder with the settings of a server.
    pub fn builder() -> PostgresBuilder {
        PostgresBuilder::default()
    }

    /// `postgres://kvolt@127.0.0.1:PORT/kvolt`, with the password if there is one,
    /// and `?sslmode=require` with TLS.
    pub fn url(&self) -> String {
        let password = self.password.as_ref().map(|word| format!(":{word}")).unwrap_or_default();
        let query = if self.tls { "?sslmode=require" } else { "" };
        format!("postgres://{USER}{password}@127.0.0.1:{}/{DATABASE}{query}", self.port())
    }

    /// Runs SQL and returns the rows, columns separated by `|`.
    ///
    /// # Panics
    ///
    /// Panics if the server rejects it or can't be reached.
    #[track_caller]
    pub fn psql(&self, sql: &str) -> String {
        self.try_psql(sql).or_panic()
    }

    /// Runs SQL as [`psql`](Self::psql) does, or returns why that failed.
    ///
    /// # Errors
    ///
    /// Returns an error with psql's message if the server rejects the SQL.
    pub fn try_psql(&self, sql: &str) -> Result<String, Failure> {
        self.client.run(DATABASE, sql)
    }

    /// The folder of its Unix socket, for `host=` in a connection's settings.
    pub fn socket_folder(&self) -> &Path {
        self.folder()
    }
}

impl Deref for Postgres {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // One that was killed left a segment of shared memory, of which a machine has
        // few thousand. Its number is the last word of the seventh line.
        let file = self.server.folder().join("data/postmaster.pid");
        let Ok(text) = std::fs::read_to_string(file) else { return };
        if self.server.pid().is_some() {
            return;
        }
        let segment = text.lines().nth(6).and_then(|line| line.split_whitespace().nth(1));
        if let (Some(segment), Ok(ipcrm)) = (segment, Launch::client("ipcrm")) {
            let _ = ipcrm.args(["-m", segment]).run("");
        }
    }
}

impl Client {
    fn run(&self, database: &str, sql: &str) -> Result<String, Failure> {
        let rows = Launch::client(&self.program)?
            .args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--no-password"])
            .args(["--set", "ON_ERROR_STOP=1", "--username", self.user, "--dbname", database])
            .arg("--host")
            .arg(&self.folder)
            .args(["--port", &self.port.to_string(), "--file", "-"])
            .run(sql)?;
        Ok(rows.trim_end().to_owned())
    }
}
