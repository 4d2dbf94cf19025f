use rustix::process::Signal;

use super::{Control, Redis};
use crate::certificates::Tls;
use crate::failure::OrPanic;
use crate::folder::Folder;
use crate::launch::Launch;
use crate::server::{Server, Signals};
use crate::{Certificates, Failure, Package, ports};

/// The vendor and version of a Redis server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Flavour {
    /// Debian's Redis 7, with TLS.
    #[default]
    Redis7,
    /// Redis 6.2, without TLS.
    Redis62,
    /// Valkey 9, without TLS.
    Valkey9,
}

impl Flavour {
    /// Returns the package that contains the server.
    pub fn package(self) -> Package {
        match self {
            Self::Redis7 => Package::Redis,
            Self::Redis62 => Package::Redis62,
            Self::Valkey9 => Package::Valkey9,
        }
    }
}

/// Settings of a [`Redis`].
#[derive(Debug, Clone, Default)]
#[must_use = "`start` starts the server"]
pub struct RedisBuilder {
    pub(super) flavour: Flavour,
    role: Role,
    pub(super) password: Option<String>,
    pub(super) tls: Option<Tls>,
    lines: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Role {
    #[default]
    Alone,
    ClusterNode,
    /// The same program, as a monitor of other servers.
    Sentinel,
}

impl RedisBuilder {
    /// Sets the vendor and version. Defaults to Redis 7.
    pub fn flavour(mut self, flavour: Flavour) -> Self {
        self.flavour = flavour;
        self
    }

    /// Adds a line to the configuration file, such as `("maxmemory", "10mb")`.
    ///
    /// The line follows those of the harness, and so overrides them.
    pub fn config(mut self, name: &str, value: &str) -> Self {
        self.lines.push(format!("{name} {value}"));
        self
    }

    /// Writes each change to disk before the reply: `appendonly yes`, `appendfsync always`.
    pub fn append_only(self) -> Self {
        self.config("appendonly", "yes").config("appendfsync", "always")
    }

    /// Sets the password of the default user (`requirepass`); letters and digits only.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Adds a user to the access control list, such as `("app", "secret", "~kvolt:*
    /// +@all")`.
    pub fn user(self, name: &str, password: &str, rules: &str) -> Self {
        self.config("user", &format!("{name} on >{password} {rules}"))
    }

    /// Accepts only TLS over TCP, with this certificate; the harness itself uses the Unix
    /// socket.
    pub fn tls(mut self, certificates: &Certificates) -> Self {
        self.tls = Some(certificates.for_server(false));
        self
    }

    /// Accepts only TLS over TCP, from clients with a certificate of the same authority.
    pub fn mutual_tls(mut self, certificates: &Certificates) -> Self {
        self.tls = Some(certificates.for_server(true));
        self
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Panics
    ///
    /// Panics if the package is not installed or the server does not start; the message
    /// contains the end of its log.
    #[track_caller]
    pub fn start(self) -> Redis {
        self.try_start().or_panic()
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Errors
    ///
    /// Returns an error if the package is not installed or the server does not start; the
    /// message contains the end of its log.
    pub fn try_start(&self) -> Result<Redis, Failure> {
        let program = self.flavour.package().program("redis-server")?;
        ports::start_on_free(|port| {
            let folder = Folder::new("redis", None)?;
            let control = Control {
                socket: folder.path().join("socket"),
                password: format!("{:016x}", ports::random()),
            };
            let file = folder.write("redis.conf", &self.file(port, &folder, &control)?)?;
            let mut launch = Launch::within(&folder, &program).arg(file);
            if self.role == Role::Sentinel {
                launch = launch.arg("--sentinel");
            }
            let asked = control.clone();
            let ready = Box::new(move || is_ready(&asked));
            let signals = Signals { stop: Signal::TERM, quit: Signal::KILL };
            let server = Server::start("Redis", port, folder, launch, signals, ready)?;
            let password = self.password.clone();
            let tls = self.tls.is_some();
            Ok(Redis { server, control, password, tls, flavour: self.flavour })
        })
    }

    pub(super) fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    fn file(&self, port: u16, folder: &Folder, control: &Control) -> Result<String, Failure> {
        let mut lines = vec![
            "bind 127.0.0.1".to_owned(),
            format!("dir {}", folder.path().display()),
            format!("unixsocket {}", control.socket.display()),
            control.config(),
        ];
        match &self.tls {
            None => lines.push(format!("port {port}")),
            Some(tls) => {
                let files = tls.write_to(folder)?;
                lines.extend([
                    "port 0".to_owned(),
                    format!("tls-port {port}"),
                    format!("tls-ca-cert-file {}", files.authority.display()),
                    format!("tls-cert-file {}", files.certificate.display()),
                    format!("tls-key-file {}", files.key.display()),
                    format!("tls-auth-clients {}", if tls.asks_clients { "yes" } else { "no" }),
                ]);
            }
        }
        if self.role != Role::Sentinel {
            lines.extend(self.store());
        }
        if self.role == Role::ClusterNode {
            lines.extend(self.cluster_node());
        }
        lines.extend(self.lines.iter().cloned());
        Ok(lines.join("\n") + "\n")
    }

    /// Configuration lines of every server that stores data.
    fn store(&self) -> Vec<String> {
        let mut lines = vec![
            "save \"\"".to_owned(),
            // Replicas synchronize immediately instead of after five seconds.
            "repl-diskless-sync-delay 0".to_owned(),
        ];
        if self.flavour != Flavour::Redis62 {
            // Before Redis 7.0, this command was always enabled.
            lines.push("enable-debug-command yes".to_owned());
        }
        if let Some(password) = &self.password {
            lines.push(format!("requirepass {password}"));
            lines.push(format!("masterauth {password}"));
        }
        if self.tls.is_some() {
            lines.push("tls-replication yes".to_owned());
        }
        lines
    }

    fn cluster_node(&self) -> Vec<String> {
        let mut lines = vec![
            "cluster-enabled yes".to_owned(),
            "cluster-node-timeout 2000".to_owned(),
            // A replica may take over regardless of how long it was disconnected.
            "cluster-replica-validity-factor 0".to_owned(),
            // Replicas stay with their master, so that tests know their location.
            "cluster-migration-barrier 100".to_owned(),
        ];
        if self.tls.is_some() {
            lines.push("tls-cluster yes".to_owned());
        }
        lines
    }
}

/// A server that is still loading its data answers `LOADING`.
fn is_ready(control: &Control) -> Result<(), Failure> {
    control.cli(&["PING"]).map(drop)
}
