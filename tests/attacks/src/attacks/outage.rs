//! A failing store loses no session.

use std::time::Duration;

use http::{Method, StatusCode};
use kvolt_cache::{AnyStore, Freshness, Key, ReplaceOutcome, Store, Target};
use kvolt_testkit::Call;
use tokio::time::Instant;

use super::{account, sign_in};
use crate::client::{Answer, Client};
use crate::deployment::{CopyLifetime, Deployment, Server};

/// Longer than any store takes to recover.
const MAX_RECOVERY: Duration = Duration::from_secs(30);

/// axum_session 0.22 (tried): a store that can't be read returns an empty session, which then
/// overwrites the real one.
///
/// One server loses the store, and gets it back. Meanwhile it answers with an error, and changes
/// neither cookie nor data; the other server continues.
pub async fn outage_changes_no_session(deployment: &Deployment) {
    let mut client = deployment.one.client();
    client.post("/login/ada").await;
    for _ in 0..3 {
        client.post("/count").await;
    }
    client.post("/note/100").await;
    let (jar, token) = (client.jar.clone(), client.token().expect("a token in the cookie"));
    for _ in 0..2 {
        deployment.one.cut();
        // A near cache may use its copies until the bound.
        deployment.outlive_copies().await;
        for (method, path) in [
            (Method::POST, "/count"),
            (Method::POST, "/note/7"),
            (Method::POST, "/rotate"),
            (Method::POST, "/password"),
            (Method::POST, "/logout"),
            (Method::POST, "/deep/down/below/logout"),
            (Method::POST, "/login/eve"),
            (Method::POST, "/nested/login/eve"),
            (Method::GET, "/profile"),
            (Method::GET, "/"),
        ] {
            let answer = client.send(method, path, &[]).await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {}", answer.text);
            assert!(answer.set_cookies().is_empty(), "{path}");
            assert!(answer.header("retry-after").is_some(), "{path}");
        }
        assert_eq!(client.jar, jar, "no session ends");
        assert_eq!(client.at(&deployment.other).get("/profile").await.text, "ada");
        deployment.one.restore();
        is_served_again(&mut client).await;
        assert_eq!(client.get("/count").await.text, "3");
        for server in deployment.servers() {
            let session = server.manager().get(&token).await.expect("the store answers");
            let session = session.expect("the session lives");
            assert_eq!((&*session.name, session.count, session.note.len()), ("ada", 3, 100));
        }
    }
    assert_eq!(client.post("/count").await.text, "4");
}

