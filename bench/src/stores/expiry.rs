//! Many sessions in a store that keeps them: all of them end while others are read.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kvolt::cache::Store;
use kvolt::redis::RedisStore;
use kvolt::session::{Manager, NewSession, Token};
use kvolt::sql::{MySqlStore, PostgresStore, SqliteStore};
use kvolt_servers::{MariaDb, Postgres, Redis};
use sqlx::Connection as _;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::app::coded;
use super::backend::versions;
use super::statistics::quantile;
use super::{Folder, IDLE};
use crate::harness::{Settings, Table, below, mix, progress};
use crate::user::User;

const NAMESPACE: &str = "kvolt";
const LIVE: u64 = 1_000;
const WRITERS: u64 = 64;
const READERS: u64 = 4;
const TABLE: &str = "sessions that end within three seconds";
/// All ends lie in this window.
const WINDOW: Duration = Duration::from_secs(3);
/// How many expiring sessions are remembered, to be read before and after they expire.
const SAMPLE: u64 = 10_000;
const PATIENCE: Duration = Duration::from_secs(120);
/// Cleaning every second instead of every minute, so that it can be seen; it may begin late by as much.
const CLEAN_EVERY: Duration = Duration::from_secs(1);

pub(super) fn run(settings: Settings) {
    let entries = settings.pick(50_000, 2_000);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().expect("it starts");
    progress(0, 4, "Redis");
    let redis = Redis::builder().append_only().start();
    versions(Some(&redis), None, None);
    runtime.block_on(async {
        let store = RedisStore::open(redis.url(), NAMESPACE).await.expect("it is there");
        measure("Redis", entries, store, &redis).await;
    });
    drop(redis);
    if settings.quick {
        return;
    }
    progress(1, 4, "PostgreSQL");
    let postgres = Postgres::start();
    versions(None, Some(&postgres), None);
    runtime.block_on(async {
        let store = PostgresStore::builder(&postgres.url(), NAMESPACE);
        let store = store.clean_every(CLEAN_EVERY).open().await.expect("it is there");
        measure("PostgreSQL", entries, store, &postgres).await;
    });
    drop(postgres);
    progress(2, 4, "MariaDB");
    let mariadb = MariaDb::start();
    versions(None, None, Some(&mariadb));
    runtime.block_on(async {
        let store = MySqlStore::builder(&mariadb.url(), NAMESPACE);
        let store = store.clean_every(CLEAN_EVERY).open().await.expect("it is there");
        measure("MariaDB", entries, store, &mariadb).await;
    });
    drop(mariadb);
    progress(3, 4, "SQLite");
    let folder = Folder::new();
    let file = File(folder.0.join("sessions"));
    runtime.block_on(async {
        let url = format!("sqlite:{}", file.0.display());
        let store = SqliteStore::builder(&url, NAMESPACE).clean_every(CLEAN_EVERY).open().await;
        measure("SQLite", entries, store.expect("it can be made"), &file).await;
    });
}

/// A server, by connections of its own beside those of the store.
trait Held {
    /// The bytes that the sessions take there.
    fn bytes(&self) -> u64;

    /// Whether anything is left of what has ended.
    fn has_ended_left(&self) -> impl Future<Output = bool>;
}

impl Held for Redis {
    fn bytes(&self) -> u64 {
        self.info("used_memory").parse().unwrap_or(0)
    }

    async fn has_ended_left(&self) -> bool {
        // An index of the owner beside each session.
        let keys: u64 = self.cli(&["DBSIZE"]).trim().parse().expect("a number");
        keys > 2 * LIVE
    }
}

impl Held for Postgres {
    fn bytes(&self) -> u64 {
        self.psql("select pg_total_relation_size('kvolt_sessions')").parse().unwrap_or(0)
    }

    async fn has_ended_left(&self) -> bool {
        // Asked for once, or the index would not be used.
        let now = "(select (extract(epoch from clock_timestamp()) * 1000)::bigint)";
        let sql = format!("select exists(select 1 from kvolt_sessions where expires <= {now})");
        self.psql(&sql) == "t"
    }
}

impl Held for MariaDb {
    fn bytes(&self) -> u64 {
        size(&self.folder().join("data/kvolt/kvolt_sessions.ibd"))
    }

    async fn has_ended_left(&self) -> bool {
        let now = "floor(unix_timestamp(now(3)) * 1000)";
        self.sql(&format!("select exists(select 1 from kvolt_sessions where expires <= {now})"))
            == "1"
    }
}

struct File(PathBuf);

impl Held for File {
    fn bytes(&self) -> u64 {
        size(&self.0)
    }

    async fn has_ended_left(&self) -> bool {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&self.0);
        let mut connection = sqlx::SqliteConnection::connect_with(&options.read_only(true))
            .await
            .expect("it is there");
        let sql = "select exists(select 1 from kvolt_sessions where expires <= unixepoch('subsec') * 1000)";
        let left: bool =
            sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect("it works");
        let _ = connection.close().await;
        left
    }
}

fn size(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |file| file.len())
}

/// A manager whose sessions end so much later, used or not, and what belongs to them with them.
fn manager<S: Store<Vec<u8>>>(store: S, ends_in: Duration) -> Manager<User> {
    let builder = Manager::builder(coded(store)).idle_timeout(ends_in).lifetime(ends_in);
    builder.build().expect("it is longer than nothing")
}

