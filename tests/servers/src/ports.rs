//! Allocates free ports.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::Failure;

/// The range of ports that are allocated.
///
/// The range is below 32768, where the kernel's ephemeral ports begin. A port obtained by
/// binding to 0 could be lost while its server is down: another test may bind to it, or the
/// kernel may give it to a connecting client as its local port, so that the client connects
/// to itself.
const FIRST: u16 = 10_240;
const LAST: u16 = 22_527;

/// A Redis Cluster node uses its port plus this offset for the cluster bus.
pub(crate) const BUS_OFFSET: u16 = 10_000;

const MAX_ATTEMPTS: usize = 1_000;

/// Allocated ports are never reused: a killed server restarts on its port.
static ALLOCATED: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// Returns a free port whose cluster bus port is free too.
pub(crate) fn free() -> Result<u16, Failure> {
    for _ in 0..MAX_ATTEMPTS {
        let port = FIRST + random_below(LAST - FIRST);
        let mut given = ALLOCATED.lock().unwrap_or_else(PoisonError::into_inner);
        if !given.contains(&port) && is_free(port) && is_free(port + BUS_OFFSET) {
            given.insert(port);
            return Ok(port);
        }
    }
    Err(Failure::fatal(format!("no port is free between {FIRST} and {LAST}")))
}

/// Starts something on a free port; retries on another port if it was taken meanwhile.
pub(crate) fn start_on_free<T>(
    mut start: impl FnMut(u16) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut taken = None;
    for _ in 0..5 {
        match start(free()?) {
            Err(failure) if failure.is_port_taken() => taken = Some(failure),
            other => return other,
        }
    }
    Err(taken.unwrap_or_else(|| Failure::fatal("no port was tried")))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Returns a number that differs between processes: two test programs that start together
/// must not race for one port.
pub(crate) fn random() -> u64 {
    // Each `RandomState` has different keys, and the first ones are random.
    RandomState::new().hash_one(std::process::id())
}

fn random_below(bound: u16) -> u16 {
    (random() % u64::from(bound)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_allocated_once() {
        let ports: HashSet<u16> = (0..100).map(|_| free().expect("a port")).collect();
        assert_eq!(ports.len(), 100);
    }

    #[test]
    fn only_a_taken_port_is_retried() {
        let mut tried = Vec::new();
        let started = start_on_free(|port| {
            tried.push(port);
            if tried.len() < 3 { Err(Failure::port_taken("taken")) } else { Ok(port) }
        });
        assert_eq!(started.expect("the third"), tried[2]);
        let mut tries = 0;
        let failed = start_on_free(|_| {
            tries += 1;
            Err::<(), _>(Failure::new("no such program"))
        });
        assert!(failed.is_err() && tries == 1);
    }
}