async fn is_served_again(client: &mut Client) {
    let since = Instant::now();
    loop {
        let status = client.get("/profile").await.status;
        if status == StatusCode::OK {
            return;
        }
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(since.elapsed() < MAX_RECOVERY, "it does not recover");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The class of the above: the store has performed an operation, and its answer is lost. The caller
/// gets an error, never a success or an absence, and no operation is half done.
pub async fn lost_answer_is_an_error(deployment: &Deployment) {
    let mut client = deployment.one.client();
    client.post("/login/ada").await;
    let faults = &deployment.one.faults;
    let losing = |call: Call| {
        faults.only(&[call]);
        faults.lose_all_answers(true);
    };
    let found = || {
        faults.lose_all_answers(false);
        faults.only(&[]);
    };
    losing(Call::Replace);
    let answer = client.post("/count").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    found();
    deployment.outlive_copies().await;
    assert_eq!(client.get("/count").await.text, "1", "it had been counted, and once");

    losing(Call::Insert);
    let mut visitor = client.other();
    let answer = visitor.post("/login/bob").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(visitor.jar.is_empty(), "a client that got an error has no session");
    found();

    losing(Call::Remove);
    let jar = client.jar.clone();
    let answer = client.post("/logout").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(client.jar, jar, "a retry works");
    found();
    deployment.is_refused(&client.token().expect("at least one")).await;
    assert_eq!(client.post("/logout").await.status, StatusCode::OK);
    assert!(client.jar.is_empty());
}

/// A change of a stored record.
type Damage = fn(&str) -> Vec<u8>;

/// Damages the envelope: no token can be verified.
const OF_THE_ENVELOPE: [Damage; 6] = [
    |_| Vec::new(),
    |_| b"{}".to_vec(),
    |_| b"null".to_vec(),
    |whole| whole.replace("{\"v\":1,", "{\"v\":999999,").into_bytes(),
    |whole| [b"\xff\xfe", whole.as_bytes()].concat(),
    |whole| whole.replace("\"seed\"", "\"need\"").into_bytes(),
];

/// Damages the application's data.
const OF_THE_DATA: [Damage; 3] = [
    |whole| whole.replace("\"count\":", "\"mount\":").into_bytes(),
    |whole| whole.lines().next().unwrap_or_default().as_bytes().to_vec(),
    |whole| [whole.as_bytes(), b"\xff"].concat(),
];

/// Replaces the value of a session without the codec, and returns the old value.
async fn put(bytes: &AnyStore<Vec<u8>>, key: &Key, value: Vec<u8>) -> Vec<u8> {
    let entry = bytes
        .get(key, Freshness::Strict)
        .await
        .expect("the store answers")
        .expect("the session exists");
    let at = Target::new(key).owner(entry.owner.as_ref());
    let replaced = bytes.replace(at, entry.version, value, None).await;
    assert!(matches!(replaced.expect("the store answers"), ReplaceOutcome::Replaced(_)));
    entry.value
}

/// Damages a session, and returns the old value.
async fn damage(bytes: &AnyStore<Vec<u8>>, key: &Key, damage: Damage) -> Vec<u8> {
    let whole = put(bytes, key, Vec::new()).await;
    let text = String::from_utf8(whole.clone()).expect("valid UTF-8");
    let damaged = damage(&text);
    assert_ne!(damaged, whole);
    put(bytes, key, damaged).await;
    whole
}

/// Waits until no copy has the old value.
async fn until_seen(deployment: &Deployment, client: &Client, is_it: impl Fn(&Answer) -> bool) {
    let since = CopyLifetime::begin(deployment);
    for server in deployment.servers() {
        loop {
            let last = since.is_over();
            if is_it(&client.at(server).get("/count").await) {
                break;
            }
            since.retry_or_panic(last).await;
        }
    }
}

/// The class of the above: an undecodable session is taken for an absent one, and overwritten. It
/// must stay, and work again when it can be decoded.
///
/// Not in memory, where values are not encoded.
pub async fn undecodable_session_is_not_overwritten(deployment: &Deployment) {
    let Some(bytes) = &deployment.other.bytes else { return };
    let mut client = deployment.one.client();
    client.post("/login/ada").await;
    client.post("/count").await;
    let token = client.token().expect("a token in the cookie");
    let key = token.id().key(bytes.namespace());
    for befalls in OF_THE_ENVELOPE.into_iter().chain(OF_THE_DATA) {
        let whole = damage(bytes, &key, befalls).await;
        until_seen(deployment, &client, |answer| answer.status.is_server_error()).await;
        let damaged = befalls(&String::from_utf8(whole.clone()).expect("valid UTF-8"));
        let jar = client.jar.clone();
        for server in deployment.servers() {
            for path in ["/count", "/note/3", "/rotate"] {
                let mut client = client.at(server);
                let answer = client.post(path).await;
                assert!(answer.status.is_server_error(), "{path}: {}", answer.status);
                assert!(answer.set_cookies().is_empty() && client.jar == jar, "{path}");
            }
            let mut client = client.at(server);
            assert!(client.get("/").await.status.is_server_error(), "a signed-in user");
        }
        let kept = put(bytes, &key, whole).await;
        assert_eq!(kept, damaged, "the session was overwritten");
        until_seen(deployment, &client, |answer| answer.text == "1").await;
    }
    let has_made = |server: &Server| server.faults.count(Call::Insert);
    assert_eq!(deployment.servers().map(has_made), [1, 0], "only the sign-in created an entry");
}

/// The class of the above: a client with an undecodable session gets an error for every request,
/// and can't sign in or out. A sign-in replaces a session whose data is undecodable, and a sign-out
/// ends it. If the envelope is undecodable too, no token can be verified: the session stays until
/// it is revoked by its id, the client loses its cookie, and a sign-out returns an error.
///
/// Not in memory, where values are not encoded.
pub async fn client_with_an_undecodable_session_signs_in_and_out(deployment: &Deployment) {
    let Some(bytes) = &deployment.other.bytes else { return };
    let mut found = Vec::new();
    for (befalls, ends) in [(OF_THE_ENVELOPE[1], false), (OF_THE_DATA[0], true)] {
        for path in ["/login/eve", "/nested/login/eve", "/logout"] {
            let mut client = deployment.one.client();
            client.post("/login/ada").await;
            let before = client.clone();
            let token = client.token().expect("a token in the cookie");
            let key = token.id().key(bytes.namespace());
            damage(bytes, &key, befalls).await;
            until_seen(deployment, &client, |answer| answer.status.is_server_error()).await;
            let answer = client.post(path).await;
            let expected = match ends || path != "/logout" {
                true => StatusCode::OK,
                false => StatusCode::INTERNAL_SERVER_ERROR,
            };
            if answer.status != expected || client.jar == before.jar {
                found.push(format!("{path}: {}, and the jar is {:?}", answer.status, client.jar));
            }
            let left = bytes.get(&key, Freshness::Strict).await.expect("the store answers");
            if left.is_none() != ends {
                found.push(format!("{path}: the session is left: {}", left.is_some()));
            }
            if !ends {
                let manager = deployment.other.manager();
                assert!(
                    !manager
                        .revoke_owned(&account("eve"), token.id())
                        .await
                        .expect("the store answers")
                );
                assert!(
                    manager
                        .revoke_owned(&account("ada"), token.id())
                        .await
                        .expect("the store answers")
                );
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// The class of the above: one undecodable session makes the lists of its owner and of all sessions
/// fail, so that neither it nor the others can be seen or ended. ASVS 7.4.5, 7.5.2.
///
/// Not in memory, where values are not encoded.
pub async fn unreadable_session_hides_no_other_and_can_be_ended(deployment: &Deployment) {
    let Some(bytes) = &deployment.other.bytes else { return };
    let managers = deployment.servers().map(Server::manager);
    for befalls in OF_THE_ENVELOPE.into_iter().chain(OF_THE_DATA) {
        let (own, bobs) = (sign_in(&managers[0], "ada").await, sign_in(&managers[1], "bob").await);
        let mut lost = Vec::new();
        for _ in 0..3 {
            let token = sign_in(&managers[0], "ada").await;
            damage(bytes, &token.id().key(bytes.namespace()), befalls).await;
            lost.push(token.id());
        }
        lost.sort();
        for manager in &managers {
            let mut listing = manager.list(&account("ada")).await.expect("the store answers");
            listing.unreadable.sort();
            assert_eq!(listing.sessions.len(), 1, "the one that can be read");
            assert_eq!((listing.sessions[0].id(), &listing.unreadable), (own.id(), &lost));
            let mut page = manager.list_all(None, 1_000).await.expect("the store answers");
            page.listing.unreadable.sort();
            assert_eq!((page.listing.sessions.len(), page.listing.unreadable), (2, lost.clone()));
            let error = manager.find(lost[0]).await.expect_err("it can't be read");
            assert!(error.is_corrupt(), "{error}");
            assert!(
                !manager.revoke_owned(&account("bob"), lost[0]).await.expect("the store answers"),
                "another user's"
            );
        }
        assert!(
            managers[1].revoke_owned(&account("ada"), lost[0]).await.expect("the store answers")
        );
        assert!(managers[0].revoke(lost[1]).await.expect("the store answers"));
        let others = managers[1].revoke_others(&own).await.expect("the store answers");
        assert_eq!(others, 1, "the third");
        for manager in &managers {
            let listing = manager.list(&account("ada")).await.expect("the store answers");
            assert_eq!((listing.sessions.len(), listing.unreadable), (1, Vec::new()));
        }
        for (name, token) in [("ada", &own), ("bob", &bobs)] {
            deployment.is_accepted(token).await;
            assert_eq!(
                managers[0].revoke_owner(&account(name)).await.expect("the store answers"),
                1
            );
        }
    }
}
