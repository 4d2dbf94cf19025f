//! Requests per second over real sockets, with the store on the same machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kvolt_servers::{Postgres, Redis};

use super::Options;
use super::backend::print_versions;
use super::client::{load, request, sign_in};
use super::server::{Library, Server, build_peers};
use super::statistics::{grouped, median, quantile};
use super::trips::file;
use crate::http::runtime;

const CONNECTIONS: u64 = 32;
/// Not measured, before each measurement: connections are made, and caches are as they are in use.
const WARMING: Duration = Duration::from_millis(300);

/// The contenders: name, description, and the contender that each is compared to.
struct Contender {
    library: Library,
    spec: &'static str,
    what: &'static str,
    peer: Option<&'static str>,
}

const fn kvolt(spec: &'static str, what: &'static str, peer: &'static str) -> Contender {
    Contender { library: Library::KVolt, spec, what, peer: Some(peer) }
}

const fn tower(spec: &'static str, what: &'static str) -> Contender {
    Contender { library: Library::TowerSessions, spec, what, peer: None }
}

const NO_SLIDE: &str = "does not slide";
const WHEN_DUE: &str = "slides when due";
const EACH_USE: &str = "slides at each use";
const NEAR: &str = "near cache, slides when due";

const BARE: Contender =
    Contender { library: Library::None, spec: "bare", what: "no session", peer: None };

static CONTENDERS: [Contender; 21] = [
    BARE,
    kvolt("memory", EACH_USE, "memory+sliding"),
    tower("memory", NO_SLIDE),
    tower("memory+sliding", EACH_USE),
    BARE,
    kvolt("redis", WHEN_DUE, "redis+sliding"),
    kvolt("redis+each-use", EACH_USE, "redis+sliding"),
    kvolt("redis+near", NEAR, "redis+moka+sliding"),
    tower("redis", NO_SLIDE),
    tower("redis+sliding", EACH_USE),
    tower("redis+moka", "moka, does not slide"),
    tower("redis+moka+sliding", "moka, slides at each use"),
    kvolt("postgres", WHEN_DUE, "postgres+sliding"),
    kvolt("postgres+each-use", EACH_USE, "postgres+sliding"),
    kvolt("postgres+near", NEAR, "postgres+sliding"),
    tower("postgres", NO_SLIDE),
    tower("postgres+sliding", EACH_USE),
    kvolt("sqlite", WHEN_DUE, "sqlite+sliding"),
    kvolt("sqlite+each-use", EACH_USE, "sqlite+sliding"),
    tower("sqlite", NO_SLIDE),
    tower("sqlite+sliding", EACH_USE),
];

/// The program that is running, and what came of each round.
struct Running {
    contender: &'static Contender,
    server: Server,
    requests: Arc<[Vec<u8>]>,
    rounds: Vec<Round>,
}

struct Round {
    per_second: f64,
    p50: f64,
    p99: f64,
    /// Processor time of the program for a request, in microseconds.
    cpu: f64,
}

