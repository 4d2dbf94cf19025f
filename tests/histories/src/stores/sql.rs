use std::path::PathBuf;
use std::sync::Arc;

use kvolt_servers::{MariaDb, PostgresBuilder, Proxy};
use kvolt_sql::{MySqlStore, PostgresStore, SqliteStore};
use sqlx::{Connection, Executor, SqliteConnection};
use tokio::runtime::Handle;

use super::network::Network;
use super::{
    NAMESPACE, PROCESSES, Setup, StoreOptions, blocking, process, process_near, slide_after,
    to_text,
};
use crate::checker::Rules;
use crate::{Fault, FaultInjector, Random, Schedule};

pub(super) async fn postgres(
    options: &StoreOptions,
    server: PostgresBuilder,
) -> Result<Setup, String> {
    let (server, proxies) = blocking(|| {
        let server = server.start();
        let proxies: Vec<Proxy> = (0..PROCESSES).map(|_| Proxy::to(server.port())).collect();
        (Arc::new(server), proxies)
    })
    .await?;
    let rules = Rules { bound: options.near_cache, ..Rules::default() };
    let mut processes = Vec::new();
    for (number, proxy) in proxies.iter().enumerate() {
        let store = PostgresStore::builder(&proxy.url(&server.url()), NAMESPACE);
        let store = store.slide_after(slide_after(number)).open().await.map_err(to_text)?;
        processes.push(process_near(store, options.near_cache, &rules)?);
    }
    let admin = Arc::clone(&server);
    let network = Network::new(server, proxies).only(options.only.clone());
    let network = network.with_extra_fault("backends terminated", move || {
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";
        // This statement may also terminate its own backend.
        let _ = admin.try_psql(sql);
    });
    Ok(Setup { processes, rules, injector: Box::new(network) })
}

pub(super) async fn mariadb(options: &StoreOptions) -> Result<Setup, String> {
    let (server, proxies) = blocking(|| {
        let server = MariaDb::builder().start();
        let proxies: Vec<Proxy> = (0..PROCESSES).map(|_| Proxy::to(server.port())).collect();
        (Arc::new(server), proxies)
    })
    .await?;
    let rules = Rules::default();
    let mut processes = Vec::new();
    for (number, proxy) in proxies.iter().enumerate() {
        let store = MySqlStore::builder(&proxy.url(&server.url()), NAMESPACE);
        let store = store.slide_after(slide_after(number)).open().await.map_err(to_text)?;
        processes.push(process(store, &rules)?);
    }
    // InnoDB makes a commit visible before it is on disk. The client gets its answer later;
    // if the server is killed in between, a visible change is lost.
    let network =
        Network::new(server, proxies).only(options.only.clone()).makes_commits_visible_early();
    Ok(Setup { processes, rules, injector: Box::new(network) })
}

/// Several pools on one file, as if several processes used it.
pub(super) async fn sqlite(options: &StoreOptions) -> Result<Setup, String> {
    let folder = Folder::new()?;
    let file = folder.0.join("sessions.db");
    let url = format!("sqlite://{}", file.display());
    let rules = Rules { bound: options.near_cache, ..Rules::default() };
    let mut processes = Vec::new();
    for number in 0..PROCESSES {
        let store = SqliteStore::builder(&url, NAMESPACE).slide_after(slide_after(number));
        let store = store.open().await.map_err(to_text)?;
        processes.push(process_near(store, options.near_cache, &rules)?);
    }
    let injector = Locking { url, runtime: Handle::current(), held: None, _folder: folder };
    Ok(Setup { processes, rules, injector: Box::new(injector) })
}

/// A folder that is removed after the run.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, String> {
        let unique = Random::new(u64::from(std::process::id()), seed()).number();
        let path = std::env::temp_dir().join(format!("kvolt-histories-{unique:016x}"));
        std::fs::create_dir_all(&path).map_err(to_text)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Returns a different number for each folder of this program.
fn seed() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Simulates another program that holds the file's lock for too long.
struct Locking {
    url: String,
    runtime: Handle,
    held: Option<SqliteConnection>,
    _folder: Folder,
}

impl FaultInjector for Locking {
    fn inject(&mut self, _: &mut Random) -> Fault {
        let url = self.url.clone();
        let held = self.runtime.block_on(async move {
            let mut connection = SqliteConnection::connect(&url).await.ok()?;
            let begin = "PRAGMA busy_timeout = 1000; BEGIN IMMEDIATE";
            connection.execute(begin).await.ok()?;
            Some(connection)
        });
        self.held = held;
        Fault::harmless("file locked")
    }

    fn undo(&mut self) {
        if let Some(mut connection) = self.held.take() {
            self.runtime.block_on(async move {
                let _ = connection.execute("ROLLBACK").await;
                let _ = connection.close().await;
            });
        }
    }

    fn schedule(&self) -> Schedule {
        Schedule { pause: (300, 1_200), duration: (50, 3_000) }
    }
}
