//! Counters of the servers themselves.

use std::cell::Cell;
use std::fs;

use kvolt_servers::{MariaDb, Monitor, Postgres, Proxy, Redis};

use crate::harness::fact;

/// A server, and what counts what it is asked.
pub(super) enum Counter {
    Redis {
        monitor: Monitor,
        proxy: Proxy,
    },
    Postgres {
        proxy: Proxy,
    },
    MariaDb {
        proxy: Proxy,
        reads: Cell<u32>,
    },
    /// By what the process lets the disk do.
    Disk {
        pid: u32,
    },
}

/// Commands that a store has received since its start.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    /// Commands or statements.
    pub(super) commands: f64,
    pub(super) trips: f64,
    pub(super) disk_bytes: f64,
}

/// The servers that a counter may be asking.
pub(super) struct Servers {
    pub(super) redis: Redis,
    pub(super) postgres: Postgres,
    pub(super) mariadb: MariaDb,
}

impl Counter {
    /// The URL of the proxy in front of the server.
    pub(super) fn url(&self, servers: &Servers) -> String {
        match self {
            Self::Redis { proxy, .. } => proxy.url(&servers.redis.url()),
            Self::Postgres { proxy } => proxy.url(&servers.postgres.url()),
            Self::MariaDb { proxy, .. } => proxy.url(&servers.mariadb.url()),
            Self::Disk { .. } => unreachable!("a file has no proxy"),
        }
    }

    pub(super) fn read(&self, servers: &Servers) -> Asked {
        match self {
            Self::Redis { monitor, proxy } => {
                let lines = monitor.lines();
                // Commands that a script runs inside the server do not count as the client's.
                let commands = lines.iter().filter(|line| !line.contains(" lua]")).count() as f64;
                let trips = proxy.counts().round_trips as f64;
                Asked { commands, trips, disk_bytes: 0.0 }
            }
            Self::Postgres { proxy } => {
                let log = servers.postgres.log();
                let is_command = |line: &&str| {
                    line.contains("LOG:  execute") || line.contains("LOG:  statement:")
                };
                let commands = log.lines().filter(is_command).count() as f64;
                Asked { commands, trips: proxy.counts().round_trips as f64, disk_bytes: 0.0 }
            }
            Self::MariaDb { proxy, reads } => {
                let trips = proxy.counts().round_trips as f64;
                let sql = "select variable_value from information_schema.global_status \
                           where variable_name = 'QUESTIONS'";
                let questions: f64 = servers.mariadb.sql(sql).trim().parse().expect("a number");
                // This is two itself: which database, and the question.
                reads.set(reads.get() + 2);
                Asked { commands: questions - f64::from(reads.get()), trips, disk_bytes: 0.0 }
            }
            Self::Disk { pid } => {
                let io = fs::read_to_string(format!("/proc/{pid}/io")).expect("it runs");
                let bytes = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
                let disk_bytes = bytes.and_then(|bytes| bytes.parse().ok()).expect("Linux says it");
                Asked { disk_bytes, ..Asked::default() }
            }
        }
    }
}

impl Servers {
    pub(super) fn start() -> Self {
        let postgres = Postgres::builder().config("log_statement", "'all'");
        Self { redis: Redis::start(), postgres: postgres.start(), mariadb: MariaDb::start() }
    }
}

/// Writes which servers these are.
pub(super) fn versions(
    redis: Option<&Redis>,
    postgres: Option<&Postgres>,
    mariadb: Option<&MariaDb>,
) {
    if let Some(redis) = redis {
        fact("Redis", &redis.info("redis_version"));
    }
    if let Some(postgres) = postgres {
        let version = postgres.psql("show server_version");
        fact("PostgreSQL", version.split(' ').next().unwrap_or_default());
    }
    if let Some(mariadb) = mariadb {
        let version = mariadb.sql("select version()");
        fact("MariaDB", version.split('-').next().unwrap_or_default());
    }
}
