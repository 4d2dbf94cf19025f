//! Free ports.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::Failure;

/// The ports to choose from.
///
/// They are below 32768, where the kernel's own choices begin. A port that the kernel chose could be
/// lost while its server is down: to another test that binds to port 0, or to a client that gets this
/// port as its own and connects to itself.
const FIRST: u16 = 10_240;
const LAST: u16 = 22_527;

/// The nodes of a Redis Cluster reach each other on their port plus this.
pub(crate) const BUS_OFFSET: u16 = 10_000;

const MAX_ATTEMPTS: usize = 1_000;

/// Ports that this process has used are not used again: a killed server restarts on its port.
static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A port that is free, and whose cluster bus port is free too.
pub(crate) fn free() -> Result<u16, Failure> {
    for _ in 0..MAX_ATTEMPTS {
        let port = FIRST + random_below(LAST - FIRST);
        let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        if !given.contains(&port) && is_free(port) && is_free(port + BUS_OFFSET) {
            given.insert(port);
            return Ok(port);
        }
    }
    Err(Failure::last(format!("no port is free between {FIRST} and {LAST}")))
}

/// Starts a server on a free port, and on another one if that port was taken meanwhile.
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
    Err(taken.unwrap_or_else(|| Failure::last("no port was tried")))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Differs between processes: two test programs that start at the same time must not race for one
/// port.
pub(crate) fn random() -> u64 {
    // `RandomState` has random keys.
    RandomState::new().hash_one(std::process::id())
}

fn random_below(bound: u16) -> u16 {
    (random() % u64::from(bound)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_out_twice() {
        let ports: HashSet<u16> = (0..100).map(|_| free().expect("a port")).collect();
        assert_eq!(ports.len(), 100);
    }

    #[test]
    fn a_taken_port_is_tried_elsewhere_and_another_failure_is_not() {
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
