//! A program that is killed in the middle of writing to SQLite, many times.

mod support;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use kvolt_cache::{
    Expiry, Key, NewEntry, Predecessor, RemoveOutcome, ReplaceOutcome, Store, Target,
};
use kvolt_sql::SqliteStore;
use support::{get, sqlite, sqlite_url};

const URL: &str = "KVOLT_TEST_CRASH_URL";
const FROM: &str = "KVOLT_TEST_CRASH_FROM";

const ROUNDS: u64 = 25;
const TASKS: u64 = 4;

fn key(number: u64) -> Key {
    Key::of(format!("key {number}"))
}

/// The key of the entry that takes the place of another.
fn successor(number: u64) -> Key {
    Key::of(format!("successor {number}"))
}

fn value(number: u64, version: u8) -> Vec<u8> {
    format!("value {version} of {number}; ").repeat(200).into_bytes()
}

/// The last acknowledged state of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Done {
    Inserted,
    Replaced,
    /// Removed, or replaced by its successor.
    Ended,
}

#[test]
fn acknowledged_writes_survive_a_kill() {
    let url = sqlite_url("crash");
    let mut acknowledged: HashMap<u64, Done> = HashMap::new();
    for round in 0..ROUNDS {
        let done = run_and_kill(&url, round);
        assert!(!done.is_empty(), "it had begun");
        acknowledged.extend(done);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(&url, &acknowledged));
    }
    assert!(acknowledged.values().any(|done| *done == Done::Ended));
}

/// Starts the writer and kills it at some moment. Returns what it had acknowledged by then.
fn run_and_kill(url: &str, round: u64) -> HashMap<u64, Done> {
    let mut child = Command::new(std::env::current_exe().expect("it is a program"))
        .args(["--exact", "writer", "--nocapture"])
        .env(URL, url)
        .env(FROM, (round * 1_000_000).to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let output = BufReader::new(child.stdout.take().expect("it is a pipe"));
    let (first, begun) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut done = HashMap::new();
        for line in output.lines().map_while(Result::ok) {
            let mut words = line.split(' ');
            let (Some("did"), Some(what), Some(number), Some("ok")) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                continue;
            };
            let what = match what {
                "insert" => Done::Inserted,
                "replace" => Done::Replaced,
                _ => Done::Ended,
            };
            done.insert(number.parse().expect("it is a number"), what);
            let _ = first.send(());
        }
        done
    });
    begun.recv_timeout(Duration::from_secs(20)).expect("it writes");
    // Anywhere within a hundred milliseconds, the same in every run.
    let [moment, ..] = *Key::of(format!("moment {round}")).as_bytes();
    thread::sleep(Duration::from_micros(u64::from(moment) * 400));
    child.kill().expect("it runs until then");
    child.wait().expect("it ends");
    reader.join().expect("it read")
}

async fn check(url: &str, acknowledged: &HashMap<u64, Done>) {
    let store = SqliteStore::open(url, "shop").await.expect("it opens");
    for (&number, &done) in acknowledged {
        let (old, new) = (get(&store, &key(number)).await, get(&store, &successor(number)).await);
        assert!(old.is_none() || new.is_none(), "{number} is there twice");
        let ends = number % 3 < 2;
        match old {
            Some(entry) => {
                let is_whole = [1, 2].iter().any(|version| entry.value == value(number, *version));
                assert!(is_whole, "{number} is half written");
                let is_replaced = entry.value == value(number, 2);
                assert!(done < Done::Replaced || is_replaced, "a change of {number} is lost");
                assert!(done < Done::Ended, "{number} is back");
            }
            None => {
                assert!(ends && done >= Done::Replaced, "{number} is lost: {done:?}");
                assert_eq!(new.is_some(), number % 3 == 1, "{number} has a successor, or none");
            }
        }
        let is_whole = new.is_none_or(|entry| entry.value == value(number, 3));
        assert!(is_whole, "the successor of {number} is half written");
    }
    store.close().await;
    let sound = sqlite(url, "SELECT integrity_check FROM pragma_integrity_check").await;
    assert_eq!(sound, "ok");
}

/// The program that is killed: not a test by itself.
#[test]
fn writer() {
    let (Ok(url), Ok(from)) = (std::env::var(URL), std::env::var(FROM)) else { return };
    let from: u64 = from.parse().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(&url, "shop").await.expect("it opens");
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| tokio::spawn(write(store.clone(), (from + task..).step_by(TASKS as usize))))
            .collect();
        for task in tasks {
            task.await.expect("it goes on until it is killed");
        }
    });
}

async fn write(store: SqliteStore, numbers: impl Iterator<Item = u64>) {
    let say = |what: &str, number: u64| {
        // In one piece: a line that is cut was not acknowledged.
        let line = format!("did {what} {number} ok\n");
        std::io::stdout().write_all(line.as_bytes()).expect("the parent reads");
    };
    for number in numbers {
        let expiry = Expiry::idle(Duration::from_secs(3_600));
        let entry = NewEntry::new(value(number, 1), expiry);
        let _ = store.insert(key(number), entry).await.expect("insert works");
        say("insert", number);
        let (key, seen) = (key(number), get(&store, &key(number)).await);
        let seen = seen.expect("it was inserted").version;
        let replaced = store.replace(Target::new(&key), seen, value(number, 2), None).await;
        let Ok(ReplaceOutcome::Replaced(seen)) = replaced else { panic!("{replaced:?}") };
        say("replace", number);
        match number % 3 {
            0 => {
                let removed = store.remove(Target::new(&key), None).await;
                assert_eq!(removed.ok(), Some(RemoveOutcome::Removed));
                say("remove", number);
            }
            1 => {
                let entry = NewEntry::new(value(number, 3), expiry);
                let entry = entry.replaces(Predecessor::new(key).seen(seen));
                let _ = store.insert(successor(number), entry).await.expect("insert works");
                say("succeed", number);
            }
            _ => {}
        }
    }
}
