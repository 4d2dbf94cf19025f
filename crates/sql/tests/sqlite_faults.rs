//! Files that are missing, locked, full, damaged or not ours, and disks that are.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use kvolt_cache::{
    Error, Expiry, Freshness, InsertOutcome, Key, NewEntry, RemoveOutcome, Store, Target,
};
use kvolt_sql::{SqliteStore, Synchronous};
use sqlx::{Connection, SqliteConnection};
use support::{folder, get, owner, sqlite, sqlite_url};

const TIMEOUT: Duration = Duration::from_millis(600);

async fn open(url: &str) -> Result<SqliteStore, Error> {
    SqliteStore::builder(url, "shop").timeout(TIMEOUT).open().await
}

async fn remove(store: &SqliteStore, key: &Key) -> Result<RemoveOutcome, Error> {
    store.remove(Target::new(key), None).await
}

fn entry(len: usize) -> NewEntry<Vec<u8>> {
    NewEntry::new(vec![7; len], Expiry::idle(Duration::from_secs(3_600)))
}

fn path(url: &str) -> PathBuf {
    url.strip_prefix("sqlite:").expect("it is a path").into()
}

fn assert_misconfigured<S>(opened: Result<S, Error>, about: &str) {
    let Err(error) = opened else { panic!("it opened: {about}") };
    assert!(error.is_misconfigured(), "{about}: {error}");
    assert_eq!(error.to_string().lines().count(), 1, "{about}: {error}");
}

#[tokio::test]
async fn new_file_is_private() {
    let url = sqlite_url("mode");
    let store = open(&url).await.expect("it opens");
    let _ = store.insert(Key::of("key"), entry(1)).await.expect("it works");
    for end in ["", "-wal", "-shm"] {
        let file = format!("{}{end}", path(&url).display());
        let mode = fs::metadata(&file).expect("it is there").mode() & 0o777;
        assert_eq!(mode, 0o600, "{file}");
    }
    let mode = sqlite(&url, "SELECT journal_mode FROM pragma_journal_mode").await;
    assert_eq!(mode, "wal", "readers and the writer don't wait for each other");
}

#[tokio::test]
async fn invalid_paths_are_rejected() {
    let folder = folder("places");
    fs::write(folder.join("text"), "no database, but more than a hundred bytes. ".repeat(100))
        .unwrap();
    for (url, about) in [
        (format!("sqlite:{}/missing/sessions.db", folder.display()), "there is no such folder"),
        (format!("sqlite:{}", folder.display()), "it is a folder"),
        (format!("sqlite:{}/text", folder.display()), "it is something else"),
        ("sqlite:/proc/sessions.db".to_owned(), "nothing can be made there"),
        ("sqlite::memory:".to_owned(), "it would be gone with the program"),
        ("sqlite:".to_owned(), "it has no name"),
        (String::new(), "it has no name"),
        ("postgres://localhost/sessions".to_owned(), "it is another database's"),
        ("file:sessions.db?mode=ro".to_owned(), "it is another kind of URL"),
        (format!("sqlite://{}/sessions.db?mode=rwc", folder.display()), "it has a query"),
    ] {
        assert_misconfigured(open(&url).await, about);
    }
    let files: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["text"], "none of them made a file");
}

#[tokio::test]
async fn path_suffices_as_url() {
    let path = folder("path").join("sessions.db").display().to_string();
    for url in [path.clone(), format!("sqlite:{path}"), format!("sqlite://{path}")] {
        let store = SqliteStore::builder(&url, "shop").timeout(Duration::MAX);
        let store = store.clean_every(Duration::MAX).open().await.expect("it opens");
        let _ = store.insert(Key::of("key"), entry(1)).await.expect("insert works");
        assert_eq!(store.count().await.ok(), Some(1), "it is one file");
    }
}

#[tokio::test]
async fn full_file_rejects_only_new_entries() {
    let url = sqlite_url("full");
    let builder = SqliteStore::builder(&url, "shop").max_file_size(200_000);
    let store = builder.synchronous(Synchronous::Normal).open().await.expect("it opens");
    let mut keys = Vec::new();
    let error = loop {
        let key = Key::of(format!("key {}", keys.len()));
        match store.insert(key, entry(2_000)).await {
            Ok(_) => keys.push(key),
            Err(error) => break error,
        }
    };
    assert!(error.is_full(), "{error}");
    assert!(keys.len() > 30, "{} fit", keys.len());
    for key in &keys {
        assert!(get(&store, key).await.is_some());
    }
    for key in &keys[..10] {
        assert_eq!(remove(&store, key).await.ok(), Some(RemoveOutcome::Removed));
    }
    let inserted = store.insert(Key::of("again"), entry(2_000)).await.expect("there is room");
    assert_eq!(inserted, InsertOutcome::Inserted { removed: Vec::new() });
}

