//! Real servers for tests and benchmarks, each on a free port and in a folder of
//! its own, and gone when it is dropped.
//!
//! ```
//! use kvolt_servers::{Package, Proxy, Redis, require};
//!
//! if !require(&[Package::Redis]) {
//!     return; // somebody set KVOLT_SKIP_SERVERS=1
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
//! // what does it do now?
//! proxy.restore();
//! # assert!(url.starts_with("redis://127.0.0.1:"));
//! ```
//!
//! # What is here
//!
//! | type | what it is |
//! |---|---|
//! | [`Redis`] | one server: Redis 7, Redis 6.2 or Valkey 9 ([`Flavour`]) |
//! | [`RedisCluster`] | three masters, a replica each |
//! | [`RedisSentinel`] | a master, two replicas, three sentinels |
//! | [`Postgres`], [`PgBouncer`] | PostgreSQL, and a pooler in front of it |
//! | [`MariaDb`] | MariaDB |
//! | [`Proxy`] | a network in front of any of them that fails on demand, and counts |
//! | [`Certificates`] | an authority of its own, for TLS |
//! | [`Server`] | what all servers do: kill, stop, restart, pause, resume |
//! | [`Monitor`] | the commands that a Redis executed |
//! | [`Package`], [`require`] | what has to be installed |
//!
//! # How it works
//!
//! - Everything blocks, and no runtime is needed; in async tests, what takes long
//!   belongs into `spawn_blocking`, and the rest takes milliseconds.
//! - **Failures panic**, at the line of the test: a test that can't talk to its
//!   server has failed. Whoever wants the failure instead calls the `try_` form.
//! - Methods take `&self`: a server in a `static` serves all tests of a program, and
//!   one thread may kill what another one uses.
//! - A server gets no other environment than its own, no configuration of the
//!   machine's, and runs as `nobody` where it refuses to be root's.
//! - Nothing is left: a dropped server is killed with all that it started. When the
//!   whole program ends, even by SIGKILL or with servers in a `static`, a watchdog
//!   (a small shell script) ends what it finds and removes the folders.
//! - The harness speaks to each server over a Unix socket, so that TLS, passwords
//!   and proxies are nothing to it.
//!
//! It needs Linux, for `/proc`. `cargo xtask test --only servers` installs what is
//! missing on Debian.

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
