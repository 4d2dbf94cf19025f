//! The servers of a store: how the masters are found, and which of them gets a call.
//!
//! The driver's own cluster client is not used. It sends a command again if the connection is lost
//! before the reply has come: an insertion that had taken effect would then find its own key
//! occupied. Here a call is sent again only after a reply that says that it was not executed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kvolt_cache::{Result, Timestamp};
use redis::Value;
use redis::aio::ConnectionManager;
use tokio::time::{sleep, timeout};

use crate::connect::Options;
use crate::errors::Fault;
use crate::names;
use crate::node::Node;
use crate::reply::{self, Answer, field};
use crate::script::Call;
use crate::sentinel;
use crate::slots::{SLOTS, SlotMap};
use crate::url::{Address, Deployment};

/// How many times a call is sent: redirected, or again after a reply that it was not executed.
const MAX_HOPS: u32 = 8;
/// How long a node or a sentinel may take to reply before the next one is asked.
const MAX_DISCOVERY: Duration = Duration::from_millis(500);

pub(crate) struct Servers {
    deployment: Deployment,
    pub(crate) options: Arc<Options>,
    sentinel_options: Options,
    /// Where a near cache listens, if all other calls use the application's connection.
    listen: Option<(Address, Options)>,
    nodes: Mutex<HashMap<Address, Arc<Node>>>,
    slots: Mutex<Arc<SlotMap>>,
    discovery: tokio::sync::Mutex<()>,
    /// How many calls were redirected to the node that a slot is being moved to.
    pub(crate) ask_redirects: AtomicU64,
}

impl Servers {
    pub(crate) fn new(deployment: Deployment, options: Options, sentinel_options: Options) -> Self {
        Self {
            deployment,
            options: Arc::new(options),
            sentinel_options,
            listen: None,
            nodes: Mutex::default(),
            slots: Mutex::default(),
            discovery: tokio::sync::Mutex::default(),
            ask_redirects: AtomicU64::new(0),
        }
    }

    /// The server of the application's connection.
    pub(crate) fn existing(
        connection: ConnectionManager,
        options: Options,
        listen: Option<(Address, Options)>,
    ) -> Self {
        let deployment = Deployment::Single(Address::Existing);
        let servers = Self { listen, ..Self::new(deployment, options.clone(), options) };
        let node = Arc::new(Node::existing(connection, Arc::clone(&servers.options)));
        let mut nodes = servers.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.insert(Address::Existing, node);
        drop(nodes);
        servers
    }

