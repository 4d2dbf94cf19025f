//! Connections that stay open for as long as their session lives.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![cfg(feature = "live")]

mod support;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use kvolt_cache::{ManualClock, MemoryStore, NearCache};
use kvolt_session::{
    Binding, Level, LiveSession, Manager, OwnerLimit, Record, Timeouts, Token, TokenReuse,
};
use kvolt_testkit::{Call, FaultyStore, PushingStore};
use support::{GRACE, IDLE, Log, TICK, ada, bob, owner, rotated};
use tokio::time::timeout;

/// So long that no check happens without a cause.
const NEVER: Duration = Duration::from_secs(100 * 24 * 60 * 60);

/// Of a clock that stands still but for what waits for it: long before any timeout.
const SOON: Duration = Duration::from_secs(60);

/// Longer than any machine takes for an immediate notification.
const PATIENCE: Duration = Duration::from_secs(30);

type Memory = MemoryStore<Record<String>>;

/// A store that pushes nothing and must be awaited, like a remote one.
fn elsewhere(store: &Memory) -> PushingStore<Memory> {
    PushingStore::new(store.clone()).0
}

async fn follow(manager: &Manager<String>, token: &Token) -> LiveSession<String> {
    let session = manager.peek(token).await.unwrap().unwrap();
    manager.live(&session)
}

async fn ends(live: LiveSession<String>) {
    timeout(PATIENCE, live.ended()).await.expect("it has ended");
}

async fn next(live: &mut LiveSession<String>) -> Option<String> {
    let changed = timeout(PATIENCE, live.changed()).await.expect("it has changed");
    changed.map(|session| session.data().clone())
}

/// Whether nothing is reported while nothing more happens.
async fn is_quiet(live: &mut LiveSession<String>) -> bool {
    let mut changed = pin!(live.changed());
    for _ in 0..100 {
        if poll_fn(|context| Poll::Ready(changed.as_mut().poll(context).is_ready())).await {
            return false;
        }
        tokio::task::yield_now().await;
    }
    true
}

#[tokio::test]
async fn local_end_ends_a_connection_at_once() {
    for is_elsewhere in [false, true] {
        let time = ManualClock::new();
        let store = Memory::builder().clock(time.clock()).build();
        let limit = OwnerLimit::remove_oldest(3);
        let settings = |builder: kvolt_session::ManagerBuilder<String>| {
            let builder = builder.rotation_grace(GRACE).token_reuse(TokenReuse::EndSession);
            builder.owner_limit(limit).live_interval(NEVER).build().unwrap()
        };
        let manager = if is_elsewhere {
            settings(Manager::builder(elsewhere(&store)))
        } else {
            settings(Manager::builder(store.clone()))
        };
        let owner = owner("ada");
        for way in 0..10 {
            let token = manager.create(ada()).await.unwrap();
            let id = token.id();
            let live = follow(&manager, &token).await;
            let ended = tokio::spawn(ends(live));
            tokio::task::yield_now().await;
            match way {
                0 => assert!(manager.logout(&token).await.unwrap()),
                1 => assert_eq!(manager.revoke_owner(&owner).await.unwrap(), 1),
                2 => assert!(manager.revoke_owned(&owner, id).await.unwrap()),
                3 => assert!(manager.revoke(id).await.unwrap()),
                4 => manager.revoke_everyone().await.unwrap(),
                5 => drop(manager.login(Some(&token), bob()).await.unwrap()),
                6 => {
                    let other = manager.create(ada()).await.unwrap();
                    assert_eq!(manager.revoke_others(&other).await.unwrap(), 1);
                }
                7 => {
                    let other = manager.create(ada()).await.unwrap();
                    let _ = manager.change_credentials(&other, None).await.unwrap();
                }
                8 => {
                    for _ in 0..3 {
                        let _ = manager.create(ada()).await.unwrap();
                    }
                }
                _ => {
                    drop(rotated(manager.rotate(&token).await.unwrap()));
                    time.advance(GRACE * 2);
                    assert!(manager.get(&token).await.unwrap().is_none(), "it was stolen");
                }
            }
            ended.await.unwrap_or_else(|_| panic!("way {way}"));
            manager.revoke_owner(&owner).await.unwrap();
        }
    }
}

