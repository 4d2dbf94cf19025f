//! Listeners: the events they receive, and that they delay no request.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use kvolt_cache::memory::Cleaning;
use kvolt_cache::{ManualClock, MemoryStore};
use kvolt_session::testing::RecordedEvents;
use kvolt_session::{
    AnonymousSessions, Binding, EndReason, Event, EventKind, EventListener, Level, Manager,
    OwnerLimit, Record, RefusalReason, Token, TokenReuse,
};
use support::{GRACE, IDLE, ada, owner, rotated, world_with};

fn ended(reason: EndReason) -> EventKind {
    EventKind::Ended { reason }
}

fn refused(reason: RefusalReason) -> EventKind {
    EventKind::Refused { reason }
}

/// What a listener has received.
struct Heard(mpsc::Sender<Event>, mpsc::Receiver<Event>);

impl Default for Heard {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel();
        Self(sender, receiver)
    }
}

impl Heard {
    fn listener(&self) -> impl Fn(&Event) + Send + Sync + 'static {
        let sender = self.0.clone();
        move |event: &Event| drop(sender.send(event.clone()))
    }

    /// Takes the next events, once they have arrived.
    #[track_caller]
    fn take(&self, events: usize) -> Vec<Event> {
        let patience = Duration::from_secs(30);
        (0..events).map(|_| self.1.recv_timeout(patience).unwrap()).collect()
    }

    #[track_caller]
    fn whats(&self, events: usize) -> Vec<EventKind> {
        self.take(events).into_iter().map(|event| event.kind).collect()
    }

    fn is_empty(&self) -> bool {
        self.1.try_recv().is_err()
    }
}

const CREATED: EventKind = EventKind::Created { anonymous: false };

#[tokio::test]
async fn events_arrive_in_order_with_reasons() {
    let heard = Heard::default();
    let limit = OwnerLimit::remove_oldest(3);
    let world = world_with(|builder| {
        let builder = builder.anonymous(AnonymousSessions::new(10)).owner_limit(limit);
        builder.listener(heard.listener())
    });
    let manager = &world.manager;
    let owner = owner("ada");

    let visitor = manager.create_anonymous(String::new()).await.unwrap();
    assert_eq!(heard.whats(1), [EventKind::Created { anonymous: true }]);
    let one = manager.login(Some(&visitor), ada()).await.unwrap();
    let events = heard.take(2);
    assert_eq!((events[0].kind, events[0].id), (CREATED, Some(one.id())));
    assert_eq!(events[0].owner.as_ref(), Some(&owner));
    assert_eq!(events[0].at, world.time.clock().now());
    assert_eq!((events[1].kind, events[1].id), {
        (ended(EndReason::NewLogin), Some(visitor.id()))
    });
    assert_eq!(events[1].owner, None);

    world.time.advance(GRACE);
    let two = world.rotate(&one).await;
    let events = heard.take(1);
    assert_eq!(events[0].kind, EventKind::Rotated);
    assert_eq!((events[0].id, events[0].at), (Some(one.id()), world.time.clock().now()));
    assert_eq!(two.id(), one.id(), "the id stays");
    let three = rotated(manager.reauthenticate(&two, Level::Two).await.unwrap());
    let events = heard.take(2);
    assert_eq!(events[0].kind, EventKind::Rotated);
    assert_eq!(events[1].kind, EventKind::Reauthenticated { level: Level::Two });
    assert_eq!(events[1].id, Some(three.id()));
    let (four, _) = manager.change_credentials(&three, None).await.unwrap();
    let four = rotated(four);
    assert_eq!(heard.whats(1), [EventKind::Rotated]);

    assert!(manager.logout(&four).await.unwrap());
    let events = heard.take(1);
    assert_eq!((events[0].kind, events[0].id), { (ended(EndReason::Logout), Some(four.id())) });
    assert!(!manager.logout(&four).await.unwrap(), "which is told of once");

    let mut tokens = Vec::new();
    for _ in 0..3 {
        world.time.advance(GRACE);
        tokens.push(manager.create(ada()).await.unwrap());
    }
    assert_eq!(heard.whats(3), [CREATED, CREATED, CREATED]);
    let newest = manager.create(ada()).await.unwrap();
    let events = heard.take(2);
    assert_eq!((events[1].kind, events[1].id), { (ended(EndReason::Limit), Some(tokens[0].id())) });
    assert!(manager.revoke_owned(&owner, tokens[1].id()).await.unwrap());
    assert_eq!(heard.whats(1), [ended(EndReason::Revoked)]);
    assert_eq!(manager.revoke_others(&newest).await.unwrap(), 1);
    let events = heard.take(1);
    assert_eq!((events[0].kind, events[0].id), {
        (ended(EndReason::RevokedOthers), Some(tokens[2].id()))
    });
    assert_eq!(manager.revoke_owner(&owner).await.unwrap(), 1);
    assert_eq!(heard.whats(1), [ended(EndReason::RevokedOwner)]);
    let last = manager.create(ada()).await.unwrap();
    assert!(manager.revoke(last.id()).await.unwrap());
    assert_eq!(heard.whats(2)[1], ended(EndReason::Revoked));
    manager.revoke_everyone().await.unwrap();
    let events = heard.take(1);
    assert_eq!((events[0].kind, events[0].id), (ended(EndReason::RevokedEveryone), None));
    assert!(heard.is_empty());
    assert_eq!(manager.events_missed(), 0);
}

