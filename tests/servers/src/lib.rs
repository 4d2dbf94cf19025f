//! Real servers and a real browser for tests and benchmarks. Each has its own free port and
//! folder, and is removed on drop.
//!
//! ```
//! use kvolt_servers::{Package, Proxy, Redis, require};
//!
//! if !require(&[Package::Redis]) {
//!     return; // KVOLT_SKIP_SERVERS=1 is set
//! }
//! let redis = Redis::builder().append_only().start();
//! redis.cli(&["SET", "visits", "1"]);
//! redis.kill();
//! redis.restart();
//! assert_eq!(redis.cli(&["GET", "visits"]), "1");
//!
//! let proxy = Proxy::to(redis.port());
//! let url = proxy.url(&redis.url()); // for the client under test
//! proxy.blackhole();
//! // check how the client behaves now
//! proxy.restore();
//! # assert!(url.starts_with("redis://127.0.0.1:"));
//! ```
//!
//! # Overview
//!
//! | type | purpose |
//! |---|---|
//! | [`Redis`] | a single server: Redis 7, Redis 6.2 or Valkey 9 ([`Flavour`]) |
//! | [`RedisCluster`] | three masters with one replica each |
//! | [`RedisSentinel`] | a master, two replicas, three sentinels |
//! | [`Postgres`], [`PgBouncer`] | PostgreSQL, and a connection pooler in front of it |
//! | [`MariaDb`] | MariaDB |
//! | [`Proxy`] | a TCP proxy that injects network faults and counts traffic |
//! | [`Certificates`] | a private certificate authority, for TLS |
//! | [`Server`] | operations that all servers share: kill, stop, restart, pause, resume |
//! | [`Monitor`] | the commands that a Redis server executed |
//! | [`Package`], [`require`] | the packages that must be installed |
//! | [`webdriver`] | a real, headless Chromium |
//!
//! # How it works
//!
//! - All calls block, and no async runtime is needed. In async tests, run slow calls in
//!   `spawn_blocking`; all others take milliseconds.
//! - **Failures panic** at the caller's line: a test that can't reach its server has
//!   failed. Use the `try_` methods to receive the failure instead.
//! - Methods take `&self`, so that all tests of a program can share a server in a `static`,
//!   and one thread can kill a server that another thread uses.
//! - A server inherits no environment variables and no machine configuration. It runs as
//!   `nobody` if it refuses to run as root.
//! - No process is left behind: dropping a server kills it and its child processes. When
//!   the program ends, even by SIGKILL or with servers in a `static`, a watchdog (a small
//!   shell script) kills the remaining processes and removes the folders.
//! - The harness connects to each server over a Unix socket, so TLS, passwords and proxies
//!   do not affect it.
//!
//! Requires Linux, for `/proc`. On Debian, `cargo xtask test --only servers` installs the
//! missing packages.

mod certificates;
mod failure;
mod folder;
pub mod http;
mod launch;
mod mariadb;
mod package;
mod ports;
mod postgres;
mod proxy;
mod redis;
mod root;
mod server;
mod wait;
pub mod webdriver;

pub use certificates::Certificates;
pub use failure::Failure;
pub use mariadb::{MariaDb, MariaDbBuilder};
pub use package::{Package, Source, missing, require};
pub use postgres::{PgBouncer, Postgres, PostgresBuilder};
pub use proxy::{Counts, Proxy};
pub use redis::{Flavour, Monitor, Redis, RedisBuilder, RedisCluster, RedisSentinel, Reply};
pub use server::Server;
pub use wait::wait_until;
