//! Latency while requests arrive at a fixed rate, whatever the answers: an open model.
//!
//! A request has a time at which it is due, and its latency counts from there: a request that waits
//! because those before it are slow has waited. A thread that does nothing else hands over what is
//! due; so many connections take it that one is free whenever the server keeps up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::client::Connection;
use super::serve::{Contender, Running, Stores, contender};
use super::server::Library::{KVolt, None as Bare, TowerSessions};
use super::statistics::quantile;
use crate::harness::{Settings, Table, below, fact, mix, progress};
use crate::http::runtime;

const CONNECTIONS: usize = 64;
/// Shares of what the bare route answers, in percent.
const SHARES: [u64; 3] = [20, 50, 80];
/// Not measured, at the beginning of each round.
const WARMING: Duration = Duration::from_millis(200);
/// The thread that hands over sleeps so long, at most: a request is sent late by as much.
const SLICE: Duration = Duration::from_micros(50);

/// The rounds of a contender at a rate.
#[derive(Default)]
struct Samples {
    p50: Vec<f64>,
    p99: Vec<f64>,
    p999: Vec<f64>,
    /// In percent of the requests that were due.
    in_time: Vec<f64>,
}

pub(super) fn run(settings: Settings) {
    let contenders: Vec<Contender> = [
        (Bare, "bare"),
        (KVolt, "memory"),
        (TowerSessions, "memory+sliding"),
        (KVolt, "redis"),
        (KVolt, "redis+near"),
        (TowerSessions, "redis+sliding"),
        (KVolt, "postgres"),
        (TowerSessions, "postgres+sliding"),
    ]
    .into_iter()
    .map(|(library, spec)| contender(library, spec))
    .filter(|one| !settings.quick || one.table() == "memory" || one.spec == "redis")
    .collect();
    let (rounds, time) = settings.pick((3, 1_500), (1, 500));
    let time = Duration::from_millis(time);
    let steps = contenders.len() * (rounds * SHARES.len() + 1);
    let (stores, runtime) = (Stores::start(&contenders), runtime());
    let mut running = Vec::new();
    for (index, contender) in contenders.into_iter().enumerate() {
        progress(index, steps, &format!("signing in on {}", contender.table()));
        running.push(Running::start(&runtime, &stores, contender, settings.pick(2_000, 500)));
    }
    // With all due at once, each connection sends as soon as it has the answer before.
    let most = |_| {
        let all = Arrivals { rate: 1_000_000, time };
        round(&runtime, &running[0], all).answers as f64 / time.as_secs_f64()
    };
    let mut most: Vec<f64> = (0..3).map(most).collect();
    most.sort_by(f64::total_cmp);
    let most = most[1];
    fact("rate: the bare route answers, per second", &format!("{most:.0}"));
    let mut done = running.len();
    for share in SHARES {
        let rate = (most * share as f64 / 100.0).max(1.0) as u64;
        let mut samples: Vec<Samples> = running.iter().map(|_| Samples::default()).collect();
        for turn in 0..rounds {
            for (one, samples) in running.iter().zip(&mut samples) {
                let what = format!("{} on {}", one.contender.row(), one.contender.table());
                progress(
                    done,
                    steps,
                    &format!("{share} %, round {} of {rounds}: {what}", turn + 1),
                );
                done += 1;
                let Round { mut micros, in_time, .. } =
                    round(&runtime, one, Arrivals { rate, time });
                micros.sort_unstable();
                samples.p50.push(quantile(&micros, 0.5));
                samples.p99.push(quantile(&micros, 0.99));
                samples.p999.push(quantile(&micros, 0.999));
                samples.in_time.push(100.0 * in_time as f64 / micros.len() as f64);
            }
        }
        let table = Table::new("rate", format!("{share} % of the bare route's rate"));
        for (one, samples) in running.iter().zip(&samples) {
            let row = match one.contender.library {
                Bare => one.contender.row(),
                _ => format!("{}: {}", one.contender.table(), one.contender.row()),
            };
            table.add(&row, "p50", "us", &samples.p50);
            table.add(&row, "p99", "us", &samples.p99);
            table.add(&row, "p99.9", "us", &samples.p999);
            table.add(&row, "answered in time", "%", &samples.in_time);
        }
    }
}

#[derive(Clone, Copy)]
struct Arrivals {
    /// Requests per second.
    rate: u64,
    time: Duration,
}

struct Round {
    /// From when each request was due to its answer.
    micros: Vec<u32>,
    /// How many of them were answered before the round ended.
    in_time: usize,
    /// Answers from the beginning to the end of what is measured, whenever they were due.
    answers: usize,
}

/// Sends what is due until [`PATIENCE`] after the round: a request that is not sent by then has taken
/// as long as it has waited.
fn round(runtime: &Runtime, one: &Running, Arrivals { rate, time }: Arrivals) -> Round {
    let (sender, receiver) = mpsc::unbounded_channel::<(u64, Instant)>();
    let receiver = Arc::new(Mutex::new(receiver));
    let all = (rate as f64 * (WARMING + time).as_secs_f64()) as u64;
    runtime.block_on(async {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(Connection::open(one.server.port).await);
        }
        let start = Instant::now();
        let (end, limit) = (start + WARMING + time, start + WARMING + time + PATIENCE);
        let due = move |number: u64| start + Duration::from_nanos(number * 1_000_000_000 / rate);
        let dispatcher = std::thread::spawn(move || {
            let mut number = 0;
            while number < all {
                let now = Instant::now();
                while number < all && due(number) <= now {
                    // The receivers have ended.
                    if sender.send((number, due(number))).is_err() {
                        return;
                    }
                    number += 1;
                }
                std::thread::sleep(SLICE);
            }
        });
        let mut tasks = JoinSet::new();
        for mut connection in connections {
            let (receiver, requests) = (Arc::clone(&receiver), Arc::clone(&one.requests));
            tasks.spawn(async move {
                let (mut micros, mut in_time, mut answers) = (Vec::new(), 0, 0);
                loop {
                    let next = receiver.lock().await.recv().await;
                    let Some((number, due)) = next else { break };
                    if Instant::now() < limit {
                        let which = below(requests.len() as u64, mix(number)) as usize;
                        let response = connection.send(&requests[which]).await;
                        assert_eq!(response.status, 200);
                    }
                    let now = Instant::now();
                    answers += usize::from((start + WARMING..=end).contains(&now));
                    if due >= start + WARMING {
                        micros.push((now - due).as_micros() as u32);
                        in_time += usize::from(now <= end);
                    }
                }
                (micros, in_time, answers)
            });
        }
        let done = tasks.join_all().await;
        let _ = dispatcher.join();
        let micros: Vec<u32> = done.iter().flat_map(|(micros, ..)| micros).copied().collect();
        let in_time = done.iter().map(|(_, in_time, _)| in_time).sum();
        let answers = done.iter().map(|(.., answers)| answers).sum();
        Round { micros, in_time, answers }
    })
}

/// Requests that are due are given up so long after a round.
const PATIENCE: Duration = Duration::from_millis(500);
