//! Whoever knows a session's id knows nothing.
//!
//! The id is in lists, in logs, in events and in administration, and it is what a client chooses when
//! it makes a token up. So nothing may happen to a session before the secret was verified.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use kvolt_cache::{Freshness, Store};
use kvolt_session::{Access, EventKind, Flash, Level, Manager, RotateOutcome, Token, TokenReuse};
use kvolt_testkit::Call;
use std::time::Duration;

use super::{ids, sign_in};
use crate::stage::{Server, Stage};
use crate::told::Told;
use crate::user::{User, decoded, signed_in};

/// A token of these bytes.
fn made(bytes: impl AsRef<[u8]>) -> Token {
    Token::parse(URL_SAFE_NO_PAD.encode(bytes)).expect("it has the form of one")
}

fn bytes_of(token: &Token) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(token.expose()).expect("it is base64")
}

/// Random bytes, as good as an attacker's.
fn junk() -> [u8; 16] {
    use std::hash::{BuildHasher, RandomState};
    u128::from(RandomState::new().hash_one(1)).pow(2).to_le_bytes()
}

/// Tokens with the victim's id, by whoever has a session of their own and one of another application.
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

/// A manager on each server that ends a session at the theft of its token.
fn managers(stage: &Stage, idle: Duration) -> ([Manager<User>; 2], Told) {
    let told = Told::default();
    let managers = stage.servers().map(|server: &Server| {
        let builder = server.builder().idle_timeout(idle).lifetime(idle * 12);
        let builder = builder.rotation_grace(idle / 100).token_reuse(TokenReuse::EndSession);
        builder.listener(told.clone()).build().expect("it can work")
    });
    (managers, told)
}

/// The session is used, ended, signed out, logged in over or called stolen by its id alone: by every
/// call, on every route, on both servers.
pub async fn id_alone_does_nothing_to_a_session(stage: &Stage) {
    let (managers, told) = managers(stage, Duration::from_secs(1_800));
    let mut victim = stage.one.client_of(managers[0].clone());
    victim.post("/login/ada").await;
    victim.post("/count").await;
    let token = victim.token().expect("it is signed in");
    let companion = sign_in(&managers[1], "ada").await;
    let own = sign_in(&managers[1], "mallory").await;
    let neighbour = stage.neighbour("_shop").await;
    let foreign = sign_in(&neighbour.one.manager(), "ada").await;
    let key = token.id().key(stage.one.store.namespace());
    let entry = async || {
        let found = stage.one.store.get(&key, Freshness::Strict).await;
        let found = found.expect("the store answers").expect("the session is there");
        (found.version, found.deadlines, found.owner)
    };
    let before = entry().await;
    for (server, manager) in stage.servers().into_iter().zip(&managers) {
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
                let read = manager.read(&guess, access, |_| ()).await.expect("it answers");
                assert!(read.is_none(), "{what}");
            }
            let updated = manager.update(&guess, |user| user.count += 1).await;
            assert!(updated.expect("the store answers").is_none(), "{what}");
            assert!(!manager.flash(&guess, Flash::new("info", "x")).await.expect("it answers"));
            assert!(manager.take_flashes(&guess).await.expect("it answers").is_empty());
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
        // What is cut off is no token.
        for length in [16, 24, 40, 47] {
            let cut = &token.expose()[..length];
            let attacker = server.client_of(manager.clone()).presenting(cut);
            for path in ["/count", "/logout", "/rotate", "/login/mallory"] {
                attacker.clone().post(path).await;
            }
        }
    }
    assert_eq!(entry().await, before, "nothing was done to it, and no deadline has moved");
    assert_eq!(victim.get("/count").await.text, "1");
    for token in [&token, &companion, &own] {
        stage.is_accepted(token).await;
    }
    assert_eq!(ids(&managers[0], "ada").await, [token.id(), companion.id()]);
    let alarms = told.events().into_iter().filter(|event| event.kind == EventKind::Reused);
    assert_eq!(alarms.collect::<Vec<_>>(), [], "nobody is called a thief");
}

