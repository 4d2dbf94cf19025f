//! Requests per second over real sockets, with the store on the same machine.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kvolt_servers::{Postgres, Redis};
use tokio::runtime::Runtime;

use super::Folder;
use super::backend::versions;
use super::client::{load, request, sign_in};
use super::commands::file;
use super::server::{Library, Server};
use super::statistics::quantile;
use crate::harness::{Settings, Table, progress};
use crate::http::runtime;

const CONNECTIONS: u64 = 32;
/// Not measured, before each measurement: connections are made, and caches are as they are in use.
const WARMING: Duration = Duration::from_millis(200);

/// A library, its store, and what it is called in the table of the store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contender {
    pub(super) library: Library,
    pub(super) spec: &'static str,
    note: &'static str,
    quick: bool,
}

impl Contender {
    const fn new(library: Library, spec: &'static str, note: &'static str) -> Self {
        Self { library, spec, note, quick: false }
    }

    /// Takes part in a quick run, too.
    const fn quick(self) -> Self {
        Self { quick: true, ..self }
    }

    pub(super) fn row(&self) -> String {
        format!("{}{}", self.library.name(), self.note)
    }

    pub(super) fn table(&self) -> &'static str {
        match self.spec.split('+').next() {
            Some("redis") => "Redis",
            Some("postgres") => "PostgreSQL",
            Some("sqlite") => "SQLite",
            _ => "memory",
        }
    }
}

use Library::{Driver, KVolt, None as Bare, Ruts, TowerSessions};

const NO_SLIDE: &str = ", not sliding";
const EACH_USE: &str = ", sliding at each use";
const NEAR: &str = " with a near cache";

static CONTENDERS: [Contender; 24] = [
    Contender::new(Bare, "bare", "").quick(),
    Contender::new(KVolt, "memory", "").quick(),
    Contender::new(TowerSessions, "memory", NO_SLIDE),
    Contender::new(TowerSessions, "memory+sliding", EACH_USE).quick(),
    Contender::new(Driver, "redis+driver", "").quick(),
    Contender::new(KVolt, "redis", "").quick(),
    Contender::new(KVolt, "redis+each-use", EACH_USE),
    Contender::new(KVolt, "redis+near", NEAR).quick(),
    Contender::new(TowerSessions, "redis", NO_SLIDE),
    Contender::new(TowerSessions, "redis+sliding", EACH_USE).quick(),
    Contender::new(TowerSessions, "redis+moka", " with moka, not sliding"),
    Contender::new(TowerSessions, "redis+moka+sliding", " with moka, sliding at each use"),
    Contender::new(Driver, "postgres+driver", ""),
    Contender::new(KVolt, "postgres", ""),
    Contender::new(KVolt, "postgres+each-use", EACH_USE),
    Contender::new(KVolt, "postgres+near", NEAR),
    Contender::new(TowerSessions, "postgres", NO_SLIDE),
    Contender::new(TowerSessions, "postgres+sliding", EACH_USE),
    Contender::new(Ruts, "postgres+ruts", NO_SLIDE),
    Contender::new(Ruts, "postgres+ruts+sliding", EACH_USE),
    Contender::new(KVolt, "sqlite", ""),
    Contender::new(KVolt, "sqlite+each-use", EACH_USE),
    Contender::new(TowerSessions, "sqlite", NO_SLIDE),
    Contender::new(TowerSessions, "sqlite+sliding", EACH_USE),
];

/// One contender of these, by its library and store.
pub(super) fn contender(library: Library, spec: &str) -> Contender {
    let found = CONTENDERS.iter().find(|one| one.library == library && one.spec == spec);
    *found.expect("it is in the list")
}

/// The servers that contenders need.
pub(super) struct Stores {
    redis: Option<Redis>,
    postgres: Option<Postgres>,
    folder: Folder,
}

impl Stores {
    pub(super) fn start(contenders: &[Contender]) -> Self {
        let needs = |table| contenders.iter().any(|contender| contender.table() == table);
        let redis = needs("Redis").then(Redis::start);
        let postgres = needs("PostgreSQL").then(Postgres::start);
        versions(redis.as_ref(), postgres.as_ref(), None);
        Self { redis, postgres, folder: Folder::new() }
    }

