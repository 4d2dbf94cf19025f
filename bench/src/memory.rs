//! Resident bytes per entry, each contender in a process of its own.

use dashmap::DashMap;
use kvolt::cache::MemoryStore;

use crate::cache::{LIFETIME, Moka, OwnHash, Quick, fill, value};
use crate::harness::{Settings, Table, child as again, key, progress, resident};
use crate::http;

const ENTRIES: u64 = 1_000_000;
const MAPS: [&str; 5] = [
    "KVolt",
    "papaya, no expiry",
    "dashmap, no expiry",
    "quick_cache, no expiry",
    "moka, time to live",
];

pub(crate) fn run(settings: Settings) {
    let rounds = settings.pick(3, 1);
    let sessions = settings.pick(200_000_u64, 50_000).to_string();
    let steps = rounds * (MAPS.len() + http::LIBRARIES.len());
    let mut done = 0;
    let mut measure = |arguments: &[&str]| {
        progress(done, steps, arguments[1]);
        done += 1;
        let output = again(arguments).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().parse::<f64>().expect("a number")
    };
    let turns =
        |part: &str, names: &[&str], more: &[&str], measure: &mut dyn FnMut(&[&str]) -> f64| {
            let mut samples = vec![Vec::new(); names.len()];
            for _ in 0..rounds {
                for (name, samples) in names.iter().zip(&mut samples) {
                    samples.push(measure(&[&[part, name], more].concat()));
                }
            }
            samples
        };
    let table = Table::new("memory", "entries of 100 bytes");
    for (name, samples) in MAPS.iter().zip(turns("memory", &MAPS, &[], &mut measure)) {
        table.add(name, "resident, each", "bytes", &samples);
    }
    let table = Table::new("memory", "sessions in memory");
    let names = http::LIBRARIES;
    let all = turns("sessions", &names, &[&sessions], &mut measure);
    for (name, samples) in names.iter().zip(all) {
        table.add(name, "resident, each", "bytes", &samples);
    }
}

/// The bytes of a session in memory, from so many logins through the library's layer.
pub(crate) fn sessions_child(library: &str, sessions: u64) {
    http::runtime().block_on(async {
        let app = http::library(library).await;
        app.logins(sessions / 100).await;
        let before = resident();
        app.logins(sessions).await;
        println!("{}", (resident() - before) as f64 / sessions as f64);
    });
}

pub(crate) fn child(name: &str) {
    let before = resident();
    match name {
        "KVolt" => {
            let store = MemoryStore::new();
            fill(&store, ENTRIES);
            report(before, store);
        }
        "papaya, no expiry" => {
            let map = papaya::HashMap::with_hasher(OwnHash);
            for n in 0..ENTRIES {
                map.pin().insert(key(n), value(n));
            }
            report(before, map);
        }
        "dashmap, no expiry" => {
            let map = DashMap::with_hasher(OwnHash);
            for n in 0..ENTRIES {
                map.insert(key(n), value(n));
            }
            report(before, map);
        }
        "quick_cache, no expiry" => {
            let cache = Quick::with(
                ENTRIES as usize,
                2 * ENTRIES,
                quick_cache::UnitWeighter,
                OwnHash,
                quick_cache::sync::DefaultLifecycle::default(),
            );
            for n in 0..ENTRIES {
                cache.insert(key(n), value(n));
            }
            report(before, cache);
        }
        "moka, time to live" => {
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
