//! The programs that are measured, each in a process of its own.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::harness;

/// Whose sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Library {
    /// A route without sessions.
    None,
    KVolt,
    TowerSessions,
    Ruts,
    /// The driver alone.
    Driver,
}

impl Library {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::None => "a bare route",
            Self::KVolt => "KVolt",
            Self::TowerSessions => "tower-sessions",
            Self::Ruts => "ruts",
            Self::Driver => "a bare route and one round trip of the driver",
        }
    }
}

/// The part of this program's arguments that [`super::child`] answers to.
pub(crate) const CHILD: &str = "stores-serve";

/// Ticks per second in which the kernel reports processor times (`getconf CLK_TCK`): the same on every Linux.
const TICKS_PER_SECOND: u64 = 100;

/// The application on a library and a store.
pub(super) struct Server {
    child: Child,
    pub(super) port: u16,
}

impl Server {
    pub(super) fn start(library: Library, spec: &str, url: &str) -> Self {
        let mut command = match library {
            Library::None | Library::KVolt | Library::Driver => harness::child(&[CHILD]),
            Library::TowerSessions | Library::Ruts => Command::new(peers()),
        };
        command.args([spec, url]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("it is text");
        let port = line.trim().parse().unwrap_or_else(|_| {
            panic!("{} on {spec} does not start", library.name());
        });
        Self { child, port }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processor time that the program has had, of all its threads, in microseconds.
    pub(super) fn cpu_micros(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()));
        let stat = stat.expect("it runs");
        // The name, in parentheses, may have blanks.
        let (_, fields) = stat.rsplit_once(')').expect("Linux says it so");
        let times = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = times.map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
        ticks * (1_000_000 / TICKS_PER_SECOND)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program with the other libraries, which can't be in this one.
fn peers() -> PathBuf {
    std::env::var_os(PEERS).unwrap_or_else(|| panic!("{PEERS} is not set")).into()
}

const PEERS: &str = "KVOLT_BENCH_PEERS";
