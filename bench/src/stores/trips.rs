//! Cost of a request in the store: commands and round trips.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kvolt_servers::Proxy;
use tokio::runtime::Runtime;

use super::Options;
use super::backend::{Asked, Counter, Servers, print_versions};
use super::client::{Connection, request, sign_in};
use super::server::{Library, Server, build_peers};
use crate::http::runtime;

const REQUESTS: u64 = 200;
const KINDS: [&str; 5] = ["read", "change", "first login", "login again", "logout"];

/// On each server: KVolt's ways first, then the peer's.
const CONTENDERS: [(Library, &str, &str); 16] = [
    (Library::KVolt, "redis", "no slide is due"),
    (Library::KVolt, "redis+each-use", "slides at each use"),
    (Library::KVolt, "redis+near", "near cache"),
    (Library::TowerSessions, "redis", "does not slide"),
    (Library::TowerSessions, "redis+sliding", "slides at each use"),
    (Library::TowerSessions, "redis+moka+sliding", "moka, slides at each use"),
    (Library::KVolt, "postgres", "no slide is due"),
    (Library::KVolt, "postgres+each-use", "slides at each use"),
    (Library::KVolt, "postgres+near", "near cache"),
    (Library::TowerSessions, "postgres", "does not slide"),
    (Library::TowerSessions, "postgres+sliding", "slides at each use"),
    (Library::KVolt, "mariadb", "no slide is due"),
    (Library::KVolt, "sqlite", "no slide is due"),
    (Library::KVolt, "sqlite+each-use", "slides at each use"),
    (Library::TowerSessions, "sqlite", "does not slide"),
    (Library::TowerSessions, "sqlite+sliding", "slides at each use"),
];

