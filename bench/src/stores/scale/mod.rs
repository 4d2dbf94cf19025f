//! Many sessions in a store: they are created and read, an owner of many is signed out, many sign in
//! at once, the server is killed, and all of them end while others are read.
//!
//! By hand: `scale [--entries N | --share 0.6] [--only STORE]`. A share is that of the memory, or of the disk,
//! which is free at first.

mod held;
mod load;

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kvolt::Owner;
use kvolt::cache::MemoryStore;
use kvolt::redis::RedisStore;
use kvolt::session::{Manager, Token};
use kvolt::sql::{MySqlStore, PostgresStore, SqliteStore};
use kvolt_servers::{MariaDb, Postgres, Redis};
use tokio::time::{sleep, timeout};

use self::held::{File, Held};
use self::load::{Readers, WRITERS, make, storm, write};
use super::app::coded;
use super::backend::versions;
use super::{Folder, IDLE};
use crate::harness::{Settings, Table, below, mix, progress};
use crate::user::User;

const NAMESPACE: &str = "kvolt";
const PART: &str = "scale";
/// The sessions that do not end meanwhile.
const LIVE: u64 = 1_000;
/// All ends lie in this window.
const WINDOW: Duration = Duration::from_secs(3);
/// A quick run has so many sessions.
const QUICK: u64 = 10_000;
/// How many expiring sessions are remembered, to be read before and after they expire.
const SAMPLE: u64 = 10_000;
/// The table divided by the hash of the key.
const PARTITIONED: &str = "PostgreSQL, 16 partitions";
const PARTITIONS: u32 = 16;
/// A limit of each wait.
const PATIENCE: Duration = Duration::from_secs(600);
/// Cleaning every second instead of every minute, so that it can be seen; it may begin late by as much.
const CLEAN_EVERY: Duration = Duration::from_secs(1);

/// The sessions of a full run; a quick one has Redis alone.
const STORES: [(&str, u64); 6] = [
    ("memory", 1_000_000),
    ("Redis", 1_000_000),
    ("PostgreSQL", 250_000),
    (PARTITIONED, 250_000),
    ("MariaDB", 30_000),
    ("SQLite", 30_000),
];

/// How many sessions.
#[derive(Debug, Clone, Copy)]
enum Amount {
    Entries(u64),
    /// Of what is free.
    Share(f64),
}

/// The value of `--name`, if it is there.
fn argument<T: FromStr>(name: &str) -> Option<T> {
    let value = std::env::args().skip_while(|argument| argument != name).nth(1)?;
    Some(
        value.replace('_', "").parse().unwrap_or_else(|_| panic!("{name} {value}: no value of it")),
    )
}

pub(super) fn run(settings: Settings) {
    let only: Option<String> = argument("--only");
    let entries = argument("--entries").map(Amount::Entries);
    let asked = argument("--share").map(Amount::Share).or(entries);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().expect("it starts");
    for (index, (name, full)) in STORES.into_iter().enumerate() {
        let amount = asked.unwrap_or(Amount::Entries(settings.pick(full, QUICK)));
        let wanted = only.as_ref().map_or(!settings.quick || name == "Redis", |only| only == name);
        if !wanted {
            continue;
        }
        progress(index, STORES.len(), name);
        let plan = Plan { name, amount, settings };
        match name {
            "memory" => {
                let store = MemoryStore::new();
                let open = async || Manager::new(store.clone());
                runtime.block_on(plan.measure(open, &store));
            }
            "Redis" => {
                let redis = Redis::builder().append_only().start();
                versions(Some(&redis), None, None);
                let url = redis.url();
                let open = async || {
                    Manager::new(coded(RedisStore::open(&url, NAMESPACE).await.expect("it opens")))
                };
                runtime.block_on(plan.measure(open, &redis));
            }
            "PostgreSQL" | PARTITIONED => {
                let postgres = Postgres::start();
                versions(None, Some(&postgres), None);
                if name == PARTITIONED {
                    partition(&postgres);
                }
                let url = postgres.url();
                let open = async || {
                    let store = PostgresStore::builder(&url, NAMESPACE).clean_every(CLEAN_EVERY);
                    Manager::new(coded(store.open().await.expect("it opens")))
                };
                runtime.block_on(plan.measure(open, &postgres));
            }
            "MariaDB" => {
                let mariadb = MariaDb::start();
                versions(None, None, Some(&mariadb));
                let url = mariadb.url();
                let open = async || {
                    let store = MySqlStore::builder(&url, NAMESPACE).clean_every(CLEAN_EVERY);
                    Manager::new(coded(store.open().await.expect("it opens")))
                };
                runtime.block_on(plan.measure(open, &mariadb));
            }
            _ => {
                let folder = Folder::new();
                let file = File(folder.0.join("sessions"));
                let url = format!("sqlite:{}", file.0.display());
                let open = async || {
                    let store = SqliteStore::builder(&url, NAMESPACE).clean_every(CLEAN_EVERY);
                    Manager::new(coded(store.open().await.expect("it opens")))
                };
                runtime.block_on(plan.measure(open, &file));
            }
        }
    }
}

