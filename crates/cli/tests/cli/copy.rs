//! Copying between stores while an application uses the source, with the program killed on the way.

use std::collections::BTreeSet;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{
    Folder, NAMESPACE, Ran, command, create, ended, entries, kvolt, manager, open, secrets,
};
use kvolt::cache::{AnyStore, Entry, Expiry, Key, NewEntry, Store};
use kvolt::session::RotateOutcome;
use kvolt::{Manager, NewSession, Token};
use kvolt_servers::{Package, Postgres, Redis, RedisCluster, require};
use serde_json::{Value, json};

/// How long anything may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// The tokens of an application that keeps using its sessions.
#[derive(Default)]
struct Tokens {
    live: Vec<Token>,
    /// Of sessions that have ended.
    ended: Vec<Token>,
}

/// Uses sessions until `stop`: reads, changes, renews, ends and creates some.
async fn work(
    manager: Manager<Value>,
    mut tokens: Tokens,
    stop: Arc<AtomicBool>,
    seed: u64,
) -> Tokens {
    let mut random = seed;
    let mut number = 1_000_000 * seed;
    while !stop.load(Ordering::SeqCst) {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let index = (random >> 33) as usize % tokens.live.len();
        let token = &tokens.live[index];
        match (random >> 20) % 16 {
            0 => {
                assert!(manager.logout(token).await.expect("it is available"));
                tokens.ended.push(tokens.live.swap_remove(index));
            }
            1..=2 => {
                number += 1;
                let new = create(&manager, number).await;
                tokens.live.push(new);
            }
            3 => match manager.rotate(token).await.expect("it is available") {
                RotateOutcome::Token(new) => tokens.live[index] = new,
                outcome => panic!("the session is live: {outcome:?}"),
            },
            4..=6 => {
                let changed = manager.update(token, |data| data["changed"] = json!(random)).await;
                assert!(changed.expect("it is available").is_some());
            }
            _ => assert!(manager.get(token).await.expect("it is available").is_some()),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokens
}

fn copying(from: &str, to: &str, more: &[&str]) -> Child {
    let mut args = vec!["copy", from, to, "-n", NAMESPACE, "--json", "--timeout", "60"];
    args.extend(more);
    command(&args).spawn().expect("it starts")
}

/// Kills a copy with SIGKILL once the target has at least so many entries.
async fn kill_at(mut child: Child, target: &AnyStore<Vec<u8>>, entries: u64) {
    let reached = async {
        while target.count().await.expect("the store is available") < entries {
            assert_eq!(
                child.try_wait().expect("its state is known"),
                None,
                "it has ended too early"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, reached).await.expect("the copy makes progress");
    child.kill().expect("it can be killed");
    assert_eq!(ended(child).status, -1, "it was killed on the way");
}

/// Copies in the presence of an application, and compares both stores at the end.
async fn hop(from: &str, to: &str, tokens: Tokens) -> Tokens {
    let (source, target) = (open(from).await, open(to).await);
    let sessions = tokens.live.len() as u64;
    // Two pages are in flight when a part has been written.
    let rate = (sessions / 2).max(400).to_string();
    let rate: &[&str] = &["--rate", &rate];
    let stop = Arc::new(AtomicBool::new(false));
    let seed = from.len() as u64 + 1;
    let worker = tokio::spawn(work(manager(&source), tokens, Arc::clone(&stop), seed));

    for part in [sessions / 10, sessions / 2] {
        kill_at(copying(from, to, rate), &target, part).await;
    }
    let begun = tokio::time::Instant::now();
    let ran = ended(copying(from, to, &[])).has_status(0);
    report("a pass after two that were killed", begun, &ran);
    let begun = tokio::time::Instant::now();
    report("another pass", begun, &ended(copying(from, to, &[])).has_status(0));

    stop.store(true, Ordering::SeqCst);
    let mut tokens =
        tokio::time::timeout(LIMIT, worker).await.expect("it ends").expect("it succeeds");
    // One more, which the killed last pass may or may not have removed.
    let last = tokens.live.pop().expect("there are many");
    assert!(manager(&source).logout(&last).await.expect("it is available"));
    tokens.ended.push(last);
    let mut killed = copying(from, to, &["--final", rate[0], rate[1]]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(killed.try_wait().expect("its state is known"), None, "it has ended too early");
    killed.kill().expect("it can be killed");
    assert_eq!(ended(killed).status, -1);

    let begun = tokio::time::Instant::now();
    let ran = ended(copying(from, to, &["--final"])).has_status(0);
    report("the last pass, and the comparison", begun, &ran);
    compare(&source, &target, &tokens, ran).await;

    // It would revive sessions.
    let refused = ended(copying(from, to, &[])).has_status(1);
    assert!(refused.stderr.contains("revive"), "{refused:?}");
    ended(copying(from, to, &["--final"])).has_status(1);
    tokens
}

fn report(what: &str, begun: tokio::time::Instant, ran: &Ran) {
    // Shown with `--nocapture`.
    eprintln!("{:>6} ms  {what}: {}", begun.elapsed().as_millis(), ran.stdout.trim());
}

/// Nothing is lost and nothing revived, and every time is kept.
async fn compare(
    source: &AnyStore<Vec<u8>>,
    target: &AnyStore<Vec<u8>>,
    tokens: &Tokens,
    ran: Ran,
) {
    let (theirs, copies) = (entries(source).await, entries(target).await);
    ran.has_none_of(&secrets(copies.values()));
    let is_same = |one: &Entry<Vec<u8>>, copy: &Entry<Vec<u8>>| {
        let times = |entry: &Entry<Vec<u8>>| {
            let deadlines = entry.deadlines;
            let ends = (deadlines.expires_at(), deadlines.absolute());
            (entry.created, deadlines.last_used(), deadlines.idle_timeout(), ends)
        };
        one.value == copy.value && one.owner == copy.owner && times(one) == times(copy)
    };
    assert_eq!(theirs.len(), copies.len());
    for (key, entry) in &theirs {
        assert!(is_same(entry, &copies[key]), "{entry:?}\n{:?}", copies[key]);
    }
    let (before, after) = (manager(source), manager(target));
    for token in &tokens.ended {
        assert!(after.peek(token).await.expect("it is available").is_none(), "it was revived");
    }
    // An owner's sessions are found by the index. Those of one millisecond have no order.
    let owner = kvolt::Owner::new("user-2").expect("a name");
    let ids = async |manager: &Manager<Value>| -> BTreeSet<_> {
        let list = manager.list(&owner).await.expect("it is available");
        list.sessions.iter().map(|session| session.id()).collect()
    };
    assert_eq!(ids(&before).await, ids(&after).await);
    for token in tokens.live.iter().take(500) {
        let session = after.peek(token).await.expect("it is available").expect("it was not lost");
        let one = before.peek(token).await.expect("it is available").expect("it is live");
        let times = |one: &kvolt::SessionSnapshot<Value>| {
            (one.created(), one.last_seen(), one.expires_at(), one.ends_at(), one.is_remembered())
        };
        assert_eq!(times(&session), times(&one));
    }
}

async fn around(sessions: u64) {
    let folder = Folder::new();
    let redis = Redis::builder().append_only().start();
    let postgres = Postgres::start();
    let from = folder.url("first.db");
    let source = open(&from).await;
    let application = manager(&source);
    let mut tokens = Tokens::default();
    for first in (0..sessions).step_by(200) {
        let mut tasks = tokio::task::JoinSet::new();
        for number in first..(first + 200).min(sessions) {
            let application = application.clone();
            tasks.spawn(async move { create(&application, number).await });
        }
        tokens.live.extend(tasks.join_all().await);
    }
    // An administrator who acts for a user.
    let root = NewSession::new(json!({})).owner("root");
    let root = application.create(root).await.expect("it is created");
    let user = NewSession::new(json!({})).owner("user-1");
    let acting = application.impersonate(&root, user).await.expect("it is available");
    let acting = acting.expect("the administrator is signed in");
    // Some end while they are copied.
    for seconds in 1..20 {
        let soon = NewSession::new(json!({})).owner("soon");
        let soon = soon.idle_timeout(Duration::from_secs(seconds));
        let _ = application.create(soon).await.expect("it is created");
    }

    let tokens = hop(&from, &redis.url(), tokens).await;
    let tokens = hop(&redis.url(), &postgres.url(), tokens).await;
    let last = folder.url("last.db");
    hop(&postgres.url(), &last, tokens).await;
    let session = manager(&open(&last).await).peek(&acting).await.expect("it is available");
    assert!(session.expect("it is live").acting_for().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_revived_by_a_copy_that_is_killed() {
    if require(&[Package::Redis, Package::Postgres]) {
        around(2_000).await;
    }
}

/// `cargo test -p kvolt-cli --test copy -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn hundred_thousand_sessions_are_copied_around() {
    around(100_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_goes_from_and_to_mariadb() {
    if !require(&[Package::MariaDb]) {
        return;
    }
    let (folder, mariadb) = (Folder::new(), kvolt_servers::MariaDb::start());
    let from = folder.url("first.db");
    let source = open(&from).await;
    let application = manager(&source);
    let mut tokens = Tokens::default();
    for number in 0..1_500 {
        tokens.live.push(create(&application, number).await);
    }
    let target = open(&mariadb.url()).await;
    let ran = ended(copying(&from, &mariadb.url(), &[])).has_status(0);
    assert_eq!(ran.json()[0]["copied"], 1_500);
    // Each is changed or used, so the last pass writes all.
    for token in &tokens.live {
        let _ = application.get(token).await.expect("it is available");
    }
    let ran = ended(copying(&from, &mariadb.url(), &["--final"])).has_status(0);
    compare(&source, &target, &tokens, ran).await;
    let back = folder.url("back.db");
    let ran = ended(copying(&mariadb.url(), &back, &["--final"])).has_status(0);
    compare(&target, &open(&back).await, &tokens, ran).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_from_a_cluster_is_possible_and_to_one_is_refused() {
    if !require(&[Package::Redis]) {
        return;
    }
    let (folder, cluster) = (Folder::new(), RedisCluster::start());
    let hosts: Vec<_> = cluster.urls().iter().map(|url| url.replace("redis://", "")).collect();
    let cluster = format!("redis+cluster://{}", hosts.join(","));
    let store = kvolt::RedisStore::open(&cluster, NAMESPACE).await.expect("it opens");
    let store = AnyStore::new(store);
    let mut tokens = Tokens::default();
    for number in 0..50 {
        tokens.live.push(create(&manager(&store), number).await);
    }
    let file = folder.url("sessions.db");
    let ran = ended(copying(&cluster, &file, &["--final"])).has_status(0);
    compare(&store, &open(&file).await, &tokens, ran).await;

    store.clear().await.expect("it is available");
    // Of which ids suit the slots of their owners: these were made for them.
    let again = folder.url("again.db");
    let _ = create(&manager(&open(&again).await), 0).await;
    for number in 0..20 {
        let _ = create(&manager(&open(&again).await), number * 8).await;
    }
    let refused = ended(copying(&again, &cluster, &[])).has_status(1);
    assert!(refused.stderr.contains("Cluster"), "{refused:?}");
}

#[tokio::test]
async fn copy_is_refused_where_it_would_remove_or_revive_sessions() {
    let folder = Folder::new();
    let [one, two, three] = ["one.db", "two.db", "three.db"].map(|name| folder.url(name));
    for url in [&one, &two] {
        let _ = create(&manager(&open(url).await), 0).await;
    }
    let refused = |from: &str, to: &str, why: &str| {
        for more in [&[][..], &["--final"]] {
            let ran = ended(copying(from, to, more)).has_status(1);
            assert!(ran.stderr.contains(why), "{ran:?}");
        }
    };
    refused(&one, &one, "the same store");
    refused(&one, &one.replace("sqlite:", ""), "the same store");
    refused(&one, &two, "is no unfinished copy");
    ended(copying(&one, &three, &[])).has_status(0);
    refused(&two, &three, "is an unfinished copy of");
    // The mark of the copy is no session.
    let counted = kvolt(&["count", &three, "-n", NAMESPACE, "--json"]).json();
    assert_eq!(counted[0]["sessions"], 1);
    ended(copying(&one, &three, &["--final"])).has_status(0);
    refused(&one, &three, "revive");
}

#[tokio::test]
async fn last_pass_notices_that_the_source_is_in_use() {
    let folder = Folder::new();
    let (from, to) = (folder.url("from.db"), folder.url("to.db"));
    let source = open(&from).await;
    let application = manager(&source);
    let mut tokens = Tokens::default();
    for number in 0..400 {
        tokens.live.push(create(&application, number).await);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let worker = tokio::spawn(work(application, tokens, Arc::clone(&stop), 1));
    let copying = copying(&from, &to, &["--final", "--rate", "800"]);
    let ran = tokio::task::spawn_blocking(|| ended(copying)).await.expect("it ends").has_status(1);
    assert!(ran.stderr.contains("the source is in use"), "{ran:?}");
    stop.store(true, Ordering::SeqCst);
    let tokens = worker.await.expect("it succeeds");
    let ran = ended(self::copying(&from, &to, &["--final"])).has_status(0);
    compare(&source, &open(&to).await, &tokens, ran).await;
}

#[tokio::test]
async fn unreadable_session_is_named_and_hides_no_other() {
    let folder = Folder::new();
    let (from, to) = (folder.url("from.db"), folder.url("to.db"));
    let store = kvolt::SqliteStore::open(&from, NAMESPACE).await.expect("it opens");
    let source = AnyStore::new(store);
    for number in 0..10 {
        let _ = create(&manager(&source), number).await;
    }
    // Not a session, but an entry of a cache: it is copied too.
    let cached = NewEntry::new(b"cached".to_vec(), Expiry::after(Duration::from_secs(600)));
    let _ = source.insert(Key::of("a name"), cached).await.expect("it is inserted");
    let all = entries(&source).await;
    let damaged = *all.keys().next().expect("there are ten");
    damage(&folder.path().join("from.db"), &damaged).await;

    let ran = ended(copying(&from, &to, &["--final"])).has_status(3);
    let id = kvolt::SessionId::from_key(&damaged).to_string();
    assert_eq!(
        (&ran.json()[0]["copied"], &ran.json()[0]["unreadable"]),
        (&json!(10), &json!([id]))
    );
    let listed = kvolt(&["list", &from, "-n", NAMESPACE, "--json"]).has_status(3).json();
    assert!(listed.iter().any(|one| one["id"] == id && one["kind"] == "damaged"));
}

/// Makes a row unreadable, as a broken disk could.
async fn damage(path: &std::path::Path, key: &Key) {
    use sqlx::{Connection, SqliteConnection};
    let mut connection = SqliteConnection::connect(&format!("sqlite:{}", path.display()))
        .await
        .expect("the file opens");
    sqlx::query("UPDATE shop_sessions SET idle = -1 WHERE key = ?")
        .bind(key.as_bytes().as_slice())
        .execute(&mut connection)
        .await
        .expect("the row exists");
}
