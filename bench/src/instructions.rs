//! Instructions per operation, as callgrind counts them: the same on a busy machine.

use std::process::Command;

use kvolt::cache::{AfterRead, MemoryStore};

use crate::cache::{OwnHash, fill, look, value};
use crate::harness::{CHILD, Table, below, key, mix, progress};
use crate::{device, http, session};

const ENTRIES: u64 = 1_000;

const READS: [(&str, u64); 5] = [
    ("entry, without sliding", 20_000),
    ("entry, sliding", 20_000),
    ("papaya's entry", 20_000),
    ("making a key, a part of these three", 20_000),
    ("session, `Manager::get_ready`", 5_000),
];

/// With the number of requests of each.
const REQUESTS: [(&str, u64); 3] = [
    ("KVolt, device binding on, not bound", 1_000),
    ("KVolt, device binding on, bound", 1_000),
    (CONNECT_INFO, 1_000),
];
const CONNECT_INFO: &str = "KVolt, requests with connect info";

pub(crate) fn run() {
    let requests = http::CONTENDERS.iter().map(|name| (*name, 1_000)).chain(REQUESTS);
    let reads = READS.iter().map(|(name, ops)| ("a read", *name, *ops));
    let subjects: Vec<(&str, &str, u64)> =
        reads.chain(requests.map(|(name, ops)| ("a request", name, ops))).collect();
    for (index, (table, name, ops)) in subjects.iter().enumerate() {
        progress(index, subjects.len(), name);
        let (Some(once), Some(twice)) = (collected(name, *ops), collected(name, 2 * ops)) else {
            eprintln!("valgrind is not installed: apt-get install valgrind");
            return;
        };
        let each = (twice as f64 - once as f64) / *ops as f64;
        Table::new("instructions", *table).add(name, "instructions", "", &[each.round()]);
    }
}

fn collected(name: &str, ops: u64) -> Option<u64> {
    let program = std::env::current_exe().expect("the program has a path");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([CHILD, "instructions", name, &ops.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let line = text.lines().find_map(|line| line.split_once("Collected :"));
    Some(line.unwrap_or_else(|| panic!("{text}")).1.trim().parse().expect("a number"))
}

pub(crate) fn child(name: &str, ops: u64) {
    let read = |used: AfterRead| {
        let store = MemoryStore::new();
        fill(&store, ENTRIES);
        let read = |n| store.read(&key(below(ENTRIES, mix(n))), |entry| (used, look(entry.value)));
        (0..ops).map(|n| read(n).expect("it is live")).fold(0, u64::wrapping_add)
    };
    let sum: u64 = match name {
        "entry, without sliding" => read(AfterRead::Keep),
        "entry, sliding" => read(AfterRead::Slide),
        "papaya's entry" => {
            let map = papaya::HashMap::with_hasher(OwnHash);
            for n in 0..ENTRIES {
                map.pin().insert(key(n), value(n));
            }
            let read = |n| map.pin().get(&key(below(ENTRIES, mix(n)))).map(look);
            (0..ops).map(|n| read(n).expect("it is live")).fold(0, u64::wrapping_add)
        }
        "making a key, a part of these three" => {
            let first = |n| std::hint::black_box(key(below(ENTRIES, mix(n)))).as_bytes()[0];
            (0..ops).map(|n| u64::from(first(n))).sum()
        }
        "session, `Manager::get_ready`" => {
            let world = session::world(ENTRIES);
            let read = |token| session::read(&world.manager, token).expect("it is live");
            world.tokens.iter().cycle().take(ops as usize).map(read).sum()
        }
        "KVolt, device binding on, not bound" => requests(device::app(false), ops),
        "KVolt, device binding on, bound" => requests(device::app(true), ops),
        CONNECT_INFO => requests(http::with_peer(http::kvolt()), ops),
        name => requests(http::library(name), ops),
    };
    std::hint::black_box(sum);
}

fn requests(app: impl Future<Output = http::App>, count: u64) -> u64 {
    http::runtime().block_on(async { app.await.requests(count).await })
}
