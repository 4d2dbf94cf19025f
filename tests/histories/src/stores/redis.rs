use std::sync::Arc;
use std::time::Duration;

use kvolt_redis::RedisStore;
use kvolt_servers::{Proxy, RedisBuilder, RedisCluster, RedisSentinel};

use super::network::Network;
use super::{
    NAMESPACE, PROCESSES, Setup, StoreOptions, blocking, process_near, slide_after, to_text,
};
use crate::checker::Rules;
use crate::history::MayLose;
use crate::{Fault, FaultInjector, Process, Random, Schedule};

/// Maximum wait for replicas.
const WAIT: Duration = Duration::from_millis(500);

/// A single server.
pub(super) async fn alone(options: &StoreOptions, server: RedisBuilder) -> Result<Setup, String> {
    let (server, proxies) = blocking(|| {
        let server = server.start();
        let proxies: Vec<Proxy> = (0..PROCESSES).map(|_| Proxy::to(server.port())).collect();
        (server, proxies)
    })
    .await?;
    let rules = Rules { bound: options.near_cache, ..Rules::default() };
    let mut processes = Vec::new();
    for (number, proxy) in proxies.iter().enumerate() {
        processes.push(process(proxy.url(&server.url()), number, options, &rules).await?);
    }
    let injector = Box::new(Network::new(Arc::new(server), proxies).only(options.only.clone()));
    Ok(Setup { processes, rules, injector })
}

/// A master with two replicas and three sentinels, without persistence.
pub(super) async fn sentinel(options: &StoreOptions) -> Result<Setup, String> {
    let servers = blocking(RedisSentinel::start).await?;
    let url = format!(
        "redis+sentinel://{}/{}",
        servers.sentinel_addresses().join(","),
        servers.master_name()
    );
    let rules = Rules { bound: options.near_cache, lossy: true, ..Rules::default() };
    let processes = processes(&url, options, &rules).await?;
    Ok(Setup { processes, rules, injector: Box::new(Sentinels { servers, undo: Undo::Nothing }) })
}

/// Three masters with one replica each, without persistence.
pub(super) async fn cluster(options: &StoreOptions) -> Result<Setup, String> {
    let servers = blocking(RedisCluster::start).await?;
    let seeds: Vec<String> =
        servers.nodes().iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
    let url = format!("redis+cluster://{}", seeds.join(","));
    let rules = Rules {
        bound: options.near_cache,
        lossy: true,
        login_takes_two_steps: true,
        ..Rules::default()
    };
    let processes = processes(&url, options, &rules).await?;
    Ok(Setup { processes, rules, injector: Box::new(Cluster { servers, undo: Undo::Nothing }) })
}

async fn processes(
    url: &str,
    options: &StoreOptions,
    rules: &Rules,
) -> Result<Vec<Process>, String> {
    let mut processes = Vec::new();
    for number in 0..PROCESSES {
        processes.push(process(url.to_owned(), number, options, rules).await?);
    }
    Ok(processes)
}

async fn process(
    url: String,
    number: usize,
    options: &StoreOptions,
    rules: &Rules,
) -> Result<Process, String> {
    let store = RedisStore::builder(url, NAMESPACE).wait_replicas(options.wait_replicas, WAIT);
    let store = store.slide_after(slide_after(number)).open().await.map_err(to_text)?;
    process_near(store, options.near_cache, rules)
}

/// How to undo the active fault; contains the number of the server.
#[derive(Debug, Clone, Copy)]
enum Undo {
    Nothing,
    Killed(usize),
    Paused(usize),
}

struct Sentinels {
    servers: RedisSentinel,
    undo: Undo,
}

impl FaultInjector for Sentinels {
    fn inject(&mut self, random: &mut Random) -> Fault {
        let master = self.servers.master();
        let stores = self.servers.stores();
        let (what, undo) = match random.below(5) {
            0 => {
                self.servers.fail_over();
                ("failover requested", Undo::Nothing)
            }
            1 | 2 => {
                stores[master].kill();
                ("master killed", Undo::Killed(master))
            }
            3 => {
                stores[master].pause();
                ("master paused", Undo::Paused(master))
            }
            _ => {
                let replica = (master + 1) % stores.len();
                stores[replica].kill();
                ("replica killed", Undo::Killed(replica))
            }
        };
        self.undo = undo;
        Fault { name: what.into(), may_lose: MayLose::Recent }
    }

    fn undo(&mut self) {
        let stores = self.servers.stores();
        match std::mem::replace(&mut self.undo, Undo::Nothing) {
            Undo::Nothing => {}
            Undo::Killed(store) => {
                // A master that restarts before it is replaced comes back empty, and stays
                // the master.
                if self.servers.master() == store {
                    self.servers.wait_until_replaced(store);
                }
                stores[store].restart();
            }
            Undo::Paused(store) => stores[store].resume(),
        }
        self.servers.wait_until_whole();
    }

    fn schedule(&self) -> Schedule {
        Schedule { pause: (800, 2_500), duration: (300, 3_500) }
    }
}

struct Cluster {
    servers: RedisCluster,
    undo: Undo,
}

impl Cluster {
    fn master(&self, random: &mut Random) -> usize {
        let masters = self.servers.masters();
        random.choose(&masters).copied().unwrap_or(0)
    }

    /// Moves a slot that contains sessions to another master.
    fn move_slot(&self, from: usize) {
        let key = self.servers.cli_on(from, &["RANDOMKEY"]);
        let to = self.servers.masters().into_iter().find(|to| *to != from);
        if let (false, Some(to)) = (key.is_empty(), to) {
            let slot = self.servers.slot(&key);
            self.servers.begin_move(slot, to);
            std::thread::sleep(Duration::from_millis(50));
            self.servers.finish_move(slot, to);
        }
    }
}

impl FaultInjector for Cluster {
    fn inject(&mut self, random: &mut Random) -> Fault {
        let master = self.master(random);
        let (what, undo, may_lose) = match random.below(5) {
            0 | 1 => {
                self.servers.nodes()[master].kill();
                ("master killed", Undo::Killed(master), MayLose::Recent)
            }
            2 => {
                self.servers.nodes()[master].pause();
                ("master paused", Undo::Paused(master), MayLose::Recent)
            }
            3 => {
                self.move_slot(master);
                ("slot moved", Undo::Nothing, MayLose::Nothing)
            }
            _ => {
                if let Some(replica) = self.servers.replica_of(master) {
                    self.servers.promote(replica);
                }
                // The promoted replica is already synchronized.
                ("replica promoted", Undo::Nothing, MayLose::Nothing)
            }
        };
        self.undo = undo;
        Fault { name: what.into(), may_lose }
    }

    fn undo(&mut self) {
        match std::mem::replace(&mut self.undo, Undo::Nothing) {
            Undo::Nothing => {}
            Undo::Killed(node) => {
                // A master that restarts before it is replaced comes back empty, and stays
                // a master.
                self.servers.wait_until_replaced(node);
                self.servers.nodes()[node].restart();
            }
            Undo::Paused(node) => self.servers.nodes()[node].resume(),
        }
        self.servers.wait_until_whole();
    }

    fn schedule(&self) -> Schedule {
        Schedule { pause: (800, 2_500), duration: (300, 4_000) }
    }
}
