//! Going through all names of a kind.

use std::future::Future;
use std::sync::Arc;

use kvolt_cache::{Error, Result};
use redis::Value;
use tokio::task::JoinSet;

use crate::RedisStore;
use crate::cluster::Map;
use crate::errors::Fault;
use crate::node::Node;
use crate::reply;
use crate::script::Call;
use crate::server::Server;

/// How many names the server looks at in one step.
const STEP: usize = 1_000;
/// How often a pass begins at the most.
const MAX_BEGUN: u32 = 4;

/// Goes through all names with a beginning, on all masters (`SCAN`). Every name that is there the whole
/// time comes, perhaps more than once.
///
/// In a cluster that moves slots meanwhile, it begins again.
pub(crate) struct Pass {
    beginning: String,
    /// The masters that are left, the current one last, and its cursor.
    masters: Vec<Arc<Node>>,
    cursor: Option<String>,
    topology: Option<Arc<Map>>,
    begun: u32,
}

/// Some names.
pub(crate) struct SomeNames {
    pub(crate) names: Vec<Vec<u8>>,
    /// How often the pass has begun.
    pub(crate) begun: u32,
}

impl Pass {
    /// `beginning` has nothing that is special in a pattern.
    pub(crate) fn new(beginning: String) -> Self {
        Self { beginning, masters: Vec::new(), cursor: None, topology: None, begun: 0 }
    }

    /// Some names; `None` at the end.
    pub(crate) async fn next(&mut self, store: &RedisStore) -> Result<Option<SomeNames>> {
        if self.masters.is_empty() {
            if self.begun == 0 && !store.server().is_in_parts() {
                // A replica refuses this, and its names may be outdated.
                let call = Call::plain("GETEX", 0, &store.names().probe(0));
                let asked = async { store.server().call(&call).await.map_err(Fault::into_error) };
                store.in_time(asked).await?;
            }
            let masters = store.in_time(store.server().masters()).await?;
            let topology = store.server().topology();
            if self.begun > 0 && topology == self.topology {
                return Ok(None);
            }
            if self.begun == MAX_BEGUN {
                return Err(Error::unavailable(
                    "the cluster is moving slots; this can be done once it has settled",
                ));
            }
            self.begun += 1;
            (self.masters, self.topology) = (masters, topology);
        }
        let Some(node) = self.masters.last() else { return Ok(None) };
        let cursor = self.cursor.take().unwrap_or_else(|| String::from("0"));
        let (next, names) = store.in_time(self.step(node, &cursor)).await?;
        if next == "0" {
            self.masters.pop();
        } else {
            self.cursor = Some(next);
        }
        Ok(Some(SomeNames { names, begun: self.begun }))
    }

    async fn step(&self, node: &Node, cursor: &str) -> Result<(String, Vec<Vec<u8>>)> {
        let mut command = redis::cmd("SCAN");
        let pattern = format!("{}*", self.beginning);
        command.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(STEP);
        let answer: Value = Server::ask(node, &command).await?;
        let mut answer = reply::array(answer).ok_or_else(reply::strange)?.into_iter();
        let next = answer.next().and_then(reply::text).ok_or_else(reply::strange)?;
        let names = answer.next().and_then(reply::array).ok_or_else(reply::strange)?;
        Ok((next, names.into_iter().filter_map(reply::bytes).collect()))
    }
}

/// Does all of this at once, so that the commands share round trips; the outcomes are in any order.
pub(crate) async fn all_at_once<T, F>(work: impl Iterator<Item = F>) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let mut tasks: JoinSet<Result<T>> = work.collect();
    let mut outcomes = Vec::with_capacity(tasks.len());
    while let Some(outcome) = tasks.join_next().await {
        let stopped = |_| Error::unavailable("the runtime is shutting down");
        outcomes.push(outcome.map_err(stopped)??);
    }
    Ok(outcomes)
}
