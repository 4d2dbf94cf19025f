//! Pushed changes: `CLIENT TRACKING` in broadcasting mode (RESP3).
//!
//! # When all changes have been pushed
//!
//! The server answers the commands of one turn of its event loop as it executes them, and sends
//! what they invalidate at the end of the turn. So the invalidation of a change may come after the
//! reply to a question that was asked later. But it has come once a second question, sent after
//! the first reply, is answered too: that happens in a later turn. The feed asks two questions in
//! every interval, and then confirms all changes made before the first one.
//!
//! # When a confirmation is valid
//!
//! - Each question comes with a write that changes nothing (`GETEX` of an absent key). A replica, a
//!   master that lacks the replicas it must have, and a cluster node that has lost the slot or the
//!   majority reject it.
//! - The process that pushes must be the one that reads go to (`run_id`). A host name or a proxy
//!   can lead to two of them.
//! - In a cluster, the feed tracks all masters that serve this namespace's parts, and ends when the
//!   slots change. It also ends when a call was redirected to the node that a slot is being moved
//!   to (`ASK`): that node may not be tracked.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kvolt_cache::{ChangeFeed, ChangeObserver, Error, Timestamp};
use redis::{PushInfo, PushKind, Value};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep, timeout};

use crate::RedisStore;
use crate::connect::Link;
use crate::errors::Fault;
use crate::names::{self, Names, PARTS};
use crate::node::Node;
use crate::reply;

/// The shortest time between two checks that the masters are still the masters.
const MIN_REFRESH: Duration = Duration::from_secs(1);

impl ChangeFeed for RedisStore {
    async fn run(&self, interval: Duration, observer: &dyn ChangeObserver) -> Error {
        let Err(fault) = run(self, interval, observer).await;
        fault.into()
    }
}

async fn run(
    store: &RedisStore,
    interval: Duration,
    observer: &dyn ChangeObserver,
) -> Result<Infallible, Fault> {
    let servers = &store.inner.servers;
    let limit = servers.options.timeout;
    let ask_redirects = servers.ask_redirects.load(Ordering::SeqCst);
    let slots = servers.refresh().await?;
    let (sender, mut pushed) = unbounded_channel();
    let mut tracked = Vec::new();
    for node in slots.masters() {
        let is_its = |part: &u16| slots.master(names::slot_of(*part)) == Some(&node);
        let Some(part) = (0..PARTS).find(is_its) else { continue };
        let (address, options) = servers.listens_at(&node)?;
        let link = Link::open(address, options, Some(sender.clone())).await?;
        let link = link.identified().await?;
        let mut tracking = redis::cmd("CLIENT");
        tracking.arg("TRACKING").arg("ON").arg("BCAST");
        tracking.arg("PREFIX").arg(store.inner.names.entries());
        link.send(&tracking).await?;
        tracked.push(Tracked { node, link, probe: store.inner.names.probe(part) });
    }
    drop(sender);
    let mut reader = PushReader { names: &store.inner.names, observer, pushed: &mut pushed };
    let mut refreshed = Instant::now();
    loop {
        let asked = observer.now();
        let mut store_time = Timestamp::from_millis(0);
        for master in &tracked {
            store_time = store_time.max(reader.during(master.ask(limit)).await??);
        }
        for master in &tracked {
            reader.during(master.ask(limit)).await??;
        }
        reader.drain()?;
        if refreshed.elapsed() >= interval.saturating_mul(5).max(MIN_REFRESH) {
            reader.during(servers.refresh()).await??;
            refreshed = Instant::now();
        }
        let redirects = servers.ask_redirects.load(Ordering::SeqCst);
        if *servers.slots() != *slots || redirects != ask_redirects {
            return Err(moved());
        }
        for master in &tracked {
            reader.during(master.check()).await??;
        }
        observer.confirmed(asked, store_time);
        reader.during(sleep(interval)).await?;
    }
}

fn moved() -> Fault {
    Fault::unavailable("another server became the master, or slots moved: the feed must restart")
}

/// A master, and the connection on which it pushes changes.
struct Tracked {
    node: Arc<Node>,
    link: Link,
    /// A name in a slot that this master must serve.
    probe: String,
}

impl Tracked {
    /// Asks for the time, if the server accepts writes.
    async fn ask(&self, limit: Duration) -> Result<Timestamp, Fault> {
        let mut commands = redis::pipe();
        commands.cmd("GETEX").arg(&self.probe);
        commands.cmd("TIME");
        let replies = timeout(limit, self.link.send_all(&commands)).await;
        let replies =
            replies.unwrap_or_else(|_| Err(Fault::no_reply(self.node.address(), limit)))?;
        let mut time = None;
        for reply in replies {
            time = reply::time(reply?);
        }
        time.ok_or_else(|| Fault::unavailable("the server did not reply with the time"))
    }

    /// Checks that reads go to this process.
    async fn check(&self) -> Result<(), Fault> {
        if self.node.is_other_process(&self.link).await? {
            // So that both connections are opened again.
            self.node.disconnect();
            return Err(moved());
        }
        Ok(())
    }
}

/// Passes pushed messages on to the observer.
struct PushReader<'a> {
    names: &'a Names,
    observer: &'a dyn ChangeObserver,
    pushed: &'a mut UnboundedReceiver<PushInfo>,
}

impl PushReader<'_> {
    /// Waits for `work`, and passes on what is pushed meanwhile.
    async fn during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Fault> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                pushed = self.pushed.recv() => self.pass_on(pushed.ok_or_else(lost)?)?,
                done = &mut work => return Ok(done),
            }
        }
    }

    /// Passes on what has arrived. A connection delivers what was pushed before a reply first.
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
            let Value::Array(names) = part else {
                // All keys are gone (`FLUSHALL`), or the message is of an unknown form.
                self.observer.all_changed();
                continue;
            };
            let names = names.into_iter().filter_map(reply::parse::<Vec<u8>>);
            for key in names.filter_map(|name| self.names.parse_key(&name)) {
                self.observer.changed(&key);
            }
        }
        Ok(())
    }
}

fn lost() -> Fault {
    Fault::unavailable("the connection on which changes are pushed was lost")
}
