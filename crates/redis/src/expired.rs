//! Telling what has ended: the server's own notifications that a name has expired.
//!
//! Every process that asked hears of every name, on each master, and claims it: `claim.lua` gives
//! it to the first. What is gone can't be looked at any more, so what was no entry is known
//! by its name, or by a mark that a renaming leaves beside the former key. What expires while nobody
//! listens is not told.

use std::time::Duration;

use kvolt_cache::{Key, OnExpired};
use redis::{PushInfo, PushKind, Value};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::RedisStore;
use crate::connect::Link;
use crate::errors::Fault;
use crate::names::{self, Name};
use crate::node::Node;
use crate::push::{Ear, Place, lost};
use crate::reply;
use crate::script::{self, Call};

/// How often it is asked whether the masters are still the masters, and there.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How long after one failure nobody listens; twice as long after each further one.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How many keys are claimed in one step.
const CLAIMED_AT_ONCE: usize = 200;

/// How the masters notify of what has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Events {
    /// `E`: names on a channel of the event's.
    ByEvent,
    /// `K`: the event on a channel of each name's.
    ByName,
}

impl Events {
    /// What a master is configured to do; `None` if nothing, or if it may not be asked.
    pub(crate) async fn of(node: &Node) -> Result<Option<Self>, Fault> {
        let mut command = redis::cmd("CONFIG");
        command.arg("GET").arg("notify-keyspace-events");
        let flags = match node.send(&command).await {
            Ok(Value::Map(pairs)) => pairs.into_iter().next().map(|(_, flags)| flags),
            Ok(other) => reply::array(other).and_then(|pair| pair.into_iter().nth(1)),
            Err(fault) if fault.is_lost() => return Err(fault),
            Err(_) => None,
        };
        Ok(flags.and_then(reply::text).and_then(|flags| Self::of_flags(&flags)))
    }

    /// By the flags of `notify-keyspace-events`: `A` has `x` in it.
    fn of_flags(flags: &str) -> Option<Self> {
        if !flags.contains(['x', 'A']) {
            None
        } else if flags.contains('E') {
            Some(Self::ByEvent)
        } else {
            flags.contains('K').then_some(Self::ByName)
        }
    }

    async fn listen(self, link: &Link, beginning: &str, database: u32) -> Result<(), Fault> {
        match self {
            Self::ByEvent => link.subscribe(&format!("__keyevent@{database}__:expired")).await,
            // Nothing in a prefix or after it is special in a pattern.
            Self::ByName => {
                link.subscribe_all(&format!("__keyspace@{database}__:{beginning}*")).await
            }
        }
    }

    /// The name that a message says has expired.
    fn expired(self, mut message: Vec<Value>) -> Option<Vec<u8>> {
        let payload = reply::bytes(message.pop()?)?;
        match self {
            Self::ByEvent => Some(payload),
            Self::ByName if payload == b"expired" => {
                let channel = reply::bytes(message.pop()?)?;
                let after = channel.iter().position(|byte| *byte == b':')?;
                channel.get(after + 1..).map(<[u8]>::to_vec)
            }
            Self::ByName => None,
        }
    }
}

/// A task that tells, until it is dropped.
pub(crate) struct Telling(AbortHandle);

impl Drop for Telling {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl RedisStore {
    pub(crate) fn tell_expired(&self, told: OnExpired) -> bool {
        let Some(events) = self.events() else {
            tracing::info!(
                "nobody is told of sessions that have expired: for that, set \
                 notify-keyspace-events to Ex on every master, and give the user the permissions \
                 that the README names; where CONFIG GET is not to be had, set \
                 `assume_expired_events`"
            );
            return false;
        };
        let Ok(runtime) = Handle::try_current() else {
            tracing::info!(
                "nobody is told of sessions that have expired: it needs a Tokio runtime"
            );
            return false;
        };
        let mut is_first = false;
        self.telling().get_or_init(|| {
            is_first = true;
            // It must not keep alive what ends it.
            let telling = listen(self.without_telling(), events, told);
            Telling(runtime.spawn(telling).abort_handle())
        });
        is_first
    }

