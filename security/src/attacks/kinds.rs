//! What is no session of this sort is out of reach.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use kvolt_cache::codec::Codec;
use kvolt_cache::{Cache, Coded, Key, Owner, Result};
use kvolt_session::{Rotated, Token, Undecodable};
use std::time::Duration;

use super::sign_in;
use crate::stage::Stage;
use crate::user::signed_in;

/// poem 3.1 (tried): the cookie's value is the raw key of the store, so data of another kind is read
/// and deleted by it. Here: an administrator's session, by way of the ordinary users' application.
pub async fn a_token_of_another_kind_neither_reads_nor_ends(stage: &Stage) {
    let admins = stage.one.builder().kind("admin").build().expect("it can work");
    let token = sign_in(&admins, "ada").await;
    let id = admins.id(&token);
    for server in stage.servers() {
        let client = server.client().presenting(token.expose());
        for path in ["/profile", "/poll", "/strict/profile"] {
            assert_eq!(client.clone().get(path).await.status, StatusCode::UNAUTHORIZED, "{path}");
        }
        for path in ["/count", "/rotate", "/password", "/revoke-all", "/logout", "/login/ada"] {
            client.clone().post(path).await;
        }
        let users = server.manager();
        let ada = Owner::from("ada");
        assert!(users.get(&token).await.expect("it answers").is_none());
        assert!(!users.destroy(&token).await.expect("it answers"));
        assert!(users.update(&token, |user| user.count += 1).await.expect("it answers").is_none());
        assert!(matches!(users.rotate(&token).await.expect("it answers"), Rotated::Absent));
        assert!(!users.end(&ada, id).await.expect("it answers"), "nor by its public id");
        let _eve = users.login(Some(&token), signed_in("eve")).await.expect("a sign-in works");
        // Nor by an owner's name that is put together like the store's.
        for owner in ["ada", "admin:ada", ":ada"] {
            users.end_all(&Owner::from(owner)).await.expect("it answers");
        }
        let others = server.builder().kind("adm").build().expect("it can work");
        assert!(others.get(&token).await.expect("it answers").is_none());
        assert_eq!(others.end_all(&ada).await.expect("it answers"), 0);
    }
    let found = admins.get(&token).await.expect("it answers").expect("it lives");
    assert_eq!((found.count, found.id()), (0, id));
    let listed = admins.list(&Owner::from("ada")).await.expect("it answers");
    assert_eq!(listed.len(), 1);
}

/// A relative: what has not the form of a token reaches the store all the same, as a key, a pattern
/// or a piece of a query.
pub async fn what_is_no_token_never_reaches_the_store(stage: &Stage) {
    let token = sign_in(&stage.one.manager(), "ada").await;
    let id = stage.one.manager().id(&token).to_string();
    let first = |count: usize| token.expose()[..count].to_owned();
    let values = [
        String::new(),
        "x".to_owned(),
        first(42),
        format!("{}A", token.expose()),
        format!("{}=", token.expose()),
        format!("{} ", first(42)),
        format!("{}*", first(42)),
        format!("{}%", first(42)),
        format!("{}?", first(42)),
        format!("{}'", first(42)),
        format!("%{:02X}{}", token.expose().as_bytes()[0], &token.expose()[1..]),
        token.expose().to_lowercase() + "=",
        format!("stage_0:{{1}}:{id}"),
        "stage_0:{1}:owner::ada".to_owned(),
        "kvolt_entries".to_owned(),
        "' OR '1'='1".to_owned(),
        "'; DELETE FROM kvolt_entries; --".to_owned(),
        "x' UNION SELECT value FROM kvolt_entries --".to_owned(),
        "../../../../etc/passwd".to_owned(),
        "*".to_owned(),
        "%".to_owned(),
        "null".to_owned(),
        "__proto__".to_owned(),
        "0".repeat(4_000),
    ];
    let dump = stage.dump();
    for server in stage.servers() {
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
    assert!(dump == stage.dump(), "and is as it was");
}

/// poem 3.1 (tried), on a store that an application uses for its cache, too. A token's key is the
/// SHA-256 of its 32 bytes, and a cache's key is that of a name: a name of 32 bytes, such as a digest
/// in hexadecimal digits, has the key of the token with these bytes.
///
/// So whoever knows the name tells whether it is there (500, not 401), and has it deleted where a
/// manager ends what it can't decode, or an application calls `destroy` or `login` with the token;
/// and whoever has a say in the value writes a session.
///
/// In memory one store holds values of one type, so there is nothing to be tried.
pub async fn a_token_made_of_the_name_of_other_data_is_unknown(stage: &Stage) {
    let Some(bytes) = stage.one.bytes.clone() else { return };
    let cache = Cache::new(Coded::new(bytes, Text), Duration::from_secs(600));
    // MD5 of nothing.
    let name = "d41d8cd98f00b204e9800998ecf8427e";
    let value = URL_SAFE_NO_PAD.encode(name);
    let token = Token::parse(&value).expect("it has the form of one");
    let mut found = Vec::new();

    let report = "a report";
    let put = async || cache.set(name, report.to_owned()).await.expect("the store answers");
    let is_kept = async || {
        let kept = cache.get(name).await.expect("the store answers");
        kept.as_deref() == Some(report)
    };
    put().await;
    let attacker = stage.one.client().presenting(&value);
    for path in ["/profile", "/strict/profile", "/poll"] {
        let status = attacker.clone().get(path).await.status;
        if status != StatusCode::UNAUTHORIZED {
            found.push(format!("{path} tells that it is there, by {status}"));
        }
    }
    for path in ["/", "/count", "/logout", "/login/eve", "/bare/login/eve"] {
        attacker.clone().post(path).await;
        if !is_kept().await {
            found.push(format!("{path} deletes it"));
            put().await;
        }
    }
    let ending = stage.one.builder().undecodable(Undecodable::End).build().expect("it can work");
    stage.one.client_of(ending).presenting(&value).get("/").await;
    if !is_kept().await {
        found.push("a GET deletes it, where what can't be decoded is ended".to_owned());
        put().await;
    }
    let manager = stage.other.manager();
    if manager.destroy(&token).await.expect("the store answers") {
        found.push("destroy deletes it".to_owned());
        put().await;
    }
    let _eve = manager.login(Some(&token), signed_in("eve")).await.expect("a sign-in works");
    if !is_kept().await {
        found.push("login deletes it".to_owned());
    }

    let forged = "{\"v\":1,\"owner\":\"admin\",\"created\":0,\"authenticated\":0,\
                  \"data\":{\"name\":\"admin\",\"count\":0,\"note\":\"\"}}";
    cache.set(name, forged.to_owned()).await.expect("the store answers");
    stage.outlive_copies().await;
    let answer = attacker.clone().get("/profile").await;
    if answer.status == StatusCode::OK {
        found.push(format!("a value of the cache signs in as {}", answer.text));
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Text as it is.
struct Text;

impl Codec<String> for Text {
    fn binds_key(&self) -> bool {
        false
    }

    fn encode(&self, _: &Key, text: &String) -> Result<Vec<u8>> {
        Ok(text.clone().into_bytes())
    }

    fn decode(&self, _: &Key, bytes: &[u8]) -> Result<String> {
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}
