//! One server, and a network between it and each process.

use std::ops::Deref;
use std::sync::Arc;

use kvolt_servers::{Proxy, Server};

use crate::{Disturber, Hurt, Random, Rhythm};

/// A server of any sort.
pub(super) type AnyServer = Arc<dyn Deref<Target = Server> + Send + Sync>;

/// Kills, pauses and cuts off one server that loses nothing that it has acknowledged.
pub(super) struct Network {
    server: AnyServer,
    proxies: Vec<Proxy>,
    /// Something more that this sort of server can have done to it, at once.
    more: Option<(&'static str, Box<dyn Fn() + Send>)>,
    now: Now,
}

/// What is to be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Now {
    Well,
    Down,
    Paused,
    Cut,
}

impl Network {
    pub(super) fn new(server: AnyServer, proxies: Vec<Proxy>) -> Self {
        Self { server, proxies, more: None, now: Now::Well }
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
        let server = &**self.server;
        let (now, what) = match random.below(8) {
            0 | 1 => {
                server.kill();
                (Now::Down, "kill -9")
            }
            2 => {
                server.stop();
                (Now::Down, "stop")
            }
            3 => {
                server.pause();
                (Now::Paused, "pause")
            }
            4 => {
                some.iter().for_each(Proxy::cut);
                (Now::Cut, "cut")
            }
            5 => {
                some.iter().for_each(Proxy::blackhole);
                (Now::Cut, "blackhole")
            }
            6 => {
                some.iter().for_each(Proxy::hold_replies);
                (Now::Cut, "replies held")
            }
            _ => match &self.more {
                Some((what, more)) if random.one_in(2) => {
                    more();
                    (Now::Well, *what)
                }
                _ => {
                    some.iter().for_each(Proxy::drop_connections);
                    (Now::Well, "connections dropped")
                }
            },
        };
        self.now = now;
        Hurt::harmless(what)
    }

    fn heal(&mut self) {
        match std::mem::replace(&mut self.now, Now::Well) {
            Now::Well => {}
            Now::Down => self.server.restart(),
            Now::Paused => self.server.resume(),
            Now::Cut => self.proxies.iter().for_each(|proxy| {
                // What was on its way arrives late; or never.
                proxy.restore();
            }),
        }
    }

    fn rhythm(&self) -> Rhythm {
        Rhythm { calm: (200, 900), hurt: (50, 1_200) }
    }
}