    /// Those of these that nobody has told of and that were entries: they are this one's to tell.
    async fn claim(&self, keys: &[Key]) -> kvolt_cache::Result<Vec<Key>> {
        let mut claimed = Vec::new();
        for (part, keys) in self.by_part(keys) {
            if keys.is_empty() {
                continue;
            }
            let names: Vec<String> = keys
                .iter()
                .flat_map(|key| [self.names().told(key), self.names().former(key)])
                .collect();
            // Not `write`: at worst it is told twice.
            let mut call = Call::read(&script::CLAIM, part, &names);
            for key in &keys {
                call = call.arg(names::hex(key));
            }
            claimed.extend(self.within(self.server().call(&call)).await?.keys()?);
        }
        Ok(claimed)
    }
}

/// Without end.
async fn listen(store: RedisStore, events: Events, told: OnExpired) {
    let mut pause = PAUSE_FIRST;
    loop {
        let begun = Instant::now();
        let fault = match listen_once(&store, events, &told).await {
            Ok(never) => match never {},
            Err(fault) => fault,
        };
        if begun.elapsed() > PAUSE_MAX {
            pause = PAUSE_FIRST;
        }
        let error = fault.into_error();
        if error.is_misconfigured() {
            tracing::warn!(%error, "nobody is told of sessions that have expired");
            pause = PAUSE_MAX * 12;
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

enum Never {}

/// Until a connection is lost, or another server is the master.
async fn listen_once(store: &RedisStore, events: Events, told: &OnExpired) -> Result<Never, Fault> {
    let place = Place::find(store.server()).await?;
    let (push, mut pushed) = unbounded_channel();
    let mut ears = Vec::new();
    for (address, part) in &place.masters {
        let link = Link::open_pushed(address, place.options, push.clone()).await?;
        events.listen(&link, &store.names().beginning(), place.options.database).await?;
        ears.push(Ear { link, probe: store.names().mark(*part) });
    }
    drop(push);
    loop {
        let looks = Instant::now() + LOOK_AGAIN;
        while let Ok(next) = timeout_at(looks, pushed.recv()).await {
            let keys = gather(store, events, next.ok_or_else(lost)?, &mut pushed)?;
            match store.claim(&keys).await {
                Ok(claimed) => claimed.iter().for_each(|key| told(key)),
                Err(error) => {
                    tracing::warn!(%error, count = keys.len(), "sessions that expired are not told");
                }
            }
        }
        for ear in &ears {
            ear.ask(place.options).await?;
        }
        place.look_again().await?;
        place.check()?;
    }
}

/// What has expired by now.
fn gather(
    store: &RedisStore,
    events: Events,
    first: PushInfo,
    pushed: &mut UnboundedReceiver<PushInfo>,
) -> Result<Vec<Key>, Fault> {
    let mut keys = Vec::new();
    let mut next = Some(first);
    while let Some(message) = next {
        match message.kind {
            PushKind::Message | PushKind::PMessage => {
                let name = events.expired(message.data);
                if let Some(Name::Key(key)) = name.and_then(|name| store.names().parse(&name)) {
                    keys.push(key);
                }
            }
            PushKind::Disconnection => return Err(lost()),
            _ => {}
        }
        next = if keys.len() < CLAIMED_AT_ONCE { pushed.try_recv().ok() } else { None };
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_say_how_a_server_notifies() {
        for (flags, events) in [
            ("", None),
            ("KEg$", None),
            ("x", None),
            ("xE", Some(Events::ByEvent)),
            ("AKE", Some(Events::ByEvent)),
            ("Kx", Some(Events::ByName)),
        ] {
            assert_eq!(Events::of_flags(flags), events, "{flags}");
        }
    }
}
