//! The machine that the benchmark ran on.

use std::fs;
use std::process::Command;
use std::thread;

const CRATES: [&str; 9] = [
    "kvolt",
    "papaya",
    "moka",
    "quick_cache",
    "dashmap",
    "axum",
    "tokio",
    "tower-sessions",
    "axum_session",
];

pub(crate) fn print() {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let rustc = Command::new("rustc").arg("-V").output().map(|output| output.stdout);
    println!("{model}, {cores} cores, Linux {}", kernel.trim());
    println!("{}", String::from_utf8_lossy(&rustc.unwrap_or_default()).trim());
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load before: {}", load.split(' ').take(3).collect::<Vec<_>>().join(" "));
    println!("{}", versions(include_str!("../Cargo.lock"), &CRATES));
    let command: Vec<String> = std::env::args().skip(1).collect();
    println!("command: kvolt-bench {}", command.join(" "));
}

/// Of these crates, the versions that a lock file names.
pub(crate) fn versions(lock: &str, crates: &[&str]) -> String {
    let version = |name: &&str| {
        let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
        Some(format!("{name} {}", rest.split('"').next()?))
    };
    crates.iter().filter_map(version).collect::<Vec<_>>().join(", ")
}
