//! Many clients that change one session at once, on two servers.

use std::sync::Arc;
use std::time::Instant;

use kvolt_servers::{Postgres, Redis};
use tokio::task::JoinSet;

use super::Folder;
use super::client::{Connection, request, sign_in};
use super::commands::file;
use super::server::{Library, Server};
use super::statistics::quantile;
use crate::harness::{Settings, Table, progress};
use crate::http::runtime;

const CLIENTS: usize = 32;
const CHANGES: usize = 1_000;

pub(super) fn run(settings: Settings) {
    let rounds = settings.pick(3, 1);
    let folder = Folder::new();
    progress(0, 3, "Redis");
    let redis = Redis::start();
    let commands = || {
        let of = |name: &str| {
            let statistics = redis.info(&format!("cmdstat_{name}"));
            let calls = statistics.split(',').find_map(|part| part.strip_prefix("calls="));
            calls.and_then(|calls| calls.parse::<u64>().ok()).unwrap_or(0)
        };
        of("getex") + of("evalsha") + of("eval")
    };
    write("Redis", rounds, || contend("redis", &redis.url(), Some(&commands)));
    if settings.quick {
        return;
    }
    progress(1, 3, "PostgreSQL");
    let postgres = Postgres::start();
    write("PostgreSQL", rounds, || contend("postgres", &postgres.url(), None));
    progress(2, 3, "SQLite");
    let url = file(&folder.0, Library::KVolt, "sqlite");
    write("SQLite", rounds, || contend("sqlite", &url, None));
}

/// The result of all changes.
struct Outcome {
    errors: f64,
    /// In milliseconds.
    p50: f64,
    p99: f64,
    max: f64,
    per_second: f64,
    commands: Option<f64>,
}

fn write(row: &str, rounds: usize, contend: impl Fn() -> Outcome) {
    let outcomes: Vec<Outcome> = (0..rounds).map(|_| contend()).collect();
    let all = |of: fn(&Outcome) -> f64| outcomes.iter().map(of).collect::<Vec<_>>();
    let table = Table::new("changes", "32 clients change one session on two servers");
    table.add(row, "errors", "", &all(|outcome| outcome.errors));
    table.add(row, "changes", "per s", &all(|outcome| outcome.per_second));
    table.add(row, "p50", "ms", &all(|outcome| outcome.p50));
    table.add(row, "p99", "ms", &all(|outcome| outcome.p99));
    table.add(row, "longest", "ms", &all(|outcome| outcome.max));
    let commands: Vec<f64> = outcomes.iter().filter_map(|outcome| outcome.commands).collect();
    if !commands.is_empty() {
        table.add(row, "a change, beside the layer's read", "commands", &commands);
    }
}

fn contend(spec: &'static str, url: &str, commands: Option<&dyn Fn() -> u64>) -> Outcome {
    let servers = [(); 2].map(|()| Server::start(Library::KVolt, spec, url));
    let runtime = runtime();
    let cookie = runtime.block_on(sign_in(servers[0].port, 1, 1)).remove(0);
    let change: Arc<[u8]> = request("POST", "/change", Some(&cookie)).into();
    let before = commands.map(|commands| commands());
    let start = Instant::now();
    let done = runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for client in 0..CLIENTS {
            let (port, change) = (servers[client % 2].port, Arc::clone(&change));
            let changes = CHANGES / CLIENTS + usize::from(client < CHANGES % CLIENTS);
            tasks.spawn(async move {
                let mut connection = Connection::open(port).await;
                let (mut errors, mut micros) = (0, Vec::new());
                for _ in 0..changes {
                    let sent = Instant::now();
                    errors += usize::from(connection.send(&change).await.status != 200);
                    micros.push(sent.elapsed().as_micros() as u32);
                }
                (errors, micros)
            });
        }
        tasks.join_all().await
    });
    let elapsed = start.elapsed();
    let asked =
        commands.map(|commands| commands()).zip(before).map(|(after, before)| after - before);
    let errors: usize = done.iter().map(|(errors, _)| errors).sum();
    let mut micros: Vec<u32> = done.iter().flat_map(|(_, micros)| micros).copied().collect();
    micros.sort_unstable();
    Outcome {
        errors: errors as f64,
        p50: quantile(&micros, 0.5) / 1e3,
        p99: quantile(&micros, 0.99) / 1e3,
        max: quantile(&micros, 1.0) / 1e3,
        per_second: CHANGES as f64 / elapsed.as_secs_f64(),
        // The layer reads once for each change.
        commands: asked.map(|asked| asked as f64 / CHANGES as f64 - 1.0),
    }
}
