//! Sessions of other applications, and other data, are out of reach.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use kvolt_cache::codec::Codec;
use kvolt_cache::{Cache, Encoded, Freshness, InsertOutcome, Key, NewEntry, Result, Store};
use kvolt_session::{Access, AnonymousSessions, OwnerLimit, RotateOutcome, Token, Undecodable};
use std::time::Duration;

use super::{account, ids, sign_in};
use crate::deployment::{Deployment, Server};
use crate::user::{User, signed_in};

/// Tried with default settings: two applications on one server, with the same account ids. A
/// customer's cookie opened the other application's back office, and ending all sessions of account
/// 1 in one application ended those in the other.
///
/// The names of the namespaces are as similar as possible.
pub async fn applications_on_one_server_are_separate(deployment: &Deployment) {
    let neighbours = [deployment.neighbour("_admin").await, deployment.neighbour("0").await];
    let mut all = vec![deployment];
    all.extend(&neighbours);
    let mut tokens = Vec::new();
    for (at, here) in all.iter().enumerate() {
        // Different numbers of sessions: 2, 3 and 4.
        let mut made = Vec::new();
        for number in 0..at + 2 {
            let manager = here.servers()[number % 2].manager();
            let name = if number == 0 { "ada" } else { "bob" };
            made.push(sign_in(&manager, name).await);
        }
        tokens.push(made);
    }
    let anonymous = |server: &Server| {
        server.builder().anonymous(AnonymousSessions::new(100)).build().expect("valid settings")
    };
    let visitor = anonymous(&deployment.one).create_anonymous(User::new("visitor")).await;
    let visitor = visitor.expect("the visit succeeds");

    for (at, here) in all.iter().enumerate() {
        for (elsewhere, tokens) in tokens.iter().enumerate().filter(|(other, _)| *other != at) {
            let mut tokens = tokens.clone();
            tokens.extend((elsewhere == 0).then(|| visitor.clone()));
            for (server, token) in here.servers().into_iter().cycle().zip(&tokens) {
                is_foreign(server, token).await;
            }
        }
    }
    for (at, here) in all.iter().enumerate() {
        for server in here.servers() {
            let manager = anonymous(server);
            let visitors = usize::from(at == 0);
            assert_eq!(ids(&manager, "ada").await, [tokens[at][0].id()]);
            assert_eq!(ids(&manager, "bob").await.len(), at + 1);
            let count = manager.count().await.expect("the store answers");
            assert_eq!(count, (at + 2 + visitors) as u64);
            let page = manager.list_all(None, 1_000).await.expect("the store answers");
            assert_eq!(page.listing.sessions.len(), at + 2 + visitors);
            assert_eq!(page.listing.unreadable, []);
        }
    }
    // An application ends only its own sessions, of one account or of all.
    let [admin, third] = &neighbours;
    let ended = admin.one.manager().revoke_owner(&account("bob")).await.expect("the store answers");
    assert_eq!(ended, 2);
    third.other.manager().revoke_everyone().await.expect("the store answers");
    for token in tokens[1][1..].iter().chain(&tokens[2]) {
        assert!(admin.one.manager().get(token).await.expect("the store answers").is_none());
        assert!(third.one.manager().get(token).await.expect("the store answers").is_none());
    }
    assert!(admin.other.manager().peek(&tokens[1][0]).await.expect("the store answers").is_some());
    for token in tokens[0].iter().chain([&visitor]) {
        deployment.is_accepted(token).await;
    }
    // An account at its limit: the other application's sessions do not count.
    let limited = |server: &Server| {
        let limit = OwnerLimit::refuse(1);
        server.builder().owner_limit(limit).build().expect("valid settings")
    };
    let refused =
        limited(&deployment.one).create(signed_in("ada")).await.expect_err("above the limit");
    assert!(refused.is_limit_reached(), "{refused}");
    limited(&third.one).create(signed_in("ada")).await.map(drop).expect("the first there");
}

