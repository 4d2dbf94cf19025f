//! How a part is measured and what it writes.
//!
//! **A part** is one run of this program, `kvolt-bench PART [--quick]`, and a function `run` of
//! [`Settings`] in a file of its own. To add one:
//!
//! 1. an arm in `main.rs`;
//! 2. a line in `xtask/src/bench/parts.rs`: its name, what it measures, how many seconds it takes;
//! 3. in `xtask/src/bench/text.rs`, where it needs them: a heading, its floor, notes beside rows. A
//!    part without them gets a plain table.
//!
//! **A number** is written by [`Table::add`]: a table of the part, a row (the contender), a column,
//! a unit, and every sample of it. The report has the median and the lowest and highest sample. Rows
//! and columns keep the order in which they were written first. A sample that was measured once is a
//! slice of one. Contenders take turns: write the samples of all rounds at the end, and [`progress`]
//! meanwhile. The version of a server and a setting are a [`fact`].
//!
//! Units: `ns`, `us`, `ms`, `s`, `bytes`, `per s`, `commands`, or any other word, which is printed as
//! it is.
//!
//! The program's standard output has nothing but lines of JSON, which `cargo xtask bench` reads:
//! `{"measure": …}`, `{"progress": …}`, `{"fact": …}`. Whatever a person is to read goes to standard
//! error.

use std::future::Future;
use std::io::Write;
use std::pin::pin;
use std::process::Command;
use std::sync::Barrier;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use kvolt::cache::Key;
use serde_json::{Value, json};

/// The first argument of this program where it starts itself.
pub(crate) const CHILD: &str = "--child";

/// How a part is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// So little that all parts together take two minutes.
    pub(crate) quick: bool,
}

impl Settings {
    /// One of two, the second for a quick run.
    pub(crate) fn pick<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// How often the contenders take turns.
    pub(crate) fn rounds(self) -> usize {
        self.pick(7, 3)
    }
}

/// A table of the report.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    part: &'static str,
    name: String,
}

impl Table {
    pub(crate) fn new(part: &'static str, name: impl Into<String>) -> Self {
        Self { part, name: name.into() }
    }

    /// Writes all samples of one cell.
    pub(crate) fn add(&self, row: &str, column: &str, unit: &str, samples: &[f64]) {
        let Self { part, name } = self;
        let samples: Vec<f64> = samples.iter().copied().filter(|one| one.is_finite()).collect();
        if samples.is_empty() {
            eprintln!("{part}: nothing was measured of {name}: {row}, {column}");
            return;
        }
        line(json!({ "measure": {
            "part": part, "table": name, "row": row, "column": column, "unit": unit,
            "samples": samples,
        } }));
    }
}

/// Writes how much of the part is done, and what is done now.
pub(crate) fn progress(done: usize, all: usize, what: &str) {
    line(json!({ "progress": { "done": done as f64 / all.max(1) as f64, "what": what } }));
}

/// Writes a version or a setting.
pub(crate) fn fact(name: &str, value: &str) {
    line(json!({ "fact": { "name": name, "value": value } }));
}

fn line(value: Value) {
    // The reader is gone only if it was ended.
    let _ = writeln!(std::io::stdout().lock(), "{value}");
}

type Run<'a> = Box<dyn Fn(usize, u64) -> u64 + Sync + 'a>;

/// Something that does a number of operations on the thread of that index.
pub(crate) struct Contender<'a> {
    pub(crate) name: &'static str,
    run: Run<'a>,
}

impl<'a> Contender<'a> {
    pub(crate) fn new(
        name: &'static str,
        run: impl Fn(usize, u64) -> u64 + Sync + 'a,
    ) -> Contender<'a> {
        Contender { name, run: Box::new(run) }
    }
}

/// Operations of one kind, by contenders that take turns.
pub(crate) struct Race<'a> {
    pub(crate) column: &'a str,
    pub(crate) rounds: usize,
    pub(crate) threads: usize,
    /// Operations of each thread in a round.
    pub(crate) ops: u64,
}

impl Race<'_> {
    /// Writes the nanoseconds per operation of each thread, in each round.
    pub(crate) fn run(&self, table: &Table, contenders: &[Contender]) {
        let mut samples = vec![Vec::new(); contenders.len()];
        for _ in 0..self.rounds {
            for (contender, samples) in contenders.iter().zip(&mut samples) {
                samples.push(nanos(contender, self.threads, self.ops));
            }
        }
        for (contender, samples) in contenders.iter().zip(&samples) {
            table.add(contender.name, self.column, "ns", samples);
        }
    }

    /// Like [`Self::run`], for two kinds of operation of which the second undoes the first.
    pub(crate) fn run_pairs(&self, tables: [&Table; 2], contenders: &[[Contender; 2]]) {
        let mut samples = vec![[Vec::new(), Vec::new()]; contenders.len()];
        for _ in 0..self.rounds {
            for (pair, samples) in contenders.iter().zip(&mut samples) {
                for (contender, samples) in pair.iter().zip(samples) {
                    samples.push(nanos(contender, self.threads, self.ops));
                }
            }
        }
        for (pair, samples) in contenders.iter().zip(&samples) {
            for ((contender, samples), table) in pair.iter().zip(samples).zip(tables) {
                table.add(contender.name, self.column, "ns", samples);
            }
        }
    }
}

/// Nanoseconds of one operation: by one thread, its processor time, so that what else runs on the
/// machine counts little; by several, from when all are ready to when the last has finished.
fn nanos(contender: &Contender, threads: usize, ops: u64) -> f64 {
    if threads == 1 {
        let start = processor_time();
        std::hint::black_box((contender.run)(0, ops));
        return (processor_time() - start).as_nanos() as f64 / ops as f64;
    }
    let barrier = Barrier::new(threads);
    let work = |thread| {
        barrier.wait();
        let start = Instant::now();
        std::hint::black_box((contender.run)(thread, ops));
        (start, Instant::now())
    };
    let spans: Vec<(Instant, Instant)> = thread::scope(|scope| {
        let running: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let start = spans.iter().map(|span| span.0).min().expect("one thread at least");
    let end = spans.iter().map(|span| span.1).max().expect("one thread at least");
    (end - start).as_nanos() as f64 / ops as f64
}

/// The processor time of this thread so far.
pub(crate) fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Result of a future that never waits.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a store in memory does not wait"),
    }
}

/// Bijective and well mixed (the finalizer of splitmix64).
#[inline]
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The key of that number, as uniform as a digest and cheap to make.
#[inline]
pub(crate) fn key(number: u64) -> Key {
    let first = mix(number);
    let mut bytes = [0; 32];
    for (index, part) in bytes.chunks_exact_mut(8).enumerate() {
        let word = first.rotate_left(17 * index as u32) ^ index as u64;
        part.copy_from_slice(&word.to_le_bytes());
    }
    Key::from_bytes(bytes)
}

/// A number below `bound`, from a mixed one.
#[inline]
pub(crate) fn below(bound: u64, mixed: u64) -> u64 {
    ((mixed & 0xffff_ffff) * bound) >> 32
}

/// This program again, for a task of its own.
pub(crate) fn child(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the program has a path"));
    command.arg(CHILD).args(arguments);
    command
}

/// The resident memory of this process, in bytes.
pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says it");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}
