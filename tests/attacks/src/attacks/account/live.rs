//! Open connections end with their session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kvolt_servers::Proxy;
use kvolt_session::{Binding, LiveSession, Manager, RotateOutcome, Token};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::attacks::{account, rotated, sign_in};
use crate::deployment::{Deployment, Server};
use crate::user::{User, signed_in};

/// The tolerance for a busy machine, in addition to each promise.
const SLACK: Duration = Duration::from_secs(2);

/// Follows a session on server one until it ends.
async fn follow(manager: &Manager<User>, token: &Token) -> JoinHandle<Instant> {
    let session =
        manager.peek(token).await.expect("the store answers").expect("the session exists");
    let live = manager.live(&session);
    tokio::spawn(async move {
        live.ended().await;
        Instant::now()
    })
}

/// Asserts that the connection ends within this time after `since`. Returns how long it took.
async fn ends(
    connection: JoinHandle<Instant>,
    since: Instant,
    within: Duration,
    what: &str,
) -> Duration {
    let ended = timeout(within + SLACK, connection).await;
    let ended = ended.unwrap_or_else(|_| panic!("{what}: the connection goes on"));
    ended.expect("the session is followed").duration_since(since)
}

/// How the session ends on server two.
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

/// axum_session, stores of tower-sessions, and applications with event streams: the user is signed
/// out, and a connection opened before continues to show data.
///
/// The connection is on server one, and the session ends on server two.
pub async fn open_connection_ends_with_its_session(deployment: &Deployment) {
    let moment = deployment.short_timeout();
    let (builder, within) = deployment.live(&deployment.one).await;
    // Another process changes the account: only a check of the account shows it.
    let changed = Arc::new(AtomicBool::new(false));
    let version = Arc::clone(&changed);
    let bound = builder
        .bound_to(move |_: &User| Some(Binding::from(u64::from(version.load(Ordering::SeqCst)))));
    let bound = bound.build().expect("valid settings");
    let (builder, _) = deployment.live(&deployment.one).await;
    let brief = builder.idle_timeout(moment).build().expect("valid settings");
    let other = deployment.other.manager();
    for ending in ENDINGS {
        let name = format!("{ending:?}");
        let one = if let Ending::ByItself = ending { &brief } else { &bound };
        let owner = account(&name);
        let new = signed_in(&name).bound_to(0);
        let token = one.create(new).await.expect("the sign-in succeeds");
        // Another user's connection, which must stay open unless all sessions end.
        let bobs = one.create(signed_in("bob").bound_to(0)).await.expect("the sign-in succeeds");
        let companion =
            one.create(signed_in(&name).bound_to(0)).await.expect("the sign-in succeeds");
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
            // A thief follows the stolen session, whose owner changes the password in it.
            Ending::ByAChangeOfItsOwnPassword => {
                let (moved, ended) =
                    other.change_credentials(&token, None).await.expect("the store answers");
                assert!(matches!(moved, RotateOutcome::Token(_)) && ended == 1);
            }
            Ending::BySignIn => {
                let new = signed_in("eve").bound_to(0);
                let _ = other.login(Some(&token), new).await.expect("the sign-in succeeds");
            }
            Ending::ByAChangeOfTheAccount => {
                changed.store(true, Ordering::SeqCst);
            }
            Ending::ByItself => {
                let session =
                    one.peek(&token).await.expect("the store answers").expect("the session exists");
                let left = session.expires_at().since(deployment.now());
                deployment.advance(left).await;
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

/// How long the connection on server one stays open after a logout on server two: printed, and
/// asserted only against the bound.
pub async fn remote_logout_closes_an_open_connection(deployment: &Deployment) {
    let (builder, within) = deployment.live(&deployment.one).await;
    let one = builder.build().expect("valid settings");
    let mut took = Vec::new();
    for round in 0..10 {
        let mut client = deployment.one.client_of(one.clone());
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
        assert_eq!(client.at(&deployment.other).post("/logout").await.text, "out");
        let ended = timeout(within + SLACK, stream).await.expect("the stream continues");
        let (text, ended) = ended.expect("the task ends");
        assert_eq!(text, "over");
        took.push(ended.duration_since(since));
    }
    took.sort_unstable();
    let median = (took[4] + took[5]) / 2;
    eprintln!("from the logout on two to the end on one: median {median:?} of {took:?}");
}

/// The class of the above: a stream ends when its token is replaced, or continues forever because
/// its new token is unknown.
pub async fn open_connection_survives_a_rotation(deployment: &Deployment) {
    let (builder, within) = deployment.live(&deployment.one).await;
    let one = builder.build().expect("valid settings");
    for grace in [Duration::ZERO, Duration::from_secs(600)] {
        let builder = deployment.other.builder().rotation_grace(grace);
        let other = builder.build().expect("valid settings");
        let mut token = sign_in(&one, "ada").await;
        let session =
            one.peek(&token).await.expect("the store answers").expect("the session exists");
        let mut live = one.live(&session);
        for _ in 0..4 {
            token = rotated(other.rotate(&token).await.expect("the store answers"));
            let seen = timeout(within + SLACK, live.changed()).await.expect("the change arrives");
            assert_eq!(seen.expect("the session lives").id(), token.id());
        }
        // Several rotations, faster than any check.
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

/// Waits until a change arrives.
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
    timeout(within + SLACK, seeing).await.expect("the change arrives");
}

/// The store is unavailable, connections are closed, or no data arrives: the open connections stay
/// open, and recover. They end if their session has ended in the meantime.
pub async fn outage_ends_no_open_connection(deployment: &Deployment) {
    type Hurt = fn(&Server);
    let hurts: &[(&str, Hurt)] = match deployment.one.proxy() {
        Some(_) => &[
            ("cut", Server::cut),
            ("dropped", |server| server.proxy().into_iter().for_each(Proxy::drop_connections)),
            ("silent", |server| server.proxy().into_iter().for_each(Proxy::blackhole)),
        ],
        None => &[("cut", Server::cut)],
    };
    let (builder, within) = deployment.live(&deployment.one).await;
    let one = builder.build().expect("valid settings");
    let other = deployment.other.manager();
    for (name, hurt) in hurts {
        let lives = sign_in(&one, "ada").await;
        let ends_meanwhile = sign_in(&one, "bob").await;
        let ends_after = sign_in(&one, "eve").await;
        let moves = sign_in(&one, "zoe").await;
        let mut connections = Vec::new();
        for token in [&lives, &ends_meanwhile, &ends_after, &moves] {
            connections.push(follow(&one, token).await);
        }
        // Each connection has checked once.
        sleep(Duration::from_millis(50)).await;
        hurt(&deployment.one);
        // Longer than a notification is trusted, so that each connection checks again.
        let is_shared = deployment.is_in_memory();
        sleep(within + Duration::from_millis(if is_shared { 0 } else { 300 })).await;
        let ended = other.logout(&ends_meanwhile).await;
        let moved = rotated(other.rotate(&moves).await.expect("the store answers"));
        assert!(ended.expect("the store answers"));
        sleep(Duration::from_millis(100)).await;
        for (at, connection) in connections.iter().enumerate() {
            let may_have =
                at == 1 && (is_shared || *name == "dropped" || deployment.one.proxy().is_none());
            assert!(may_have || !connection.is_finished(), "{name}: {at} ended in the outage");
        }
        deployment.one.restore();
        let healed = Instant::now();
        let mut connections = connections.into_iter();
        let mut next = || connections.next().expect("one of four");
        let (lives_on, meanwhile, after, moving) = (next(), next(), next(), next());
        // The change feed reconnects with a growing delay.
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
