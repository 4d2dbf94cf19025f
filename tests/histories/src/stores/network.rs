//! One server, and a network between it and each process.

use std::ops::Deref;
use std::sync::Arc;

use kvolt_servers::{Proxy, Server};

use crate::history::MayLose;
use crate::{Disturber, Hurt, Random, Rhythm};

/// A server of any sort.
pub(super) type AnyServer = Arc<dyn Deref<Target = Server> + Send + Sync>;

/// Kills, pauses and cuts off one server that loses nothing that it has acknowledged.
pub(super) struct Network {
    server: AnyServer,
    proxies: Vec<Proxy>,
    /// A further fault of this kind of server, which needs no undoing.
    more: Option<(&'static str, More)>,
    /// The only fault, if set.
    only: Option<String>,
    /// The changes that a kill may lose.
    killed_loses: MayLose,
    now: Now,
}

/// The faults. One that is listed twice is twice as frequent.
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

type More = Box<dyn Fn() + Send>;

/// The fault that must be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Now {
    Well,
    Down,
    Paused,
    Cut,
}

impl Network {
    pub(super) fn new(server: AnyServer, proxies: Vec<Proxy>) -> Self {
        Self {
            server,
            proxies,
            more: None,
            only: None,
            killed_loses: MayLose::Nothing,
            now: Now::Well,
        }
    }

    /// For a server that shows what it has not yet written to disk.
    pub(super) fn shows_early(mut self) -> Self {
        self.killed_loses = MayLose::Unacknowledged;
        self
    }

    pub(super) fn only(mut self, only: Option<String>) -> Self {
        self.only = only;
        self
    }

    pub(super) fn also(mut self, what: &'static str, more: impl Fn() + Send + 'static) -> Self {
        self.more = Some((what, Box::new(more)));
        self
    }
}

impl Disturber for Network {
    fn hurt(&mut self, random: &mut Random) -> Hurt {
        // One process is cut off, or all are.
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
        let mut what = random.choose(&wanted).copied().unwrap_or("nothing");
        let server = &**self.server;
        let now = match what {
            "kill -9" => {
                server.kill();
                Now::Down
            }
            "stop" => {
                server.stop();
                Now::Down
            }
            "pause" => {
                server.pause();
                Now::Paused
            }
            "cut" => {
                some.iter().for_each(Proxy::cut);
                Now::Cut
            }
            "blackhole" => {
                some.iter().for_each(Proxy::blackhole);
                Now::Cut
            }
            "replies held" => {
                some.iter().for_each(Proxy::hold_replies);
                Now::Cut
            }
            "connections dropped" => {
                match &self.more {
                    Some((more_is, more)) if random.one_in(2) => {
                        more();
                        what = more_is;
                    }
                    _ => some.iter().for_each(Proxy::drop_connections),
                }
                Now::Well
            }
            _ => Now::Well,
        };
        self.now = now;
        let may_lose = if what == "kill -9" { self.killed_loses } else { MayLose::Nothing };
        Hurt { what: what.into(), may_lose }
    }

    fn heal(&mut self) {
        match std::mem::replace(&mut self.now, Now::Well) {
            Now::Well => {}
            Now::Down => self.server.restart(),
            Now::Paused => self.server.resume(),
            // Data in transit arrives late, or never.
            Now::Cut => self.proxies.iter().for_each(Proxy::restore),
        }
    }

    fn rhythm(&self) -> Rhythm {
        Rhythm { calm: (200, 900), hurt: (50, 3_000) }
    }
}
