use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::builder::Role;
use super::cluster_view::{self, NodeLine};
use super::{Redis, RedisBuilder, info_field};
use crate::failure::OrPanic;
use crate::{Failure, wait};

/// A Redis Cluster: three masters (nodes 0 to 2) with one replica each (nodes 3 to 5).
///
/// A node keeps its number for as long as the cluster lives. A master that is down for two
/// seconds (`cluster-node-timeout`) is replaced.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
    last_election: Mutex<Option<Instant>>,
}

const MASTERS: usize = 3;
const NODES: usize = 2 * MASTERS;
const SLOTS: u16 = 16_384;

impl RedisCluster {
    /// Starts a cluster of Debian's servers, and waits until all slots are served and all
    /// replicas are synchronized.
    ///
    /// # Panics
    ///
    /// Panics if the package is not installed or the cluster does not start.
    #[track_caller]
    pub fn start() -> Self {
        Self::of(Redis::builder())
    }

    /// Starts a cluster with these settings for each node, and waits until it is ready.
    ///
    /// # Panics
    ///
    /// Panics if the package is not installed or the cluster does not start.
    #[track_caller]
    pub fn of(node: RedisBuilder) -> Self {
        Self::try_of(node).or_panic()
    }

    fn try_of(node: RedisBuilder) -> Result<Self, Failure> {
        let node = node.role(Role::ClusterNode);
        let nodes = (0..NODES).map(|_| node.try_start()).collect::<Result<_, _>>()?;
        let cluster = Self { nodes, last_election: Mutex::default() };
        cluster.assign_slots()?;
        cluster.introduce()?;
        for replica in MASTERS..NODES {
            let master = cluster.nodes[replica - MASTERS].try_cli(&["CLUSTER", "MYID"])?;
            cluster.nodes[replica].try_cli(&["CLUSTER", "REPLICATE", &master])?;
        }
        cluster.wait_for("a cluster", Self::is_complete)?;
        Ok(cluster)
    }

    /// Returns the nodes; each supports all methods of a single server.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// Returns the URLs of all nodes.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }

    /// Runs a command on one node. The node rejects it if another node serves the key.
    ///
    /// # Panics
    ///
    /// Panics if the node rejects the command or can't be reached.
    #[track_caller]
    pub fn cli_on(&self, node: usize, args: &[&str]) -> String {
        self.nodes[node].cli(args)
    }

    /// Returns the nodes that serve slots, as seen by the running nodes.
    ///
    /// # Panics
    ///
    /// Panics if no node runs.
    #[track_caller]
    pub fn masters(&self) -> Vec<usize> {
        let view = self.view().or_panic();
        let masters = view.iter().filter(|line| !line.slots.is_empty());
        let mut masters: Vec<usize> = masters.filter_map(|line| self.node_at(line.port)).collect();
        masters.sort_unstable();
        masters
    }

    /// Returns the replica of a master, if it has one.
    ///
    /// # Panics
    ///
    /// Panics if no node runs.
    #[track_caller]
    pub fn replica_of(&self, master: usize) -> Option<usize> {
        let view = self.view().or_panic();
        let of_master = view.iter().find(|line| line.port == self.nodes[master].port())?;
        let replica = view.iter().find(|line| line.master.as_ref() == Some(&of_master.id))?;
        self.node_at(replica.port)
    }

    /// Returns the slot of a key.
    ///
    /// # Panics
    ///
    /// Panics if no node runs.
    #[track_caller]
    pub fn slot(&self, key: &str) -> u16 {
        let slot = self.on_any(&["CLUSTER", "KEYSLOT", key]).or_panic();
        slot.parse().unwrap_or_else(|_| panic!("the slot of a key is `{slot}`"))
    }

    /// Returns the node that serves a key.
    ///
    /// # Panics
    ///
    /// Panics if no node serves it.
    #[track_caller]
    pub fn owner(&self, key: &str) -> usize {
        let slot = self.slot(key);
        match serves(&self.view().or_panic(), slot).and_then(|line| self.node_at(line.port)) {
            Some(node) => node,
            None => panic!("no node serves slot {slot}"),
        }
    }

    /// Kills a master and waits until its replica has taken over; returns the new master.
    ///
    /// # Panics
    ///
    /// Panics if no replica takes over, for example because it is down.
    #[track_caller]
    pub fn fail_over(&self, master: usize) -> usize {
        let Some(replica) = self.replica_of(master) else {
            panic!("node {master} has no replica that could take over");
        };
        self.nodes[master].kill();
        self.wait_until_replaced(master);
        replica
    }

