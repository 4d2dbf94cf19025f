//! Many clients that change one session at once, on two servers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kvolt_servers::{Postgres, Redis};
use tokio::task::JoinSet;

use super::Options;
use super::backend::print_versions;
use super::client::{Connection, request, sign_in};
use super::server::{Library, Server};
use super::statistics::{grouped, quantile};
use super::trips::file;
use crate::http::runtime;

const CLIENTS: usize = 32;
const CHANGES: usize = 1_000;

pub(super) fn run(options: &Options) {
    println!(
        "\n== stores turns: {CLIENTS} clients make {CHANGES} changes of one session, on two servers"
    );
    println!(
        "each client keeps its connection to one of the servers; POST /change behind the layer,"
    );
    println!("which reads the session; commands: Redis' own count, those reads taken off");
    let folder = std::env::temp_dir().join(format!("kvolt-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("it can be made");
    println!(
        "\n  {:<12} {:>8} {:>10} {:>9} {:>9} {:>9} {:>22}",
        "", "errors", "commands", "p50 ms", "p99 ms", "max ms", "done by each, at ms"
    );
    if options.wants("redis") {
        let redis = Redis::start();
        print_versions(Some(&redis), None, None);
        let commands = || {
            let of = |name: &str| {
                let statistics = redis.info(&format!("cmdstat_{name}"));
                let calls = statistics.split(',').find_map(|part| part.strip_prefix("calls="));
                calls.and_then(|calls| calls.parse::<u64>().ok()).unwrap_or(0)
            };
            of("getex") + of("evalsha") + of("eval")
        };
        contend("redis", &redis.url(), Some(&commands));
    }
    if options.wants("postgres") {
        let postgres = Postgres::start();
        contend("postgres", &postgres.url(), None);
    }
    if options.wants("sqlite") {
        contend("sqlite", &file(&folder, Library::KVolt, "sqlite"), None);
    }
    let _ = std::fs::remove_dir_all(folder);
}

fn contend(spec: &'static str, url: &str, commands: Option<&dyn Fn() -> u64>) {
    let servers = [(); 2].map(|()| Server::start(Library::KVolt, spec, url, "".as_ref()));
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
                (client % 2, errors, micros, start.elapsed())
            });
        }
        tasks.join_all().await
    });
    let asked =
        commands.map(|commands| commands()).zip(before).map(|(after, before)| after - before);
    let errors: usize = done.iter().map(|(_, errors, ..)| errors).sum();
    let mut micros: Vec<u32> = done.iter().flat_map(|(_, _, micros, _)| micros).copied().collect();
    micros.sort_unstable();
    let ended = |server| {
        let ends = done.iter().filter(|(on, ..)| *on == server).map(|(.., ended)| *ended);
        ends.max().unwrap_or(Duration::ZERO).as_millis()
    };
    // The layer reads once for each change.
    let commands = asked.map(|asked| asked as f64 / CHANGES as f64 - 1.0);
    println!(
        "  {spec:<12} {errors:>8} {:>10} {:>9.1} {:>9.1} {:>9.1} {:>22}",
        commands.map_or_else(|| String::from("-"), |commands| format!("{commands:.2}")),
        quantile(&micros, 0.5) / 1e3,
        quantile(&micros, 0.99) / 1e3,
        quantile(&micros, 1.0) / 1e3,
        format!("{} and {}", grouped(ended(0) as f64), grouped(ended(1) as f64)),
    );
}
