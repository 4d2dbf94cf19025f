//! Instructions per operation, as callgrind counts them: the same on a busy machine.

use std::process::Command;

use kvolt::cache::{AfterRead, MemoryStore};

use crate::cache::{OwnHash, fill, look, value};
use crate::harness::{CHILD, below, key, mix};
use crate::{device, http, session};

const ENTRIES: u64 = 1_000;

const SUBJECTS: [(&str, u64); 17] = [
    ("cache read, peek", 20_000),
    ("cache read, slide", 20_000),
    ("papaya read", 20_000),
    ("making a key, part of all three", 20_000),
    ("session get_ready, slide", 5_000),
    ("bare route", 1_000),
    ("layer: nothing", 1_000),
    ("layer: floor", 1_000),
    ("layer: kvolt", 1_000),
    ("bare route, with connect info", 1_000),
    ("layer: floor, with connect info", 1_000),
    ("layer: kvolt, with connect info", 1_000),
    ("layer: kvolt, device binding on, unbound", 1_000),
    ("layer: kvolt, device binding on, bound", 1_000),
    ("layer: tower-sessions, not sliding", 1_000),
    ("layer: tower-sessions, sliding", 1_000),
    ("layer: axum_session", 1_000),
];

pub(crate) fn run() {
    println!(
        "\n== instructions: per operation, under callgrind (no SHA instructions there, the clock is a system call)"
    );
    for (name, ops) in SUBJECTS {
        let (Some(once), Some(twice)) = (collected(name, ops), collected(name, 2 * ops)) else {
            println!("  valgrind is not installed: apt-get install valgrind");
            return;
        };
        println!("  {name:<44} {:>10.0}", (twice as f64 - once as f64) / ops as f64);
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
        "cache read, peek" => read(AfterRead::Keep),
        "cache read, slide" => read(AfterRead::Slide),
        "papaya read" => {
            let map = papaya::HashMap::with_hasher(OwnHash);
            for n in 0..ENTRIES {
                map.pin().insert(key(n), value(n));
            }
            let read = |n| map.pin().get(&key(below(ENTRIES, mix(n)))).map(look);
            (0..ops).map(|n| read(n).expect("it is live")).fold(0, u64::wrapping_add)
        }
        "making a key, part of all three" => {
            let first = |n| std::hint::black_box(key(below(ENTRIES, mix(n)))).as_bytes()[0];
            (0..ops).map(|n| u64::from(first(n))).sum()
        }
        "session get_ready, slide" => {
            let world = session::world(ENTRIES);
            let read = |token| session::read(&world.manager, token).expect("it is live");
            world.tokens.iter().cycle().take(ops as usize).map(read).sum()
        }
        "bare route" => requests(http::bare(), ops),
        "layer: nothing" => requests(http::idle_layer(), ops),
        "layer: floor" => requests(http::floor(), ops),
        "layer: kvolt" => requests(http::kvolt(), ops),
        "bare route, with connect info" => requests(http::with_peer(http::bare()), ops),
        "layer: floor, with connect info" => requests(http::with_peer(http::floor()), ops),
        "layer: kvolt, with connect info" => requests(http::with_peer(http::kvolt()), ops),
        "layer: kvolt, device binding on, unbound" => requests(device::app(false), ops),
        "layer: kvolt, device binding on, bound" => requests(device::app(true), ops),
        "layer: tower-sessions, not sliding" => requests(http::tower_sessions(false), ops),
        "layer: tower-sessions, sliding" => requests(http::tower_sessions(true), ops),
        "layer: axum_session" => requests(http::axum_session(), ops),
        _ => unreachable!("only this program asks"),
    };
    std::hint::black_box(sum);
}

fn requests(app: impl Future<Output = http::App>, count: u64) -> u64 {
    http::runtime().block_on(async { app.await.requests(count).await })
}
