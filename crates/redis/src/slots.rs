//! Which master serves which slots.

use std::ops::RangeInclusive;
use std::sync::Arc;

use redis::Value;

use crate::node::Node;
use crate::reply;
use crate::url::Address;

/// How many slots a cluster has.
pub(crate) const SLOTS: u16 = 16_384;

/// The masters and their slots. A single server has all of them.
#[derive(Default, PartialEq)]
pub(crate) struct SlotMap(Vec<Range>);

#[derive(PartialEq)]
struct Range {
    slots: RangeInclusive<u16>,
    master: Arc<Node>,
}

impl SlotMap {
    /// The map of a deployment that has one master.
    pub(crate) fn single(master: Arc<Node>) -> Self {
        Self(vec![Range { slots: 0..=SLOTS - 1, master }])
    }

    /// The map in a reply to `CLUSTER SLOTS`, of the node at the address `asked`.
    pub(crate) fn parse(
        reply: Value,
        asked: &Address,
        node: impl Fn(&Address) -> Arc<Node>,
    ) -> Option<Self> {
        let ranges = reply::parse::<Vec<Value>>(reply)?.into_iter().map(|range| {
            // The first and the last slot, the master, then its replicas: each a host, a port, and more.
            let mut parts = reply::parse::<Vec<Value>>(range)?.into_iter();
            let first = reply::parse(parts.next()?)?;
            let last = reply::parse(parts.next()?).filter(|last| *last >= first)?;
            let mut master = reply::parse::<Vec<Value>>(parts.next()?)?.into_iter();
            let host: Option<String> = reply::parse(master.next()?)?;
            let port = reply::parse(master.next()?)?;
            let master = node(&asked.beside(host.unwrap_or_default(), port));
            Some(Range { slots: first..=last, master })
        });
        ranges.collect::<Option<_>>().map(Self)
    }

    pub(crate) fn master(&self, slot: u16) -> Option<&Arc<Node>> {
        let range = self.0.iter().find(|range| range.slots.contains(&slot))?;
        Some(&range.master)
    }

    /// The masters that have slots, each once.
    pub(crate) fn masters(&self) -> Vec<Arc<Node>> {
        let mut masters: Vec<Arc<Node>> = Vec::new();
        for range in &self.0 {
            if !masters.contains(&range.master) {
                masters.push(Arc::clone(&range.master));
            }
        }
        masters
    }

    /// How many slots have a master.
    pub(crate) fn served(&self) -> usize {
        self.0.iter().map(|range| range.slots.len()).sum()
    }
}