/// Another server: only the store is shared.
#[tokio::test(start_paused = true)]
async fn remote_end_ends_a_connection_within_the_interval() {
    let store = Memory::new();
    let interval = Duration::from_secs(5);
    let builder = Manager::builder(elsewhere(&store)).live_interval(interval);
    let manager = builder.build().unwrap();
    let there = Manager::<String>::builder(elsewhere(&store)).build().unwrap();
    for way in 0..4 {
        let token = manager.create(ada()).await.unwrap();
        let live = follow(&manager, &token).await;
        match way {
            0 => assert!(there.logout(&token).await.unwrap()),
            1 => assert_eq!(there.revoke_owner(&owner("ada")).await.unwrap(), 1),
            2 => there.revoke_everyone().await.unwrap(),
            _ => drop(there.login(Some(&token), bob()).await.unwrap()),
        }
        assert!(timeout(interval, live.ended()).await.is_ok(), "way {way}");
    }
}

/// As in a `select!` whose other side is never quiet for long.
#[tokio::test(start_paused = true)]
async fn cancelled_waits_see_the_end_in_time() {
    let store = Memory::new();
    let interval = Duration::from_secs(5);
    let builder = Manager::builder(elsewhere(&store)).live_interval(interval);
    let manager = builder.build().unwrap();
    let there = Manager::<String>::builder(elsewhere(&store)).build().unwrap();
    let token = manager.create(ada()).await.unwrap();
    let mut live = follow(&manager, &token).await;
    assert!(is_quiet(&mut live).await);
    assert!(there.logout(&token).await.unwrap());
    let ended =
        async { while !matches!(timeout(interval / 10, live.changed()).await, Ok(None)) {} };
    timeout(interval + interval / 10, ended).await.expect("it has ended");
}

#[tokio::test]
async fn managers_on_one_memory_store_notify_each_other() {
    let store = Memory::new();
    let manager = Manager::builder(store.clone()).live_interval(NEVER).build().unwrap();
    let other: Manager<String> = Manager::builder(store.clone()).build().unwrap();
    let token = manager.create(ada()).await.unwrap();
    let mut live = follow(&manager, &token).await;
    let _ = other.update(&token, |name| name.push('!')).await.unwrap();
    assert_eq!(next(&mut live).await.as_deref(), Some("ada!"));
    let token = rotated(other.rotate(&token).await.unwrap());
    assert_eq!(next(&mut live).await.as_deref(), Some("ada!"));
    assert_eq!(live.session().id(), token.id());
    assert!(other.logout(&token).await.unwrap());
    ends(live).await;
}

#[tokio::test]
async fn pushed_change_is_seen_without_polling() {
    let store = Memory::new();
    let (remote, pushes) = PushingStore::new(store.clone());
    let watched = NearCache::builder(remote.clone()).max_copies(0).build().unwrap();
    let manager = Manager::builder(watched).live_interval(NEVER).build().unwrap();
    let there: Manager<String> = Manager::builder(remote).build().unwrap();
    pushes.beat().await;
    let token = manager.create(ada()).await.unwrap();
    let mut live = follow(&manager, &token).await;
    let _ = there.update(&token, |name| name.push('!')).await.unwrap();
    assert_eq!(next(&mut live).await.as_deref(), Some("ada!"));
    let mut last = token;
    for _ in 0..3 {
        last = rotated(there.rotate(&last).await.unwrap());
        assert!(next(&mut live).await.is_some());
        assert_eq!(live.session().id(), last.id());
    }
    assert!(there.logout(&last).await.unwrap());
    ends(live).await;
}

