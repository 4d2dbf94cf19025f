//! Real servers start, fail on demand, and are removed completely.

mod cleanup;
mod cluster;
mod mariadb;
mod pgbouncer;
mod postgres;
mod proxy;
mod redis;
mod sentinel;
mod support;
