//! That real servers start, fail on demand, and leave nothing behind.

mod cleanup;
mod cluster;
mod mariadb;
mod pgbouncer;
mod postgres;
mod proxy;
mod redis;
mod sentinel;
mod support;
