//! Open connections end with their session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kvolt_servers::Proxy;
use kvolt_session::{Binding, LiveSession, Manager, RotateOutcome, Token};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::{account, rotated, sign_in};
use crate::stage::{Server, Stage};
use crate::user::{User, signed_in};

/// Tolerance added to every promised time limit.
const SLACK: Duration = Duration::from_secs(2);

/// Opens a connection on server one that stays open until its session ends.
async fn follow(manager: &Manager<User>, token: &Token) -> JoinHandle<Instant> {
    let session = manager.peek(token).await.expect("the store answers").expect("it is there");
    let live = manager.live(&session);
    tokio::spawn(async move {
        live.ended().await;
        Instant::now()
    })
}

/// Asserts that the connection ends within this time after `since`; returns the actual
/// time.
async fn ends(
    connection: JoinHandle<Instant>,
    since: Instant,
    within: Duration,
    what: &str,
) -> Duration {
    let ended = timeout(within + SLACK, connection).await;
    let ended = ended.unwrap_or_else(|_| panic!("{what}: the connection goes on"));
    ended.expect("it is followed").duration_since(since)
}

/// How a session ends on server two.
#[derive(Debug, Clone, Copy)]
enum Ending {
    Logout,
    WithAll,
    ByAnAdministrator,
    WithEverybody,
    ByAChangeOfThePassword,
    ByAChangeOfItsOwnPassword,
    BySignIn,
    ByAChangeOfTheAccount,
    ByItself,
}

const ENDINGS: [Ending; 9] = [
    Ending::Logout,
    Ending::WithAll,
    Ending::ByAnAdministrator,
    Ending::WithEverybody,
    Ending::ByAChangeOfThePassword,
    Ending::ByAChangeOfItsOwnPassword,
    Ending::BySignIn,
    Ending::ByAChangeOfTheAccount,
    Ending::ByItself,
];

/// axum_session, stores of tower-sessions, and every application with an event stream: the
/// user is signed out, but an open connection keeps showing data.
///
/// The connection is on server one, and the session ends on server two.
pub async fn a_connection_that_stays_open_ends_with_its_session(stage: &Stage) {
    let moment = stage.moment();
    let (builder, within) = stage.live(&stage.one).await;
    // Another process has changed the account, which only polling can detect.
    let changed = Arc::new(AtomicBool::new(false));
    let version = Arc::clone(&changed);
    let bound = builder
        .bound_to(move |_: &User| Some(Binding::from(u64::from(version.load(Ordering::SeqCst)))));
    let bound = bound.build().expect("it can work");
    let (builder, _) = stage.live(&stage.one).await;
    let brief = builder.idle_timeout(moment).build().expect("it can work");
    let other = stage.other.manager();
    for ending in ENDINGS {
        let name = format!("{ending:?}");
        let one = if let Ending::ByItself = ending { &brief } else { &bound };
        let owner = account(&name);
        let new = signed_in(&name).bound_to(0);
        let token = one.create(new).await.expect("a sign-in works");
        // A session that must stay live, except when all sessions end.
        let bobs = one.create(signed_in("bob").bound_to(0)).await.expect("a sign-in works");
        let companion = one.create(signed_in(&name).bound_to(0)).await.expect("a sign-in works");
        let (connection, goes_on) = (follow(one, &token).await, follow(one, &bobs).await);
        let mut since = Instant::now();
        match ending {
            Ending::Logout => assert!(other.logout(&token).await.expect("the store answers")),
            Ending::WithAll => {
                assert_eq!(other.revoke_owner(&owner).await.expect("the store answers"), 2);
            }
            Ending::ByAnAdministrator => {
                assert!(other.revoke(token.id()).await.expect("the store answers"));
            }
            Ending::WithEverybody => other.revoke_everyone().await.expect("the store answers"),
            Ending::ByAChangeOfThePassword => {
                let (moved, ended) =
                    other.change_credentials(&companion, None).await.expect("the store answers");
                assert!(matches!(moved, RotateOutcome::Token(_)) && ended == 1);
            }
            // A thief has an open connection on the stolen session, and the owner changes
            // the password in that session.
            Ending::ByAChangeOfItsOwnPassword => {
                let (moved, ended) =
                    other.change_credentials(&token, None).await.expect("the store answers");
                assert!(matches!(moved, RotateOutcome::Token(_)) && ended == 1);
            }
            Ending::BySignIn => {
                let new = signed_in("eve").bound_to(0);
                let _ = other.login(Some(&token), new).await.expect("a sign-in works");
            }
            Ending::ByAChangeOfTheAccount => {
                changed.store(true, Ordering::SeqCst);
            }
            Ending::ByItself => {
                let session = one.peek(&token).await.expect("it answers").expect("it is there");
                let left = session.expires_at().since(stage.now());
                stage.pass(left).await;
                since = Instant::now();
            }
        }
        let after = ends(connection, since, within, &name).await;
        eprintln!("{name}: its connection ended {after:?} later");
        let all = matches!(
            ending,
            Ending::WithEverybody | Ending::ByAChangeOfTheAccount | Ending::ByItself
        );
        if all {
            ends(goes_on, since, within, &name).await;
        } else {
            assert!(!goes_on.is_finished(), "{name}: another's connection ended");
            goes_on.abort();
        }
        changed.store(false, Ordering::SeqCst);
    }
}

