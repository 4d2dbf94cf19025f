//! A manager on a store that can be broken, with a clock that can be moved.
#![allow(unreachable_pub, reason = "it is a module of each test file")]
#![allow(dead_code, reason = "each test file uses its part")]

use std::time::Duration;

use kvolt_cache::{ManualClock, MemoryStore};
use kvolt_session::{Builder, Event, Manager, NewSession, Owner, Record, Rotated, Token, What};
use kvolt_testkit::{Faults, FaultyStore};

pub const IDLE: Duration = Duration::from_secs(600);
pub const LIFETIME: Duration = Duration::from_secs(3_600);
pub const GRACE: Duration = Duration::from_secs(10);
pub const TICK: Duration = Duration::from_millis(1);

pub struct World {
    pub time: ManualClock,
    pub store: MemoryStore<Record<String>>,
    pub faults: Faults,
    pub manager: Manager<String>,
}

pub fn world() -> World {
    world_with(|builder| builder)
}

pub fn world_with(settings: impl FnOnce(Builder<String>) -> Builder<String>) -> World {
    let time = ManualClock::new();
    let store = MemoryStore::builder().clock(time.clock()).build();
    let (faulty, faults) = FaultyStore::new(store.clone());
    let builder = Manager::builder(faulty).idle_timeout(IDLE).lifetime(LIFETIME);
    let manager = settings(builder.clock(time.clock())).build().unwrap();
    World { time, store, faults, manager }
}

pub fn ada() -> NewSession<String> {
    NewSession::new(String::from("ada")).owner("ada")
}

pub fn bob() -> NewSession<String> {
    NewSession::new(String::from("bob")).owner("bob")
}

impl World {
    pub async fn lives(&self, token: &Token) -> bool {
        self.manager.peek(token).await.unwrap().is_some()
    }

    pub async fn data(&self, token: &Token) -> String {
        self.manager.peek(token).await.unwrap().unwrap().data().clone()
    }

    pub async fn rotate(&self, token: &Token) -> Token {
        rotated(self.manager.rotate(token).await.unwrap())
    }

    pub async fn of(&self, owner: &str) -> usize {
        self.manager.list(&Owner::from(owner)).await.unwrap().len()
    }
}

#[track_caller]
pub fn rotated(rotated: Rotated) -> Token {
    match rotated {
        Rotated::Token(token) => token,
        other => panic!("{other:?}"),
    }
}

/// What a listener is told.
#[derive(Clone, Default)]
pub struct Heard(std::sync::Arc<(std::sync::Mutex<Vec<Event>>, std::sync::Condvar)>);

impl Heard {
    pub fn listener(&self) -> impl Fn(&Event) + Send + Sync + 'static {
        let heard = self.clone();
        move |event: &Event| {
            heard.0.0.lock().unwrap().push(event.clone());
            heard.0.1.notify_all();
        }
    }

    /// The first `events` of them, once they are there, and forgets them.
    #[track_caller]
    pub fn take(&self, events: usize) -> Vec<Event> {
        let heard = self.0.0.lock().unwrap();
        let patience = Duration::from_secs(30);
        let too_few = |heard: &mut Vec<Event>| heard.len() < events;
        let (mut heard, late) = self.0.1.wait_timeout_while(heard, patience, too_few).unwrap();
        assert!(!late.timed_out(), "{events} expected, and these came: {heard:?}");
        heard.drain(..events).collect()
    }

    #[track_caller]
    pub fn whats(&self, events: usize) -> Vec<What> {
        self.take(events).into_iter().map(|event| event.what).collect()
    }

    /// All that came so far.
    pub fn so_far(&self) -> Vec<Event> {
        self.0.0.lock().unwrap().clone()
    }
}
