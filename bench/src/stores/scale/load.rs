//! Tasks that create, read and replace sessions.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kvolt::session::{Manager, NewSession, Token};
use tokio::task::JoinSet;

use super::super::statistics::quantile;
use crate::harness::{Table, below, mix};
use crate::user::User;

pub(super) const WRITERS: u64 = 64;
const READERS: u64 = 4;

/// The owner of this session.
type Owned = fn(u64) -> String;

/// So many sessions, by all writers; `ends_in` says when each ends, and nothing once it is too late.
pub(super) async fn make(
    manager: &Manager<User>,
    numbers: std::ops::Range<u64>,
    owner: Owned,
    keep_each: u64,
    ends_in: impl Fn(u64) -> Option<Duration> + Clone + Send + 'static,
) -> (u64, Vec<Token>) {
    let next = Arc::new(AtomicU64::new(numbers.start));
    let mut tasks = JoinSet::new();
    for _ in 0..WRITERS {
        let (manager, next, ends_in) = (manager.clone(), Arc::clone(&next), ends_in.clone());
        tasks.spawn(async move {
            let (mut made, mut tokens) = (0, Vec::new());
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(ends_in) = ends_in(number).filter(|_| number < numbers.end) else {
                    return (made, tokens);
                };
                let token = manager.create(session(number, owner(number), ends_in)).await;
                let token = token.expect("it is made");
                made += 1;
                if number.is_multiple_of(keep_each) {
                    tokens.push(token);
                }
                // A store in memory never waits.
                if number.is_multiple_of(64) {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    let (mut made, mut tokens) = (0, Vec::new());
    for (more, some) in tasks.join_all().await {
        made += more;
        tokens.extend(some);
    }
    (made, tokens)
}

/// A session that ends so much later, used or not.
fn session(number: u64, owner: String, ends_in: Duration) -> NewSession<User> {
    NewSession::new(User::new(number)).owner(owner).idle_timeout(ends_in).lifetime(ends_in)
}

/// Each task signs in again and again over the session that it has. Returns the microseconds of each
/// login.
pub(super) async fn storm(
    manager: &Manager<User>,
    tokens: Vec<Token>,
    ends_in: Duration,
    lasts: Duration,
) -> Vec<u32> {
    let end = Instant::now() + lasts;
    let mut tasks = JoinSet::new();
    for (number, mut token) in (0..).zip(tokens) {
        let manager = manager.clone();
        tasks.spawn(async move {
            let mut micros = Vec::new();
            while Instant::now() < end {
                let start = Instant::now();
                let next = session(number, number.to_string(), ends_in);
                token = manager.login(Some(&token), next).await.expect("it works");
                micros.push(start.elapsed().as_micros() as u32);
                tokio::task::yield_now().await;
            }
            micros
        });
    }
    tasks.join_all().await.concat()
}

/// Read these sessions until they are stopped.
pub(super) struct Readers {
    micros: Arc<Mutex<Vec<u32>>>,
    done: Arc<AtomicBool>,
    tasks: JoinSet<u64>,
}

impl Readers {
    pub(super) fn start(manager: &Manager<User>, tokens: &Arc<Vec<Token>>) -> Self {
        let (micros, done) = (Arc::default(), Arc::default());
        let mut tasks = JoinSet::new();
        for reader in 0..READERS {
            let (manager, tokens) = (manager.clone(), Arc::clone(tokens));
            let (micros, done): (Arc<Mutex<Vec<u32>>>, Arc<AtomicBool>) =
                (Arc::clone(&micros), Arc::clone(&done));
            tasks.spawn(async move {
                let mut missing = 0;
                for number in 0.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    let any = below(tokens.len() as u64, mix(number * READERS + reader));
                    let start = Instant::now();
                    let found = manager.get(&tokens[any as usize]).await.expect("it works");
                    let took = start.elapsed().as_micros() as u32;
                    missing += u64::from(found.is_none());
                    micros.lock().expect("no panic").push(took);
                    tokio::task::yield_now().await;
                }
                missing
            });
        }
        Self { micros, done, tasks }
    }

    pub(super) fn take(&self) -> Vec<u32> {
        std::mem::take(&mut *self.micros.lock().expect("no panic"))
    }

    /// Returns how many of the sessions were not found.
    pub(super) async fn stop(self) -> u64 {
        self.done.store(true, Ordering::Relaxed);
        self.tasks.join_all().await.iter().sum()
    }
}

/// The median, the 99th percentile and the longest.
pub(super) fn write(table: &Table, row: &str, when: &str, mut micros: Vec<u32>) {
    micros.sort_unstable();
    for (what, share) in [("p50", 0.5), ("p99", 0.99), ("longest", 1.0)] {
        let millis = quantile(&micros, share) / 1e3;
        table.add(row, &format!("{when}, {what}"), "ms", &[millis]);
    }
}
