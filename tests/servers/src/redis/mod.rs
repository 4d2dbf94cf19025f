//! Redis servers: a single server, a cluster, and sentinels.

mod builder;
mod cluster;
mod cluster_view;
mod monitor;
mod reply;
mod resp;
mod sentinel;

use std::ops::Deref;
use std::path::{Path, PathBuf};

pub use builder::{Flavour, RedisBuilder};
pub use cluster::RedisCluster;
pub use monitor::Monitor;
pub use reply::Reply;
pub use sentinel::RedisSentinel;

use crate::failure::OrPanic;
use crate::{Failure, Server};
use resp::Connection;

/// A dedicated Redis server.
///
/// The harness connects over a Unix socket with its own user, so passwords, TLS and proxies
/// do not affect it. All methods of [`Server`] are available through `Deref`.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    control: Control,
    password: Option<String>,
    tls: bool,
    flavour: Flavour,
}

/// Connection of the harness to a server.
#[derive(Debug, Clone)]
struct Control {
    socket: PathBuf,
    password: String,
}

impl Redis {
    /// Starts Debian's server without persistence.
    ///
    /// # Panics
    ///
    /// Panics if the package is not installed or the server does not start.
    #[track_caller]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Returns a builder with default settings.
    pub fn builder() -> RedisBuilder {
        RedisBuilder::default()
    }

    /// Returns the vendor and version.
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// Returns `redis://127.0.0.1:PORT`, with the password if one is set, and with
    /// `rediss://` if TLS is on.
    pub fn url(&self) -> String {
        match &self.password {
            Some(password) => self.url_as("", password),
            None => format!("{}://127.0.0.1:{}", self.scheme(), self.port()),
        }
    }

    /// Returns the URL with the name and password of a user of the access control list.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        format!("{}://{user}:{password}@127.0.0.1:{}", self.scheme(), self.port())
    }

    /// Returns `unix:///…`, the URL of the Unix socket that every server also has.
    pub fn unix_url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Returns the path of the Unix socket.
    pub fn socket(&self) -> &Path {
        &self.control.socket
    }

    /// Runs a command and returns the reply as redis-cli prints it to a pipe: one line per
    /// list element, and an empty text for nil.
    ///
    /// # Panics
    ///
    /// Panics if the server rejects the command or can't be reached.
    #[track_caller]
    pub fn cli(&self, args: &[&str]) -> String {
        self.try_cli(args).or_panic()
    }

    /// Runs a command and returns the reply as redis-cli prints it to a pipe.
    ///
    /// # Errors
    ///
    /// Returns an error if the server rejects the command or can't be reached.
    pub fn try_cli(&self, args: &[&str]) -> Result<String, Failure> {
        self.command(args).map(|reply| reply.to_string())
    }

    /// Runs a command of bytes and returns the parsed reply.
    ///
    /// # Errors
    ///
    /// Returns an error if the server rejects the command or can't be reached.
    pub fn command<A: AsRef<[u8]>>(&self, args: &[A]) -> Result<Reply, Failure> {
        self.control.connect()?.command(args)
    }

    /// Returns a field of `INFO`, such as `used_memory`; empty if the field is missing.
    ///
    /// # Panics
    ///
    /// Panics if the server can't be reached.
    #[track_caller]
    pub fn info(&self, field: &str) -> String {
        info_field(&self.cli(&["INFO", "everything"]), field)
    }

    /// Records every command that the server executes from now on.
    ///
    /// # Panics
    ///
    /// Panics if the server can't be reached.
    #[track_caller]
    pub fn monitor(&self) -> Monitor {
        Monitor::start(self.control.clone()).or_panic()
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "rediss" } else { "redis" }
    }
}

impl Deref for Redis {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Control {
    const USER: &str = "kvolt-harness";

    fn connect(&self) -> Result<Connection, Failure> {
        let mut connection = Connection::open(&self.socket)?;
        connection.command(&["AUTH", Self::USER, &self.password])?;
        Ok(connection)
    }

    fn cli(&self, args: &[&str]) -> Result<String, Failure> {
        Ok(self.connect()?.command(args)?.to_string())
    }

    /// Returns the configuration line that creates the harness's user.
    fn config(&self) -> String {
        format!("user {} on >{} ~* &* +@all", Self::USER, self.password)
    }
}

fn info_field(info: &str, field: &str) -> String {
    let mut lines = info.lines().filter_map(|line| line.split_once(':'));
    lines
        .find(|(name, _)| *name == field)
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default()
}