/// It also depends on the administrator's own session, whose changes are pushed under another key.
#[tokio::test]
async fn connection_ends_with_the_impersonation() {
    for is_local in [true, false] {
        for way in 0..5 {
            let store = Memory::new();
            let (remote, pushes) = PushingStore::new(store.clone());
            let watched = NearCache::builder(remote.clone()).max_copies(0).build().unwrap();
            let manager = Manager::builder(watched).live_interval(NEVER).build().unwrap();
            let there: Manager<String> = Manager::builder(remote).build().unwrap();
            let by = if is_local { &manager } else { &there };
            pushes.beat().await;
            let own = manager.create(bob()).await.unwrap();
            let token = manager.impersonate(&own, ada()).await.unwrap().unwrap();
            let mut live = follow(&manager, &token).await;
            assert!(is_quiet(&mut live).await);
            // The administrator's own session may change.
            assert!(by.update(&own, |name| name.push('!')).await.unwrap().is_some());
            assert!(is_quiet(&mut live).await);
            match way {
                0 => assert_eq!(by.revoke_owner(&owner("bob")).await.unwrap(), 1),
                1 => assert!(by.logout(&own).await.unwrap()),
                2 => assert_eq!(by.revoke_owner(&owner("ada")).await.unwrap(), 1),
                3 => assert!(by.impersonate(&own, ada()).await.unwrap().is_some()),
                _ => drop(rotated(by.end_impersonation(&token).await.unwrap())),
            }
            ends(live).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn connection_follows_the_session_over_rotations() {
    for grace in [Duration::ZERO, GRACE] {
        for is_elsewhere in [false, true] {
            let store = Memory::new();
            let manager = |interval| {
                let builder = if is_elsewhere {
                    Manager::<String>::builder(elsewhere(&store))
                } else {
                    Manager::builder(store.clone())
                };
                builder.rotation_grace(grace).live_interval(interval).build().unwrap()
            };
            let (manager, there) = (manager(Duration::from_secs(1)), manager(NEVER));
            let mut token = manager.create(ada()).await.unwrap();
            let mut live = follow(&manager, &token).await;
            for by in [&manager, &there, &manager] {
                token = rotated(by.rotate(&token).await.unwrap());
                assert_eq!(next(&mut live).await.as_deref(), Some("ada"));
                assert_eq!(live.session().id(), token.id());
            }
            // Several in a row, before it checks.
            for by in [&there, &manager, &there, &there] {
                token = rotated(by.rotate(&token).await.unwrap());
                let _ = by.update(&token, |name| name.push('!')).await.unwrap();
            }
            while next(&mut live).await.as_deref() != Some("ada!!!!") {}
            assert_eq!(live.session().id(), token.id());
            let proved = manager.reauthenticate(&token, Level::Two).await.unwrap();
            let token = rotated(proved);
            assert!(next(&mut live).await.is_some());
            assert_eq!(live.session().level(), Some(Level::One), "the rights it began with");
            assert!(there.logout(&token).await.unwrap());
            assert_eq!(next(&mut live).await, None);
            assert_eq!(next(&mut live).await, None, "and from then on");
        }
    }
}

#[tokio::test]
async fn change_is_reported_once_and_use_is_none() {
    for at_once in [true, false] {
        let (store, faults) = FaultyStore::new(Memory::new());
        faults.answers_at_once(at_once);
        let manager = Manager::builder(store).live_interval(NEVER).build().unwrap();
        let token = manager.create(ada()).await.unwrap();
        let mut live = follow(&manager, &token).await;
        assert!(is_quiet(&mut live).await);
        for _ in 0..3 {
            assert!(manager.get(&token).await.unwrap().is_some());
        }
        assert!(is_quiet(&mut live).await);
        let _ = manager.update(&token, |name| name.push('!')).await.unwrap();
        let _ = manager.update(&token, |name| name.push('!')).await.unwrap();
        assert_eq!(next(&mut live).await.as_deref(), Some("ada!!"));
        assert!(is_quiet(&mut live).await, "several in a row may be told as one");
        let other = manager.create(ada()).await.unwrap();
        assert!(manager.logout(&other).await.unwrap());
        assert!(is_quiet(&mut live).await, "another's is none of this one's");
    }
}

/// A change between the request and the first wait.
#[tokio::test]
async fn change_before_the_first_wait_is_seen() {
    for at_once in [true, false] {
        let (store, faults) = FaultyStore::new(Memory::new());
        faults.answers_at_once(at_once);
        let manager = Manager::builder(store).live_interval(NEVER).build().unwrap();
        let token = manager.create(ada()).await.unwrap();
        let session = manager.peek(&token).await.unwrap().unwrap();
        let _ = manager.update(&token, |name| name.push('!')).await.unwrap();
        let mut live = manager.live(&session);
        assert_eq!(next(&mut live).await.as_deref(), Some("ada!"));
        assert!(manager.logout(&token).await.unwrap());
        ends(manager.live(&session)).await;
        ends(live).await;
    }
}

#[tokio::test(start_paused = true)]
async fn timeouts_end_a_connection() {
    for is_elsewhere in [false, true] {
        let time = ManualClock::new();
        let store = MemoryStore::builder().clock(time.clock()).build();
        let timeouts = Timeouts::new(IDLE, IDLE * 3);
        let builder = if is_elsewhere {
            Manager::<String>::builder(elsewhere(&store))
        } else {
            Manager::builder(store.clone())
        };
        let builder = builder.timeouts(timeouts);
        let manager = builder.live_interval(Duration::from_secs(1)).build().unwrap();
        let token = manager.create(ada()).await.unwrap();
        let mut live = follow(&manager, &token).await;
        let minute = Duration::from_secs(60);
        time.advance(IDLE - TICK);
        assert!(timeout(minute, live.changed()).await.is_err(), "looked at very often");
        assert!(manager.get(&token).await.unwrap().is_some());
        time.advance(IDLE - TICK);
        assert!(timeout(minute, live.changed()).await.is_err(), "it was used in between");
        time.advance(TICK);
        assert!(timeout(minute, live.changed()).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn connection_ends_at_its_time_without_a_notification() {
    for is_elsewhere in [false, true] {
        let store = Memory::new();
        let short = Timeouts::new(Duration::from_millis(100), Duration::from_millis(150));
        let builder = if is_elsewhere {
            Manager::<String>::builder(elsewhere(&store))
        } else {
            Manager::builder(store.clone())
        };
        let manager = builder.timeouts(short).live_interval(NEVER).build().unwrap();
        let token = manager.create(ada()).await.unwrap();
        ends(follow(&manager, &token).await).await;
        assert!(manager.peek(&token).await.unwrap().is_none(), "and no sooner");
    }
}

/// The store has no change then, and notifies no connection.
#[tokio::test(start_paused = true)]
async fn changed_binding_ends_a_connection_within_the_interval() {
    let version = Arc::new(AtomicU64::new(1));
    let current = Arc::clone(&version);
    let interval = Duration::from_secs(2);
    let builder = Manager::builder(Memory::new()).live_interval(interval);
    let manager = builder
        .bound_to(move |_: &String| Some(Binding::from(current.load(Ordering::Relaxed))))
        .build()
        .unwrap();
    let token = manager.create(ada().bound_to(1)).await.unwrap();
    let mut live = follow(&manager, &token).await;
    assert!(timeout(interval * 3, live.changed()).await.is_err());
    version.store(2, Ordering::Relaxed);
    assert!(timeout(interval, live.ended()).await.is_ok());
}

/// A thief who has a stream open with a stolen token: the change of the password ends it.
#[tokio::test(start_paused = true)]
async fn connection_ends_with_a_change_of_credentials() {
    let interval = Duration::from_secs(2);
    for is_elsewhere in [false, true] {
        let store = Memory::new();
        let builder = Manager::<String>::builder(elsewhere(&store)).rotation_grace(GRACE);
        let manager = builder.live_interval(interval).build().unwrap();
        let there = Manager::builder(elsewhere(&store)).build().unwrap();
        let token = manager.create(ada()).await.unwrap();
        let live = follow(&manager, &token).await;
        let by = if is_elsewhere { &there } else { &manager };
        let new = rotated(by.change_credentials(&token, None).await.unwrap().0);
        let wait = if is_elsewhere { interval } else { TICK };
        assert!(timeout(wait, live.ended()).await.is_ok());
        let mut live = follow(&manager, &new).await;
        assert!(is_quiet(&mut live).await, "one that began after it goes on");
    }
}

/// A proof after a token was stolen is not for the stream that was opened with it.
#[tokio::test]
async fn connection_has_the_rights_it_began_with() {
    let builder = Manager::builder(Memory::new()).rotation_grace(GRACE).live_interval(NEVER);
    let manager = builder.build().unwrap();
    let old = manager.create(ada()).await.unwrap();
    let mut before = follow(&manager, &old).await;
    let token = rotated(manager.reauthenticate(&old, Level::Two).await.unwrap());
    // By the old token in its grace, and by the new one.
    let (mut late, mut after) = (follow(&manager, &old).await, follow(&manager, &token).await);
    let _ = manager.update(&token, |name| name.push('!')).await.unwrap();
    for (live, level) in
        [(&mut before, Level::One), (&mut late, Level::One), (&mut after, Level::Two)]
    {
        assert_eq!(next(live).await.as_deref(), Some("ada!"));
        assert_eq!(live.session().level(), Some(level));
    }
}

/// A store that is down signs no one out.
#[tokio::test(start_paused = true)]
async fn store_that_is_down_is_no_end() {
    let interval = Duration::from_secs(1);
    let (store, faults) = FaultyStore::new(elsewhere(&Memory::new()));
    let manager = Manager::builder(store).live_interval(interval).build().unwrap();
    let token = manager.create(ada()).await.unwrap();
    let mut live = follow(&manager, &token).await;
    faults.fail_all(true);
    assert!(timeout(interval * 100, live.changed()).await.is_err());
    faults.fail_all(false);
    let _ = manager.update(&token, |name| name.push('!')).await.unwrap();
    assert_eq!(next(&mut live).await.as_deref(), Some("ada!"));
    faults.fail_all(true);
    assert!(timeout(interval * 3, live.changed()).await.is_err());
    faults.fail_all(false);
    assert!(manager.logout(&token).await.unwrap());
    // While it pauses, it notices what this process does.
    assert!(timeout(TICK, live.ended()).await.is_ok());
}

/// Ten thousand open connections must not be as many lines in the log, and as many questions to a
/// store that tries to come back.
#[tokio::test(start_paused = true)]
async fn connections_back_off_while_the_store_is_down() {
    let interval = Duration::from_secs(1);
    let (store, faults) = FaultyStore::new(Memory::new());
    faults.answers_at_once(false);
    let manager = Manager::builder(store).live_interval(interval).build().unwrap();
    let token = manager.create(ada()).await.unwrap();
    let mut all = Vec::new();
    for _ in 0..100 {
        all.push(follow(&manager, &token).await);
    }
    faults.fail_all(true);
    let log = Log::default();
    let _logged = tracing::subscriber::set_default(log.subscriber(tracing::Level::DEBUG));
    let mut asked = Vec::new();
    for _ in 0..3 {
        let before = faults.count(Call::Get);
        let ended = all.iter_mut().map(|live| timeout(interval * 20, live.changed()));
        assert!(futures_util::future::join_all(ended).await.iter().all(Result::is_err));
        asked.push((faults.count(Call::Get) - before) / 100);
    }
    // Between two and a half and five seconds each time, once it has grown to that.
    assert!(asked[0] <= 12 && asked[1..].iter().all(|asked| (4..=8).contains(asked)), "{asked:?}");
    assert_eq!(log.lines_with("could not check"), 1, "{}", log.text());
}

/// When the store's pushes are lost, all connections are notified at the same moment.
#[tokio::test(start_paused = true)]
async fn connections_spread_their_checks_after_lost_pushes() {
    let interval = Duration::from_secs(10);
    let (counted, faults) = FaultyStore::new(Memory::new());
    let (remote, pushes) = PushingStore::new(counted);
    let near = NearCache::builder(remote).max_copies(0).build().unwrap();
    let manager = Manager::builder(near).live_interval(interval).build().unwrap();
    pushes.beat().await;
    let token = manager.create(ada()).await.unwrap();
    let mut all = Vec::new();
    for _ in 0..100 {
        let mut live = follow(&manager, &token).await;
        assert!(is_quiet(&mut live).await);
        all.push(live);
    }
    let before = faults.count(Call::Get);
    pushes.cut();
    let mut waits: Vec<_> = all.iter_mut().map(|live| Box::pin(live.changed())).collect();
    let mut asked = Vec::new();
    for _ in 0..10 {
        let waited = waits.iter_mut().map(|wait| timeout(interval / 10, wait));
        assert!(futures_util::future::join_all(waited).await.iter().all(Result::is_err));
        asked.push(faults.count(Call::Get) - before - asked.iter().sum::<usize>());
    }
    assert!(asked.iter().all(|asked| *asked < 50), "not at once: {asked:?}");
    assert!(asked.iter().sum::<usize>() >= 100, "and within the interval: {asked:?}");
}

/// The change was notified, and then could not be read: it is not notified again.
#[tokio::test(start_paused = true)]
async fn change_during_an_outage_is_not_missed() {
    let (store, faults) = FaultyStore::new(Memory::new());
    faults.answers_at_once(false);
    let manager = Manager::builder(store).live_interval(NEVER).build().unwrap();
    let token = manager.create(ada()).await.unwrap();
    let mut live = follow(&manager, &token).await;
    assert!(is_quiet(&mut live).await);
    assert!(manager.logout(&token).await.unwrap());
    faults.only(&[Call::Get]);
    faults.fail_next(1);
    assert!(timeout(SOON, live.changed()).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn dropped_wait_loses_no_change() {
    let (store, faults) = FaultyStore::new(Memory::new());
    faults.answers_at_once(false);
    let manager = Manager::builder(store).live_interval(NEVER).build().unwrap();
    let token = manager.create(ada()).await.unwrap();
    let mut live = follow(&manager, &token).await;
    for round in 1..=3 {
        assert!(is_quiet(&mut live).await, "dropped while it waited");
        let _ = manager.update(&token, |name| name.push('!')).await.unwrap();
        faults.only(&[Call::Get]);
        faults.hold_answers();
        assert!(is_quiet(&mut live).await, "dropped while it looked");
        faults.release();
        let changed = timeout(SOON, live.changed()).await;
        let changed = changed.expect("it is seen without being told again").unwrap();
        assert_eq!(changed.len(), 3 + round);
    }
    assert!(manager.logout(&token).await.unwrap());
    faults.hold_answers();
    assert!(is_quiet(&mut live).await);
    faults.release();
    assert!(timeout(SOON, live.changed()).await.unwrap().is_none());
}

#[tokio::test]
async fn stream_ends_with_the_session() {
    let manager = Manager::builder(Memory::new()).live_interval(NEVER).build().unwrap();
    let token = manager.create(ada()).await.unwrap();
    let mut limited = follow(&manager, &token).await.take_until_ended(stream::iter(0..));
    for expected in 0..100 {
        assert_eq!(limited.next().await, Some(expected));
    }
    let _ = manager.update(&token, |name| name.push('!')).await.unwrap();
    assert_eq!(limited.next().await, Some(100), "a change is no end");
    let token = rotated(manager.rotate(&token).await.unwrap());
    assert_eq!(limited.next().await, Some(101), "nor is a rotation");
    assert!(manager.logout(&token).await.unwrap());
    assert_eq!(limited.next().await, None);
    assert_eq!(limited.next().await, None);
}

#[tokio::test]
async fn waiting_stream_is_woken_by_the_end() {
    let manager = Manager::builder(Memory::new()).live_interval(NEVER).build().unwrap();
    let token = manager.create(ada()).await.unwrap();
    let limited = follow(&manager, &token).await.take_until_ended(stream::pending::<()>());
    let ended = tokio::spawn(timeout(PATIENCE, limited.collect::<Vec<_>>()));
    tokio::task::yield_now().await;
    assert_eq!(manager.revoke_owner(&owner("ada")).await.unwrap(), 1);
    assert!(ended.await.unwrap().unwrap().is_empty());
}

#[tokio::test]
async fn stream_that_has_ended_is_not_polled_again() {
    /// Panics if it is polled after its end, as a stream may.
    struct Once(u8);
    impl Stream for Once {
        type Item = u8;
        fn poll_next(mut self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<Option<u8>> {
            self.0 += 1;
            match self.0 {
                1 => Poll::Ready(Some(7)),
                2 => Poll::Ready(None),
                _ => panic!("polled after its end"),
            }
        }
    }
    let manager = Manager::builder(Memory::new()).live_interval(NEVER).build().unwrap();
    let token = manager.create(ada()).await.unwrap();
    let mut limited = follow(&manager, &token).await.take_until_ended(Once(0));
    assert_eq!(limited.next().await, Some(7));
    for _ in 0..3 {
        assert_eq!(limited.next().await, None);
    }
}

#[tokio::test]
async fn last_item_follows_the_end_of_the_session_only() {
    let manager = Manager::builder(Memory::new()).live_interval(NEVER).build().unwrap();
    let token = manager.create(ada()).await.unwrap();
    let follow = || async { follow(&manager, &token).await };
    let short = follow().await.take_until_ended(stream::iter([1, 2])).ending_with(0);
    assert_eq!(short.collect::<Vec<_>>().await, [1, 2]);

    let mut limited = follow().await.take_until_ended(stream::iter(1..)).ending_with(0);
    assert_eq!((limited.next().await, limited.next().await), (Some(1), Some(2)));
    let waiting = follow().await.take_until_ended(stream::pending()).ending_with(0);
    let waiting = tokio::spawn(timeout(PATIENCE, waiting.collect::<Vec<_>>()));
    tokio::task::yield_now().await;
    assert!(manager.logout(&token).await.unwrap());
    assert_eq!(limited.collect::<Vec<_>>().await, [0], "even if an item is ready");
    assert_eq!(waiting.await.unwrap().unwrap(), [0]);
}

/// A thousand connections of one session, and of as many sessions.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_connections_end_together_and_leave_nothing() {
    let store = Memory::new();
    let manager = Manager::builder(store.clone()).live_interval(NEVER).build().unwrap();
    let shared = manager.create(ada()).await.unwrap();
    let mut waiting = Vec::new();
    for number in 0..1_000 {
        let token = if number % 2 == 0 { None } else { Some(manager.create(ada()).await.unwrap()) };
        let live = follow(&manager, token.as_ref().unwrap_or(&shared)).await;
        waiting.push(tokio::spawn(ends(live)));
    }
    assert_eq!(manager.revoke_owner(&owner("ada")).await.unwrap(), 501);
    for waiting in waiting {
        waiting.await.unwrap();
    }
    let changes = kvolt_cache::Store::changes(&store).unwrap();
    assert!(format!("{changes:?}").contains("keys: 0"), "{changes:?}");
}

/// Signed out by a request that began before the token was changed.
#[tokio::test(start_paused = true)]
async fn logout_by_an_older_read_ends_a_connection() {
    let store = Memory::new();
    let interval = Duration::from_secs(1);
    let manager = Manager::builder(elsewhere(&store)).live_interval(interval).build().unwrap();
    let token = manager.create(ada()).await.unwrap();
    let read = manager.peek(&token).await.unwrap().unwrap();
    let new = rotated(manager.rotate(&token).await.unwrap());
    let live = follow(&manager, &new).await;
    assert!(manager.logout((&token, read)).await.unwrap());
    assert!(timeout(interval, live.ended()).await.is_ok());
}
