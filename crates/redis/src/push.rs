//! Telling what was changed: `CLIENT TRACKING` in broadcasting mode (RESP3).
//!
//! # When everything has been told
//!
//! The server answers the commands of a turn of its event loop as it executes
//! them, and appends what the turn's changes invalidate at the turn's end. So a
//! change that was done before a question was asked may come after the
//! question's answer, but it has come once a second question, sent when the
//! first was answered, is answered too: that was in a later turn. A beat is two
//! questions, and proves that everything was told that was done before the first.
//!
//! # Whom to believe
//!
//! Each question comes with a write that changes nothing (`GETEX` of nothing). A replica refuses it,
//! a master that lacks the replicas it was told to have refuses it, a node of
//! a cluster that has lost the slot or the majority refuses it: then nothing is said
//! to have been heard. The process that pushes must be the one that the data is read from: where a name
//! or a proxy leads to different ones, nothing is heard. In a cluster, all masters that have parts of ours are
//! listened to, for as long as the slots are where they were. Whoever is told by
//! one node that a key is already on another (`ASK`) may have read what nobody
//! listens to yet, and the listening begins anew.

use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{ChangeFeed, ChangeObserver, Error, Timestamp};
use redis::{PushInfo, PushKind, Value};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep, timeout};

use crate::RedisStore;
use crate::cluster::{Cluster, Map};
use crate::connect::{Link, Options};
use crate::errors::Fault;
use crate::names::{self, Names, PARTS};
use crate::node::Source;
use crate::reply;
use crate::server::Server;
use crate::url::Address;

impl ChangeFeed for RedisStore {
    async fn run(&self, interval: Duration, listener: &dyn ChangeObserver) -> Error {
        match watch(self, interval, listener).await {
            Ok(never) => match never {},
            Err(fault) => fault.into_error(),
        }
    }
}

enum Never {}

async fn watch(
    store: &RedisStore,
    interval: Duration,
    listener: &dyn ChangeObserver,
) -> Result<Never, Fault> {
    let place = Place::find(store.server()).await?;
    let (told, mut pushed) = unbounded_channel();
    let mut ears = Vec::new();
    for (address, part) in &place.masters {
        let told = told.clone();
        let link = Link::open_pushed(address, place.options, told).await?.identified().await?;
        let mut tracking = redis::cmd("CLIENT");
        tracking.arg("TRACKING").arg("ON").arg("BCAST");
        tracking.arg("PREFIX").arg(store.names().entries());
        link.send(&tracking).await?;
        ears.push(Ear { link, probe: store.names().probe(*part) });
    }
    drop(told);
    let mut hearing = Hearing { names: store.names(), listener, pushed: &mut pushed };
    let mut looked = Instant::now();
    loop {
        let asked = listener.now();
        let mut store_time = Timestamp::from_millis(0);
        for ear in &ears {
            store_time = store_time.max(hearing.meanwhile(ear.ask(place.options)).await??);
        }
        for ear in &ears {
            hearing.meanwhile(ear.ask(place.options)).await??;
        }
        hearing.drain()?;
        if looked.elapsed() >= interval.saturating_mul(5).max(LOOK_AGAIN_MIN) {
            hearing.meanwhile(place.look_again()).await??;
            looked = Instant::now();
        }
        place.check(&ears)?;
        listener.confirmed(asked, store_time);
        hearing.meanwhile(sleep(interval)).await?;
    }
}

/// How often at the most it is asked whether the masters are still the masters.
const LOOK_AGAIN_MIN: Duration = Duration::from_secs(1);

/// Whom to listen to, and how to find out that it is not them any more.
struct Place<'a> {
    server: &'a Server,
    options: &'a Options,
    /// Each with a part that it has.
    masters: Vec<(Address, u16)>,
    map: Option<Arc<Map>>,
    asked_elsewhere: u64,
}

impl<'a> Place<'a> {
    async fn find(server: &'a Server) -> Result<Self, Fault> {
        match server {
            Server::One(node) => {
                // The one that the data is read from; a second opinion comes later.
                let address = node.link().await?.address().clone();
                let masters = vec![(address, 0)];
                let options = node.options();
                Ok(Self { server, options, masters, map: None, asked_elsewhere: 0 })
            }
            Server::Cluster(cluster) => {
                let asked_elsewhere = cluster.asked_elsewhere();
                let map = cluster.learn(&cluster.map()).await?;
                if !Cluster::is_whole(&map) {
                    return Err(Fault::unavailable("some slots of the cluster have no master"));
                }
                let mut masters: Vec<(Address, u16)> = Vec::new();
                for part in 0..PARTS {
                    let master = map.master(names::slot_of(part));
                    if let Some(master) =
                        master.filter(|master| masters.iter().all(|(known, _)| known != *master))
                    {
                        masters.push((master.clone(), part));
                    }
                }
                let options = cluster.options();
                Ok(Self { server, options, masters, map: Some(map), asked_elsewhere })
            }
        }
    }

