//! Files that are missing, locked, full, damaged or not ours, and disks that are.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use kvolt_cache::{Access, Error, Expiry, Insert, Key, NewEntry, Owner, Store};
use kvolt_sql::{SqliteStore, Synchronous};
use sqlx::{Connection, SqliteConnection};
use support::{folder, sqlite, sqlite_url};

const TIMEOUT: Duration = Duration::from_millis(600);

async fn open(url: &str) -> Result<SqliteStore, Error> {
    SqliteStore::builder().timeout(TIMEOUT).open(url).await
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
async fn a_new_file_is_for_nobody_else() {
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
async fn places_where_no_file_can_be() {
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
        ("sessions.db".to_owned(), "it is no URL"),
    ] {
        assert_misconfigured(open(&url).await, about);
    }
}

#[tokio::test]
async fn a_file_that_is_full() {
    let url = sqlite_url("full");
    let builder = SqliteStore::builder().size_max(200_000).synchronous(Synchronous::Normal);
    let store = builder.open(&url).await.expect("it opens");
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
        assert!(store.get(key, Access::SLIDE).await.expect("reading works").is_some());
    }
    for key in &keys[..10] {
        assert!(store.remove(key).await.expect("removing works"));
    }
    let inserted = store.insert(Key::of("again"), entry(2_000)).await.expect("there is room");
    assert_eq!(inserted, Insert::Inserted { removed: Vec::new() });
}

#[tokio::test]
async fn a_file_that_another_program_has_locked() {
    let url = sqlite_url("locked");
    let store = open(&url).await.expect("it opens");
    let key = Key::of("key");
    let _ = store.insert(key, entry(1)).await.expect("it works");
    let mut other = SqliteConnection::connect(&url).await.expect("it can be opened");
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.expect("it works");
    let error = store.remove(&key).await.expect_err("it is locked");
    assert!(error.is_unavailable(), "{error}");
    assert!(error.to_string().contains("locked"), "{error}");
    assert!(store.get(&key, Access::PEEK).await.expect("reading works").is_some());
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.expect("it works");
    assert!(store.remove(&key).await.expect("it works again"));
}

#[tokio::test]
async fn two_programs_on_one_file_see_each_other_s_changes() {
    let url = sqlite_url("two");
    let (one, other) = (open(&url).await.expect("it opens"), open(&url).await.expect("it opens"));
    for number in 0..50 {
        let key = Key::of(format!("key {number}"));
        let _ = one.insert(key, entry(1)).await.expect("it works");
        assert!(other.get(&key, Access::SLIDE).await.expect("it works").is_some());
        assert!(other.remove(&key).await.expect("it works"));
        assert!(one.get(&key, Access::SLIDE).await.expect("it works").is_none());
    }
}

#[tokio::test]
async fn a_file_that_is_damaged() {
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

/// Garbage in a row is told with its key, and is in nobody else's way.
#[tokio::test]
async fn a_row_that_is_damaged() {
    let url = sqlite_url("row");
    let store = open(&url).await.expect("it opens");
    let (bad, good) = (Key::of("bad"), Key::of("good"));
    for key in [bad, good] {
        let _ = store.insert(key, entry(1)).await.expect("it works");
    }
    sqlite(&url, &format!("UPDATE kvolt_entries SET owner = x'ff' WHERE key = x'{bad}'")).await;
    let error = store.get(&bad, Access::SLIDE).await.expect_err("no owner has this name");
    assert!(error.is_corrupt() && error.key() == Some(bad), "{error}");
    assert!(store.get(&good, Access::SLIDE).await.expect("it works").is_some());
    assert!(store.remove(&bad).await.expect("it can be removed"));

    // Also with everything of an owner's, which has to be possible in any case.
    let owner = Owner::from("owner");
    let _ = store.insert(bad, entry(1).owner(owner.clone())).await.expect("it works");
    sqlite(&url, "UPDATE kvolt_entries SET idle_deadline = NULL WHERE owner IS NOT NULL").await;
    assert!(store.list(&owner).await.expect_err("it can't be read").is_corrupt());
    assert_eq!(store.remove_owner(&owner, None).await.expect("it works"), [bad]);
}

/// Rights don't bind the superuser, so another program looks, as nobody.
const AS_NOBODY: &str = "KVOLT_TEST_AS_NOBODY";

#[test]
fn a_file_that_may_only_be_read() {
    let Ok(url) = std::env::var(AS_NOBODY) else {
        let url = sqlite_url("rights");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { open(&url).await.expect("it opens").close().await });
        let file = path(&url);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
        let program = file.with_file_name("test");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let mut child = Command::new(program);
        child.args(["--exact", "a_file_that_may_only_be_read"]).env(AS_NOBODY, &url);
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
