//! The machine, the versions and the settings of a run.

use std::fs;
use std::process::Command;

use super::results::Results;
use crate::cargo::{self, root};

/// The crates whose versions are kept, by the lock file that has them.
const CRATES: [(&str, &[&str]); 2] = [
    (
        "bench/Cargo.lock",
        &[
            "kvolt",
            "axum",
            "tokio",
            "redis",
            "sqlx",
            "tower-sessions",
            "axum_session",
            "ruts",
            "saysion",
            "moka",
            "papaya",
            "quick_cache",
            "dashmap",
        ],
    ),
    (
        "bench/peers/Cargo.lock",
        &[
            "tower-sessions",
            "tower-sessions-redis-store",
            "tower-sessions-sqlx-store",
            "tower-sessions-moka-store",
            "ruts",
            "fred",
            "sqlx",
            "actix-web",
            "actix-session",
        ],
    ),
];

/// Adds all of it, the load before the run included.
pub(super) fn describe(results: &mut Results, parts: &str) {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"))
        .and_then(|kilobytes| kilobytes.parse::<u64>().ok())
        .unwrap_or(0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let said = |program: &str, args: &[&str]| {
        let output = cargo::output(Command::new(program).args(args).current_dir(root()));
        output.unwrap_or_default().trim().to_owned()
    };
    let changed = !said("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty();
    let commit = said("git", &["rev-parse", "--short=12", "HEAD"]);
    results.add_fact("processor", processor);
    results.add_fact("cores", &cores.to_string());
    results.add_fact("memory", &format!("{} GB", kilobytes / 1_000_000));
    results.add_fact("kernel", kernel.trim());
    results.add_fact("rustc", said("rustc", &["-V"]).trim_start_matches("rustc "));
    results.add_fact("profile", "release, thin link-time optimization, one codegen unit");
    results.add_fact("allocator", "the system's");
    results.add_fact("commit", &format!("{commit}{}", if changed { ", changed" } else { "" }));
    results.add_fact("date", &said("date", &["-u", "+%F"]));
    results.add_fact("parts", parts);
    results.add_fact("load before", &load());
    for (lock, crates) in CRATES {
        let text = fs::read_to_string(root().join(lock)).unwrap_or_default();
        for name in crates {
            if let Some(version) = version(&text, name) {
                let of_peers = lock.contains("peers") && has_two(name);
                let name = if of_peers { format!("{name} with stores") } else { (*name).into() };
                results.add_fact(&name, version);
            }
        }
    }
}

/// Whether each of the programs has a version of its own.
fn has_two(name: &str) -> bool {
    CRATES.iter().all(|(_, crates)| crates.contains(&name))
}

/// The load averages of a minute, five and fifteen.
pub(super) fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// The newest version of a crate that a lock file names.
fn version<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = lock.rsplit_once(&format!("name = \"{name}\"\nversion = \""))?;
    rest.split('"').next()
}