/// Creates the table before the store does.
fn partition(postgres: &Postgres) {
    for (number, sql) in (1..).zip(PostgresStore::migrations(NAMESPACE).expect("it is valid")) {
        let divided = sql.replacen(") STORED\n);", ") STORED\n) PARTITION BY HASH (key);", 1);
        postgres.psql(&divided);
        postgres.psql(&format!("insert into kvolt_sessions_meta values ({number}, 0)"));
    }
    for part in 0..PARTITIONS {
        postgres.psql(&format!(
            "create table kvolt_sessions_{part} partition of kvolt_sessions \
             for values with (modulus {PARTITIONS}, remainder {part})"
        ));
    }
}

struct Plan {
    name: &'static str,
    amount: Amount,
    settings: Settings,
}

impl Plan {
    /// How long reads, and how long logins are counted.
    fn lasts(&self) -> Duration {
        self.settings.pick(Duration::from_secs(3), Duration::from_millis(300))
    }

    async fn measure(&self, open: impl AsyncFn() -> Manager<User>, held: &impl Held) {
        let name = self.name;
        let manager = open().await;
        let (free, before) = (held.free(), held.bytes());
        let own = |number: u64| number.to_string();
        // The connections are made first.
        let (_, signing_in) = make(&manager, 0..WRITERS, own, 1, |_| Some(IDLE)).await;
        let (_, live) = make(&manager, WRITERS..LIVE, own, 1, |_| Some(IDLE)).await;
        let live = Arc::new(live);
        let crowd = self.settings.pick(10_000, 1_000);
        let start = Instant::now();
        make(&manager, LIVE..LIVE + crowd, |_| String::from("crowd"), u64::MAX, |_| Some(IDLE))
            .await;
        let rate = crowd as f64 / start.elapsed().as_secs_f64();
        let each = held.bytes().saturating_sub(before) as f64 / (LIVE + crowd) as f64;
        let entries = match self.amount {
            Amount::Entries(entries) => entries,
            Amount::Share(share) => (share * free as f64 / each) as u64,
        };

        // Time for the fill, and for what follows before the end.
        let recovery = held.server().map_or(0.0, |_| 2.0 + entries as f64 / 100_000.0);
        let busy = self.settings.pick(10.0 + recovery, 2.5);
        let fill = Duration::from_secs_f64(entries as f64 / rate * 1.3 + 1.0);
        let start = Instant::now();
        let end = start + fill + Duration::from_secs_f64(busy);
        let window = self.settings.pick(WINDOW, WINDOW / 6);
        let last = window.as_millis() as u64;
        let ends_in = move |number| {
            let later = Duration::from_millis(below(last, mix(number)));
            (start.elapsed() < fill).then(|| end.saturating_duration_since(Instant::now()) + later)
        };
        let (before, worked) = (held.bytes(), held.processor());
        let first = LIVE + crowd;
        let keep_each = (entries / SAMPLE).max(1);
        let (made, sample) = make(&manager, first..first + entries, own, keep_each, ends_in).await;
        let took = start.elapsed();
        let table = Table::new(PART, "sessions");
        table.add(name, "sessions", "", &[made as f64]);
        table.add(name, "created", "per s", &[made as f64 / took.as_secs_f64()]);
        let worked = (held.processor() - worked) / made as f64;
        table.add(name, "server's processor, create", "us", &[worked]);
        let full = held.bytes();
        let bytes = full.saturating_sub(before);
        table.add(name, "each", "bytes", &[bytes as f64 / made as f64]);

        let sample = Arc::new(sample);
        self.read(&manager, &sample, held).await;
        self.sign_in(&manager, signing_in).await;
        self.revoke(&manager, &live, crowd).await;
        let manager = match held.server() {
            Some(_) => self.restart(&open, manager, held, &live).await,
            None => manager,
        };
        if Instant::now() > end {
            eprintln!("{name}: the first sessions have ended before the readers of the rest began");
        }
        self.end(&manager, &live, &sample, held, [end, end + window]).await;
        let left = held.bytes().saturating_sub(before) as f64 / bytes.max(1) as f64;
        table.add(name, "still taken after the end", "%", &[100.0 * left.min(1.0)]);
    }

