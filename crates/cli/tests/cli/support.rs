//! Stores with sessions, and the program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kvolt::cache::{AnyStore, Entry, Key, Store};
use kvolt::session::{AnonymousSessions, ManagerBuilder};
use kvolt::{
    Device, Encoded, Level, Manager, MySqlStore, NewSession, PostgresStore, RecordJson, RedisStore,
    SqliteStore, Token,
};
use kvolt_servers::{MariaDb, Package, Postgres, Redis, require};
use serde_json::{Value, json};

pub(crate) const NAMESPACE: &str = "shop";
/// For a busy machine.
const TIMEOUT: Duration = Duration::from_secs(30);
/// In the data of every session.
pub(crate) const DATA: &str = "the application's secret";

/// A folder that is removed on drop.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("kvolt-cli-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("the folder can be made");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("sqlite:{}", self.0.join(name).display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server or a file.
pub(crate) enum Server {
    Redis(Redis),
    Postgres(Postgres),
    MariaDb(MariaDb),
    Sqlite(Folder),
}

impl Server {
    /// Starts one of each kind, with passwords; fewer without the servers.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![Self::Sqlite(Folder::new())];
        if require(&[Package::Redis]) {
            all.push(Self::Redis(Redis::builder().append_only().password("pass-redis").start()));
        }
        if require(&[Package::Postgres]) {
            all.push(Self::Postgres(Postgres::builder().password("pass-postgres").start()));
        }
        if require(&[Package::MariaDb]) {
            all.push(Self::MariaDb(MariaDb::start()));
        }
        all
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Redis(server) => server.url(),
            Self::Postgres(server) => server.url(),
            Self::MariaDb(server) => server.url(),
            Self::Sqlite(folder) => folder.url("sessions.db"),
        }
    }

    /// What follows the first `:` of the credentials.
    pub(crate) fn password(&self) -> Option<String> {
        let url = self.url();
        let (credentials, _) = url.rsplit_once('@')?;
        Some(credentials.rsplit_once(':')?.1.to_owned())
    }
}

/// Opens a store of bytes in which every use is recorded.
pub(crate) async fn open(url: &str) -> AnyStore<Vec<u8>> {
    let opened = match url.split(':').next().expect("a scheme") {
        "redis" => {
            let builder = RedisStore::builder(url, NAMESPACE).timeout(TIMEOUT).slide_after(0.0);
            builder.open().await.map(AnyStore::new)
        }
        "postgres" => {
            let builder = PostgresStore::builder(url, NAMESPACE).timeout(TIMEOUT);
            builder.slide_after(0.0).open().await.map(AnyStore::new)
        }
        "mysql" => {
            let builder = MySqlStore::builder(url, NAMESPACE).timeout(TIMEOUT);
            builder.slide_after(0.0).open().await.map(AnyStore::new)
        }
        _ => {
            let builder = SqliteStore::builder(url, NAMESPACE).slide_after(0.0);
            let builder = builder.synchronous(kvolt::sql::Synchronous::Normal);
            builder.timeout(TIMEOUT).open().await.map(AnyStore::new)
        }
    };
    opened.expect("the store opens")
}

pub(crate) fn manager(store: &AnyStore<Vec<u8>>) -> Manager<Value> {
    let store = Encoded::new(store.clone(), RecordJson::new());
    let builder: ManagerBuilder<Value> = Manager::builder(store);
    builder.anonymous(AnonymousSessions::new(1_000_000)).build().expect("valid settings")
}

/// Creates a session; each number has one of the kinds.
pub(crate) async fn create(manager: &Manager<Value>, number: u64) -> Token {
    let data = json!({ "number": number, "text": DATA });
    let session = NewSession::new(data.clone()).owner(format!("user-{}", number % 40));
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let session = match number % 8 {
        1 => return manager.create_anonymous(data).await.expect("it is created"),
        2 => session.remember(true),
        3 => session.idle_timeout(minutes(10)).lifetime(minutes(100)),
        4 => session.level(Level::Two),
        5 => {
            let device = Device::new().with_user_agent("Mozilla/5.0 \u{1b}[2J");
            session.device(device.with_address([192, 0, 2, 7].into()))
        }
        _ => session,
    };
    manager.create(session).await.expect("it is created")
}

/// All entries of a store.
pub(crate) async fn entries(store: &AnyStore<Vec<u8>>) -> BTreeMap<Key, Entry<Vec<u8>>> {
    let (mut all, mut after) = (BTreeMap::new(), None);
    loop {
        let page = store.scan(after.as_ref(), 5_000).await.expect("the store is available");
        assert!(page.listing.unreadable.is_empty());
        let sessions =
            page.listing.entries.into_iter().filter(|entry| entry.key.is_in(store.namespace()));
        all.extend(sessions.map(|entry| (entry.key, entry)));
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

/// Everything in the records that no output may have.
pub(crate) fn secrets<'a>(entries: impl IntoIterator<Item = &'a Entry<Vec<u8>>>) -> Vec<String> {
    fn gather(value: &Value, secrets: &mut Vec<String>) {
        for (name, value) in value.as_object().into_iter().flatten() {
            match value {
                Value::String(text)
                    if ["secret", "seed", "key", "challenge", "digest", "id", "binding"]
                        .contains(&name.as_str()) =>
                {
                    secrets.push(text.clone());
                }
                Value::Array(values) => values.iter().for_each(|value| gather(value, secrets)),
                value => gather(value, secrets),
            }
        }
    }
    let mut secrets = Vec::new();
    for entry in entries {
        let line = entry.value.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if let Ok(envelope) = serde_json::from_slice(line) {
            gather(&envelope, &mut secrets);
        }
    }
    secrets
}

/// What the program printed.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The lines of JSON.
    pub(crate) fn json(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        self.stdout.lines().map(parse).collect()
    }

    #[track_caller]
    pub(crate) fn has_status(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn has_none_of(self, secrets: &[String]) -> Self {
        for secret in secrets {
            let printed = format!("{}{}", self.stdout, self.stderr);
            assert!(!printed.contains(secret.as_str()), "it printed {secret}: {self:?}");
        }
        self
    }
}

/// A run of the program.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvolt"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the program to its end.
pub(crate) fn kvolt(args: &[&str]) -> Ran {
    ended(command(args).spawn().expect("it starts"))
}

pub(crate) fn ended(child: Child) -> Ran {
    let output = child.wait_with_output().expect("it ends");
    Ran {
        // None after a signal.
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("it is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("it is UTF-8"),
    }
}