    /// Waits until other nodes serve the slots of a killed or paused node.
    ///
    /// # Panics
    ///
    /// Panics if the node is not replaced in time.
    #[track_caller]
    pub fn wait_until_replaced(&self, master: usize) {
        let port = self.nodes[master].port();
        let is_replaced = |cluster: &Self| {
            let view = cluster.agreed_view()?;
            let serves = |line: &&NodeLine| line.port == port && !line.slots.is_empty();
            match view.iter().find(serves) {
                Some(_) => Err(Failure::new(format!("node {master} is not replaced"))),
                None => Ok(()),
            }
        };
        self.wait_for("a failover", is_replaced).or_panic();
        self.record_election();
    }

    /// Swaps a replica with its master without data loss. Within four seconds of another
    /// failover, waits first.
    ///
    /// # Panics
    ///
    /// Panics if the replica is not promoted in time.
    #[track_caller]
    pub fn promote(&self, replica: usize) {
        self.wait_after_election(replica);
        self.nodes[replica].cli(&["CLUSTER", "FAILOVER"]);
        let is_promoted = |cluster: &Self| match cluster.masters_contain(replica)? {
            true => cluster.is_complete(),
            false => Err(Failure::new(format!("node {replica} is not promoted"))),
        };
        self.wait_for("a promotion", is_promoted).or_panic();
        self.record_election();
    }

    /// Restarts a node and waits until the cluster is complete.
    ///
    /// # Panics
    ///
    /// Panics if the cluster is not complete in time.
    #[track_caller]
    pub fn restart(&self, node: usize) {
        self.nodes[node].restart();
        self.wait_until_whole();
    }

    /// Waits until the running nodes agree on the owner of every slot, all slots are
    /// served, and the running replicas are synchronized.
    ///
    /// # Panics
    ///
    /// Panics if the cluster is not complete in time.
    #[track_caller]
    pub fn wait_until_whole(&self) {
        self.wait_for("a complete cluster", Self::is_complete).or_panic();
    }

    /// Begins to move a slot: from now on its master answers `ASK` for keys that it does
    /// not have.
    ///
    /// # Panics
    ///
    /// Panics if a node rejects the command.
    #[track_caller]
    pub fn begin_move(&self, slot: u16, to: usize) {
        let from = self.server_of(slot);
        let (slot, from_id, to_id) = (slot.to_string(), self.id(from), self.id(to));
        self.nodes[to].cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
        self.nodes[from].cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
    }

