//! A cluster: which of its masters has which slot.
//!
//! Not by the driver's own client for clusters, which sends a command again
//! when the connection is lost before its answer has come. An insertion that
//! had taken effect would then be told to have found its own key occupied.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kvolt_cache::Timestamp;
use redis::Value;
use tokio::time::{sleep, timeout};

use crate::connect::Options;
use crate::errors::Fault;
use crate::names;
use crate::node::{Node, Source};
use crate::reply::{array, text};
use crate::script::Call;
use crate::url::Address;

const SLOTS: usize = 16_384;
/// How often a call goes on to where it is sent, or tries again what was not executed.
const MAX_HOPS: u32 = 8;
/// How long one node may take to tell the slots before the next is asked.
const PATIENCE: Duration = Duration::from_millis(500);

pub(crate) struct Cluster {
    seeds: Vec<Address>,
    options: Arc<Options>,
    nodes: Mutex<HashMap<Address, Arc<Node>>>,
    map: Mutex<Arc<Map>>,
    asking: tokio::sync::Mutex<()>,
    asked_elsewhere: AtomicU64,
}

/// Which master has which slots, as some node told it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Map(Vec<Range>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    first: u16,
    last: u16,
    master: Address,
}

impl Map {
    pub(crate) fn master(&self, slot: u16) -> Option<&Address> {
        let range = self.0.iter().find(|range| (range.first..=range.last).contains(&slot))?;
        Some(&range.master)
    }

    /// The masters that have slots, each once.
    pub(crate) fn masters(&self) -> Vec<Address> {
        let mut masters: Vec<Address> = Vec::new();
        for range in &self.0 {
            if !masters.contains(&range.master) {
                masters.push(range.master.clone());
            }
        }
        masters
    }
}

impl Cluster {
    pub(crate) fn new(seeds: Vec<Address>, options: Arc<Options>) -> Self {
        Self {
            seeds,
            options,
            nodes: Mutex::default(),
            map: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            asked_elsewhere: AtomicU64::new(0),
        }
    }

    /// The slots, as they were told last.
    pub(crate) fn map(&self) -> Arc<Map> {
        Arc::clone(&self.map.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// How many calls have gone where a slot is on its way to.
    pub(crate) fn asked_elsewhere(&self) -> u64 {
        self.asked_elsewhere.load(Ordering::SeqCst)
    }

    pub(crate) fn node(&self, address: &Address) -> Arc<Node> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let source = Source::At(address.clone());
            Arc::new(Node::new(source, Arc::clone(&self.options)))
        };
        Arc::clone(nodes.entry(address.clone()).or_insert_with(make))
    }

    /// Sends a command where its keys are. With the server's time after it, or a little more.
    pub(crate) async fn call(&self, call: &Call) -> Result<(Value, Timestamp), Fault> {
        let slot = names::slot_of(call.part());
        let mut asked: Option<(Address, bool)> = None;
        let mut pause = Duration::from_millis(10);
        for hop in 1.. {
            let map = self.map();
            let (address, asking) = match asked.take() {
                Some(there) => there,
                None => match map.master(slot) {
                    Some(address) => (address.clone(), false),
                    None => {
                        (self.learn(&map).await?.master(slot).cloned().ok_or_else(unserved)?, false)
                    }
                },
            };
            let fault = match self.node(&address).call(call, asking).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            if hop == MAX_HOPS {
                return Err(fault);
            }
            match fault.code() {
                // None of these has been executed.
                Some("MOVED") => {
                    let there = redirect(&fault, &address);
                    if self.learn(&map).await.ok().as_ref().and_then(|map| map.master(slot))
                        == Some(&address)
                    {
                        // Whoever was asked knows less than the node itself.
                        asked = there.map(|there| (there, false));
                    }
                }
                Some("ASK") => {
                    self.asked_elsewhere.fetch_add(1, Ordering::SeqCst);
                    asked = redirect(&fault, &address).map(|there| (there, true));
                }
                Some("TRYAGAIN") => sleep(pause).await,
                Some("CLUSTERDOWN" | "LOADING" | "MASTERDOWN" | "READONLY") => {
                    sleep(pause).await;
                    let _ = self.learn_from_others(&map, &address).await;
                }
                _ if fault.is_unsent() => {
                    // Its place may have been taken.
                    if self.learn_from_others(&map, &address).await?.master(slot) == Some(&address)
                    {
                        return Err(fault);
                    }
                }
                _ => {
                    if fault.is_lost() {
                        // Nobody knows what became of this call. The next one shall go where it can.
                        let _ = self.learn_from_others(&map, &address).await;
                    }
                    return Err(fault);
                }
            }
            pause *= 2;
        }
        Err(unserved())
    }

