//! Whom to ask: one server, or a cluster of them.

use std::sync::Arc;

use kvolt_cache::{Error, Result, Timestamp};
use redis::{Cmd, Value};

use crate::cluster::{Cluster, Map};
use crate::errors::Fault;
use crate::node::Node;
use crate::reply::Answer;
use crate::script::Call;

pub(crate) enum Server {
    One(Arc<Node>),
    Cluster(Cluster),
}

impl Server {
    /// Calls a script where its keys are.
    pub(crate) async fn run(&self, call: &Call) -> Result<Answer> {
        Answer::parse(self.call(call).await.map_err(Fault::into_error)?.0)
    }

    /// Sends a command where its keys are. With the server's time after it, or a little more.
    pub(crate) async fn call(&self, call: &Call) -> Result<(Value, Timestamp), Fault> {
        // Boxed, so that what waits for it is small: near caches and managers hold several such calls.
        match self {
            Self::One(node) => Box::pin(node.call(call, false)).await,
            Self::Cluster(cluster) => Box::pin(cluster.call(call)).await,
        }
    }

    /// Whether names of different parts may lie on different servers.
    pub(crate) const fn is_in_parts(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// All masters, asked for anew.
    pub(crate) async fn masters(&self) -> Result<Vec<Arc<Node>>> {
        match self {
            Self::One(node) => Ok(vec![Arc::clone(node)]),
            Self::Cluster(cluster) => {
                let map = cluster.learn(&cluster.map()).await.map_err(Fault::into_error)?;
                if !Cluster::is_whole(&map) {
                    return Err(Error::unavailable("some slots of the cluster have no master"));
                }
                Ok(map.masters().iter().map(|address| cluster.node(address)).collect())
            }
        }
    }

    /// Which master has which slots, as it was told last; to be compared.
    pub(crate) fn topology(&self) -> Option<Arc<Map>> {
        match self {
            Self::One(_) => None,
            Self::Cluster(cluster) => Some(cluster.map()),
        }
    }

    /// A command to one master, not for data.
    pub(crate) async fn ask(node: &Node, command: &Cmd) -> Result<Value> {
        node.send(command).await.map_err(Fault::into_error)
    }
}