    /// Moves the keys of the slot, and then the slot itself: its previous master now
    /// answers `MOVED`.
    ///
    /// # Panics
    ///
    /// Panics if a node rejects the command.
    #[track_caller]
    pub fn finish_move(&self, slot: u16, to: usize) {
        let from = self.server_of(slot);
        let (number, to_id) = (slot.to_string(), self.id(to));
        let port = self.nodes[to].port().to_string();
        loop {
            let keys = self.nodes[from].cli(&["CLUSTER", "GETKEYSINSLOT", &number, "100"]);
            let keys: Vec<&str> = keys.lines().collect();
            if keys.is_empty() {
                break;
            }
            let mut migrate = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "60000"];
            if let Some(password) = self.nodes[to].password.as_deref() {
                migrate.extend(["AUTH", password]);
            }
            migrate.push("KEYS");
            migrate.extend(keys);
            self.nodes[from].cli(&migrate);
        }
        // The new master first: otherwise the old one would redirect clients in a circle.
        for node in [to, from].into_iter().chain(self.masters()) {
            self.nodes[node].cli(&["CLUSTER", "SETSLOT", &number, "NODE", &to_id]);
        }
        self.wait_until_whole();
    }

    fn assign_slots(&self) -> Result<(), Failure> {
        for (at, node) in self.nodes.iter().enumerate() {
            node.try_cli(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()])?;
        }
        let share = usize::from(SLOTS).div_ceil(MASTERS);
        let all: Vec<String> = (0..SLOTS).map(|slot| slot.to_string()).collect();
        for (node, slots) in self.nodes.iter().zip(all.chunks(share)) {
            // One slot per argument, since Redis 6.2 does not support ranges.
            let mut command = vec!["CLUSTER", "ADDSLOTS"];
            command.extend(slots.iter().map(String::as_str));
            node.try_cli(&command)?;
        }
        Ok(())
    }

    /// Introduces every node to every other, which is faster than waiting for the gossip.
    fn introduce(&self) -> Result<(), Failure> {
        for (at, node) in self.nodes.iter().enumerate() {
            for other in &self.nodes[at + 1..] {
                let port = other.port().to_string();
                node.try_cli(&["CLUSTER", "MEET", "127.0.0.1", &port])?;
            }
        }
        self.wait_for("an introduction", |cluster| cluster.agreed_view().map(drop))
    }

    fn is_complete(&self) -> Result<(), Failure> {
        let view = self.agreed_view()?;
        let served: usize = view.iter().flat_map(|line| &line.slots).map(count).sum();
        if served != usize::from(SLOTS) {
            return Err(Failure::new(format!("{served} slots are served")));
        }
        for (at, node) in self.running() {
            let state = node.try_cli(&["CLUSTER", "INFO"])?;
            if info_field(&state, "cluster_state") != "ok" {
                return Err(Failure::new(format!("node {at} reports:\n{state}")));
            }
            let replication = node.try_cli(&["INFO", "replication"])?;
            let is_replica = info_field(&replication, "role") == "slave";
            let is_listed = view.iter().any(|l| l.port == node.port() && l.master.is_some());
            let is_in_step = info_field(&replication, "master_link_status") == "up";
            if is_replica != is_listed || is_replica && !is_in_step {
                return Err(Failure::new(format!("node {at} reports:\n{replication}")));
            }
        }
        Ok(())
    }

    /// Returns the cluster view on which all running nodes agree.
    fn agreed_view(&self) -> Result<Vec<NodeLine>, Failure> {
        let running: Vec<u16> = self.running().map(|(_, node)| node.port()).collect();
        let mut agreed: Option<Vec<NodeLine>> = None;
        for (at, node) in self.running() {
            let mut view = cluster_view::parse(&node.try_cli(&["CLUSTER", "NODES"])?)?;
            if view.len() != NODES {
                return Err(Failure::new(format!("node {at} knows {} nodes", view.len())));
            }
            for line in &mut view {
                let runs = running.contains(&line.port);
                if runs && !line.is_healthy {
                    return Err(Failure::new(format!(
                        "node {at} reports {} as failing",
                        line.port
                    )));
                }
                // The nodes' state for a node that is down may differ.
                line.is_healthy = runs;
            }
            match &agreed {
                Some(other) if *other != view => {
                    return Err(Failure::new(format!(
                        "the nodes do not agree: {other:?}, {view:?}"
                    )));
                }
                _ => agreed = Some(view),
            }
        }
        agreed.ok_or_else(|| Failure::fatal("no node runs"))
    }

    fn record_election(&self) {
        *self.last_election.lock().unwrap_or_else(PoisonError::into_inner) = Some(wait::now());
    }

    /// Waits until no node can win an election with the votes of the previous one.
    ///
    /// Redis counts votes for twice the node timeout. A node that is promoted, demoted and
    /// promoted again in that time holds no new election and keeps the epoch of the first,
    /// and the nodes disagree for as long as its rival is down.
    #[track_caller]
    fn wait_after_election(&self, node: usize) {
        let last = *self.last_election.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = last else { return };
        let timeout = self.nodes[node].cli(&["CONFIG", "GET", "cluster-node-timeout"]);
        let timeout = timeout.lines().nth(1).and_then(|value| value.parse().ok());
        let counted = 2 * Duration::from_millis(timeout.unwrap_or(2000).max(1000));
        thread::sleep((last + counted).saturating_duration_since(wait::now()));
    }

    fn masters_contain(&self, node: usize) -> Result<bool, Failure> {
        let port = self.nodes[node].port();
        Ok(self.agreed_view()?.iter().any(|line| line.port == port && !line.slots.is_empty()))
    }

    fn view(&self) -> Result<Vec<NodeLine>, Failure> {
        cluster_view::parse(&self.on_any(&["CLUSTER", "NODES"])?)
    }

    fn on_any(&self, args: &[&str]) -> Result<String, Failure> {
        let (_, node) = self.running().next().ok_or_else(|| Failure::fatal("no node runs"))?;
        node.try_cli(args)
    }

    fn running(&self) -> impl Iterator<Item = (usize, &Redis)> {
        self.nodes.iter().enumerate().filter(|(_, node)| node.is_running())
    }

    fn node_at(&self, port: u16) -> Option<usize> {
        self.nodes.iter().position(|node| node.port() == port)
    }

    #[track_caller]
    fn id(&self, node: usize) -> String {
        self.nodes[node].cli(&["CLUSTER", "MYID"])
    }

    #[track_caller]
    fn server_of(&self, slot: u16) -> usize {
        let view = self.view().or_panic();
        let node = serves(&view, slot).and_then(|line| self.node_at(line.port));
        node.unwrap_or_else(|| panic!("no node serves slot {slot}"))
    }

    fn wait_for(
        &self,
        what: &str,
        is_so: impl Fn(&Self) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        wait::until(what, || is_so(self))
    }
}

fn serves(view: &[NodeLine], slot: u16) -> Option<&NodeLine> {
    let has = |line: &&NodeLine| line.slots.iter().any(|(a, b)| (*a..=*b).contains(&slot));
    view.iter().find(has)
}

fn count((first, last): &(u16, u16)) -> usize {
    usize::from(last - first) + 1
}
