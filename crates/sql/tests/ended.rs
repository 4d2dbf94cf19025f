//! Who asks for it is told what has ended, and how many entries there are.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kvolt_cache::{Access, Expiry, Key, NewEntry, Owner, Rename, Store};
use kvolt_servers::{MariaDb, Postgres};
use kvolt_sql::{MySqlStore, PostgresStore, SqliteStore};
use support::sqlite_url;
use tokio::time::sleep;

const OFTEN: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(3_600);
/// More than fit into one batch, and into one statement that deletes.
const ENDING: usize = 250;
const BATCH: u32 = 120;

type Told = Arc<Mutex<Vec<Key>>>;

fn listen<S: Store<Vec<u8>>>(store: &S, told: &Told) -> bool {
    let told = Arc::clone(told);
    store.on_expired(Arc::new(move |key| told.lock().expect("nobody panicked").push(*key)))
}

fn entry(lifetime: Duration) -> NewEntry<Vec<u8>> {
    NewEntry::new(b"value".to_vec(), Expiry::after(lifetime))
}

async fn insert<S: Store<Vec<u8>>>(store: &S, name: &str, entry: NewEntry<Vec<u8>>) -> Key {
    let key = Key::of(name);
    let _ = store.insert(key, entry).await.expect("it works");
    key
}

/// With two stores on one table.
async fn tells_once<S: Store<Vec<u8>> + Clone>(stores: [S; 2]) {
    let told = Told::default();
    assert!(stores.iter().all(|store| listen(store, &told)));
    assert!(!listen(&stores[0].clone(), &told), "one who listens is enough");
    let [store, _] = &stores;
    let (soon, owner) = (Duration::from_millis(700), Owner::from("owner"));
    let mut ending = Vec::new();
    for number in 0..ENDING {
        ending.push(insert(store, &format!("{number}"), entry(soon)).await);
    }
    let idle = NewEntry::new(Vec::new(), Expiry::idle(soon)).owner(owner.clone());
    ending.push(insert(store, "idle", idle).await);
    let (former, renamed) = (insert(store, "former", entry(soon)).await, Key::of("renamed"));
    let mut rename = Rename::new();
    rename.grace = LONG;
    let _ = store.rename(&former, renamed, rename.clone()).await.expect("it works");
    ending.push(renamed);

    let (left, lives) = (insert(store, "left", entry(LONG)).await, Key::of("lives"));
    rename.grace = Duration::from_millis(100);
    let _ = store.rename(&left, lives, rename).await.expect("it works");
    let removed = insert(store, "removed", entry(soon)).await;
    assert!(store.remove(&removed).await.expect("it works"));
    let _ = insert(store, "revoked", entry(soon).owner(owner.clone())).await;
    let keep = Key::of("idle");
    assert_eq!(store.remove_owner(&owner, Some(&keep)).await.expect("it works").len(), 1);

    ending.sort_unstable();
    for _ in 0..200 {
        if told.lock().expect("nobody panicked").len() >= ending.len() {
            break;
        }
        sleep(OFTEN).await;
    }
    sleep(OFTEN * 4).await;
    let mut told = told.lock().expect("nobody panicked").clone();
    told.sort_unstable();
    assert_eq!(told, ending, "each once, and nothing else");
    assert!(store.get(&lives, Access::PEEK).await.expect("it works").is_some());
}

async fn counts<S: Store<Vec<u8>>>(store: S) {
    let count = async || store.count().await.expect("it works");
    assert_eq!(count().await, 0);
    for number in 0..30 {
        let _ = insert(&store, &format!("{number}"), entry(LONG)).await;
    }
    let mut rename = Rename::new();
    rename.grace = LONG;
    for number in 0..10 {
        let (from, to) = (Key::of(format!("{number}")), Key::of(format!("new {number}")));
        let _ = store.rename(&from, to, rename.clone()).await.expect("it works");
    }
    assert_eq!(count().await, 30, "a former key is no entry");
    assert!(store.remove(&Key::of("20")).await.expect("it works"));
    let _ = insert(&store, "ends", entry(Duration::from_millis(1))).await;
    sleep(Duration::from_millis(10)).await;
    assert_eq!(count().await, 29, "nothing is cleaned here, and what has ended is not counted");
    store.clear().await.expect("it works");
    assert_eq!(count().await, 0);
    assert!(!listen(&store, &Told::default()), "a store that does not clean can't tell");
}

mod postgresql {
    use super::*;

    fn server() -> Postgres {
        Postgres::builder().fsync(false).start()
    }

    #[tokio::test]
    async fn what_has_ended_is_told_once_by_one_of_several_stores() {
        let server = server();
        let builder = || PostgresStore::builder().clean_every(OFTEN).clean_rows_max(BATCH);
        let open = async || builder().open(&server.url()).await.expect("it opens");
        tells_once([open().await, open().await]).await;
    }

    #[tokio::test]
    async fn a_count_has_what_lives() {
        let server = server();
        let builder = PostgresStore::builder().clean_every(None);
        counts(builder.open(&server.url()).await.expect("it opens")).await;
    }

    #[tokio::test]
    async fn a_count_has_what_lives_behind_a_pooler_too() {
        let server = server();
        let builder = PostgresStore::builder().clean_every(None).pooled_by_transactions(true);
        counts(builder.open(&server.url()).await.expect("it opens")).await;
    }
}

mod mariadb {
    use super::*;

    fn server() -> MariaDb {
        MariaDb::builder().fsync(false).start()
    }

    #[tokio::test]
    async fn what_has_ended_is_told_once_by_one_of_several_stores() {
        let server = server();
        let builder = || MySqlStore::builder().clean_every(OFTEN).clean_rows_max(BATCH);
        let open = async || builder().open(&server.url()).await.expect("it opens");
        tells_once([open().await, open().await]).await;
    }

    #[tokio::test]
    async fn a_count_has_what_lives() {
        let server = server();
        let builder = MySqlStore::builder().clean_every(None);
        counts(builder.open(&server.url()).await.expect("it opens")).await;
    }
}

mod in_a_file {
    use super::*;

    #[tokio::test]
    async fn what_has_ended_is_told_once_by_one_of_several_stores() {
        let url = sqlite_url("ended");
        let builder = || SqliteStore::builder().clean_every(OFTEN).clean_rows_max(BATCH);
        let open = async || builder().open(&url).await.expect("it opens");
        tells_once([open().await, open().await]).await;
    }

    #[tokio::test]
    async fn a_count_has_what_lives() {
        let builder = SqliteStore::builder().clean_every(None);
        counts(builder.open(&sqlite_url("ended")).await.expect("it opens")).await;
    }
}