pub(super) fn run(options: &Options) {
    println!(
        "\n== stores trips: what one request asks of the store, {REQUESTS} one after the other"
    );
    println!(
        "commands: Redis by MONITOR, PostgreSQL by its log of statements, MariaDB by its counters of"
    );
    println!("questions; turns: how often the server answered, counted by a proxy; a file:");
    println!(
        "bytes that the program had written to the disk. What happens without requests is taken off."
    );
    println!(
        "read: GET with a session; change: its data are changed; first login: without a session;"
    );
    println!(
        "login again: with one, which ends; logout: ends it. Before these two, each session is"
    );
    println!("read once, so that a near cache has a copy.");
    let wants = |library: Library, spec: &str| options.wants(&format!("{}:{spec}", library.name()));
    let wanted = CONTENDERS.into_iter().filter(|(library, spec, _)| wants(*library, spec));
    let has_peers = wanted.clone().any(|(library, ..)| library == Library::TowerSessions);
    let peers = if has_peers { build_peers() } else { PathBuf::new() };
    let servers = Servers::start();
    print_versions(Some(&servers.redis), Some(&servers.postgres), Some(&servers.mariadb));
    let folder = std::env::temp_dir().join(format!("kvolt-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("it can be made");
    let runtime = runtime();
    let mut last = "";
    for (library, spec, note) in wanted {
        let store = spec.split('+').next().unwrap_or_default();
        if store != last {
            last = store;
            let unit = if store == "sqlite" { "bytes to the disk" } else { "commands / turns" };
            println!("\n  {:<42} {unit}", store);
            print!("  {:<42}", "");
            KINDS.iter().for_each(|kind| print!(" {kind:>13}"));
            println!(" {:>13}", "idle, per s");
        }
        let (idle, kinds) = measure(&runtime, &servers, &folder, &peers, library, spec);
        print!("  {:<42}", format!("{}, {note}", library.name()));
        kinds.iter().chain([&idle]).for_each(|asked| print!(" {:>13}", text(store, *asked)));
        println!();
    }
    let _ = std::fs::remove_dir_all(folder);
}

fn text(store: &str, asked: Asked) -> String {
    // Not minus nothing.
    let clean = |number: f64| if number.abs() < 0.01 { 0.0 } else { number };
    match store {
        "sqlite" => format!("{:.0}", clean(asked.disk_bytes)),
        _ => format!("{:.2} / {:.2}", clean(asked.commands), clean(asked.trips)),
    }
}

/// Commands in an idle second, and commands of each kind of request.
fn measure(
    runtime: &Runtime,
    servers: &Servers,
    folder: &Path,
    peers: &Path,
    library: Library,
    spec: &str,
) -> (Asked, Vec<Asked>) {
    let counter = match spec.split('+').next().unwrap_or_default() {
        "redis" => Some(Counter::Redis {
            monitor: servers.redis.monitor(),
            proxy: Proxy::to(servers.redis.port()),
        }),
        "postgres" => Some(Counter::Postgres { proxy: Proxy::to(servers.postgres.port()) }),
        "mariadb" => {
            let proxy = Proxy::to(servers.mariadb.port());
            Some(Counter::MariaDb { proxy, reads: 0.into() })
        }
        _ => None,
    };
    let url = counter
        .as_ref()
        .map_or_else(|| file(folder, library, spec), |counter| counter.url(servers));
    let server = Server::start(library, spec, &url, peers);
    let counter = counter.unwrap_or(Counter::Disk { pid: server.pid() });
    let asked = || counter.read(servers);
    let requests = |requests: &[Vec<u8>]| {
        runtime.block_on(async {
            let mut connection = Connection::open(server.port).await;
            let mut cookies = Vec::new();
            for request in requests {
                let response = connection.send(request).await;
                assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(request));
                cookies.extend(response.cookie);
            }
            cookies
        })
    };
    let each = |method, path, cookies: &[String]| -> Vec<Vec<u8>> {
        let cookies = cookies.iter().cycle().take(REQUESTS as usize);
        cookies.map(|cookie| request(method, path, Some(cookie))).collect()
    };
    // Each connection and each statement is made once; that is not what is asked here.
    let cookies = runtime.block_on(sign_in(server.port, REQUESTS, 1));
    let kinds = [
        each("GET", "/profile", &cookies),
        each("POST", "/change", &cookies),
        vec![request("POST", "/login", None); REQUESTS as usize],
        each("POST", "/login", &cookies),
    ];
    requests(&kinds[0]);
    requests(&kinds[1][..20]);
    requests(&kinds[0]);
    let quiet = runtime.block_on(sign_in(server.port, 40, 1));
    let again = requests(
        &quiet.iter().map(|cookie| request("POST", "/login", Some(cookie))).collect::<Vec<_>>(),
    );
    requests(
        &again.iter().map(|cookie| request("POST", "/logout", Some(cookie))).collect::<Vec<_>>(),
    );

    let (start, before) = (Instant::now(), asked());
    std::thread::sleep(Duration::from_secs(2));
    let idle = per(before, asked(), start.elapsed().as_secs_f64());
    let measured = |kind: &[Vec<u8>]| {
        let (start, before) = (Instant::now(), asked());
        let cookies = requests(kind);
        let took = start.elapsed().as_secs_f64();
        let after = asked();
        let all = Asked {
            commands: after.commands - idle.commands * took,
            trips: after.trips - idle.trips * took,
            disk_bytes: after.disk_bytes - idle.disk_bytes * took,
        };
        (per(before, all, REQUESTS as f64), cookies)
    };
    let [read, change, first_login, login_again] = &kinds;
    let mut results: Vec<Asked> =
        [read, change, first_login].iter().map(|kind| measured(kind).0).collect();
    // A client that signs in again or out has just been seen, so a near cache has a copy.
    requests(read);
    let (asked, cookies) = measured(login_again);
    results.push(asked);
    requests(&each("GET", "/profile", &cookies));
    results.push(measured(&each("POST", "/logout", &cookies)).0);
    (idle, results)
}

fn per(before: Asked, after: Asked, count: f64) -> Asked {
    Asked {
        commands: (after.commands - before.commands) / count,
        trips: (after.trips - before.trips) / count,
        disk_bytes: (after.disk_bytes - before.disk_bytes) / count,
    }
}

/// The URL of a file of its own.
pub(super) fn file(folder: &Path, library: Library, spec: &str) -> String {
    let path = folder.join(format!("{}-{spec}", library.name()));
    match library {
        Library::KVolt => format!("sqlite:{}", path.display()),
        Library::TowerSessions | Library::None => path.display().to_string(),
    }
}
