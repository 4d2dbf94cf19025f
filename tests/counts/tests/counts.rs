//! Counts of the hot paths, checked against the committed baseline.
//!
//! With `KVOLT_COUNTS=renew`, as `cargo xtask counts --renew` sets it, writes the baseline again.

#![allow(clippy::print_stdout, reason = "the program prints what it counts")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kvolt_counts::{
    Baseline, Counter, Counts, Servers, in_memory, is_renewal, on_servers, on_sqlite, report,
};

/// Odd, so that a median was counted.
const SAMPLES: usize = 21;

/// Counts allocations on this thread, and what passes to servers and to SQLite.
#[derive(Default)]
struct Costs<'a> {
    servers: Option<&'a Servers>,
    statements: Option<Arc<AtomicU64>>,
    samples: BTreeMap<String, BTreeMap<&'static str, Vec<u64>>>,
}

impl Counter for Costs<'_> {
    fn count(&mut self, path: &str, call: &mut dyn FnMut()) {
        let asked = || {
            let servers = self.servers.map(Servers::counts);
            let statements = self.statements.as_ref().map(|count| count.load(Ordering::Relaxed));
            (servers, statements)
        };
        let before = asked();
        let allocations = allocation_counter::measure(call).count_total;
        let after = asked();
        let mut add = |what, count| {
            let counts = self.samples.entry(path.to_owned()).or_default();
            counts.entry(what).or_default().push(count);
        };
        // Where another thread or task works meanwhile, whether this one waits for it is chance:
        // the driver of SQLite, and the subscription of a near cache.
        let works_alone = self.statements.is_none() && !path.ends_with("near cache: miss");
        if works_alone {
            add("allocations", allocations);
        }
        if let (Some(before), Some(after)) = (before.0, after.0) {
            let sum = |count: fn(&kvolt_servers::Counts) -> u64| {
                after.iter().map(count).sum::<u64>() - before.iter().map(count).sum::<u64>()
            };
            add("commands", sum(|counts| counts.commands));
            add("round_trips", sum(|counts| counts.round_trips));
            add("bytes_sent", sum(|counts| counts.bytes_to_server));
            add("bytes_received", sum(|counts| counts.bytes_to_client));
        }
        if let (Some(before), Some(after)) = (before.1, after.1) {
            add("commands", after - before);
        }
    }
}

impl Costs<'_> {
    /// Of allocations, the third least: a table that grows now and then adds some. Of the others,
    /// the medians: lengths of names differ, and servers are asked for their time once a second.
    fn results(self) -> BTreeMap<String, Counts> {
        let result = |(what, mut samples): (&str, Vec<u64>)| {
            samples.sort_unstable();
            let at = if what == "allocations" { 2 } else { samples.len() / 2 };
            (what.to_owned(), samples[at])
        };
        let results = |counts: BTreeMap<_, _>| counts.into_iter().map(result).collect();
        self.samples.into_iter().map(|(path, counts)| (path, results(counts))).collect()
    }
}

fn main() -> ExitCode {
    let servers = Servers::start();
    let mut costs = Costs::default();
    in_memory(&mut costs, SAMPLES);
    let statements = Arc::default();
    costs.statements = Some(Arc::clone(&statements));
    on_sqlite(&mut costs, SAMPLES, &statements);
    costs.statements = None;
    if let Some(servers) = &servers {
        costs.servers = Some(servers);
        on_servers(&mut costs, SAMPLES, servers);
    }
    let present = costs.results();
    let mut baseline = Baseline::read();
    let is_good = report(&baseline.costs, &present, servers.is_some());
    if is_renewal() {
        if servers.is_some() {
            baseline.costs.clear();
        }
        baseline.costs.extend(present);
        baseline.write();
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