    /// Asks the cluster for its slots, if nobody has since `seen`.
    pub(crate) async fn learn(&self, seen: &Arc<Map>) -> Result<Arc<Map>, Fault> {
        self.learn_with(seen, None).await
    }

    /// The same, and this one last, as it did not answer.
    async fn learn_from_others(&self, seen: &Arc<Map>, last: &Address) -> Result<Arc<Map>, Fault> {
        self.learn_with(seen, Some(last)).await
    }

    async fn learn_with(&self, seen: &Arc<Map>, last: Option<&Address>) -> Result<Arc<Map>, Fault> {
        let _alone = self.asking.lock().await;
        let now = self.map();
        if !Arc::ptr_eq(&now, seen) {
            return Ok(now);
        }
        let mut fault = None;
        let mut addresses = now.masters();
        addresses.extend(self.seeds.iter().filter(|seed| !now.masters().contains(seed)).cloned());
        addresses.sort_by_key(|address| Some(address) == last);
        for address in &addresses {
            let told = timeout(PATIENCE.min(self.options.timeout / 3), self.ask(address)).await;
            match told
                .unwrap_or_else(|_| Err(Fault::unavailable(format!("{address} did not answer"))))
            {
                Ok(map) => {
                    let map = Arc::new(map);
                    *self.map.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&map);
                    let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
                    nodes.retain(|address, _| {
                        map.masters().contains(address) || self.seeds.contains(address)
                    });
                    return Ok(map);
                }
                Err(now)
                    if fault.as_ref().is_none_or(|before: &Fault| !before.is_misconfigured()) =>
                {
                    fault = Some(now);
                }
                Err(_) => {}
            }
        }
        Err(fault.unwrap_or_else(|| Fault::misconfigured("no node of the cluster is named")))
    }

    async fn ask(&self, address: &Address) -> Result<Map, Fault> {
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let answer = self.node(address).send(&command).await?;
        let strange =
            || Fault::misconfigured(format!("{address} does not tell the slots of a cluster"));
        let ranges =
            array(answer).ok_or_else(strange)?.into_iter().map(|range| range_of(range, address));
        let map = Map(ranges.collect::<Option<_>>().ok_or_else(strange)?);
        if map.0.iter().map(|range| usize::from(range.last - range.first) + 1).sum::<usize>() == 0 {
            return Err(unserved());
        }
        Ok(map)
    }

    /// Whether each slot has a master.
    pub(crate) fn is_whole(map: &Map) -> bool {
        map.0.iter().map(|range| usize::from(range.last - range.first) + 1).sum::<usize>() == SLOTS
    }
}

fn unserved() -> Fault {
    Fault::unavailable("no node of the cluster has the slot at the moment")
}

/// First and last slot, then the master, then its replicas: each a host, a port, and more.
fn range_of(range: Value, asked: &Address) -> Option<Range> {
    let mut parts = array(range)?.into_iter();
    let first = text(parts.next()?)?.parse().ok()?;
    let last = text(parts.next()?)?.parse().ok().filter(|last| *last >= first)?;
    let mut master = array(parts.next()?)?.into_iter();
    let host = text(master.next()?).unwrap_or_default();
    let port = text(master.next()?)?.parse().ok()?;
    Some(Range { first, last, master: at(host, port, asked) })
}

/// A node that does not know its own host is to be found where it was asked.
fn at(host: String, port: u16, asked: &Address) -> Address {
    match asked {
        Address::Tcp { host: same, .. } if host.is_empty() || host == "?" => {
            Address::Tcp { host: same.clone(), port }
        }
        _ => Address::Tcp { host, port },
    }
}

fn redirect(fault: &Fault, asked: &Address) -> Option<Address> {
    let (host, port) = fault.redirect()?.rsplit_once(':')?;
    Some(at(String::from(host), port.parse().ok()?, asked))
}
