//! Cost of a request in the store: commands and round trips.

use std::path::Path;
use std::time::{Duration, Instant};

use kvolt_servers::Proxy;
use tokio::runtime::Runtime;

use super::Folder;
use super::backend::{Asked, Counter, Servers, versions};
use super::client::{Connection, request, sign_in};
use super::server::{Library, Server};
use crate::harness::{Settings, Table, progress};
use crate::http::runtime;

const REQUESTS: u64 = 100;
const KINDS: [&str; 5] = ["read", "change", "first login", "login again", "logout"];

/// On each server: KVolt's ways first, then the peer's.
static CONTENDERS: [(Library, &str, &str); 18] = [
    (Library::KVolt, "redis", ""),
    (Library::KVolt, "redis+each-use", ", sliding at each use"),
    (Library::KVolt, "redis+near", " with a near cache"),
    (Library::TowerSessions, "redis", ", not sliding"),
    (Library::TowerSessions, "redis+sliding", ", sliding at each use"),
    (Library::TowerSessions, "redis+moka+sliding", " with moka, sliding at each use"),
    (Library::KVolt, "postgres", ""),
    (Library::KVolt, "postgres+each-use", ", sliding at each use"),
    (Library::KVolt, "postgres+near", " with a near cache"),
    (Library::TowerSessions, "postgres", ", not sliding"),
    (Library::TowerSessions, "postgres+sliding", ", sliding at each use"),
    (Library::Ruts, "postgres+ruts", ", not sliding"),
    (Library::Ruts, "postgres+ruts+sliding", ", sliding at each use"),
    (Library::KVolt, "mariadb", ""),
    (Library::KVolt, "sqlite", ""),
    (Library::KVolt, "sqlite+each-use", ", sliding at each use"),
    (Library::TowerSessions, "sqlite", ", not sliding"),
    (Library::TowerSessions, "sqlite+sliding", ", sliding at each use"),
];

pub(super) fn run(settings: Settings) {
    let servers = Servers::start();
    versions(Some(&servers.redis), Some(&servers.postgres), Some(&servers.mariadb));
    let (folder, runtime) = (Folder::new(), runtime());
    let wanted: Vec<_> =
        CONTENDERS.iter().filter(|(_, spec, _)| !settings.quick || is_short(spec)).collect();
    for (index, (library, spec, note)) in wanted.iter().enumerate() {
        let row = format!("{}{note}", library.name());
        progress(index, wanted.len(), &format!("{spec}: {row}"));
        let store = spec.split('+').next().unwrap_or_default();
        let (idle, kinds) = measure(&runtime, &servers, &folder.0, *library, spec);
        let table = match store {
            "redis" => "Redis",
            "postgres" => "PostgreSQL",
            "mariadb" => "MariaDB",
            _ => "SQLite, written to the disk",
        };
        let table = Table::new("commands", table);
        let columns = KINDS.iter().chain([&"a second without requests"]);
        for (column, asked) in columns.zip(kinds.iter().chain([&idle])) {
            // Not minus nothing.
            let clean = |number: f64| if number.abs() < 0.01 { 0.0 } else { number };
            if store == "sqlite" {
                table.add(&row, column, "bytes", &[clean(asked.disk_bytes)]);
            } else {
                table.add(&row, column, "commands", &[clean(asked.commands)]);
                table.add(&row, &format!("{column}, round trips"), "", &[clean(asked.trips)]);
            }
        }
    }
}

/// Whether a quick run has it: each kind of commands on Redis once.
fn is_short(spec: &str) -> bool {
    matches!(spec, "redis" | "redis+near" | "redis+sliding")
}

/// Commands in an idle second, and commands of each kind of request.
fn measure(
    runtime: &Runtime,
    servers: &Servers,
    folder: &Path,
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
    let server = Server::start(library, spec, &url);
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
    std::thread::sleep(Duration::from_secs(1));
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
        _ => path.display().to_string(),
    }
}
