use std::ops::Deref;

use rustix::process::Signal;

use super::{Client, DATABASE, Postgres, USER};
use crate::failure::OrPanic;
use crate::folder::{Folder, Owner};
use crate::launch::Launch;
use crate::server::{Server, Signals};
use crate::{Failure, Package, ports};

/// A PgBouncer in transaction mode: each transaction of a client may use a different
/// connection to the server.
///
/// All methods of [`Server`] are available through `Deref`.
#[derive(Debug)]
pub struct PgBouncer {
    server: Server,
    client: Client,
    pool_size: u32,
}

/// The database name that connects to its console.
const CONSOLE: &str = "pgbouncer";

impl PgBouncer {
    /// Starts a pooler with two connections to a PostgreSQL server that requires no
    /// password.
    ///
    /// # Panics
    ///
    /// Panics if the package is not installed or the pooler does not start.
    #[track_caller]
    pub fn start(postgres: &Postgres) -> Self {
        Self::with_pool_size(postgres, 2)
    }

    /// Starts a pooler with this number of connections to the server.
    ///
    /// # Panics
    ///
    /// Panics if the package is not installed or the pooler does not start.
    #[track_caller]
    pub fn with_pool_size(postgres: &Postgres, pool_size: u32) -> Self {
        Self::try_start(postgres, pool_size).or_panic()
    }

    fn try_start(postgres: &Postgres, pool_size: u32) -> Result<Self, Failure> {
        let program = Package::PgBouncer.program("pgbouncer")?;
        let owner = Owner::unprivileged()?;
        ports::start_on_free(|port| {
            let folder = Folder::new("pgbouncer", owner)?;
            let config =
                folder.write("pgbouncer.ini", &file(port, postgres, pool_size, &folder))?;
            folder.write("users.txt", &format!("\"{USER}\" \"\"\n"))?;
            let launch = Launch::within(&folder, &program).arg(config);
            let client = Client {
                program: Package::Postgres.program("psql")?,
                folder: folder.path().to_owned(),
                port,
                user: USER,
            };
            let asked = client.clone();
            let ready = Box::new(move || asked.run(CONSOLE, "show version").map(drop));
            // On SIGINT it would wait for its clients; on SIGTERM it exits.
            let signals = Signals { stop: Signal::TERM, quit: Signal::KILL };
            let server = Server::start("PgBouncer", port, folder, launch, signals, ready)?;
            Ok(Self { server, client, pool_size })
        })
    }

    /// Returns `postgres://kvolt@127.0.0.1:PORT/kvolt`.
    pub fn url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{DATABASE}", self.port())
    }

    /// Returns the maximum number of connections to the server.
    pub fn pool_size(&self) -> u32 {
        self.pool_size
    }

    /// Runs SQL through the pool and returns the rows, with columns separated by `|`.
    ///
    /// # Panics
    ///
    /// Panics if the server rejects the statement or can't be reached.
    #[track_caller]
    pub fn psql(&self, sql: &str) -> String {
        self.client.run(DATABASE, sql).or_panic()
    }

    /// Runs a console command, such as `show pools`.
    ///
    /// # Panics
    ///
    /// Panics if the pooler rejects the command or can't be reached.
    #[track_caller]
    pub fn console(&self, command: &str) -> String {
        self.client.run(CONSOLE, command).or_panic()
    }
}

impl Deref for PgBouncer {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

fn file(port: u16, postgres: &Postgres, pool_size: u32, folder: &Folder) -> String {
    let folder = folder.path().display();
    format!(
        "[databases]\n\
         {DATABASE} = host=127.0.0.1 port={} dbname={DATABASE} user={USER}\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\n\
         listen_port = {port}\n\
         unix_socket_dir = {folder}\n\
         auth_type = trust\n\
         auth_file = {folder}/users.txt\n\
         admin_users = {USER}\n\
         pool_mode = transaction\n\
         default_pool_size = {pool_size}\n\
         max_client_conn = 200\n\
         ignore_startup_parameters = extra_float_digits\n",
        postgres.port()
    )
}
