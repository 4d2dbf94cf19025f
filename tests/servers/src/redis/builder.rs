use rustix::process::Signal;

use super::{Control, Redis};
use crate::certificates::Tls;
use crate::failure::OrPanic;
use crate::folder::Folder;
use crate::launch::Launch;
use crate::server::{Server, Signals};
use crate::{Certificates, Failure, Package, ports};

/// Whose server it is, and of which version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Flavour {
    /// Debian's server, with TLS.
    #[default]
    Redis7,
    /// Redis 6.2, without TLS.
    Redis62,
    /// Valkey 9, without TLS.
    Valkey9,
}

impl Flavour {
    /// The package that must be installed for it.
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
    /// The same program, which watches others.
    Sentinel,
}

impl RedisBuilder {
    /// Whose server it is.
    pub fn flavour(mut self, flavour: Flavour) -> Self {
        self.flavour = flavour;
        self
    }

    /// A line of the configuration file, such as `("maxmemory", "10mb")`.
    ///
    /// It comes after those of the harness, and so overrides them.
    pub fn config(mut self, name: &str, value: &str) -> Self {
        self.lines.push(format!("{name} {value}"));
        self
    }

    /// Everything that was answered is on disk: `appendonly yes`, `appendfsync always`.
    pub fn append_only(self) -> Self {
        self.config("appendonly", "yes").config("appendfsync", "always")
    }

    /// A password for the default user (`requirepass`), of letters and digits.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// A user of the access control list, such as `("app", "secret", "~kvolt:* +@all")`.
    pub fn user(self, name: &str, password: &str, rules: &str) -> Self {
        self.config("user", &format!("{name} on >{password} {rules}"))
    }

    /// Only TLS, with this certificate; the harness itself uses the Unix socket.
    pub fn tls(mut self, certificates: &Certificates) -> Self {
        self.tls = Some(certificates.for_server(false));
        self
    }

    /// Only TLS, and only for clients that show a certificate of the same authority.
    pub fn mutual_tls(mut self, certificates: &Certificates) -> Self {
        self.tls = Some(certificates.for_server(true));
        self
    }

    /// Starts it and waits until it answers.
    ///
    /// # Panics
    ///
    /// Panics if it is not installed or does not start; the message has the end of its log.
    #[track_caller]
    pub fn start(self) -> Redis {
        self.try_start().or_panic()
    }

    /// Starts it and waits until it answers, or returns why that failed.
    ///
    /// # Errors
    ///
    /// Returns an error if it is not installed or does not start.
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

    /// The settings of every server that stores data.
    fn store(&self) -> Vec<String> {
        let mut lines = vec![
            "save \"\"".to_owned(),
            // A replica is in sync at once, and not after five seconds.
            "repl-diskless-sync-delay 0".to_owned(),
        ];
        if self.flavour != Flavour::Redis62 {
            // Before 7.0 this was always on.
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
            // A replica may take over, however long it was disconnected.
            "cluster-replica-validity-factor 0".to_owned(),
            // A replica stays with its master, so that tests know where it is.
            "cluster-migration-barrier 100".to_owned(),
        ];
        if self.tls.is_some() {
            lines.push("tls-cluster yes".to_owned());
        }
        lines
    }
}

/// A server that still reads its data replies `LOADING`.
fn is_ready(control: &Control) -> Result<(), Failure> {
    control.cli(&["PING"]).map(drop)
}
