//! Redis: one server, a cluster, sentinels.

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

/// A Redis server.
///
/// The harness uses the server's Unix socket and a user of its own, so passwords, TLS and proxies do
/// not affect it. It dereferences to [`Server`].
#[derive(Debug)]
pub struct Redis {
    server: Server,
    control: Control,
    password: Option<String>,
    tls: bool,
    flavour: Flavour,
}

/// The harness' client.
#[derive(Debug, Clone)]
struct Control {
    socket: PathBuf,
    password: String,
}

impl Redis {
    /// Starts Debian's server, without persistence.
    ///
    /// # Panics
    ///
    /// Panics if it is not installed or does not start.
    #[track_caller]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Returns a builder with the settings of a server.
    pub fn builder() -> RedisBuilder {
        RedisBuilder::default()
    }

    /// The flavour of the server.
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// `redis://127.0.0.1:PORT`, with the password if there is one, and `rediss://` with TLS.
    pub fn url(&self) -> String {
        match &self.password {
            Some(password) => self.url_as("", password),
            None => format!("{}://127.0.0.1:{}", self.scheme(), self.port()),
        }
    }

    /// The URL for a user of the access control list.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        format!("{}://{user}:{password}@127.0.0.1:{}", self.scheme(), self.port())
    }

    /// `unix:///…`, for the socket that every server here has too.
    pub fn unix_url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The path of that socket.
    pub fn socket(&self) -> &Path {
        &self.control.socket
    }

    /// Runs a command and returns the reply as redis-cli prints it to a pipe:
    /// a list is a line for each element, and nil is empty.
    ///
    /// # Panics
    ///
    /// Panics if the server rejects the command or can't be reached.
    #[track_caller]
    pub fn cli(&self, args: &[&str]) -> String {
        self.try_cli(args).or_panic()
    }

    /// Runs a command as [`cli`](Self::cli) does, or returns why that failed.
    ///
    /// # Errors
    ///
    /// Returns an error if the server rejects the command or can't be reached.
    pub fn try_cli(&self, args: &[&str]) -> Result<String, Failure> {
        self.command(args).map(|reply| reply.to_string())
    }

    /// Runs a command of bytes and returns the reply undecoded.
    ///
    /// # Errors
    ///
    /// Returns an error if the server rejects the command or can't be reached.
    pub fn command<A: AsRef<[u8]>>(&self, args: &[A]) -> Result<Reply, Failure> {
        self.control.connect()?.command(args)
    }

    /// A field of `INFO`, such as `used_memory`; empty if it is absent.
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

    /// The line of the configuration that creates the harness' user.
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
