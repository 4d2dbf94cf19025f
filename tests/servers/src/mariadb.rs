//! A MariaDB server.

use std::ops::Deref;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::certificates::Tls;
use crate::failure::OrPanic;
use crate::folder::{Folder, Owner};
use crate::launch::Launch;
use crate::server::{Server, Signals};
use crate::{Certificates, Failure, Package, ports};

/// A dedicated MariaDB server with the user and the database `kvolt`.
///
/// All methods of [`Server`] are available through `Deref`.
#[derive(Debug)]
pub struct MariaDb {
    server: Server,
    client: Client,
    password: String,
}

/// Connection of the harness to a server: over its Unix socket, as `root`.
#[derive(Debug, Clone)]
struct Client {
    program: PathBuf,
    socket: PathBuf,
}

const USER: &str = "kvolt";
const DATABASE: &str = "kvolt";

impl MariaDb {
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
    pub fn builder() -> MariaDbBuilder {
        MariaDbBuilder::default()
    }

    /// `mysql://kvolt:PASSWORD@127.0.0.1:PORT/kvolt`.
    pub fn url(&self) -> String {
        format!("mysql://{USER}:{}@127.0.0.1:{}/{DATABASE}", self.password, self.port())
    }

    /// Runs SQL as `root` and returns the rows, with columns separated by tabs.
    ///
    /// # Panics
    ///
    /// Panics if the server rejects the statement or can't be reached.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        self.try_sql(sql).or_panic()
    }

    /// Runs SQL as `root` and returns the rows, with columns separated by tabs.
    ///
    /// # Errors
    ///
    /// Returns an error if the server rejects the statement or can't be reached.
    pub fn try_sql(&self, sql: &str) -> Result<String, Failure> {
        self.client.run(&["--database", DATABASE], sql)
    }
}

impl Deref for MariaDb {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Client {
    fn run(&self, args: &[&str], sql: &str) -> Result<String, Failure> {
        let rows = Launch::client(&self.program)?
            .args(["--no-defaults", "--batch", "--raw", "--skip-column-names", "--user", "root"])
            .arg("--socket")
            .arg(&self.socket)
            .args(args)
            .run(sql)?;
        Ok(rows.trim_end().to_owned())
    }
}

/// Settings of a [`MariaDb`].
#[derive(Debug, Clone, Default)]
#[must_use = "`start` starts the server"]
pub struct MariaDbBuilder {
    tls: Option<Tls>,
    options: Vec<String>,
}

impl MariaDbBuilder {
    /// Sets a server option, such as `("innodb-lock-wait-timeout", "1")`.
    pub fn config(mut self, name: &str, value: &str) -> Self {
        self.options.push(format!("--{name}={value}"));
        self
    }

    /// Sets whether a commit waits for the disk. Defaults to true; false is faster.
    pub fn fsync(self, on: bool) -> Self {
        self.config("innodb-flush-log-at-trx-commit", if on { "1" } else { "2" })
    }

    /// Sets the maximum number of connections, at least 10. Defaults to 151.
    pub fn max_connections(self, count: u32) -> Self {
        self.config("max-connections", &count.to_string())
    }

    /// Requires TLS for TCP connections, with this certificate.
    pub fn tls(mut self, certificates: &Certificates) -> Self {
        self.tls = Some(certificates.for_server(false));
        self
    }

    /// Creates the database, starts the server and waits until it answers.
    ///
    /// # Panics
    ///
    /// Panics if the package is not installed or the server does not start; the message
    /// contains the end of its log.
    #[track_caller]
    pub fn start(self) -> MariaDb {
        self.try_start().or_panic()
    }

    /// Creates the database, starts the server and waits until it answers.
    ///
    /// # Errors
    ///
    /// Returns an error if the package is not installed or the server does not start; the
    /// message contains the end of its log.
    pub fn try_start(&self) -> Result<MariaDb, Failure> {
        Package::MariaDb.available()?;
        let owner = Owner::unprivileged()?;
        ports::start_on_free(|port| self.start_on(port, owner))
    }

    fn start_on(&self, port: u16, owner: Option<Owner>) -> Result<MariaDb, Failure> {
        let program = |name| Package::MariaDb.program(name);
        let folder = Folder::new("mariadb", owner)?;
        let data = format!("--datadir={}", folder.path().join("data").display());
        let socket = folder.path().join("socket");
        Launch::within(&folder, program("mariadb-install-db")?)
            .args(["--no-defaults", &data, "--auth-root-authentication-method=normal"])
            .args(["--skip-test-db", "--skip-name-resolve"])
            .run("")?;
        let mut launch = Launch::within(&folder, program("mariadbd")?)
            .args(["--no-defaults", &data, "--bind-address=127.0.0.1", "--skip-name-resolve"])
            .arg(format!("--port={port}"))
            .arg(format!("--socket={}", socket.display()))
            .arg(format!("--pid-file={}", folder.path().join("pid").display()));
        if let Some(tls) = &self.tls {
            let files = tls.write_to(&folder)?;
            launch = launch
                .arg(format!("--ssl-ca={}", files.authority.display()))
                .arg(format!("--ssl-cert={}", files.certificate.display()))
                .arg(format!("--ssl-key={}", files.key.display()))
                .arg("--require-secure-transport=on");
        }
        let launch = launch.args(&self.options);
        let client = Client { program: program("mariadb")?, socket };
        let asked = client.clone();
        let ready = Box::new(move || asked.run(&[], "select 1").map(drop));
        let signals = Signals { stop: Signal::TERM, quit: Signal::KILL };
        let server = Server::start("MariaDB", port, folder, launch, signals, ready)?;
        let password = format!("{:016x}", ports::random());
        client.run(
            &[],
            &format!(
                "create database {DATABASE};
                 create user {USER}@'127.0.0.1' identified by '{password}';
                 grant all on *.* to {USER}@'127.0.0.1';"
            ),
        )?;
        Ok(MariaDb { server, client, password })
    }
}