    /// Where a near cache listens to the changes on a node.
    pub(crate) fn listens_at<'a>(
        &'a self,
        node: &'a Node,
    ) -> Result<(&'a Address, &'a Options), Fault> {
        match (node.address(), &self.listen) {
            (Address::Existing, Some((address, options))) => Ok((address, options)),
            (Address::Existing, None) => Err(Fault::misconfigured(
                "a near cache listens on a connection of its own: set `listen_url`",
            )),
            (address, _) => Ok((address, &self.options)),
        }
    }

    /// Whether names with different hash tags may be on different servers.
    pub(crate) const fn is_cluster(&self) -> bool {
        matches!(self.deployment, Deployment::Cluster(_))
    }

    /// The slots as they were discovered last.
    pub(crate) fn slots(&self) -> Arc<SlotMap> {
        Arc::clone(&self.slots.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs a script on the server that has its keys.
    pub(crate) async fn run(&self, call: &Call) -> Result<Answer> {
        Answer::parse(self.call(call).await?.0)
    }

    /// Sends a command to the server that has its keys. Returns the reply, and the server's time
    /// after it or slightly more.
    pub(crate) async fn call(&self, call: &Call) -> Result<(Value, Timestamp), Fault> {
        // Boxed, so that the futures of callers are small: near caches and managers hold several.
        Box::pin(self.call_unboxed(call)).await
    }

    async fn call_unboxed(&self, call: &Call) -> Result<(Value, Timestamp), Fault> {
        let slot = names::slot_of(call.part);
        let mut redirect: Option<(Arc<Node>, bool)> = None;
        let mut pause = Duration::from_millis(10);
        for hop in 1.. {
            let slots = self.slots();
            let (node, asking) = match (redirect.take(), slots.master(slot)) {
                (Some(redirect), _) => redirect,
                (None, Some(master)) => (Arc::clone(master), false),
                (None, None) => {
                    let slots = self.discover(&slots, None).await?;
                    (slots.master(slot).cloned().ok_or_else(unserved)?, false)
                }
            };
            let fault = match node.call(call, asking).await {
                Ok(reply) => return Ok(reply),
                Err(fault) => fault,
            };
            if hop == MAX_HOPS || matches!(self.deployment, Deployment::Single(_)) {
                return Err(fault);
            }
            let is_unmoved = |slots: &SlotMap| slots.master(slot) == Some(&node);
            match fault.code() {
                // After each of these codes, the call was not executed.
                Some("MOVED") => {
                    // If the discovery found the same master, the node that redirects is right.
                    if self.discover(&slots, None).await.is_ok_and(|slots| is_unmoved(&slots)) {
                        redirect = self.redirect(&fault, &node).map(|node| (node, false));
                    }
                }
                Some("ASK") => {
                    self.ask_redirects.fetch_add(1, Ordering::SeqCst);
                    redirect = self.redirect(&fault, &node).map(|node| (node, true));
                }
                Some("TRYAGAIN") => sleep(pause).await,
                Some("CLUSTERDOWN" | "LOADING" | "MASTERDOWN" | "READONLY") => {
                    sleep(pause).await;
                    let _ = self.discover(&slots, Some(&node)).await;
                }
                // A replica may have taken over.
                _ if fault.is_unsent => {
                    if is_unmoved(&*self.discover(&slots, Some(&node)).await?) {
                        return Err(fault);
                    }
                }
                _ => {
                    if fault.is_lost() {
                        // This call may have been executed. The next one gets the right server.
                        let _ = self.discover(&slots, Some(&node)).await;
                    }
                    return Err(fault);
                }
            }
            pause *= 2;
        }
        Err(unserved())
    }

    /// The slots, discovered again. All of them have a master.
    pub(crate) async fn refresh(&self) -> Result<Arc<SlotMap>, Fault> {
        let known = self.slots();
        let slots = match self.discover(&known, None).await {
            // Sentinels that are down do not mean that the master is.
            Err(_) if !self.is_cluster() && known.served() > 0 => known,
            slots => slots?,
        };
        if slots.served() < usize::from(SLOTS) {
            return Err(Fault::unavailable("some slots of the cluster have no master"));
        }
        Ok(slots)
    }

    /// Discovers the slots, unless another task has since `seen` was read. The node `failed` is
    /// asked last.
    async fn discover(
        &self,
        seen: &Arc<SlotMap>,
        failed: Option<&Node>,
    ) -> Result<Arc<SlotMap>, Fault> {
        let _guard = self.discovery.lock().await;
        let known = self.slots();
        if !Arc::ptr_eq(&known, seen) {
            return Ok(known);
        }
        // Boxed, because many calls contain this and few need it.
        let found = Arc::new(Box::pin(self.ask(&known, failed)).await?);
        *self.slots.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&found);
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let masters = found.masters();
        nodes.retain(|address, node| masters.contains(node) || self.is_seed(address));
        Ok(found)
    }

    async fn ask(&self, known: &SlotMap, failed: Option<&Node>) -> Result<SlotMap, Fault> {
        match &self.deployment {
            Deployment::Single(address) => Ok(SlotMap::single(self.node(address))),
            Deployment::Sentinel { sentinels, master } => {
                first_answer(sentinels.iter().map(|sentinel| self.ask_sentinel(sentinel, master)))
                    .await
            }
            Deployment::Cluster(seeds) => {
                let mut nodes = known.masters();
                let is_new = |seed: &Arc<Node>| !known.masters().contains(seed);
                nodes.extend(seeds.iter().map(|seed| self.node(seed)).filter(is_new));
                nodes.sort_by_key(|node| Some(&**node) == failed);
                first_answer(nodes.iter().map(|node| self.ask_node(node))).await
            }
        }
    }

    async fn ask_node(&self, node: &Node) -> Result<SlotMap, Fault> {
        let limit = MAX_DISCOVERY.min(self.options.timeout / 3);
        let asked = node.address();
        let reply = timeout(limit, node.send(redis::cmd("CLUSTER").arg("SLOTS"))).await;
        let reply = reply.unwrap_or_else(|_| Err(Fault::no_reply(asked, limit)))?;
        match SlotMap::parse(reply, asked, |address| self.node(address)) {
            Some(slots) if slots.served() == 0 => Err(unserved()),
            Some(slots) => Ok(slots),
            None => Err(Fault::misconfigured(format!("{asked} is not a node of a cluster"))),
        }
    }

    async fn ask_sentinel(&self, sentinel: &Address, name: &str) -> Result<SlotMap, Fault> {
        let limit = MAX_DISCOVERY.min(self.options.timeout);
        let asking = sentinel::master_of(sentinel, name, &self.sentinel_options);
        let master = timeout(limit, asking).await;
        let node = self.node(&master.unwrap_or_else(|_| Err(Fault::no_reply(sentinel, limit)))?);
        // A sentinel may not know yet that there is another master.
        let master = node.address();
        let limit = self.options.timeout / 2;
        let info = timeout(limit, node.send(redis::cmd("INFO").arg("replication"))).await;
        let info = info.unwrap_or_else(|_| Err(Fault::no_reply(master, limit)))?;
        match field(&reply::parse::<String>(info).unwrap_or_default(), "role") {
            Some("master") => Ok(SlotMap::single(node)),
            role => Err(Fault::unavailable(format!(
                "{master} is a {}, and the sentinels have not agreed on another master yet",
                role.unwrap_or("server that does not report its role")
            ))),
        }
    }

    fn is_seed(&self, address: &Address) -> bool {
        matches!(&self.deployment, Deployment::Cluster(seeds) if seeds.contains(address))
    }

    fn node(&self, address: &Address) -> Arc<Node> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Node::new(address.clone(), Arc::clone(&self.options)));
        Arc::clone(nodes.entry(address.clone()).or_insert_with(new))
    }

    /// The node that a reply redirects to.
    fn redirect(&self, fault: &Fault, asked: &Node) -> Option<Arc<Node>> {
        let (host, port) = fault.redirect()?.rsplit_once(':')?;
        Some(self.node(&asked.address().beside(host.to_owned(), port.parse().ok()?)))
    }
}

/// The first success. Otherwise an error, rather one that the operator must act on.
async fn first_answer<T>(
    attempts: impl Iterator<Item = impl Future<Output = Result<T, Fault>>>,
) -> Result<T, Fault> {
    let mut error: Option<Fault> = None;
    for attempt in attempts {
        match attempt.await {
            Ok(answer) => return Ok(answer),
            Err(fault) if error.as_ref().is_some_and(Fault::is_misconfigured) => drop(fault),
            Err(fault) => error = Some(fault),
        }
    }
    Err(error.unwrap_or_else(|| Fault::misconfigured("the URL names no server")))
}

fn unserved() -> Fault {
    Fault::unavailable("no node of the cluster serves the slot at the moment")
}
