//! Contenders that take turns, best of five rounds.

use std::future::Future;
use std::pin::pin;
use std::process::Command;
use std::sync::Barrier;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Instant;

use kvolt::cache::Key;

/// The first argument of this program where it starts itself.
pub(crate) const CHILD: &str = "--child";

const ROUNDS: usize = 5;

type Run<'a> = Box<dyn Fn(usize, u64) -> u64 + Sync + 'a>;

/// Something that does a number of operations on the thread of that index.
pub(crate) struct Contender<'a> {
    name: &'static str,
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

/// Result of a race.
pub(crate) struct Results(Vec<(&'static str, f64)>);

impl Results {
    pub(crate) fn of(&self, name: &str) -> f64 {
        self.0.iter().find(|(found, _)| *found == name).expect("it took part").1
    }
}

/// Prints nanoseconds per operation of each thread, and the ratio to the first contender.
pub(crate) fn race(title: &str, threads: usize, ops: u64, contenders: &[Contender]) -> Results {
    let mut best = vec![f64::INFINITY; contenders.len()];
    for _ in 0..ROUNDS {
        for (contender, best) in contenders.iter().zip(&mut best) {
            *best = best.min(nanos(contender, threads, ops));
        }
    }
    table(title, contenders.iter().map(|contender| contender.name).zip(best).collect())
}

/// Like [`race`], for two kinds of operation of which the second undoes the first.
pub(crate) fn race_pairs(
    titles: [&str; 2],
    threads: usize,
    ops: u64,
    contenders: &[[Contender; 2]],
) -> [Results; 2] {
    let mut best = vec![[f64::INFINITY; 2]; contenders.len()];
    for _ in 0..ROUNDS {
        for (pair, best) in contenders.iter().zip(&mut best) {
            for (contender, best) in pair.iter().zip(best) {
                *best = best.min(nanos(contender, threads, ops));
            }
        }
    }
    [0, 1].map(|half| {
        let rows = contenders.iter().zip(&best);
        table(titles[half], rows.map(|(pair, best)| (pair[half].name, best[half])).collect())
    })
}

fn table(title: &str, rows: Vec<(&'static str, f64)>) -> Results {
    println!("\n{title}");
    println!("  {:<44} {:>10} {:>7}", "", "ns/op", "ratio");
    for (name, nanos) in &rows {
        println!("  {name:<44} {nanos:>10.1} {:>7.2}", nanos / rows[0].1);
    }
    Results(rows)
}

/// From when all threads are ready to when the last has finished.
fn nanos(contender: &Contender, threads: usize, ops: u64) -> f64 {
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

/// A target beside what was measured.
pub(crate) fn target(what: &str, measured: f64, at_most: f64) {
    let verdict = if measured <= at_most { "met" } else { "MISSED" };
    println!("  target: {what}: {measured:.3}, at most {at_most:.3}: {verdict}");
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
