//! Sessions behind a near cache, whose copies may be old.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::time::Duration;

use kvolt_cache::{ManualClock, MemoryStore, NearCache};
use kvolt_session::testing::RecordedEvents;
use kvolt_session::{Access, EventKind, Level, Manager, Record, RotateOutcome, Token, TokenReuse};
use kvolt_testkit::{Call, Faults, FaultyStore, Pushes, PushingStore};
use support::{Forgery, GRACE, TICK, ada, forged, rotated};

const BOUND: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(100);

/// Two servers on one remote store, of which this one keeps copies.
struct Servers {
    time: ManualClock,
    pushes: Pushes,
    faults: Faults,
    events: RecordedEvents,
    here: Manager<String>,
    there: Manager<String>,
}

impl Servers {
    async fn new(grace: Duration) -> Self {
        let time = ManualClock::new();
        let store = MemoryStore::<Record<String>>::builder().clock(time.clock()).build();
        let (counted, faults) = FaultyStore::new(store.clone());
        faults.answers_at_once(false);
        let (remote, pushes) = PushingStore::new(counted);
        let near = NearCache::builder(remote.clone()).bound(BOUND);
        let reuse = if grace.is_zero() { TokenReuse::Report } else { TokenReuse::EndSession };
        let here = Manager::builder(near.build().unwrap());
        let [here, there] = [here, Manager::builder(remote)].map(|builder| {
            let builder = builder.idle_timeout(IDLE).rotation_grace(grace).token_reuse(reuse);
            builder.build().unwrap()
        });
        pushes.beat().await;
        let events = RecordedEvents::of(&here);
        Self { time, pushes, faults, events, here, there }
    }

    /// A session that this server has a copy of.
    async fn copied(&self) -> Token {
        let token = self.there.create(ada()).await.unwrap();
        self.pushes.beat().await;
        assert!(self.here.get(&token).await.unwrap().is_some());
        assert_eq!(self.asked(self.here.get(&token)).await.1, 0, "a copy answers");
        token
    }

    /// The result of a call, and how many commands it cost the store.
    async fn asked<T>(&self, call: impl Future<Output = kvolt_session::Result<T>>) -> (T, usize) {
        let before = self.faults.count(Call::Get);
        let answer = call.await.unwrap();
        (answer, self.faults.count(Call::Get) - before)
    }
}

/// The token is of a rotation by another server, and the copy from before it: by the copy alone,
/// it was issued for the session and is not its own, as a stolen one.
#[tokio::test]
async fn token_unknown_to_a_copy_asks_the_store_once() {
    for grace in [Duration::ZERO, GRACE] {
        let servers = Servers::new(grace).await;
        let old = servers.copied().await;
        servers.time.advance(BOUND / 2);
        servers.pushes.hold();
        let new = rotated(servers.there.rotate(&old).await.unwrap());
        let (session, asked) = servers.asked(servers.here.get(&new)).await;
        assert_eq!((session.map(|session| session.id()), asked), (Some(new.id()), 1));
        // Every other way in asks it as well.
        servers.here.update(&new, |name| name.push('!')).await.unwrap().unwrap();
        let read = servers.here.read(&new, Access::PEEK, String::len).await.unwrap();
        assert_eq!(read, Some(4));
        let newer = rotated(servers.there.rotate(&new).await.unwrap());
        assert!(servers.here.flash(&newer, kvolt_session::Flash::new("info", "x")).await.unwrap());
        let newer = rotated(servers.there.rotate(&newer).await.unwrap());
        let newer = rotated(servers.here.reauthenticate(&newer, Level::Two).await.unwrap());
        let newer = rotated(servers.there.rotate(&newer).await.unwrap());
        assert_eq!(servers.here.revoke_others(&newer).await.unwrap(), 0);
        assert!(servers.here.logout(&newer).await.unwrap());
        assert!(!servers.events.kinds().contains(&EventKind::Reused));
    }
}

