//! A session's id gives no access to it.
//!
//! The id is in lists, logs, events and administration, and a client chooses it when it makes up a
//! token. So no operation may affect a session before the secret is verified.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use kvolt_cache::{Freshness, Store};
use kvolt_session::{Access, EventKind, Flash, Level, Manager, RotateOutcome, Token, TokenReuse};
use kvolt_testkit::Call;
use std::time::Duration;

use super::{ids, sign_in};
use crate::deployment::{Deployment, Server};
use crate::recording_listener::RecordingListener;
use crate::user::{User, decoded, signed_in};

/// A token of these bytes.
fn made(bytes: impl AsRef<[u8]>) -> Token {
    Token::parse(URL_SAFE_NO_PAD.encode(bytes)).expect("a well-formed token")
}

fn bytes_of(token: &Token) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(token.expose()).expect("valid base64")
}

/// Random bytes, as an attacker would send them.
fn junk() -> [u8; 16] {
    use std::hash::{BuildHasher, RandomState};
    u128::from(RandomState::new().hash_one(1)).pow(2).to_le_bytes()
}

/// Tokens with the victim's id, made by a client with a session here and one in another
/// application.
fn made_up(victim: &Token, own: &Token, foreign: &Token) -> Vec<(&'static str, Token)> {
    let (id, own, foreign) = (&bytes_of(victim)[..12], bytes_of(own), bytes_of(foreign));
    let with = |secret: &[u8]| made([id, secret].concat());
    let random = [junk(), junk()].concat();
    vec![
        ("zeros", with(&[0; 24])),
        ("random", with(&random[..24])),
        ("random again", with(&[&junk()[..], &junk()[..8]].concat())),
        ("another session's secret", with(&own[12..])),
        ("another session's mark", with(&[&random[..18], &own[30..]].concat())),
        ("a secret of another namespace", with(&foreign[12..])),
        ("the id twice", with(&[id, id].concat())),
    ]
}

/// A manager on each server that ends a session at the reuse of its token.
fn managers(deployment: &Deployment, idle: Duration) -> ([Manager<User>; 2], RecordingListener) {
    let events = RecordingListener::default();
    let managers = deployment.servers().map(|server: &Server| {
        let builder = server.builder().idle_timeout(idle).lifetime(idle * 12);
        let builder = builder.rotation_grace(idle / 100).token_reuse(TokenReuse::EndSession);
        builder.listener(events.clone()).build().expect("valid settings")
    });
    (managers, events)
}