/// So many sessions, by all writers; `ends_in` says when each ends, and nothing once it is too late.
async fn make<S: Store<Vec<u8>> + Clone>(
    store: &S,
    count: u64,
    first: u64,
    keep_each: u64,
    ends_in: impl Fn(u64) -> Option<Duration> + Clone + Send + 'static,
) -> (u64, Vec<Token>) {
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..WRITERS {
        let (store, next, ends_in) = (store.clone(), Arc::clone(&next), ends_in.clone());
        tasks.spawn(async move {
            let (mut made, mut tokens) = (0, Vec::new());
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(ends_in) = ends_in(number).filter(|_| number < count) else {
                    return (made, tokens);
                };
                let manager = manager(store.clone(), ends_in);
                let user = User::new(first + number);
                let session = NewSession::new(user).owner((first + number).to_string());
                let token = manager.create(session).await.expect("it is made");
                made += 1;
                if number.is_multiple_of(keep_each) {
                    tokens.push(token);
                }
            }
        });
    }
    let (mut made, mut tokens) = (0, Vec::new());
    for (more, some) in tasks.join_all().await {
        made += more;
        tokens.extend(some);
    }
    (made, tokens)
}

async fn measure<S: Store<Vec<u8>> + Clone>(
    name: &str,
    entries: u64,
    store: S,
    server: &impl Held,
) {
    let before = server.bytes();
    // The connections are made first.
    make(&store, WRITERS, 0, u64::MAX, |_| Some(IDLE)).await;
    let start = Instant::now();
    let (_, live) = make(&store, LIVE - WRITERS, WRITERS, 1, |_| Some(IDLE)).await;
    let expected = start.elapsed().div_f64((LIVE - WRITERS) as f64).mul_f64(entries as f64);
    let end = Instant::now() + expected.mul_f64(2.0) + Duration::from_secs(6);
    let start = Instant::now();
    let last = WINDOW.as_millis() as u64;
    let ends_in = move |number| {
        let later = Duration::from_millis(below(last, mix(number)));
        let left = end.saturating_duration_since(Instant::now());
        (left > Duration::from_secs(1)).then_some(left + later)
    };
    let keep_each = (entries / SAMPLE).max(1);
    let (made, sample) = make(&store, entries, LIVE, keep_each, ends_in).await;
    let took = start.elapsed();
    let table = Table::new("expiry", TABLE);
    table.add(name, "sessions", "", &[made as f64]);
    table.add(name, "created", "per s", &[made as f64 / took.as_secs_f64()]);
    let bytes = server.bytes().saturating_sub(before);
    table.add(name, "each", "bytes", &[bytes as f64 / made as f64]);

    let manager = manager(store, IDLE);
    sleep((end - Duration::from_secs(3)).saturating_duration_since(Instant::now())).await;
    let readers = Readers::start(&manager, live);
    sleep(end.saturating_duration_since(Instant::now())).await;
    let reads = Table::new("expiry", "reads of live sessions meanwhile");
    write(&reads, name, "before", readers.take());
    sleep(WINDOW).await;
    // Whatever has been cleaned: by now, all of them have ended.
    let mut alive = 0;
    for token in &sample {
        alive += u64::from(manager.peek(token).await.expect("it works").is_some());
    }
    while server.has_ended_left().await && end.elapsed() < PATIENCE {
        sleep(Duration::from_millis(200)).await;
    }
    let cleaned = end.elapsed().saturating_sub(WINDOW);
    write(&reads, name, "while the others end", readers.take());
    let missing = readers.stop().await;
    table.add(name, "found after their end", "", &[alive as f64]);
    table.add(name, "live ones not found", "", &[missing as f64]);
    table.add(name, "all deleted after the last end", "s", &[cleaned.as_secs_f64()]);
}

fn write(table: &Table, row: &str, when: &str, mut micros: Vec<u32>) {
    micros.sort_unstable();
    for (what, share) in [("p50", 0.5), ("p99", 0.99), ("longest", 1.0)] {
        let millis = quantile(&micros, share) / 1e3;
        table.add(row, &format!("{when}, {what}"), "ms", &[millis]);
    }
}

/// Read live sessions until they are stopped.
struct Readers {
    micros: Arc<Mutex<Vec<u32>>>,
    done: Arc<AtomicBool>,
    tasks: JoinSet<u64>,
}

impl Readers {
    fn start(manager: &Manager<User>, live: Vec<Token>) -> Self {
        let (micros, done) = (Arc::default(), Arc::default());
        let mut tasks = JoinSet::new();
        let live = Arc::new(live);
        for reader in 0..READERS {
            let (manager, live) = (manager.clone(), Arc::clone(&live));
            let (micros, done): (Arc<Mutex<Vec<u32>>>, Arc<AtomicBool>) =
                (Arc::clone(&micros), Arc::clone(&done));
            tasks.spawn(async move {
                let mut missing = 0;
                for number in 0.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    let token =
                        &live[below(live.len() as u64, mix(number * READERS + reader)) as usize];
                    let start = Instant::now();
                    let found = manager.get(token).await.expect("it works");
                    let took = start.elapsed().as_micros() as u32;
                    missing += u64::from(found.is_none());
                    micros.lock().expect("no panic").push(took);
                }
                missing
            });
        }
        Self { micros, done, tasks }
    }

    fn take(&self) -> Vec<u32> {
        std::mem::take(&mut *self.micros.lock().expect("no panic"))
    }

    async fn stop(self) -> u64 {
        self.done.store(true, Ordering::Relaxed);
        self.tasks.join_all().await.iter().sum()
    }
}