#[tokio::test]
async fn each_refusal_is_reported_once_with_its_reason() {
    for at_once in [true, false] {
        let version = Arc::new(AtomicUsize::new(1));
        let limit = OwnerLimit::refuse(1);
        let world = world_with(|builder| {
            let current = Arc::clone(&version);
            let builder = builder.rotation_grace(GRACE).owner_limit(limit);
            let builder = builder.bound_to(move |_: &String| {
                Some(Binding::from(current.load(Ordering::Relaxed) as u64))
            });
            builder.token_reuse(TokenReuse::EndSession)
        });
        world.faults.answers_at_once(at_once);
        let manager = &world.manager;
        let spent = manager.create(ada().bound_to(1)).await.unwrap();
        assert!(manager.create(ada().bound_to(1)).await.unwrap_err().is_limit_reached());
        let events = world.events.take();
        assert_eq!((events[1].kind, events[1].id), (refused(RefusalReason::Limit), None));
        assert!(events[1].owner.is_some());

        let unknown = Token::parse("A".repeat(48)).unwrap();
        assert!(manager.get(&unknown).await.unwrap().is_none());
        assert!(manager.peek(&unknown).await.unwrap().is_none());
        assert!(manager.update(&unknown, |_| ()).await.unwrap().is_none());
        let read = manager.read(&unknown, kvolt_session::Access::SLIDE, String::len).await;
        assert!(read.unwrap().is_none());
        for event in world.events.take() {
            assert_eq!(event.kind, refused(RefusalReason::Unknown));
            assert_eq!((event.id, event.owner), (Some(unknown.id()), None));
        }

        version.store(2, Ordering::Relaxed);
        assert!(manager.get(&spent).await.unwrap().is_none());
        assert_eq!(world.events.kinds(), [refused(RefusalReason::CredentialsChanged)]);
        version.store(1, Ordering::Relaxed);

        let token = world.rotate(&spent).await;
        world.time.advance(GRACE);
        assert!(manager.get(&spent).await.unwrap().is_none());
        assert_eq!(world.events.kinds()[1], refused(RefusalReason::Replaced));
        world.time.advance(GRACE);
        assert!(manager.get(&spent).await.unwrap().is_none());
        let events = world.events.take();
        let whats: Vec<_> = events.iter().map(|event| event.kind).collect();
        assert_eq!(whats, {
            [EventKind::Reused, ended(EndReason::Reuse), refused(RefusalReason::Reuse)]
        });
        assert!(events.iter().all(|event| event.id == Some(token.id())));
        assert!(world.events.take().is_empty());
    }
}