    /// Asks the sentinels or the cluster.
    async fn look_again(&self) -> Result<(), Fault> {
        match self.server {
            Server::Cluster(cluster) => cluster.learn(&cluster.map()).await.map(drop),
            Server::One(node) => match node.source() {
                Source::MasterOf(sentinels) => match sentinels.master().await {
                    Ok(now) if self.masters.iter().any(|(address, _)| *address == now) => Ok(()),
                    Ok(_) => {
                        node.forget();
                        Err(moved())
                    }
                    // That they are down says nothing about the master.
                    Err(_) => Ok(()),
                },
                Source::At(_) => Ok(()),
            },
        }
    }

    /// Whether it is still as far as anybody here has been told.
    fn check(&self, ears: &[Ear]) -> Result<(), Fault> {
        if let Server::Cluster(cluster) = self.server {
            let is_same = self.map.as_ref().is_some_and(|map| **map == *cluster.map());
            if !is_same || cluster.asked_elsewhere() != self.asked_elsewhere {
                return Err(moved());
            }
        }
        for ear in ears {
            let node = match self.server {
                Server::One(node) => Arc::clone(node),
                Server::Cluster(cluster) => cluster.node(ear.link.address()),
            };
            if node.is_of_another(&ear.link) {
                // So that both are looked for again.
                node.forget();
                return Err(moved());
            }
        }
        Ok(())
    }
}

fn moved() -> Fault {
    Fault::unavailable(
        "another server has become the master, or slots have moved: the listening must begin again",
    )
}

/// A connection that is told what changes on one master.
struct Ear {
    link: Link,
    /// A name that this master has to have.
    probe: String,
}

impl Ear {
    /// Asks for the time where a write would be accepted.
    async fn ask(&self, options: &Options) -> Result<Timestamp, Fault> {
        let mut commands = redis::pipe();
        commands.cmd("GETEX").arg(&self.probe);
        commands.cmd("TIME");
        let limit = options.timeout;
        let answers = timeout(limit, self.link.send_all(&commands))
            .await
            .unwrap_or_else(|_| Err(Fault::unavailable(format!("no answer within {limit:?}"))))?;
        let mut answers = answers.into_iter();
        let strange = || Fault::unavailable("the server did not tell the time");
        answers.next().ok_or_else(strange)??;
        reply::server_time(answers.next().ok_or_else(strange)??).ok_or_else(strange)
    }
}

/// Passes on what is pushed.
struct Hearing<'a> {
    names: &'a Names,
    listener: &'a dyn ChangeObserver,
    pushed: &'a mut UnboundedReceiver<PushInfo>,
}

impl Hearing<'_> {
    /// Awaits something, and passes on what is pushed meanwhile.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Fault> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                pushed = self.pushed.recv() => self.pass_on(pushed.ok_or_else(lost)?)?,
                done = &mut work => return Ok(done),
            }
        }
    }

    /// Passes on what has come. A connection hands over what was pushed before an answer first.
    fn drain(&mut self) -> Result<(), Fault> {
        while let Ok(pushed) = self.pushed.try_recv() {
            self.pass_on(pushed)?;
        }
        Ok(())
    }

    fn pass_on(&self, pushed: PushInfo) -> Result<(), Fault> {
        match pushed.kind {
            PushKind::Invalidate => {}
            PushKind::Disconnection => return Err(lost()),
            _ => return Ok(()),
        }
        for part in pushed.data {
            match part {
                Value::Array(names) => {
                    for name in names.into_iter().filter_map(reply::bytes) {
                        if let Some(key) = self.names.parse_key(&name) {
                            self.listener.changed(&key);
                        }
                    }
                }
                // All keys are gone (`FLUSHALL`), or something that is not understood.
                _ => self.listener.all_changed(),
            }
        }
        Ok(())
    }
}

fn lost() -> Fault {
    Fault::unavailable("the connection that tells what changes was lost")
}