/// Measures how long after a logout on server two the connection on server one stays open;
/// asserts only the bound.
pub async fn a_logout_elsewhere_closes_an_open_connection_soon(stage: &Stage) {
    let (builder, within) = stage.live(&stage.one).await;
    let one = builder.build().expect("it can work");
    let mut took = Vec::new();
    for round in 0..10 {
        let mut client = stage.one.client_of(one.clone());
        client.post("/login/ada").await;
        // A stream of the application, over HTTP.
        let mut stream = client.clone();
        let stream = tokio::spawn(async move {
            let text = stream.get("/account/stream").await.text;
            (text, Instant::now())
        });
        sleep(Duration::from_millis(10 + 7 * round)).await;
        assert!(!stream.is_finished());
        let since = Instant::now();
        assert_eq!(client.at(&stage.other).post("/logout").await.text, "out");
        let ended = timeout(within + SLACK, stream).await.expect("the stream goes on");
        let (text, ended) = ended.expect("it is answered");
        assert_eq!(text, "over");
        took.push(ended.duration_since(since));
    }
    took.sort_unstable();
    let median = (took[4] + took[5]) / 2;
    eprintln!("from the logout on two to the end on one: median {median:?} of {took:?}");
}

/// Related: an open stream ends when its token is rotated, or never ends because the new
/// token is unknown.
pub async fn an_open_connection_follows_a_change_of_the_token(stage: &Stage) {
    let (builder, within) = stage.live(&stage.one).await;
    let one = builder.build().expect("it can work");
    for grace in [Duration::ZERO, Duration::from_secs(600)] {
        let builder = stage.other.builder().rotation_grace(grace);
        let other = builder.build().expect("it can work");
        let mut token = sign_in(&one, "ada").await;
        let session = one.peek(&token).await.expect("the store answers").expect("it is there");
        let mut live = one.live(&session);
        for _ in 0..4 {
            token = rotated(other.rotate(&token).await.expect("the store answers"));
            let seen = timeout(within + SLACK, live.changed()).await.expect("it is seen");
            assert_eq!(seen.expect("it lives").id(), token.id());
        }
        // Several rotations at once, faster than polling.
        for _ in 0..4 {
            token = rotated(other.rotate(&token).await.expect("the store answers"));
        }
        let put = other.update(&token, |user| user.put("it")).await;
        assert!(put.expect("the store answers").is_some());
        seen(&mut live, within, |live| live.session().note == "it ").await;
        let connection = tokio::spawn(async move {
            live.ended().await;
            Instant::now()
        });
        let since = Instant::now();
        assert!(other.logout(&token).await.expect("the store answers"));
        ends(connection, since, within, "a logout by the newest token").await;
    }
}

/// Waits until a change is visible.
async fn seen(
    live: &mut LiveSession<User>,
    within: Duration,
    is_it: impl Fn(&LiveSession<User>) -> bool,
) {
    let seeing = async {
        while !is_it(live) {
            assert!(live.changed().await.is_some(), "it has ended");
        }
    };
    timeout(within + SLACK, seeing).await.expect("it is seen");
}

/// The store is unavailable, connections drop, or no data arrives: the outage must end no
/// connection, and no connection may hang after it. Sessions that ended during the outage
/// are detected afterwards.
pub async fn an_outage_ends_no_open_connection_and_hides_no_end(stage: &Stage) {
    type Hurt = fn(&Server);
    let hurts: &[(&str, Hurt)] = match stage.one.proxy() {
        Some(_) => &[
            ("cut", Server::cut),
            ("dropped", |server| server.proxy().into_iter().for_each(Proxy::drop_connections)),
            ("silent", |server| server.proxy().into_iter().for_each(Proxy::blackhole)),
        ],
        None => &[("cut", Server::cut)],
    };
    let (builder, within) = stage.live(&stage.one).await;
    let one = builder.build().expect("it can work");
    let other = stage.other.manager();
    for (name, hurt) in hurts {
        let lives = sign_in(&one, "ada").await;
        let ends_meanwhile = sign_in(&one, "bob").await;
        let ends_after = sign_in(&one, "eve").await;
        let moves = sign_in(&one, "zoe").await;
        let mut connections = Vec::new();
        for token in [&lives, &ends_meanwhile, &ends_after, &moves] {
            connections.push(follow(&one, token).await);
        }
        // Every connection has polled once.
        sleep(Duration::from_millis(50)).await;
        hurt(&stage.one);
        // Longer than a copy stays current, so that every connection has polled.
        let is_shared = stage.is_in_memory();
        sleep(within + Duration::from_millis(if is_shared { 0 } else { 300 })).await;
        let ended = other.logout(&ends_meanwhile).await;
        let moved = rotated(other.rotate(&moves).await.expect("the store answers"));
        assert!(ended.expect("the store answers"));
        sleep(Duration::from_millis(100)).await;
        for (at, connection) in connections.iter().enumerate() {
            let may_have =
                at == 1 && (is_shared || *name == "dropped" || stage.one.proxy().is_none());
            assert!(may_have || !connection.is_finished(), "{name}: {at} ended in the outage");
        }
        stage.one.restore();
        let healed = Instant::now();
        let mut connections = connections.into_iter();
        let mut next = || connections.next().expect("it is one of four");
        let (lives_on, meanwhile, after, moving) = (next(), next(), next(), next());
        // Subscribers reconnect with increasing delays.
        let took = ends(meanwhile, healed, within + SLACK, name).await;
        eprintln!("{name}: what had ended meanwhile was seen {took:?} after it had healed");
        let since = Instant::now();
        assert!(other.logout(&ends_after).await.expect("the store answers"));
        ends(after, since, within, name).await;
        assert!(!moving.is_finished(), "{name}: it has another token, and has not ended");
        let since = Instant::now();
        assert!(other.logout(&moved).await.expect("the store answers"));
        ends(moving, since, within, name).await;
        assert!(!lives_on.is_finished(), "{name}: it has not ended");
        let since = Instant::now();
        assert!(other.logout(&lives.clone()).await.expect("the store answers"));
        ends(lives_on, since, within, name).await;
    }
}
