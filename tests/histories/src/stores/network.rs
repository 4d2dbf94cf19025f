//! Faults of a single server, and of the network between it and each process.

use std::ops::Deref;
use std::sync::Arc;

use kvolt_servers::{Proxy, Server};

use crate::history::MayLose;
use crate::{Fault, FaultInjector, Random, Schedule};

/// A server of any kind.
pub(super) type AnyServer = Arc<dyn Deref<Target = Server> + Send + Sync>;

/// Kills, pauses and disconnects a single server that must not lose acknowledged changes.
pub(super) struct Network {
    server: AnyServer,
    proxies: Vec<Proxy>,
    /// An additional instant fault for this kind of server.
    extra: Option<(&'static str, ExtraFault)>,
    /// The only fault to inject, if set.
    only: Option<String>,
    /// Possible losses in a kill.
    killed_loses: MayLose,
    undo: Undo,
}

/// The faults; a fault that appears twice is twice as likely.
const FAULTS: [&str; 8] = [
    "kill -9",
    "kill -9",
    "stop",
    "pause",
    "cut",
    "blackhole",
    "replies held",
    "connections dropped",
];

type ExtraFault = Box<dyn Fn() + Send>;

/// How to undo the active fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Undo {
    Nothing,
    Restart,
    Resume,
    Restore,
}

impl Network {
    pub(super) fn new(server: AnyServer, proxies: Vec<Proxy>) -> Self {
        Self {
            server,
            proxies,
            extra: None,
            only: None,
            killed_loses: MayLose::Nothing,
            undo: Undo::Nothing,
        }
    }

    /// For a server that makes a change visible before it is on disk.
    pub(super) fn makes_commits_visible_early(mut self) -> Self {
        self.killed_loses = MayLose::Unacknowledged;
        self
    }

    pub(super) fn only(mut self, only: Option<String>) -> Self {
        self.only = only;
        self
    }

    pub(super) fn with_extra_fault(
        mut self,
        name: &'static str,
        extra: impl Fn() + Send + 'static,
    ) -> Self {
        self.extra = Some((name, Box::new(extra)));
        self
    }
}

impl FaultInjector for Network {
    fn inject(&mut self, random: &mut Random) -> Fault {
        // Disconnect one process, or all.
        let some = match random.one_in(3) {
            true => &self.proxies[..],
            false => {
                let place = random.below(self.proxies.len());
                &self.proxies[place..=place]
            }
        };
        let only = self.only.as_deref();
        let wanted = FAULTS.iter().copied().filter(|fault| only.is_none_or(|only| only == *fault));
        let wanted: Vec<&str> = wanted.collect();
        let mut name = random.choose(&wanted).copied().unwrap_or("nothing");
        let server = &**self.server;
        let undo = match name {
            "kill -9" => {
                server.kill();
                Undo::Restart
            }
            "stop" => {
                server.stop();
                Undo::Restart
            }
            "pause" => {
                server.pause();
                Undo::Resume
            }
            "cut" => {
                some.iter().for_each(Proxy::cut);
                Undo::Restore
            }
            "blackhole" => {
                some.iter().for_each(Proxy::blackhole);
                Undo::Restore
            }
            "replies held" => {
                some.iter().for_each(Proxy::hold_replies);
                Undo::Restore
            }
            "connections dropped" => {
                match &self.extra {
                    Some((extra_name, extra)) if random.one_in(2) => {
                        extra();
                        name = extra_name;
                    }
                    _ => some.iter().for_each(Proxy::drop_connections),
                }
                Undo::Nothing
            }
            _ => Undo::Nothing,
        };
        self.undo = undo;
        let may_lose = if name == "kill -9" { self.killed_loses } else { MayLose::Nothing };
        Fault { name: name.into(), may_lose }
    }

    fn undo(&mut self) {
        match std::mem::replace(&mut self.undo, Undo::Nothing) {
            Undo::Nothing => {}
            Undo::Restart => self.server.restart(),
            Undo::Resume => self.server.resume(),
            // Held data now arrives late, or never.
            Undo::Restore => self.proxies.iter().for_each(Proxy::restore),
        }
    }

    fn schedule(&self) -> Schedule {
        Schedule { pause: (200, 900), duration: (50, 3_000) }
    }
}
