//! Real servers for tests and benchmarks. Each has a free port and a folder of its own, and is
//! removed when it is dropped.
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
//! // the client gets no reply
//! proxy.restore();
//! # assert!(url.starts_with("redis://127.0.0.1:"));
//! ```
//!
//! # Contents
//!
//! | type | |
//! |---|---|
//! | [`Redis`] | one server: Redis 7, Redis 6.2 or Valkey 9 ([`Flavour`]) |
//! | [`RedisCluster`] | three masters, a replica each |
//! | [`RedisSentinel`] | a master, two replicas, three sentinels |
//! | [`Postgres`], [`PgBouncer`] | PostgreSQL, and a pooler in front of it |
//! | [`MariaDb`] | MariaDB |
//! | [`Proxy`] | a network in front of any of them that fails on demand, and counts |
//! | [`Certificates`] | a certificate authority, for TLS |
//! | [`Server`] | common to all servers: kill, stop, restart, pause, resume |
//! | [`Monitor`] | the commands that a Redis executed |
//! | [`Package`], [`require`] | the packages that must be installed |
//!
//! # How it works
//!
//! - All calls block, without a runtime. In async tests, slow calls belong into `spawn_blocking`;
//!   the others take milliseconds.
//! - **Failures panic** at the line of the test: a test that can't reach its server has failed. The
//!   `try_` forms return the failure instead.
//! - Methods take `&self`: a server in a `static` serves all tests of a program, and one thread may
//!   kill a server that another one uses.
//! - A server gets an empty environment and no configuration of the machine. It runs as `nobody` if
//!   it does not run as root.
//! - Nothing remains: a dropped server is killed with its children. When the test program ends, even
//!   by SIGKILL or with servers in a `static`, a watchdog (a small shell script) ends the remaining
//!   processes and removes the folders.
//! - The harness uses each server's Unix socket, so TLS, passwords and proxies do not affect it.
//!
//! It needs Linux, for `/proc`. `cargo xtask test --install --only servers` installs
//! missing packages on Debian.

mod certificates;
mod failure;
mod folder;
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

pub use certificates::Certificates;
pub use failure::Failure;
pub use mariadb::{MariaDb, MariaDbBuilder};
pub use package::{Package, Source, missing, require};
pub use postgres::{PgBouncer, Postgres, PostgresBuilder};
pub use proxy::{Counts, Proxy};
pub use redis::{Flavour, Monitor, Redis, RedisBuilder, RedisCluster, RedisSentinel, Reply};
pub use server::Server;
pub use wait::wait_until;
