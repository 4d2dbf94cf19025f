//! The parts that can be measured, each by its name.

/// The program that runs a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// `bench`
    Bench,
    /// `bench`, which starts the program in `bench/peers` beside itself.
    BenchAndPeers,
    /// `bench/peers/actix`
    Actix,
}

#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) program: Program,
    /// About how many seconds it takes on two cores.
    pub(super) full: u64,
    /// The same with `--quick`; without it, a quick run leaves the part out.
    pub(super) quick: Option<u64>,
}

use Program::{Actix, Bench, BenchAndPeers};

/// In the order of the report.
pub(super) const PARTS: &[Part] = &[
    part("http", "what a request adds through axum, by library", Bench, 40, Some(6)),
    part("actix", "what a request adds through actix-web, by library", Actix, 20, Some(3)),
    part("serve", "requests per second by store", BenchAndPeers, 190, Some(25)),
    part("rate", "latency while requests arrive at a fixed rate", BenchAndPeers, 160, Some(15)),
    part("memory", "memory of an entry and of a session", Bench, 90, Some(15)),
    part("stored", "size of a session in a store", BenchAndPeers, 50, Some(8)),
    part("commands", "commands and round trips of a request", BenchAndPeers, 70, Some(12)),
    part("changes", "many clients that change one session", Bench, 20, Some(3)),
    part("scale", "many sessions: fill, logins, revoke-all, restart, their end", Bench, 215, None),
    part("cache", "reads and writes of entries in memory", Bench, 170, Some(12)),
    part("session", "reads of sessions in memory", Bench, 15, Some(3)),
    part("pause", "a reader while a million entries expire", Bench, 60, Some(10)),
    part("device", "sessions that are bound to a device", Bench, 5, Some(1)),
    part("allocations", "allocations of a request", Bench, 1, Some(1)),
    part("instructions", "instructions under callgrind", Bench, 90, None),
];

const fn part(
    name: &'static str,
    about: &'static str,
    program: Program,
    full: u64,
    quick: Option<u64>,
) -> Part {
    Part { name, about, program, full, quick }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_as_short_as_promised() {
        assert!(PARTS.iter().map(|part| part.full).sum::<u64>() <= 20 * 60);
        assert!(PARTS.iter().filter_map(|part| part.quick).sum::<u64>() <= 2 * 60);
    }
}