/// The id alone uses, ends, replaces or reports a session: by every call, on every route, on both
/// servers.
pub async fn id_alone_has_no_effect(deployment: &Deployment) {
    let (managers, events) = managers(deployment, Duration::from_secs(1_800));
    let mut victim = deployment.one.client_of(managers[0].clone());
    victim.post("/login/ada").await;
    victim.post("/count").await;
    let token = victim.token().expect("a token in the cookie");
    let companion = sign_in(&managers[1], "ada").await;
    let own = sign_in(&managers[1], "mallory").await;
    let neighbour = deployment.neighbour("_shop").await;
    let foreign = sign_in(&neighbour.one.manager(), "ada").await;
    let key = token.id().key(deployment.one.store.namespace());
    let entry = async || {
        let found = deployment.one.store.get(&key, Freshness::Strict).await;
        let found = found.expect("the store answers").expect("the session exists");
        (found.version, found.deadlines, found.owner)
    };
    let before = entry().await;
    for (server, manager) in deployment.servers().into_iter().zip(&managers) {
        for (what, guess) in made_up(&token, &own, &foreign) {
            assert_eq!(guess.id(), token.id());
            let attacker = server.client_of(manager.clone()).presenting(guess.expose());
            for path in ["/profile", "/poll", "/strict/profile", "/cacheable", "/account/page"] {
                let answer = attacker.clone().get(path).await;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}: {what}");
            }
            assert_eq!(attacker.clone().get("/").await.text, "nobody", "{what}");
            for path in [
                "/count",
                "/note/3",
                "/rotate",
                "/password",
                "/revoke-all",
                "/deep/down/below/logout",
                "/account/prove/3",
                "/account/credentials",
                "/account/flash/x",
                "/account/fresh",
                "/account/basket/it",
            ] {
                let answer = attacker.clone().post(path).await;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}: {what}");
                assert!(answer.set_cookies().is_empty(), "{path}: {what}");
            }
            assert_eq!(attacker.clone().post("/logout").await.status, StatusCode::OK);
            for access in [Access::PEEK, Access::SLIDE, Access::PEEK.strict()] {
                let found = manager.get_with(&guess, access).await.expect("the store answers");
                assert!(found.is_none(), "{what}");
                let read = manager.read(&guess, access, |_| ()).await.expect("the store answers");
                assert!(read.is_none(), "{what}");
            }
            let updated = manager.update(&guess, |user| user.count += 1).await;
            assert!(updated.expect("the store answers").is_none(), "{what}");
            assert!(
                !manager.flash(&guess, Flash::new("info", "x")).await.expect("the store answers")
            );
            assert!(manager.take_flashes(&guess).await.expect("the store answers").is_empty());
            let renewed = [
                manager.rotate(&guess).await.expect("the store answers"),
                manager.reauthenticate(&guess, Level::Three).await.expect("the store answers"),
                manager.change_credentials(&guess, None).await.expect("the store answers").0,
            ];
            assert!(
                renewed.iter().all(|renewed| matches!(renewed, RotateOutcome::Absent)),
                "{what}"
            );
            assert_eq!(manager.revoke_others(&guess).await.expect("the store answers"), 0);
            assert!(!manager.logout(&guess).await.expect("the store answers"), "{what}");
        }
        // A part of a token is not a token.
        for length in [16, 24, 40, 47] {
            let cut = &token.expose()[..length];
            let attacker = server.client_of(manager.clone()).presenting(cut);
            for path in ["/count", "/logout", "/rotate", "/login/mallory"] {
                attacker.clone().post(path).await;
            }
        }
    }
    assert_eq!(entry().await, before, "the entry is unchanged");
    assert_eq!(victim.get("/count").await.text, "1");
    for token in [&token, &companion, &own] {
        deployment.is_accepted(token).await;
    }
    assert_eq!(ids(&managers[0], "ada").await, [token.id(), companion.id()]);
    let alarms = events.events().into_iter().filter(|event| event.kind == EventKind::Reused);
    assert_eq!(alarms.collect::<Vec<_>>(), [], "no reuse is reported");
}

/// The class of the above: a sign-in ends the client's own session, and the client has a stranger's
/// id in its cookie.
pub async fn login_with_a_stranger_s_id_ends_no_session(deployment: &Deployment) {
    let managers = deployment.servers().map(Server::manager);
    let token = sign_in(&managers[0], "ada").await;
    let own = sign_in(&managers[1], "mallory").await;
    let neighbour = deployment.neighbour("_shop").await;
    let foreign = sign_in(&neighbour.one.manager(), "ada").await;
    for (server, manager) in deployment.servers().into_iter().zip(&managers) {
        for (what, guess) in made_up(&token, &own, &foreign) {
            for path in ["/login/mallory", "/nested/login/mallory", "/account/remembered/mallory"] {
                let mut attacker = server.client().presenting(guess.expose());
                let answer = attacker.post(path).await;
                assert_eq!(answer.status, StatusCode::OK, "{path}: {what}");
                let given = attacker.token().expect("a sign-in gives a token");
                assert_ne!(given.id(), token.id(), "{path}: {what}");
            }
            let new = signed_in("mallory");
            let given = manager.login(Some(&guess), new).await.expect("the sign-in succeeds");
            assert_ne!(given.id(), token.id(), "{what}");
            deployment.is_accepted(&token).await;
        }
    }
    assert_eq!(ids(&managers[0], "ada").await, [token.id()]);
}