pub(super) fn run(options: &Options) {
    let Options { seconds, rounds, sessions, .. } = *options;
    println!("\n== stores serve: GET /profile with a session, over sockets of this machine");
    println!(
        "{CONNECTIONS} connections that are kept, {sessions} sessions of some 100 bytes, 30 minutes of idle time;"
    );
    println!(
        "each program is a process with two threads, the client is another with one, and the store"
    );
    println!(
        "is on the same two cores. {rounds} rounds of {seconds} s, in which contenders take turns; medians."
    );
    println!(
        "PostgreSQL and SQLite wait for the disk at each commit; Redis keeps nothing on disk."
    );
    println!(
        "When due: after 1/16 of the idle time, with a near cache 1/10; such slides are in what is"
    );
    println!(
        "measured as they come. Redis: KVolt has one connection, tower-sessions six, as documented."
    );
    println!("PostgreSQL and SQLite: ten each, and KVolt one more to write to SQLite.");
    let wanted: Vec<&'static Contender> = CONTENDERS
        .iter()
        .filter(|contender| {
            options.wants(&format!("{}:{}", contender.library.name(), contender.spec))
        })
        .collect();
    let has_peers = wanted.iter().any(|contender| contender.library == Library::TowerSessions);
    let peers = if has_peers { build_peers() } else { PathBuf::new() };
    let needs = |store: &str| wanted.iter().any(|contender| contender.spec.starts_with(store));
    let redis = needs("redis").then(Redis::start);
    let postgres = needs("postgres").then(Postgres::start);
    print_versions(redis.as_ref(), postgres.as_ref(), None);
    let folder = std::env::temp_dir().join(format!("kvolt-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("it can be made");
    let runtime = runtime();
    let mut running: Vec<Running> = wanted
        .into_iter()
        .map(|contender| {
            let url = match contender.spec.split('+').next().unwrap_or_default() {
                "redis" => redis.as_ref().map(Redis::url),
                "postgres" => postgres.as_ref().map(Postgres::url),
                _ => None,
            };
            let url = url.unwrap_or_else(|| file(&folder, contender.library, contender.spec));
            start(&runtime, contender, &url, &peers, sessions)
        })
        .collect();
    for _ in 0..rounds {
        for one in &mut running {
            let round = measure(&runtime, one, Duration::from_secs(seconds));
            one.rounds.push(round);
        }
    }
    report(&running);
    if let Some(redis) = &redis {
        print!("\n  Redis' own time per call, by INFO commandstats:");
        for command in ["getex", "evalsha", "get", "set"] {
            let statistics = redis.info(&format!("cmdstat_{command}"));
            let micros = statistics.split(',').find_map(|part| part.strip_prefix("usec_per_call="));
            print!(" {command} {} us", micros.unwrap_or("-"));
        }
        println!("\n  (getex and evalsha: KVolt; get and set: tower-sessions)");
    }
    drop(running);
    let _ = std::fs::remove_dir_all(folder);
}

fn start(
    runtime: &tokio::runtime::Runtime,
    contender: &'static Contender,
    url: &str,
    peers: &Path,
    sessions: u64,
) -> Running {
    let server = Server::start(contender.library, contender.spec, url, peers);
    let cookies = runtime.block_on(sign_in(server.port, sessions, CONNECTIONS));
    let requests = cookies.iter().map(|cookie| request("GET", "/profile", Some(cookie)));
    Running { contender, server, requests: requests.collect(), rounds: Vec::new() }
}

fn measure(runtime: &tokio::runtime::Runtime, one: &Running, time: Duration) -> Round {
    let port = one.server.port;
    runtime.block_on(load(port, &one.requests, CONNECTIONS, WARMING));
    let before = one.server.cpu_micros();
    let mut load = runtime.block_on(load(port, &one.requests, CONNECTIONS, time));
    let cpu = one.server.cpu_micros() - before;
    load.micros.sort_unstable();
    Round {
        per_second: load.micros.len() as f64 / load.elapsed.as_secs_f64(),
        p50: quantile(&load.micros, 0.5),
        p99: quantile(&load.micros, 0.99),
        cpu: cpu as f64 / load.micros.len() as f64,
    }
}

fn report(running: &[Running]) {
    let of = |one: &Running, what: fn(&Round) -> f64| median(one.rounds.iter().map(what));
    let rate = |library, spec: &str| {
        let is = |one: &&Running| one.contender.library == library && one.contender.spec == spec;
        running.iter().find(is).map(|one| of(one, |round| round.per_second))
    };
    let mut last = "";
    for one in running {
        let Contender { library, spec, what, peer } = one.contender;
        let store = spec.split('+').next().unwrap_or_default();
        if store != last {
            last = store;
            println!(
                "\n  {store:<42} {:>9} {:>17} {:>9} {:>9} {:>8} {:>8}",
                "per s", "of the rounds", "p50 us", "p99 us", "cpu us", "to peer"
            );
        }
        let rates = one.rounds.iter().map(|round| round.per_second);
        let low = rates.clone().fold(f64::INFINITY, f64::min);
        let high = rates.fold(0.0, f64::max);
        let ratio = peer.and_then(|peer| rate(Library::TowerSessions, peer));
        let ratio = ratio.map(|peer| format!("{:.2}", of(one, |round| round.per_second) / peer));
        println!(
            "  {:<42} {:>9} {:>17} {:>9} {:>9} {:>8.2} {:>8}",
            format!("{}, {what}", library.name()),
            grouped(of(one, |round| round.per_second)),
            format!("{}-{}", grouped(low), grouped(high)),
            grouped(of(one, |round| round.p50)),
            grouped(of(one, |round| round.p99)),
            of(one, |round| round.cpu),
            ratio.unwrap_or_default(),
        );
    }
    println!(
        "\n  cpu: processor time of the program alone, for each request, by the kernel's account"
    );
    println!(
        "  to peer: requests per second to those of tower-sessions on the same store, sliding at each use"
    );
    println!("  (the near cache on Redis: to that with moka)");
    let near = |spec| rate(Library::KVolt, spec).zip(rate(Library::KVolt, "memory"));
    for spec in ["redis+near", "postgres+near"] {
        if let Some((near, memory)) = near(spec) {
            println!("  {spec}: {:.2} of what KVolt in memory does", near / memory);
        }
    }
}