#[tokio::test]
async fn locked_file_is_unavailable() {
    let url = sqlite_url("locked");
    let store = open(&url).await.expect("it opens");
    let key = Key::of("key");
    let _ = store.insert(key, entry(1)).await.expect("it works");
    let mut other = SqliteConnection::connect(&url).await.expect("it can be opened");
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.expect("it works");
    let error = remove(&store, &key).await.expect_err("it is locked");
    assert!(error.is_unavailable(), "{error}");
    assert!(error.to_string().contains("locked"), "{error}");
    assert!(get(&store, &key).await.is_some(), "reading works");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.expect("it works");
    assert_eq!(remove(&store, &key).await.ok(), Some(RemoveOutcome::Removed), "it works again");
}

#[tokio::test]
async fn two_programs_share_one_file() {
    let url = sqlite_url("two");
    let (one, other) = (open(&url).await.expect("it opens"), open(&url).await.expect("it opens"));
    for number in 0..50 {
        let key = Key::of(format!("key {number}"));
        let _ = one.insert(key, entry(1)).await.expect("it works");
        assert!(get(&other, &key).await.is_some());
        assert_eq!(remove(&other, &key).await.ok(), Some(RemoveOutcome::Removed));
        assert!(get(&one, &key).await.is_none());
    }
}

#[tokio::test]
async fn damaged_file_is_reported() {
    let url = sqlite_url("damaged");
    let store = open(&url).await.expect("it opens");
    for number in 0..200 {
        let key = Key::of(format!("key {number}"));
        let _ = store.insert(key, entry(500)).await.expect("it works");
    }
    store.close().await;
    let mut bytes = fs::read(path(&url)).unwrap();
    bytes[8_192..].fill(0xa5);
    fs::write(path(&url), bytes).unwrap();
    let store = open(&url).await.expect("its head is sound");
    let error = store.scan(None, 1_000).await.expect_err("its body is not");
    assert!(error.is_misconfigured(), "{error}");
}

/// A row with an owner that can't be read is an error of its own, and hides no other.
#[tokio::test]
async fn damaged_row_is_reported() {
    let url = sqlite_url("row");
    let store = open(&url).await.expect("it opens");
    let (bad, good) = (Key::of("bad"), Key::of("good"));
    for key in [bad, good] {
        let _ = store.insert(key, entry(1)).await.expect("it works");
    }
    for owner in ["x'ff'", "x'02'", "'text'", "zeroblob(256)"] {
        let sql = format!("UPDATE shop_sessions SET owner = {owner} WHERE key = x'{bad}'");
        sqlite(&url, &sql).await;
        if owner == "'text'" {
            // SQLite keeps bytes and text apart; both are read.
            assert_eq!(
                get(&store, &bad).await.expect("it is read").owner,
                Some(self::owner("text"))
            );
            continue;
        }
        let error = store.get(&bad, Freshness::Strict).await.expect_err("no owner has this name");
        assert!(error.is_corrupt() && error.key() == Some(bad), "{error}");
        assert!(get(&store, &good).await.is_some());
        let page = store.scan(None, 10).await.expect("it names it");
        assert_eq!(page.listing.unreadable, [bad]);
        assert_eq!(page.listing.entries.len(), 1);
    }
    assert_eq!(remove(&store, &bad).await.ok(), Some(RemoveOutcome::Removed));
}

/// Permissions don't bind the superuser, so another program opens the file, as the user `nobody`.
const AS_NOBODY: &str = "KVOLT_TEST_AS_NOBODY";

#[test]
fn read_only_file_is_reported() {
    let Ok(url) = std::env::var(AS_NOBODY) else {
        let url = sqlite_url("rights");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { open(&url).await.expect("it opens").close().await });
        let file = path(&url);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
        let program = file.with_file_name("test");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let mut child = Command::new(program);
        child.args(["--exact", "read_only_file_is_reported"]).env(AS_NOBODY, &url);
        if fs::metadata(&file).unwrap().uid() == 0 {
            child.uid(65_534).gid(65_534).current_dir("/");
        }
        assert!(child.status().unwrap().success());
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        match open(&url).await {
            Err(error) => assert!(error.is_misconfigured(), "{error}"),
            Ok(store) => {
                let error =
                    store.insert(Key::of("key"), entry(1)).await.expect_err("it is read-only");
                assert!(error.is_misconfigured(), "{error}");
            }
        }
        let beside = format!("{url}.new");
        assert_misconfigured(open(&beside).await, "the folder is another's");
    });
}