#[cfg(feature = "json")]
#[tokio::test]
async fn undecodable_session_is_ended_with_an_event() {
    use kvolt_cache::{Encoded, Store};
    use kvolt_session::{RecordJson, Undecodable};

    let store = MemoryStore::<Vec<u8>>::new();
    let numbers = Manager::builder(Encoded::new(store.clone(), RecordJson::<u32>::new()));
    let token = numbers.build().unwrap().create(7).await.unwrap();
    let texts = Manager::builder(Encoded::new(store.clone(), RecordJson::<String>::new()));
    let texts = texts.undecodable(Undecodable::End).build().unwrap();
    let events = RecordedEvents::of(&texts);
    assert!(texts.get(&token).await.unwrap().is_none());
    let events = events.take();
    assert_eq!((events[0].kind, events[0].id), {
        (ended(EndReason::Undecodable), Some(token.id()))
    });
    assert_eq!(Store::count(&store).await.unwrap(), 0);
}

#[tokio::test]
async fn expired_session_is_reported_when_it_is_reclaimed() {
    let time = ManualClock::new();
    let builder = MemoryStore::<Record<String>>::builder().clock(time.clock());
    let store = builder.cleaning(Cleaning::Manual).build();
    let builder = Manager::builder(store.clone()).idle_timeout(IDLE);
    let manager = builder.build().unwrap();
    let recorded = RecordedEvents::of(&manager);
    let token = manager.create(ada()).await.unwrap();
    let other = manager.create(ada()).await.unwrap();
    assert!(manager.logout(&other).await.unwrap());
    // It is due a little after its deadline.
    time.advance(IDLE * 2);
    store.clean();
    let events = recorded.take();
    assert_eq!((events[3].kind, events[3].id), (EventKind::Expired, Some(token.id())));
    assert_eq!(events.len(), 4, "what was ended does not end by itself too");
}

#[tokio::test]
async fn no_event_has_a_token_or_data() {
    let world = world_with(|builder| builder.rotation_grace(GRACE));
    let private = || kvolt_session::NewSession::new(String::from("private")).owner("ada");
    let mut tokens = vec![world.manager.create(private()).await.unwrap()];
    tokens.push(world.manager.login(Some(&tokens[0]), private()).await.unwrap());
    tokens.push(world.rotate(&tokens[1]).await);
    tokens.push(rotated(world.manager.reauthenticate(&tokens[2], Level::Two).await.unwrap()));
    world.time.advance(GRACE);
    world.time.advance(GRACE);
    for token in &tokens {
        let _ = world.manager.get(token).await.unwrap();
    }
    assert!(world.manager.logout(&tokens[3]).await.unwrap());
    let events = world.events.take();
    let shown = format!("{events:?}");
    for token in &tokens {
        assert!(!shown.contains(token.expose()));
        assert!(shown.contains(&token.id().to_string()));
    }
    assert!(!shown.contains("private"), "{shown}");
    assert!(world.events.take().is_empty(), "{:?}", world.events.take());
}

#[tokio::test]
async fn panicking_listener_gets_the_next_event() {
    let (heard, other) = (Heard::default(), Heard::default());
    let listener = heard.listener();
    let world = world_with(|builder| {
        let builder = builder.listener(move |event: &Event| {
            listener(event);
            assert!(!matches!(event.kind, EventKind::Created { .. }), "as this test wants it");
        });
        builder.listener(other.listener())
    });
    for _ in 0..3 {
        let token = world.manager.create(ada()).await.unwrap();
        assert!(world.manager.logout(&token).await.unwrap());
    }
    let reason = ended(EndReason::Logout);
    let expected = [CREATED, reason, CREATED, reason, CREATED, reason];
    assert_eq!(heard.whats(6), expected);
    assert_eq!(other.whats(6), expected);
    assert_eq!(world.manager.events_missed(), 0);
}

#[tokio::test]
async fn hanging_listener_delays_no_request() {
    let (let_go, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let told = Arc::new(AtomicUsize::new(0));
    let heard = Heard::default();
    let counted = Arc::clone(&told);
    let world = world_with(|builder| {
        let builder = builder.listener(move |_: &Event| {
            // Until the sender is gone.
            let _ = gate.lock().unwrap().recv();
            counted.fetch_add(1, Ordering::SeqCst);
        });
        builder.listener(heard.listener())
    });
    let mut all = 0;
    while world.manager.events_missed() < 100 {
        let token = world.manager.create(ada()).await.unwrap();
        assert!(world.manager.logout(&token).await.unwrap());
        all += 2;
        assert!(all < 10_000, "its queue has a bound");
        // The other one keeps up.
        assert_eq!(heard.whats(2), [CREATED, ended(EndReason::Logout)]);
    }
    let missed = usize::try_from(world.manager.events_missed()).unwrap();
    drop(let_go);
    while told.load(Ordering::SeqCst) < all - missed {
        tokio::task::yield_now().await;
    }
    assert!(all - missed <= 4_097, "one in its hands, and 4,096 that wait");
    let token = world.manager.create(ada()).await.unwrap();
    assert!(world.manager.logout(&token).await.unwrap());
    while told.load(Ordering::SeqCst) < all - missed + 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.manager.events_missed() as usize, missed, "it keeps up again");
}