/// A relative: a sign-in ends the session that the client came with, and the client came with a
/// stranger's id in its cookie.
pub async fn login_with_a_strangers_id_signs_no_stranger_out(stage: &Stage) {
    let managers = stage.servers().map(Server::manager);
    let token = sign_in(&managers[0], "ada").await;
    let own = sign_in(&managers[1], "mallory").await;
    let neighbour = stage.neighbour("_shop").await;
    let foreign = sign_in(&neighbour.one.manager(), "ada").await;
    for (server, manager) in stage.servers().into_iter().zip(&managers) {
        for (what, guess) in made_up(&token, &own, &foreign) {
            for path in ["/login/mallory", "/nested/login/mallory", "/account/remembered/mallory"] {
                let mut attacker = server.client().presenting(guess.expose());
                let answer = attacker.post(path).await;
                assert_eq!(answer.status, StatusCode::OK, "{path}: {what}");
                let given = attacker.token().expect("a sign-in gives a token");
                assert_ne!(given.id(), token.id(), "{path}: {what}");
            }
            let new = signed_in("mallory");
            let given = manager.login(Some(&guess), new).await.expect("a sign-in works");
            assert_ne!(given.id(), token.id(), "{what}");
            stage.is_accepted(&token).await;
        }
    }
    assert_eq!(ids(&managers[0], "ada").await, [token.id()]);
}

/// A relative: its owner has long gone, and whoever knows the id keeps the session alive.
pub async fn id_alone_keeps_no_session_alive(stage: &Stage) {
    let idle = stage.moment();
    let (managers, _) = managers(stage, idle);
    let token = sign_in(&managers[0], "ada").await;
    let own = sign_in(&stage.one.manager(), "mallory").await;
    let guesses = made_up(&token, &own, &own);
    let found = managers[1].get_with(&token, Access::PEEK.strict()).await;
    let expires = found.expect("the store answers").expect("it is there").expires_at();
    let mut tried = 0;
    while stage.now() < expires.saturating_add(stage.inexactness()) {
        let (_, guess) = &guesses[tried % guesses.len()];
        let access = if tried % 3 == 0 { Access::SLIDE.strict() } else { Access::SLIDE };
        let found = managers[tried % 2].get_with(guess, access).await;
        assert!(found.expect("the store answers").is_none());
        tried += 1;
        stage.pass(idle / 16).await;
    }
    assert!(tried > 4, "{tried}");
    for manager in &managers {
        let found = manager.peek(&token).await.expect("the store answers");
        assert!(found.is_none(), "kept alive by its id");
    }
    stage.is_refused(&token).await;
}

/// A relative: junk for a known id costs more than junk for an unknown one: reads of the store, a
/// large record that is decoded, or with a near cache a question each, all at once.
pub async fn junk_for_a_known_id_is_read_once_and_not_decoded(stage: &Stage) {
    let server = &stage.other;
    let manager = server.manager();
    let name = "counted-ada";
    let new = User { note: "x".repeat(10_000), ..User::new(name) };
    let token = stage.one.manager().create(kvolt_session::NewSession::new(new).owner(name)).await;
    let token = token.expect("a sign-in works");
    let own = sign_in(&manager, "mallory").await;
    stage.outlive_copies().await;
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
            // A sign-out asks once more whether it is a token of the session.
            let most = if is_in { 2 } else { 1 };
            assert!(all() - before <= most, "{path}, {what}: {} calls", all() - before);
        }
    }
    if !stage.is_in_memory() {
        assert_eq!(decoded(name), decoded_before, "the data was decoded for junk");
        assert!(manager.get(&token).await.expect("the store answers").is_some());
        assert!(decoded(name) > decoded_before, "it is what is counted");
    }
    if stage.bound().is_none() {
        return;
    }
    // With a copy there, and a hundred at once: two questions at a time are all that the store sees.
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
    // Time for the others to ask, if they do.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(reads() - before <= 2, "{} questions in flight", reads() - before);
    server.faults.release();
    for asked in asked {
        assert!(asked.await.expect("it is answered"));
    }
    server.faults.only(&[]);
    stage.is_accepted(&token).await;
}
