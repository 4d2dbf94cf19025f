//! Sessions that are bound to a device, on every store: two instances take turns, and each has a
//! near cache where the store pushes invalidations.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use kvolt_device_tests::{check_all, protocol};
use support::device_server::DeviceServer;
use support::remote::StoreServer;

/// Checks that wait for a lifetime are many. They wait together.
const AT_ONCE: usize = 40;

const NEAR: [&str; 2] = ["--near-cache", "1s"];

fn check(store: &StoreServer, instances: usize, options: &[&str]) {
    check_all(protocol::ALL, &DeviceServer::start(store, instances, options), AT_ONCE);
}

#[test]
fn protocol_on_memory() {
    check(&StoreServer::memory(), 1, &[]);
}

#[test]
fn protocol_on_sqlite() {
    check(&StoreServer::sqlite(), 2, &NEAR);
}

#[test]
fn protocol_on_redis() {
    check(&StoreServer::redis(), 2, &NEAR);
}

#[test]
fn protocol_on_postgres() {
    check(&StoreServer::postgres(), 2, &NEAR);
}

#[test]
fn protocol_on_mariadb() {
    check(&StoreServer::mariadb(), 2, &[]);
}