/// Asserts that another application's token is unknown here, and that neither it nor its id has an
/// effect.
async fn is_foreign(server: &Server, token: &Token) {
    let client = server.client().presenting(token.expose());
    for path in ["/profile", "/poll", "/strict/profile"] {
        assert_eq!(client.clone().get(path).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    for path in ["/count", "/rotate", "/password", "/revoke-all"] {
        assert_eq!(client.clone().post(path).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    client.clone().post("/logout").await;
    let users = server.manager();
    assert!(users.get(token).await.expect("the store answers").is_none());
    assert!(!users.logout(token).await.expect("the store answers"));
    assert!(
        users.update(token, |user| user.count += 1).await.expect("the store answers").is_none()
    );
    assert!(matches!(users.rotate(token).await.expect("the store answers"), RotateOutcome::Absent));
    assert_eq!(users.revoke_others(token).await.expect("the store answers"), 0);
    assert!(users.find(token.id()).await.expect("the store answers").is_none(), "nor by its id");
    assert!(!users.revoke(token.id()).await.expect("the store answers"));
    for owner in ["ada", "bob"] {
        assert!(!users.revoke_owned(&account(owner), token.id()).await.expect("the store answers"));
    }
    let eves = users.login(Some(token), signed_in("eve")).await.expect("the sign-in succeeds");
    assert!(users.logout(&eves).await.expect("the store answers"));
}

/// The class of the above: a writer to the server copies an entry to another application, where the
/// account is an administrator, or to another id.
///
/// Not in memory, where only the library writes.
pub async fn copied_entry_is_unknown_under_any_other_key(deployment: &Deployment) {
    let neighbour = deployment.neighbour("_admin").await;
    let (Some(bytes), Some(its_bytes)) = (&deployment.one.bytes, &neighbour.one.bytes) else {
        return;
    };
    let token = sign_in(&deployment.one.manager(), "ada").await;
    let own = sign_in(&neighbour.one.manager(), "ada").await;
    let key = token.id().key(bytes.namespace());
    let entry = bytes
        .get(&key, Freshness::Strict)
        .await
        .expect("the store answers")
        .expect("the session exists");

    let there = token.id().key(its_bytes.namespace());
    let inserted = its_bytes.insert(there, NewEntry::restored(entry.clone())).await;
    assert!(matches!(inserted.expect("the store answers"), InsertOutcome::Inserted { .. }));
    for server in neighbour.servers() {
        let manager = server.manager();
        for access in [Access::PEEK, Access::SLIDE, Access::SLIDE.strict()] {
            let found = manager.get_with(&token, access).await.expect("the store answers");
            assert!(found.is_none(), "a copy is good in another namespace");
        }
        let client = server.client().presenting(token.expose());
        for path in ["/count", "/rotate", "/password", "/revoke-all", "/account/prove/3"] {
            assert_eq!(client.clone().post(path).await.status, StatusCode::UNAUTHORIZED, "{path}");
        }
        assert!(!manager.logout(&token).await.expect("the store answers"));
        assert!(manager.get(&own).await.expect("the store answers").is_some());
        // The copy exists, and can be listed and ended.
        let mut listed = ids(&manager, "ada").await;
        listed.sort_by_key(|id| *id != own.id());
        assert_eq!(listed, [own.id(), token.id()]);
    }
    assert!(neighbour.one.manager().revoke(token.id()).await.expect("the store answers"));

    // Under another id of its own namespace, with a token for that id.
    let mut bytes_of = URL_SAFE_NO_PAD.decode(token.expose()).expect("valid base64");
    bytes_of[0] ^= 1;
    let moved = Token::parse(URL_SAFE_NO_PAD.encode(bytes_of)).expect("a well-formed token");
    let here = moved.id().key(bytes.namespace());
    let inserted = bytes.insert(here, NewEntry::restored(entry)).await;
    assert!(matches!(inserted.expect("the store answers"), InsertOutcome::Inserted { .. }));
    deployment.is_refused(&moved).await;
    deployment.is_accepted(&token).await;
}

/// The class of the above: a malformed token reaches the store as a key, a pattern or a part of a
/// query.
pub async fn malformed_token_never_reaches_the_store(deployment: &Deployment) {
    let token = sign_in(&deployment.one.manager(), "ada").await;
    let id = token.id().to_string();
    let first = |count: usize| token.expose()[..count].to_owned();
    let values = [
        String::new(),
        "x".to_owned(),
        first(47),
        first(16),
        format!("{}A", token.expose()),
        format!("{}=", token.expose()),
        format!("{} ", first(47)),
        format!("{}*", first(47)),
        format!("{}%", first(47)),
        format!("{}?", first(47)),
        format!("{}'", first(47)),
        format!("{}{}", token.expose(), token.expose()),
        id.clone(),
        format!("%{:02X}{}", token.expose().as_bytes()[0], &token.expose()[1..]),
        token.expose().to_lowercase() + "=",
        format!("stage_0:{{1}}:{id}"),
        "stage_0.owners:{1}:ada".to_owned(),
        "stage_0_sessions".to_owned(),
        "' OR '1'='1".to_owned(),
        "'; DELETE FROM deployment_0_sessions; --".to_owned(),
        "x' UNION SELECT value FROM deployment_0_sessions --".to_owned(),
        "../../../../etc/passwd".to_owned(),
        "*".to_owned(),
        "%".to_owned(),
        "null".to_owned(),
        "__proto__".to_owned(),
        "0".repeat(4_000),
    ];
    let dump = deployment.dump();
    for server in deployment.servers() {
        let client = server.client();
        let before = server.faults.count_all();
        for value in &values {
            let attacker = client.presenting(value);
            assert_eq!(attacker.clone().get("/profile").await.status, StatusCode::UNAUTHORIZED);
            assert_eq!(attacker.clone().get("/").await.text, "nobody", "{value}");
            for path in ["/count", "/rotate", "/revoke-all"] {
                let answer = attacker.clone().post(path).await;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}: {value}");
            }
            assert_eq!(attacker.clone().post("/logout").await.status, StatusCode::OK, "{value}");
        }
        assert_eq!(server.faults.count_all(), before, "the store was asked");
    }
    assert!(dump == deployment.dump(), "and is as it was");
}

/// poem 3.1 (tried), on a store that also contains a cache: a token leads to an entry of the cache.
/// The client chooses the id, and a cache's key is the SHA-256 of a name, so the client can choose
/// the start of that hash.
///
/// A client that knows the name then learns whether the entry exists (500, not 401), has it deleted
/// (if a manager ends undecodable sessions, or by `logout` or `login`), or, if it can choose the
/// value, writes a session.
///
/// Not in memory, where a store has values of one type.
pub async fn token_for_other_data_is_unknown(deployment: &Deployment) {
    let Some(bytes) = deployment.one.bytes.clone() else { return };
    let cache = Cache::new(Encoded::new(bytes, Text), Duration::from_secs(600));
    let name = "a report of all";
    let key = Key::of(name);
    let value = URL_SAFE_NO_PAD.encode([key.as_bytes(), &[0; 4][..]].concat());
    let token = Token::parse(&value).expect("a well-formed token");
    assert!(key.as_bytes().starts_with(token.id().as_bytes()));
    let mut found = Vec::new();

    let report = "a report";
    let put = async || cache.set(name, report.to_owned()).await.expect("the store answers");
    let is_kept = async || {
        let kept = cache.get(name).await.expect("the store answers");
        kept.as_deref() == Some(report)
    };
    put().await;
    let attacker = deployment.one.client().presenting(&value);
    for path in ["/profile", "/strict/profile", "/poll"] {
        let status = attacker.clone().get(path).await.status;
        if status != StatusCode::UNAUTHORIZED {
            found.push(format!("{path} reveals the entry, by {status}"));
        }
    }
    for path in ["/", "/count", "/logout", "/login/eve", "/nested/login/eve"] {
        attacker.clone().post(path).await;
        if !is_kept().await {
            found.push(format!("{path} deletes it"));
            put().await;
        }
    }
    let ending =
        deployment.one.builder().undecodable(Undecodable::End).build().expect("valid settings");
    deployment.one.client_of(ending).presenting(&value).get("/").await;
    if !is_kept().await {
        found.push("a GET deletes it, where what can't be decoded is ended".to_owned());
        put().await;
    }
    let manager = deployment.other.manager();
    if manager.logout(&token).await.expect("the store answers") {
        found.push("destroy deletes it".to_owned());
        put().await;
    }
    let _eve = manager.login(Some(&token), signed_in("eve")).await.expect("the sign-in succeeds");
    if !is_kept().await {
        found.push("login deletes it".to_owned());
    }

    // A copy of the attacker's own record, with the secret of this token.
    let bytes = URL_SAFE_NO_PAD.decode(&value).expect("valid base64");
    let (id, secret) = bytes.split_at(12);
    let digest = Key::of([id, &deployment.one.store.namespace().tag()[..16], secret].concat());
    let own = URL_SAFE_NO_PAD.encode(digest.as_bytes());
    let forged = format!(
        "{{\"v\":1,\"secret\":\"{own}\",\"created\":0,\"ends\":9999999999999,\
         \"authenticated\":{{\"1\":0}},\"seed\":\"AAAAAAAAAAAAAAAAAAAAAA\"}}\n\
         {{\"name\":\"admin\",\"count\":0,\"note\":\"\"}}"
    );
    cache.set(name, forged).await.expect("the store answers");
    deployment.outlive_copies().await;
    let answer = attacker.clone().get("/profile").await;
    if answer.status == StatusCode::OK {
        found.push(format!("a value of the cache signs in as {}", answer.text));
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// A codec for plain text.
struct Text;

impl Codec<String> for Text {
    fn encode(&self, _: &Key, text: &String) -> Result<Vec<u8>> {
        Ok(text.clone().into_bytes())
    }

    fn decode(&self, _: &Key, bytes: &[u8]) -> Result<String> {
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}