    /// Sessions at random while the store is full.
    async fn read(&self, manager: &Manager<User>, sample: &Arc<Vec<Token>>, held: &impl Held) {
        let worked = held.processor();
        let readers = Readers::start(manager, sample);
        sleep(self.lasts()).await;
        let micros = readers.take();
        let worked = (held.processor() - worked) / micros.len() as f64;
        let missing = readers.stop().await;
        assert_eq!(missing, 0, "sessions that have not ended are missing");
        Table::new(PART, "sessions").add(self.name, "server's processor, read", "us", &[worked]);
        write(&Table::new(PART, "reads at random"), self.name, "full", micros);
    }

    async fn sign_in(&self, manager: &Manager<User>, tokens: Vec<Token>) {
        let start = Instant::now();
        let micros = storm(manager, tokens, IDLE, self.lasts()).await;
        let rate = micros.len() as f64 / start.elapsed().as_secs_f64();
        let table = Table::new(PART, "logins of 64 tasks, each over a session");
        table.add(self.name, "logins", "per s", &[rate]);
        write(&table, self.name, "a login", micros);
    }

    /// All sessions of one owner, while those of others are read.
    async fn revoke(&self, manager: &Manager<User>, live: &Arc<Vec<Token>>, crowd: u64) {
        let readers = Readers::start(manager, live);
        sleep(Duration::from_millis(500)).await;
        let table = Table::new(PART, "all sessions of one owner are ended");
        let before = readers.take();
        let start = Instant::now();
        let owner = Owner::new("crowd").expect("it is valid");
        let ended = manager.revoke_owner(&owner).await.expect("it works");
        let took = start.elapsed();
        // Those that waited have their answer.
        sleep(Duration::from_millis(100)).await;
        let during = readers.take();
        readers.stop().await;
        assert_eq!(ended as u64, crowd, "sessions of the owner");
        table.add(self.name, "sessions", "", &[ended as f64]);
        table.add(self.name, "took", "ms", &[took.as_secs_f64() * 1e3]);
        write(&table, self.name, "reads of others before", before);
        write(&table, self.name, "meanwhile", during);
    }

    /// The server is killed and started again, and then the application.
    async fn restart(
        &self,
        open: impl AsyncFn() -> Manager<User>,
        manager: Manager<User>,
        held: &impl Held,
        live: &[Token],
    ) -> Manager<User> {
        let server = held.server().expect("it has one");
        let start = Instant::now();
        tokio::task::block_in_place(|| {
            server.kill();
            server.restart();
        });
        let found = async |manager: &Manager<User>| {
            let reading = async {
                // The store is unavailable at first.
                while !matches!(manager.peek(&live[0]).await, Ok(Some(_))) {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(PATIENCE, reading).await.expect("it is found again");
        };
        found(&manager).await;
        let table = Table::new(PART, "restart");
        let seconds = start.elapsed().as_secs_f64();
        table.add(self.name, "server killed, first session read after", "s", &[seconds]);
        drop(manager);
        let start = Instant::now();
        let manager = open().await;
        found(&manager).await;
        let millis = start.elapsed().as_secs_f64() * 1e3;
        table.add(self.name, "application started, first session read after", "ms", &[millis]);
        let mut lost = 0;
        for token in live {
            lost += u64::from(manager.peek(token).await.expect("it works").is_none());
        }
        table.add(self.name, "lost", "", &[lost as f64]);
        manager
    }

    /// All sessions of the fill end, while others are read.
    async fn end(
        &self,
        manager: &Manager<User>,
        live: &Arc<Vec<Token>>,
        sample: &[Token],
        held: &impl Held,
        [end, last]: [Instant; 2],
    ) {
        sleep((end - self.lasts()).saturating_duration_since(Instant::now())).await;
        let readers = Readers::start(manager, live);
        sleep(end.saturating_duration_since(Instant::now())).await;
        let reads = Table::new(PART, "reads of live sessions while the others end");
        write(&reads, self.name, "before", readers.take());
        sleep(last.saturating_duration_since(Instant::now())).await;
        // Whatever has been cleaned: by now, all of them have ended.
        let mut alive = 0;
        for token in sample {
            alive += u64::from(manager.peek(token).await.expect("it works").is_some());
        }
        while held.has_ended_left().await && last.elapsed() < PATIENCE {
            sleep(Duration::from_millis(50)).await;
        }
        let cleaned = last.elapsed();
        write(&reads, self.name, "meanwhile", readers.take());
        let missing = readers.stop().await;
        let table = Table::new(PART, "sessions");
        table.add(self.name, "found after their end", "", &[alive as f64]);
        table.add(self.name, "live ones not found", "", &[missing as f64]);
        table.add(self.name, "all deleted after the last end", "s", &[cleaned.as_secs_f64()]);
    }
}