/// A near copy from within the grace says that it lasts; the store's answer decides after it.
#[tokio::test]
async fn reuse_is_decided_on_the_store_s_answer() {
    let servers = Servers::new(GRACE).await;
    let old = servers.copied().await;
    let new = rotated(servers.there.rotate(&old).await.unwrap());
    servers.pushes.beat().await;
    servers.time.advance(GRACE * 2 - TICK);
    servers.pushes.beat().await;
    let (refused, asked) = servers.asked(servers.here.get(&old)).await;
    assert!(refused.is_none() && asked == 1);
    assert!(servers.here.get(&new).await.unwrap().is_some(), "no theft yet");
    servers.time.advance(TICK);
    servers.pushes.beat().await;
    let (refused, asked) = servers.asked(servers.here.get(&old)).await;
    assert!(refused.is_none() && asked == 1);
    assert!(servers.there.peek(&new).await.unwrap().is_none(), "a theft");
}

/// It costs the store what an unknown token costs it, and takes no copy away.
#[tokio::test]
async fn wrong_secret_costs_one_question_and_no_copy() {
    let servers = Servers::new(GRACE).await;
    let token = servers.copied().await;
    let other = servers.there.create(ada()).await.unwrap();
    for forgery in Forgery::ALL {
        let junk = forged(forgery, &token, &other);
        for _ in 0..3 {
            let (refused, asked) = servers.asked(servers.here.get(&junk)).await;
            assert!(refused.is_none() && asked == 1);
        }
        assert_eq!(servers.asked(servers.here.get(&token)).await.1, 0, "the copy is still used");
    }
    let touches = servers.faults.count(Call::Touch);
    support::does_nothing(&servers.here, &forged(Forgery::OtherMark, &token, &other), || {
        panic!("it sees the data")
    })
    .await;
    assert_eq!(servers.faults.count(Call::Touch), touches);
    assert_eq!(servers.faults.count(Call::Replace) + servers.faults.count(Call::Remove), 0);
}

/// The store says when a use must be recorded. A session that has ended there is refused, and
/// one that the store can't prolong is let in.
#[tokio::test]
async fn due_slide_is_one_command_and_decides() {
    let servers = Servers::new(GRACE).await;
    let token = servers.copied().await;
    servers.time.advance(IDLE / 4);
    servers.pushes.beat().await;
    assert!(servers.here.peek(&token).await.unwrap().is_some());
    assert_eq!(servers.faults.count(Call::Touch), 0, "looking is not using");
    let (session, asked) = servers.asked(servers.here.get(&token)).await;
    assert_eq!((asked, servers.faults.count(Call::Touch)), (0, 1));
    let now = servers.time.clock().now();
    assert_eq!(session.unwrap().expires_at(), now.saturating_add(IDLE));

    servers.time.advance(IDLE / 4);
    servers.pushes.beat().await;
    assert!(servers.here.peek(&token).await.unwrap().is_some());
    servers.faults.only(&[Call::Touch]);
    servers.faults.fail_all(true);
    let session = servers.here.get(&token).await.unwrap().unwrap();
    assert_eq!(session.expires_at(), now.saturating_add(IDLE), "with the old deadlines");
    servers.faults.fail_all(false);

    servers.pushes.hold();
    assert!(servers.there.logout(&token).await.unwrap());
    let (refused, asked) = servers.asked(servers.here.get(&token)).await;
    assert!(refused.is_none() && asked == 0, "the touch has found that it ended");
    assert!(servers.here.peek(&token).await.unwrap().is_none(), "and the copy is gone");
}

/// An old copy makes no change wrong.
#[tokio::test]
async fn changes_start_from_the_store_s_newest() {
    let servers = Servers::new(Duration::ZERO).await;
    let token = servers.copied().await;
    servers.pushes.hold();
    servers.there.update(&token, |name| name.push('1')).await.unwrap().unwrap();
    let session = servers.here.update(&token, |name| name.push('2')).await.unwrap().unwrap();
    assert_eq!(session.data(), "ada12");
    let new = rotated(servers.there.rotate(&token).await.unwrap());
    let old = servers.here.rotate(&token).await.unwrap();
    assert!(matches!(old, RotateOutcome::Absent), "its copy says otherwise, and the swap decides");
    assert!(servers.there.peek(&new).await.unwrap().is_some());
}
