//! A pass over all names with a prefix.

use std::sync::Arc;

use kvolt_cache::{Error, Key, Result};

use crate::RedisStore;
use crate::node::Node;
use crate::reply;
use crate::script::Call;
use crate::slots::SlotMap;

/// How many names the server reads in one step.
const STEP: usize = 1_000;
/// How many times a pass starts.
const MAX_ATTEMPTS: u32 = 4;

/// A pass over all names with a prefix, on all masters (`SCAN`). It returns every name that exists
/// during the whole pass, some of them more than once.
///
/// It starts again if slots of a cluster have moved meanwhile.
pub(crate) struct Pass {
    /// Without characters that are special in a pattern.
    prefix: String,
    /// The masters that remain, the current one last, and its cursor.
    masters: Vec<Arc<Node>>,
    cursor: String,
    slots: Arc<SlotMap>,
    /// How many times the pass has started.
    pub(crate) attempt: u32,
}

impl Pass {
    pub(crate) fn new(prefix: String) -> Self {
        let cursor = String::from("0");
        Self { prefix, masters: Vec::new(), cursor, slots: Arc::default(), attempt: 0 }
    }

    /// Some keys of entries; `None` at the end.
    pub(crate) async fn next_keys(&mut self, store: &RedisStore) -> Result<Option<Vec<Key>>> {
        let names = self.next(store).await?;
        let parsed = |names: Vec<Vec<u8>>| {
            names.iter().filter_map(|name| store.inner.names.parse_key(name)).collect()
        };
        Ok(names.map(parsed))
    }

    /// Some names; `None` at the end.
    pub(crate) async fn next(&mut self, store: &RedisStore) -> Result<Option<Vec<Vec<u8>>>> {
        let servers = &store.inner.servers;
        if self.masters.is_empty() {
            if self.attempt == 0 && !servers.is_cluster() {
                // A replica, whose names may be outdated, rejects this.
                let call = Call::plain("GETEX", 0, &store.inner.names.probe(0));
                store.in_time(async { Ok(servers.call(&call).await?) }).await?;
            }
            let slots = store.in_time(async { Ok(servers.refresh().await?) }).await?;
            if self.attempt > 0 && slots == self.slots {
                return Ok(None);
            }
            if self.attempt == MAX_ATTEMPTS {
                return Err(Error::unavailable(
                    "the cluster is moving slots: retry once it has finished",
                ));
            }
            self.attempt += 1;
            (self.masters, self.slots) = (slots.masters(), slots);
        }
        let Some(node) = self.masters.last() else { return Ok(None) };
        let (next, names) = store.in_time(self.step(node)).await?;
        // The server's cursor begins and ends with 0.
        self.cursor = next;
        if self.cursor == "0" {
            self.masters.pop();
        }
        Ok(Some(names))
    }

    async fn step(&self, node: &Node) -> Result<(String, Vec<Vec<u8>>)> {
        let mut command = redis::cmd("SCAN");
        let pattern = format!("{}*", self.prefix);
        command.arg(&self.cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(STEP);
        reply::parse(node.send(&command).await?).ok_or_else(reply::unexpected)
    }
}