/// The class of the above: after its owner has left, the id keeps the session alive.
pub async fn id_alone_does_not_extend_a_session(deployment: &Deployment) {
    let idle = deployment.short_timeout();
    let (managers, _) = managers(deployment, idle);
    let token = sign_in(&managers[0], "ada").await;
    let own = sign_in(&deployment.one.manager(), "mallory").await;
    let guesses = made_up(&token, &own, &own);
    let found = managers[1].get_with(&token, Access::PEEK.strict()).await;
    let expires = found.expect("the store answers").expect("the session exists").expires_at();
    let mut tried = 0;
    while deployment.now() < expires.saturating_add(deployment.clock_skew()) {
        let (_, guess) = &guesses[tried % guesses.len()];
        let access = if tried % 3 == 0 { Access::SLIDE.strict() } else { Access::SLIDE };
        let found = managers[tried % 2].get_with(guess, access).await;
        assert!(found.expect("the store answers").is_none());
        tried += 1;
        deployment.advance(idle / 16).await;
    }
    assert!(tried > 4, "{tried}");
    for manager in &managers {
        let found = manager.peek(&token).await.expect("the store answers");
        assert!(found.is_none(), "kept alive by its id");
    }
    deployment.is_refused(&token).await;
}

/// The class of the above: a wrong secret for a known id costs more than an unknown id: more reads
/// of the store, or a decoded record, or with a near cache one read for each request.
pub async fn wrong_secret_costs_one_read_and_no_decoding(deployment: &Deployment) {
    let server = &deployment.other;
    let manager = server.manager();
    let name = "counted-ada";
    let new = User { note: "x".repeat(10_000), ..User::new(name) };
    let token =
        deployment.one.manager().create(kvolt_session::NewSession::new(new).owner(name)).await;
    let token = token.expect("the sign-in succeeds");
    let own = sign_in(&manager, "mallory").await;
    deployment.outlive_copies().await;
    let reads = || server.faults.count(Call::Get);
    let all = || server.faults.count_all() - server.faults.count(Call::GetReady);
    let decoded_before = decoded(name);
    for (what, guess) in made_up(&token, &own, &own) {
        for access in [Access::PEEK, Access::SLIDE, Access::SLIDE.strict()] {
            let before = (reads(), all());
            let found = manager.get_with(&guess, access).await.expect("the store answers");
            assert!(found.is_none(), "{what}");
            assert!(reads() - before.0 <= 1, "{what}: {} reads", reads() - before.0);
            assert_eq!(reads() - before.0, all() - before.1, "{what}: nothing but reads");
        }
        for (path, is_in) in [("/profile", false), ("/count", false), ("/logout", true)] {
            let before = all();
            let answer = server.client().presenting(guess.expose()).post(path).await;
            assert_eq!(answer.status == StatusCode::OK, is_in, "{path}");
            // A logout reads the session a second time.
            let most = if is_in { 2 } else { 1 };
            assert!(all() - before <= most, "{path}, {what}: {} calls", all() - before);
        }
    }
    if !deployment.is_in_memory() {
        assert_eq!(decoded(name), decoded_before, "the data was decoded for junk");
        assert!(manager.get(&token).await.expect("the store answers").is_some());
        assert!(decoded(name) > decoded_before, "it is what is counted");
    }
    if deployment.bound().is_none() {
        return;
    }
    // With a copy in the near cache and a hundred requests at the same time, the store gets at most
    // two reads.
    assert!(manager.get(&token).await.expect("the store answers").is_some());
    server.faults.only(&[Call::Get]);
    server.faults.hold_answers();
    let before = reads();
    let asked = (0..100).map(|_| {
        let guess = made([&bytes_of(&token)[..12], &junk(), &junk()[..8]].concat());
        let manager = manager.clone();
        tokio::spawn(async move { manager.get(&guess).await.expect("the store answers").is_none() })
    });
    let asked: Vec<_> = asked.collect();
    server.faults.until_waiting(1).await;
    // Gives the other requests time to send a read, if they do.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(reads() - before <= 2, "{} questions in flight", reads() - before);
    server.faults.release();
    for asked in asked {
        assert!(asked.await.expect("the task ends"));
    }
    server.faults.only(&[]);
    deployment.is_accepted(&token).await;
}
