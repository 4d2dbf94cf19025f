//! Lets the clients work, and writes down what happened.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::clients::Client;
use crate::disturb::{self, Disturber};
use crate::history::{History, Op, OwnerNo, Reading};
use crate::world::{Known, World};
use crate::{Origin, Process, Random};

/// The settings of a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed of everything random.
    pub seed: u64,
    /// The number of clients at the same time.
    pub clients: usize,
    /// The duration.
    pub time: Duration,
    /// The maximum number of operations.
    pub ops_max: usize,
    /// The number of owners at a time.
    pub owners: usize,
    /// The number of sessions in use at a time.
    pub sessions: usize,
    /// The shortest and the longest time that a client waits for an answer.
    pub patience: (Duration, Duration),
    /// One in this many calls is dropped almost at once, at whatever point it is; `None` for never.
    pub hasty_one_in: Option<usize>,
    /// The longest pause of a client after an answer.
    pub pause_max: Duration,
    /// The longest time until the store answers again after the last fault.
    pub settle_max: Duration,
    /// Whether the run has no faults; the disturber then only keeps its servers.
    pub calm: bool,
    /// How long to wait before everything is read back: the bound of a near cache.
    pub bound: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 1,
            clients: 24,
            time: Duration::from_secs(8),
            ops_max: 200_000,
            owners: 3,
            sessions: 7,
            patience: (Duration::from_millis(100), Duration::from_millis(1_500)),
            hasty_one_in: Some(40),
            pause_max: Duration::from_micros(200),
            settle_max: Duration::from_secs(60),
            calm: false,
            bound: Duration::ZERO,
        }
    }
}

/// The result of a run.
#[derive(Debug)]
pub struct Recording {
    /// The history.
    pub history: History,
    /// How long it took after the last fault until every process had its answers again;
    /// `None` if one never had.
    pub settled_after: Option<Duration>,
    /// How many questions of the final reading were not answered.
    pub unread: usize,
    /// Where the final reading begins in the history.
    pub read_back_from: u64,
}

/// How often a question of the final reading is asked before it counts as not answered.
const MAX_ATTEMPTS: usize = 5;

/// The maximum number of tokens that are read back, the youngest.
const MAX_TOKENS: usize = 30_000;

/// How many read at once at the end.
const READERS: usize = 16;

/// Runs the clients on the processes, beside a disturber if there is one, and
/// reads everything back when all is healed.
pub async fn record(
    processes: Vec<Process>,
    plan: &Plan,
    disturber: Option<Box<dyn Disturber>>,
) -> Recording {
    let world = Arc::new(World::new(plan.sessions, plan.owners, plan.ops_max));
    let origin = Origin::now();
    let recorder = Recorder { world, processes: processes.into(), origin, plan };
    let mut history = History::default();
    let disturbing = disturber.map(|disturber| {
        let (world, plan) = (Arc::clone(&recorder.world), plan.clone());
        tokio::task::spawn_blocking(move || disturb::run(disturber, &world, origin, &plan))
    });
    let mut clients = JoinSet::new();
    for number in 0..plan.clients {
        clients.spawn(recorder.client(number as u16).run(plan.clone()));
    }
    let time = sleep(plan.time);
    tokio::pin!(time);
    loop {
        tokio::select! {
            () = &mut time, if !recorder.world.is_over() => recorder.world.end(),
            joined = clients.join_next() => match joined {
                Some(ops) => history.ops.extend(done(ops)),
                None => break,
            },
        }
    }
    let mut servers = None;
    if let Some(disturbing) = disturbing {
        let (disturber, faults) = done(disturbing.await);
        history.faults = faults;
        servers = Some(disturber);
    }
    let healed = origin.elapsed();
    let settled = recorder.settle(&mut history.ops).await;
    let settled_after =
        settled.then(|| Duration::from_nanos(origin.elapsed().saturating_sub(healed)));
    sleep(plan.bound).await;
    let read_back_from = origin.elapsed();
    let unread = if settled { recorder.read_back(&mut history.ops).await } else { usize::MAX };
    drop(servers);
    history.ops.sort_by_key(|op| op.invoked);
    Recording { history, settled_after, unread, read_back_from }
}

struct Recorder<'a> {
    world: Arc<World>,
    processes: Arc<[Process]>,
    origin: Origin,
    plan: &'a Plan,
}

impl Recorder<'_> {
    fn client(&self, number: u16) -> Client {
        Client {
            number,
            world: Arc::clone(&self.world),
            processes: Arc::clone(&self.processes),
            origin: self.origin,
            random: Random::new(self.plan.seed, u64::from(number)),
            patience: self.plan.patience,
            hasty_one_in: self.plan.hasty_one_in,
            is_troubled: false,
            ops: Vec::new(),
        }
    }

    /// Waits until every process gets answers.
    async fn settle(&self, ops: &mut Vec<Op>) -> bool {
        let until = self.origin.elapsed().saturating_add(self.plan.settle_max.as_nanos() as u64);
        let mut client = self.client(self.plan.clients as u16);
        client.hasty_one_in = None;
        let mut settled = true;
        for server in 0..self.processes.len() {
            while !client.list_back(server, OwnerNo(0)).await {
                if self.origin.elapsed() > until {
                    settled = false;
                    break;
                }
                sleep(Duration::from_millis(20)).await;
            }
        }
        ops.append(&mut client.ops);
        settled
    }

    /// Reads every token and lists every owner; says how often there was no answer.
    async fn read_back(&self, ops: &mut Vec<Op>) -> usize {
        let tokens = self.world.tokens();
        let tokens: Arc<[Known]> = tokens[tokens.len().saturating_sub(MAX_TOKENS)..].into();
        let owners = self.world.owners();
        let mut readers = JoinSet::new();
        for reader in 0..READERS {
            let mut client = self.client((self.plan.clients + 1 + reader) as u16);
            // As patient as the most patient client of the run.
            client.patience = (Duration::from_secs(10), Duration::from_secs(10));
            client.hasty_one_in = None;
            let (tokens, servers) = (Arc::clone(&tokens), self.processes.len());
            readers.spawn(async move {
                let mut unread = 0;
                for (number, known) in tokens.iter().enumerate().skip(reader).step_by(READERS) {
                    // Copies have been given the time that they may take, so any access is to find the truth.
                    let access = [Reading::Strict, Reading::Peek][number / READERS % 2];
                    let mut read = false;
                    for attempt in 0..MAX_ATTEMPTS {
                        let server = (number / READERS / 2 + attempt) % servers;
                        read = client.read_back(server, known.clone(), access).await;
                        if read {
                            break;
                        }
                    }
                    unread += usize::from(!read);
                }
                for owner in (reader as u32..owners).step_by(READERS) {
                    let mut read = false;
                    for attempt in 0..MAX_ATTEMPTS {
                        read = client
                            .list_back((owner as usize + attempt) % servers, OwnerNo(owner))
                            .await;
                        if read {
                            break;
                        }
                    }
                    unread += usize::from(!read);
                }
                (client.ops, unread)
            });
        }
        let mut unread = 0;
        while let Some(reader) = readers.join_next().await {
            let (read, without) = done(reader);
            ops.extend(read);
            unread += without;
        }
        unread
    }
}

/// A client that panics is a bug of this program, and no run goes on with it.
fn done<T>(joined: Result<T, tokio::task::JoinError>) -> T {
    joined.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
