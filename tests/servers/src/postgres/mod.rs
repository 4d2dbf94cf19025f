//! A PostgreSQL server, and a connection pooler in front of it.

mod builder;
mod pgbouncer;

use std::ops::Deref;
use std::path::{Path, PathBuf};

pub use builder::PostgresBuilder;
pub use pgbouncer::PgBouncer;

use crate::failure::OrPanic;
use crate::launch::Launch;
use crate::{Failure, Server};

/// A dedicated PostgreSQL server with the user and the database `kvolt`.
///
/// The user is a superuser, so that tests can create other users. All methods of [`Server`]
/// are available through `Deref`.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    client: Client,
    password: Option<String>,
    tls: bool,
}

/// Connection of the harness to a server: over its Unix socket, which needs no password.
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
    /// Starts a server with default settings: every commit is written to disk.
    ///
    /// # Panics
    ///
    /// Panics if the package is not installed or the server does not start.
    #[track_caller]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Returns a builder with default settings.
    pub fn builder() -> PostgresBuilder {
        PostgresBuilder::default()
    }

    /// Returns `postgres://kvolt@127.0.0.1:PORT/kvolt`, with the password if one is set,
    /// and with `?sslmode=require` if TLS is on.
    pub fn url(&self) -> String {
        let password = self.password.as_ref().map(|word| format!(":{word}")).unwrap_or_default();
        let query = if self.tls { "?sslmode=require" } else { "" };
        format!("postgres://{USER}{password}@127.0.0.1:{}/{DATABASE}{query}", self.port())
    }

    /// Runs SQL and returns the rows, with columns separated by `|`.
    ///
    /// # Panics
    ///
    /// Panics if the server rejects the statement or can't be reached.
    #[track_caller]
    pub fn psql(&self, sql: &str) -> String {
        self.try_psql(sql).or_panic()
    }

    /// Runs SQL and returns the rows, with columns separated by `|`.
    ///
    /// # Errors
    ///
    /// Returns an error if the server rejects the statement or can't be reached.
    pub fn try_psql(&self, sql: &str) -> Result<String, Failure> {
        self.client.run(DATABASE, sql)
    }

    /// Returns the folder of the Unix socket, for `host=` in connection settings.
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
        // A killed server leaves a shared memory segment, and a machine has only a few
        // thousand of them. Its id is the last word of the seventh line.
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