/// Waits for the sender to be dropped before it takes its first event, and keeps what it gets.
fn gated(heard: &Heard) -> (mpsc::Sender<()>, impl EventListener) {
    let (let_go, gate) = mpsc::channel::<()>();
    let (gate, listener) = (Mutex::new(gate), heard.listener());
    (let_go, move |event: &Event| {
        let _ = gate.lock().unwrap().recv();
        listener(event);
    })
}

/// A client without an account can repeat these as often as it likes. Ten thousand requests are more
/// than fit into a queue.
async fn flood(world: &support::World, at: usize) {
    let manager = &world.manager;
    let junk = Token::parse(format!("{at:A>48}")).unwrap();
    assert!(manager.get(&junk).await.unwrap().is_none());
    manager.report_refusal(None, RefusalReason::CrossOrigin);
    let visitor = manager.create_anonymous(String::new()).await.unwrap();
    let session = manager.peek(&visitor).await.unwrap().unwrap();
    manager.report_refusal(Some(&session), RefusalReason::Csrf);
    let rotated = world.rotate(&visitor).await;
    assert!(manager.get(&visitor).await.unwrap().is_none(), "reported as a theft");
    if at.is_multiple_of(2) {
        assert!(manager.logout(&rotated).await.unwrap());
    }
}

/// An audit that writes to a database is slower than a client that sends junk to hide what it does.
#[tokio::test]
async fn open_events_push_no_other_event_out() {
    let heard = Heard::default();
    let (let_go, listener) = gated(&heard);
    let world = world_with(|builder| {
        // Full from the start, so each visitor also ends another.
        let anonymous = AnonymousSessions::new(3);
        builder.anonymous(anonymous).token_reuse(TokenReuse::Report).listener(listener)
    });
    let mut expected = Vec::new();
    for at in 0..1_000 {
        flood(&world, at).await;
        if at % 50 == 0 {
            let token = world.manager.create(ada()).await.unwrap();
            assert!(world.manager.logout(&token).await.unwrap());
            expected.extend([CREATED, ended(EndReason::Logout)]);
        }
    }
    assert!(world.manager.events_missed() > 1_000, "the flood has filled its half of the queue");
    drop(let_go);
    // One is in its hands.
    let all = heard.take(1 + 2_048 + expected.len());
    let of_ada: Vec<EventKind> =
        all.iter().filter(|event| event.owner.is_some()).map(|event| event.kind).collect();
    assert_eq!(of_ada, expected);
    // It has room again.
    flood(&world, 1).await;
    heard.take(5);
}

/// Says when it is dropped.
struct Leaving(Arc<AtomicBool>, AtomicUsize, mpsc::Sender<usize>);

impl EventListener for Leaving {
    fn on_event(&self, _: &Event) {
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
        let _ = self.2.send(self.1.load(Ordering::SeqCst));
    }
}

#[tokio::test]
async fn listener_s_thread_ends_with_the_manager() {
    let (sender, left) = mpsc::channel();
    let gone = Arc::new(AtomicBool::new(false));
    let store = MemoryStore::<Record<String>>::new();
    let leaving = Leaving(Arc::clone(&gone), AtomicUsize::new(0), sender);
    let manager = Manager::builder(store.clone()).listener(leaving).build().unwrap();
    let clone = manager.clone();
    for _ in 0..100 {
        let token = manager.create(ada()).await.unwrap();
        assert!(manager.logout(&token).await.unwrap());
    }
    drop(manager);
    assert!(!gone.load(Ordering::SeqCst), "a clone is the manager too");
    drop(clone);
    let told = left.recv_timeout(Duration::from_secs(30)).expect("the thread ends");
    assert_eq!(told, 200);
    drop(store);
}
