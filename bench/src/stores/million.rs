//! A million sessions in a store that keeps them: making them, reading them, and all of them ending.

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
use super::backend::print_versions;
use super::client::sign_in;
use super::server::{Library, Server, build_peers};
use super::statistics::{grouped, quantile};
use super::user::User;
use super::{IDLE, Options};
use crate::harness::{below, mix};

const NAMESPACE: &str = "kvolt";
const LIVE: u64 = 1_000;
const WRITERS: u64 = 64;
const READERS: u64 = 4;
const MAX_PEER_SESSIONS: u64 = 200_000;
/// All ends lie in this window.
const WINDOW: Duration = Duration::from_secs(3);
/// How many expiring sessions are remembered, to be read before and after they expire.
const SAMPLE: u64 = 10_000;
const PATIENCE: Duration = Duration::from_secs(120);
/// Cleaning every second instead of every minute, so that it can be seen; it may begin late by as much.
const CLEAN_EVERY: Duration = Duration::from_secs(1);

pub(super) fn run(options: &Options) {
    let entries = options.entries;
    println!(
        "\n== stores million: {} sessions that end within {WINDOW:?}, and {LIVE} that live",
        grouped(entries as f64)
    );
    println!(
        "made by {WRITERS} at once through Manager::create, each with an owner of its own; every commit is"
    );
    println!(
        "on disk (Redis: AOF, fsync always). {READERS} readers of the live ones, one read after the other: 3 s"
    );
    println!(
        "before, from the first end until all is cleaned, and 3 s after. SQL stores clean every second."
    );
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().expect("it starts");
    if options.wants("redis") {
        let redis = Redis::builder().append_only().start();
        print_versions(Some(&redis), None, None);
        runtime.block_on(async {
            let store = RedisStore::open(redis.url(), NAMESPACE).await.expect("it is there");
            measure("Redis", entries, store, &redis).await;
        });
        peer(&runtime, entries.min(MAX_PEER_SESSIONS));
    }
    if options.wants("postgres") {
        let postgres = Postgres::start();
        print_versions(None, Some(&postgres), None);
        runtime.block_on(async {
            let store = PostgresStore::builder(&postgres.url(), NAMESPACE)
                .clean_every(CLEAN_EVERY)
                .open()
                .await;
            measure("PostgreSQL", entries, store.expect("it is there"), &postgres).await;
        });
    }
    if options.wants("mariadb") {
        let mariadb = MariaDb::start();
        print_versions(None, None, Some(&mariadb));
        runtime.block_on(async {
            let store = MySqlStore::builder(&mariadb.url(), NAMESPACE)
                .clean_every(CLEAN_EVERY)
                .open()
                .await;
            measure("MariaDB", entries, store.expect("it is there"), &mariadb).await;
        });
    }
    if options.wants("sqlite") {
        let folder = std::env::temp_dir().join(format!("kvolt-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("it can be made");
        let file = File(folder.join("sessions"));
        println!("SQLite");
        runtime.block_on(async {
            let url = format!("sqlite:{}", file.0.display());
            let store = SqliteStore::builder(&url, NAMESPACE).clean_every(CLEAN_EVERY).open().await;
            measure("SQLite", entries, store.expect("it can be made"), &file).await;
        });
        let _ = std::fs::remove_dir_all(folder);
    }
}

/// Redis memory per session of the peer, measured on fewer sessions.
fn peer(runtime: &tokio::runtime::Runtime, sessions: u64) {
    let redis = Redis::start();
    let server = Server::start(Library::TowerSessions, "redis", &redis.url(), &build_peers());
    let used = || redis.info("used_memory").parse::<u64>().unwrap_or(0);
    runtime.block_on(sign_in(server.port, WRITERS, WRITERS));
    let before = used();
    runtime.block_on(sign_in(server.port, sessions, WRITERS));
    println!(
        "  tower-sessions: memory: {} bytes each, of {}",
        grouped((used() - before) as f64 / sessions as f64),
        grouped(sessions as f64),
    );
}

/// Connections to the server beside the store's.
trait Held {
    /// Sizes in bytes, by name. The first is divided by the number of sessions.
    fn bytes(&self) -> Vec<(&'static str, u64)>;

    /// Whether anything is left of what has ended.
    fn has_ended_left(&self) -> impl Future<Output = bool>;
}

impl Held for Redis {
    fn bytes(&self) -> Vec<(&'static str, u64)> {
        let number = |field| self.info(field).parse().unwrap_or(0);
        vec![("memory", number("used_memory")), ("its file", number("aof_current_size"))]
    }

    async fn has_ended_left(&self) -> bool {
        // An index of the owner beside each session.
        let keys: u64 = self.cli(&["DBSIZE"]).trim().parse().expect("a number");
        keys > 2 * LIVE
    }
}

impl Held for Postgres {
    fn bytes(&self) -> Vec<(&'static str, u64)> {
        let number =
            |what| self.psql(&format!("select {what}('kvolt_sessions')")).parse().unwrap_or(0);
        vec![
            ("table and indices", number("pg_total_relation_size")),
            ("table", number("pg_table_size")),
        ]
    }

    async fn has_ended_left(&self) -> bool {
        // Asked for once, or the index would not be used.
        let now = "(select (extract(epoch from clock_timestamp()) * 1000)::bigint)";
        let sql = format!("select exists(select 1 from kvolt_sessions where expires <= {now})");
        self.psql(&sql) == "t"
    }
}

impl Held for MariaDb {
    fn bytes(&self) -> Vec<(&'static str, u64)> {
        let file = self.folder().join("data/kvolt/kvolt_sessions.ibd");
        vec![("its file", size(&file))]
    }

    async fn has_ended_left(&self) -> bool {
        let now = "floor(unix_timestamp(now(3)) * 1000)";
        self.sql(&format!("select exists(select 1 from kvolt_sessions where expires <= {now})"))
            == "1"
    }
}

struct File(PathBuf);

impl Held for File {
    fn bytes(&self) -> Vec<(&'static str, u64)> {
        let log = self.0.with_file_name("sessions-wal");
        vec![("its file", size(&self.0)), ("its log", size(&log))]
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
) -> (u64, Vec<Token>, Vec<u32>) {
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..WRITERS {
        let (store, next, ends_in) = (store.clone(), Arc::clone(&next), ends_in.clone());
        tasks.spawn(async move {
            let (mut made, mut tokens, mut micros) = (0, Vec::new(), Vec::new());
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(ends_in) = ends_in(number).filter(|_| number < count) else {
                    return (made, tokens, micros);
                };
                let manager = manager(store.clone(), ends_in);
                let user = User::new(first + number);
                let session = NewSession::new(user).owner((first + number).to_string());
                let start = Instant::now();
                let token = manager.create(session).await.expect("it is made");
                micros.push(start.elapsed().as_micros() as u32);
                made += 1;
                if number.is_multiple_of(keep_each) {
                    tokens.push(token);
                }
            }
        });
    }
    let (mut made, mut tokens, mut micros) = (0, Vec::new(), Vec::new());
    for (more, some, times) in tasks.join_all().await {
        made += more;
        tokens.extend(some);
        micros.extend(times);
    }
    micros.sort_unstable();
    (made, tokens, micros)
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
    let (_, live, _) = make(&store, LIVE - WRITERS, WRITERS, 1, |_| Some(IDLE)).await;
    let expected = start.elapsed().div_f64((LIVE - WRITERS) as f64).mul_f64(entries as f64);
    let end = Instant::now() + expected.mul_f64(2.0) + Duration::from_secs(15);
    let start = Instant::now();
    let last = WINDOW.as_millis() as u64;
    let ends_in = move |number| {
        let later = Duration::from_millis(below(last, mix(number)));
        let left = end.saturating_duration_since(Instant::now());
        (left > Duration::from_secs(1)).then_some(left + later)
    };
    let keep_each = (entries / SAMPLE).max(1);
    let (made, sample, making) = make(&store, entries, LIVE, keep_each, ends_in).await;
    let took = start.elapsed();
    if made < entries {
        println!("  {name}: only {} were made before they began to end", grouped(made as f64));
    }
    println!(
        "  {name}: {} made in {:.1} s, {} per second; each p50 {:.2} p99 {:.2} max {:.1} ms",
        grouped(made as f64),
        took.as_secs_f64(),
        grouped(made as f64 / took.as_secs_f64()),
        quantile(&making, 0.5) / 1e3,
        quantile(&making, 0.99) / 1e3,
        quantile(&making, 1.0) / 1e3,
    );
    for ((what, before), (_, after)) in before.iter().zip(server.bytes()) {
        println!(
            "  {name}: {what}: {} bytes each",
            grouped(after.saturating_sub(*before) as f64 / made as f64)
        );
    }

    let manager = manager(store, IDLE);
    let (mut found, mut micros) = (0, Vec::new());
    let start = Instant::now();
    for token in &sample {
        if end.saturating_duration_since(Instant::now()) < Duration::from_secs(4) {
            break;
        }
        let start = Instant::now();
        found += u64::from(manager.peek(token).await.expect("it works").is_some());
        micros.push(start.elapsed().as_micros() as u32);
    }
    println!(
        "  {name}: {} of {} at random are found, one after the other, in {:.1} s:",
        grouped(found as f64),
        grouped(micros.len() as f64),
        start.elapsed().as_secs_f64(),
    );
    header();
    row("a random one of all", micros);

    sleep((end - Duration::from_secs(3)).saturating_duration_since(Instant::now())).await;
    let readers = Readers::start(&manager, live);
    sleep(end.saturating_duration_since(Instant::now())).await;
    row("a live one, before the others end", readers.take());
    sleep(WINDOW).await;
    // Whatever has been cleaned: by now, all of them have ended.
    let mut alive = 0;
    for token in &sample {
        alive += u64::from(manager.peek(token).await.expect("it works").is_some());
    }
    while server.has_ended_left().await && end.elapsed() < PATIENCE {
        sleep(Duration::from_millis(200)).await;
    }
    let cleaned = end.elapsed();
    row("while the others end and are cleaned", readers.take());
    sleep(Duration::from_secs(3)).await;
    row("after that", readers.take());
    let live_found = readers.stop().await;
    println!(
        "  {name}: all cleaned {:.1} s after the first, {:.1} s after the last had ended; found after their end: {alive}; \
         reads of live ones that found nothing: {live_found}",
        cleaned.as_secs_f64(),
        (cleaned.saturating_sub(WINDOW)).as_secs_f64(),
    );
    if cleaned >= PATIENCE {
        println!("  {name}: not cleaned after {PATIENCE:?}");
    }
    let after = server.bytes();
    let after: Vec<String> =
        after.iter().map(|(what, bytes)| format!("{what} {} MB", bytes / 1_000_000)).collect();
    println!("  {name}: what is left takes: {}", after.join(", "));
}

fn header() {
    println!(
        "    {:<40} {:>10} {:>9} {:>9} {:>9} {:>9}",
        "ms", "reads", "p50", "p99", "p99.9", "max"
    );
}

fn row(what: &str, mut micros: Vec<u32>) {
    micros.sort_unstable();
    println!(
        "    {what:<40} {:>10} {:>9.2} {:>9.2} {:>9.2} {:>9.2}",
        grouped(micros.len() as f64),
        quantile(&micros, 0.5) / 1e3,
        quantile(&micros, 0.99) / 1e3,
        quantile(&micros, 0.999) / 1e3,
        quantile(&micros, 1.0) / 1e3,
    );
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
                    micros.lock().expect("nobody panics").push(took);
                }
                missing
            });
        }
        Self { micros, done, tasks }
    }

    fn take(&self) -> Vec<u32> {
        std::mem::take(&mut *self.micros.lock().expect("nobody panics"))
    }

    async fn stop(self) -> u64 {
        self.done.store(true, Ordering::Relaxed);
        self.tasks.join_all().await.iter().sum()
    }
}
