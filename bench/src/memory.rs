//! Resident bytes per entry, each contender in a process of its own.

use std::fs;

use dashmap::DashMap;
use kvolt::cache::MemoryStore;

use crate::cache::{LIFETIME, Moka, OwnHash, fill, value};
use crate::harness::{child as again, key, target};

const ENTRIES: u64 = 1_000_000;

pub(crate) fn run() {
    println!(
        "\n== memory: resident bytes per entry of 100 bytes and a key of 32, {ENTRIES} entries"
    );
    for name in ["kvolt", "papaya", "dashmap", "moka"] {
        let output = again(&["memory", name]).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let bytes: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number");
        println!("  {name:<44} {bytes:>10.1}");
        if name == "kvolt" {
            target("kvolt", bytes, 210.0);
        }
    }
}

pub(crate) fn child(name: &str) {
    let before = resident();
    match name {
        "kvolt" => {
            let store = MemoryStore::new();
            fill(&store, ENTRIES);
            report(before, store);
        }
        "papaya" => {
            let map = papaya::HashMap::with_hasher(OwnHash);
            for n in 0..ENTRIES {
                map.pin().insert(key(n), value(n));
            }
            report(before, map);
        }
        "dashmap" => {
            let map = DashMap::with_hasher(OwnHash);
            for n in 0..ENTRIES {
                map.insert(key(n), value(n));
            }
            report(before, map);
        }
        "moka" => {
            let builder = moka::sync::Cache::builder().time_to_live(LIFETIME);
            let cache: Moka = builder.build_with_hasher(OwnHash);
            for n in 0..ENTRIES {
                cache.insert(key(n), value(n));
            }
            cache.run_pending_tasks();
            report(before, cache);
        }
        _ => unreachable!("only this program asks"),
    }
}

fn report<T>(before: u64, held: T) {
    println!("{}", (resident() - before) as f64 / ENTRIES as f64);
    drop(held);
}

fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says it");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}