    fn url(&self, contender: Contender) -> String {
        let url = match contender.table() {
            "Redis" => self.redis.as_ref().map(Redis::url),
            "PostgreSQL" => self.postgres.as_ref().map(Postgres::url),
            _ => None,
        };
        let folder: &Path = &self.folder.0;
        url.unwrap_or_else(|| file(folder, contender.library, contender.spec))
    }
}

/// The program that is running, and the requests of signed-in clients.
pub(super) struct Running {
    pub(super) contender: Contender,
    pub(super) server: Server,
    pub(super) requests: Arc<[Vec<u8>]>,
}

impl Running {
    pub(super) fn start(
        runtime: &Runtime,
        stores: &Stores,
        contender: Contender,
        sessions: u64,
    ) -> Self {
        let url = stores.url(contender);
        let server = Server::start(contender.library, contender.spec, &url);
        let cookies = runtime.block_on(sign_in(server.port, sessions, CONNECTIONS));
        let requests = cookies.iter().map(|cookie| request("GET", "/profile", Some(cookie)));
        Self { contender, server, requests: requests.collect() }
    }
}

/// The rounds of a contender.
#[derive(Default)]
struct Samples {
    per_second: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    /// Processor time of the program for a request.
    cpu: Vec<f64>,
}

pub(super) fn run(settings: Settings) {
    let sessions = settings.pick(2_000, 500);
    let (rounds, time) = settings.pick((5, 1_000), (3, 500));
    let time = Duration::from_millis(time);
    let wanted: Vec<Contender> =
        CONTENDERS.iter().copied().filter(|one| one.quick || !settings.quick).collect();
    let (stores, runtime) = (Stores::start(&wanted), runtime());
    let steps = wanted.len() * (rounds + 1);
    let mut running = Vec::new();
    for (index, contender) in wanted.into_iter().enumerate() {
        progress(
            index,
            steps,
            &format!("signing in: {} on {}", contender.row(), contender.table()),
        );
        running.push((Running::start(&runtime, &stores, contender, sessions), Samples::default()));
    }
    for round in 0..rounds {
        let done = (round + 1) * running.len();
        for (index, (one, samples)) in running.iter_mut().enumerate() {
            let what = format!("{} on {}", one.contender.row(), one.contender.table());
            progress(done + index, steps, &format!("round {} of {rounds}: {what}", round + 1));
            measure(&runtime, one, time, samples);
        }
    }
    for (one, samples) in &running {
        let (table, row) = (Table::new("serve", one.contender.table()), one.contender.row());
        table.add(&row, "requests", "per s", &samples.per_second);
        table.add(&row, "p50", "us", &samples.p50);
        table.add(&row, "p99", "us", &samples.p99);
        table.add(&row, "processor", "us", &samples.cpu);
    }
    if let Some(redis) = &stores.redis {
        let table = Table::new("serve", "Redis' own time for a command");
        for (command, row) in [
            ("getex", "`GETEX` (KVolt's read)"),
            ("evalsha", "a script (KVolt's slide)"),
            ("get", "`GET` (tower-sessions, the driver)"),
            ("set", "`SET` (tower-sessions)"),
        ] {
            let statistics = redis.info(&format!("cmdstat_{command}"));
            let micros = statistics.split(',').find_map(|part| part.strip_prefix("usec_per_call="));
            if let Some(micros) = micros.and_then(|micros| micros.parse().ok()) {
                table.add(row, "processor", "us", &[micros]);
            }
        }
    }
}

fn measure(runtime: &Runtime, one: &Running, time: Duration, samples: &mut Samples) {
    let port = one.server.port;
    runtime.block_on(load(port, &one.requests, CONNECTIONS, WARMING));
    let before = one.server.cpu_micros();
    let mut load = runtime.block_on(load(port, &one.requests, CONNECTIONS, time));
    let cpu = one.server.cpu_micros() - before;
    load.micros.sort_unstable();
    let count = load.micros.len() as f64;
    samples.per_second.push(count / load.elapsed.as_secs_f64());
    samples.p50.push(quantile(&load.micros, 0.5));
    samples.p99.push(quantile(&load.micros, 0.99));
    samples.cpu.push(cpu as f64 / count);
}
