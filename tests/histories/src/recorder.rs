//! Runs the clients and records the history.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::clients::Client;
use crate::fault_injector::{self, FaultInjector};
use crate::history::{History, Op, OwnerNo, Reading};
use crate::workload::{KnownToken, Workload};
use crate::{Origin, Process, Random};

/// Parameters of a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Seed of all random choices.
    pub seed: u64,
    /// Number of concurrent clients.
    pub clients: usize,
    /// Duration of the run.
    pub time: Duration,
    /// Maximum number of operations.
    pub ops_max: usize,
    /// Number of owners with sessions at a time.
    pub owners: usize,
    /// Number of sessions in use at a time.
    pub sessions: usize,
    /// Minimum and maximum of a client's timeout.
    pub timeout_range: (Duration, Duration),
    /// One in this many operations gets a very short timeout, which interrupts it at an
    /// arbitrary step; `None` for no short timeouts.
    pub short_timeout_one_in: Option<usize>,
    /// Maximum pause of a client after an answer.
    pub pause_max: Duration,
    /// Maximum time for the store to recover after the last fault.
    pub recovery_max: Duration,
    /// Whether to inject no faults; the injector then only keeps its servers alive.
    pub without_faults: bool,
    /// Wait before the final reads: the bound of a near cache.
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
            timeout_range: (Duration::from_millis(100), Duration::from_millis(1_500)),
            short_timeout_one_in: Some(40),
            pause_max: Duration::from_micros(200),
            recovery_max: Duration::from_secs(60),
            without_faults: false,
            bound: Duration::ZERO,
        }
    }
}

/// Result of a run.
#[derive(Debug)]
pub struct Recording {
    /// The recorded history.
    pub history: History,
    /// Time from the last fault until every process received answers; `None` if one never
    /// did.
    pub recovered_after: Option<Duration>,
    /// Number of final reads without an answer.
    pub unread: usize,
    /// Time at which the final reads began.
    pub read_back_from: u64,
}

/// Number of attempts for each final read.
const MAX_ATTEMPTS: usize = 5;

/// Maximum number of tokens read at the end; the newest ones are read.
const MAX_TOKENS: usize = 30_000;

/// Number of concurrent readers at the end.
const READERS: usize = 16;

/// Runs the clients on the processes, with the optional fault injector, and reads every
/// session after the servers have recovered.
pub async fn record(
    processes: Vec<Process>,
    plan: &Plan,
    injector: Option<Box<dyn FaultInjector>>,
) -> Recording {
    let workload = Arc::new(Workload::new(plan.sessions, plan.owners, plan.ops_max));
    let origin = Origin::now();
    let recorder = Recorder { workload, processes: processes.into(), origin, plan };
    let mut history = History::default();
    let injecting = injector.map(|injector| {
        let (workload, plan) = (Arc::clone(&recorder.workload), plan.clone());
        tokio::task::spawn_blocking(move || fault_injector::run(injector, &workload, origin, &plan))
    });
    let mut clients = JoinSet::new();
    for number in 0..plan.clients {
        clients.spawn(recorder.client(number as u16).run(plan.clone()));
    }
    let time = sleep(plan.time);
    tokio::pin!(time);
    loop {
        tokio::select! {
            () = &mut time, if !recorder.workload.is_over() => recorder.workload.end(),
            joined = clients.join_next() => match joined {
                Some(ops) => history.ops.extend(join_result(ops)),
                None => break,
            },
        }
    }
    let mut servers = None;
    if let Some(injecting) = injecting {
        let (injector, faults) = join_result(injecting.await);
        history.faults = faults;
        servers = Some(injector);
    }
    let healed = origin.elapsed();
    let recovered = recorder.wait_until_recovered(&mut history.ops).await;
    let recovered_after =
        recovered.then(|| Duration::from_nanos(origin.elapsed().saturating_sub(healed)));
    sleep(plan.bound).await;
    let read_back_from = origin.elapsed();
    let unread = if recovered { recorder.read_back(&mut history.ops).await } else { usize::MAX };
    drop(servers);
    history.ops.sort_by_key(|op| op.invoked);
    Recording { history, recovered_after, unread, read_back_from }
}

struct Recorder<'a> {
    workload: Arc<Workload>,
    processes: Arc<[Process]>,
    origin: Origin,
    plan: &'a Plan,
}

impl Recorder<'_> {
    fn client(&self, number: u16) -> Client {
        Client {
            number,
            workload: Arc::clone(&self.workload),
            processes: Arc::clone(&self.processes),
            origin: self.origin,
            random: Random::new(self.plan.seed, u64::from(number)),
            timeout_range: self.plan.timeout_range,
            short_timeout_one_in: self.plan.short_timeout_one_in,
            last_call_failed: false,
            ops: Vec::new(),
        }
    }

    /// Waits until every process receives answers.
    async fn wait_until_recovered(&self, ops: &mut Vec<Op>) -> bool {
        let until = self.origin.elapsed().saturating_add(self.plan.recovery_max.as_nanos() as u64);
        let mut client = self.client(self.plan.clients as u16);
        client.short_timeout_one_in = None;
        let mut recovered = true;
        for server in 0..self.processes.len() {
            while !client.list_back(server, OwnerNo(0)).await {
                if self.origin.elapsed() > until {
                    recovered = false;
                    break;
                }
                sleep(Duration::from_millis(20)).await;
            }
        }
        ops.append(&mut client.ops);
        recovered
    }

    /// Reads every token and lists every owner; returns the number of calls without an
    /// answer.
    async fn read_back(&self, ops: &mut Vec<Op>) -> usize {
        let tokens = self.workload.tokens();
        let tokens: Arc<[KnownToken]> = tokens[tokens.len().saturating_sub(MAX_TOKENS)..].into();
        let owners = self.workload.owners();
        let mut readers = JoinSet::new();
        for reader in 0..READERS {
            let mut client = self.client((self.plan.clients + 1 + reader) as u16);
            // At least as long as any call could take during the run.
            client.timeout_range = (Duration::from_secs(10), Duration::from_secs(10));
            client.short_timeout_one_in = None;
            let (tokens, servers) = (Arc::clone(&tokens), self.processes.len());
            readers.spawn(async move {
                let mut unread = 0;
                for (number, known) in tokens.iter().enumerate().skip(reader).step_by(READERS) {
                    // The bound of the near caches has passed, so any access must return
                    // the current state.
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
            let (read, without) = join_result(reader);
            ops.extend(read);
            unread += without;
        }
        unread
    }
}

/// Unwraps a task's result: a panic in a client is a bug in this program.
fn join_result<T>(joined: Result<T, tokio::task::JoinError>) -> T {
    joined.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
