use rustix::process::Signal;

use super::{Client, DATABASE, Postgres, USER};
use crate::certificates::Tls;
use crate::failure::OrPanic;
use crate::folder::{Folder, Owner};
use crate::launch::Launch;
use crate::server::{Server, Signals};
use crate::{Certificates, Failure, Package, ports};

/// Settings of a [`Postgres`].
#[derive(Debug, Clone, Default)]
#[must_use = "`start` starts the server"]
pub struct PostgresBuilder {
    password: Option<String>,
    tls: Option<Tls>,
    lines: Vec<String>,
}

impl PostgresBuilder {
    /// Adds a line to `postgresql.conf`, such as `("lock_timeout", "'1s'")`.
    ///
    /// The line follows those of the harness, and so overrides them.
    pub fn config(mut self, name: &str, value: &str) -> Self {
        self.lines.push(format!("{name} = {value}"));
        self
    }

    /// Sets whether a commit waits for the disk. Defaults to true; false is faster.
    ///
    /// Even with false, all commits survive a [`kill`](Server::kill), because the machine
    /// does not fail.
    pub fn fsync(self, on: bool) -> Self {
        self.config("fsync", if on { "on" } else { "off" })
    }

    /// Sets the maximum number of connections. Defaults to 100.
    pub fn max_connections(self, count: u32) -> Self {
        self.config("max_connections", &count.to_string())
    }

    /// Requires this password (SCRAM) for the user `kvolt` over TCP. By default, all
    /// connections from this machine are trusted.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Requires TLS for TCP connections, with this certificate.
    pub fn tls(mut self, certificates: &Certificates) -> Self {
        self.tls = Some(certificates.for_server(false));
        self
    }

    /// Requires TLS for TCP connections, and a client certificate for the user.
    pub fn mutual_tls(mut self, certificates: &Certificates) -> Self {
        self.tls = Some(certificates.for_server(true));
        self
    }

    /// Creates the database, starts the server and waits until it answers.
    ///
    /// # Panics
    ///
    /// Panics if the package is not installed or the server does not start; the message
    /// contains the end of its log.
    #[track_caller]
    pub fn start(self) -> Postgres {
        self.try_start().or_panic()
    }

    /// Creates the database, starts the server and waits until it answers.
    ///
    /// # Errors
    ///
    /// Returns an error if the package is not installed or the server does not start; the
    /// message contains the end of its log.
    pub fn try_start(&self) -> Result<Postgres, Failure> {
        Package::Postgres.available()?;
        let owner = Owner::unprivileged()?;
        ports::start_on_free(|port| self.start_on(port, owner))
    }

    fn start_on(&self, port: u16, owner: Option<Owner>) -> Result<Postgres, Failure> {
        let program = |name| Package::Postgres.program(name);
        let folder = Folder::new("postgres", owner)?;
        let data = folder.path().join("data");
        Launch::within(&folder, program("initdb")?)
            // The initial data need not survive a power failure.
            .args(["--no-sync", "--username", USER, "--auth", "trust"])
            .args(["--encoding", "UTF8", "--locale", "C.UTF-8", "--pgdata"])
            .arg(&data)
            .run("")?;
        folder.write("data/pg_hba.conf", &self.access())?;
        let config = folder.write("postgresql.conf", &self.file(port, &folder)?)?;
        let launch = Launch::within(&folder, program("postgres")?)
            .arg("-D")
            .arg(&data)
            .arg("-c")
            .arg(format!("config_file={}", config.display()));
        let client = Client {
            program: program("psql")?,
            folder: folder.path().to_owned(),
            port,
            user: USER,
        };
        let asked = client.clone();
        let ready = Box::new(move || asked.run("postgres", "select 1").map(drop));
        // SIGINT disconnects the clients and shuts down; SIGQUIT exits without saving.
        let signals = Signals { stop: Signal::INT, quit: Signal::QUIT };
        let server = Server::start("PostgreSQL", port, folder, launch, signals, ready)?;
        client.run("postgres", &format!("create database {DATABASE}"))?;
        if let Some(password) = &self.password {
            client.run(DATABASE, &format!("alter role {USER} password '{password}'"))?;
        }
        let password = self.password.clone();
        Ok(Postgres { server, client, password, tls: self.tls.is_some() })
    }

    /// Returns `pg_hba.conf`: the allowed connections and their authentication.
    fn access(&self) -> String {
        let method = if self.password.is_some() { "scram-sha-256" } else { "trust" };
        let (kind, option) = match &self.tls {
            None => ("host", ""),
            Some(tls) if tls.asks_clients => ("hostssl", " clientcert=verify-full"),
            Some(_) => ("hostssl", ""),
        };
        format!("local all all trust\n{kind} all all 127.0.0.1/32 {method}{option}\n")
    }

    fn file(&self, port: u16, folder: &Folder) -> Result<String, Failure> {
        let mut lines = vec![
            "listen_addresses = '127.0.0.1'".to_owned(),
            format!("port = {port}"),
            format!("unix_socket_directories = '{}'", folder.path().display()),
            // In the folder, not in /dev/shm, where a killed server would leave it.
            "dynamic_shared_memory_type = mmap".to_owned(),
        ];
        if let Some(tls) = &self.tls {
            let files = tls.write_to(folder)?;
            lines.extend([
                "ssl = on".to_owned(),
                format!("ssl_ca_file = '{}'", files.authority.display()),
                format!("ssl_cert_file = '{}'", files.certificate.display()),
                format!("ssl_key_file = '{}'", files.key.display()),
            ]);
        }
        lines.extend(self.lines.iter().cloned());
        Ok(lines.join("\n") + "\n")
    }
}
