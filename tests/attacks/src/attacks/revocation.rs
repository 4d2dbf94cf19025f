//! Revoking an account's sessions ends all of them, and no others.

use http::StatusCode;
use kvolt_cache::Store;

use super::{account, ids, sign_in};
use crate::stage::Stage;

/// listmonk, nhost: after a password change, a thief's session stays valid.
///
/// The other sessions end on every server, and the current one gets a new token.
pub async fn a_change_of_the_password_ends_the_others_and_renews_this_one(stage: &Stage) {
    let mut own = stage.one.client();
    own.post("/login/ada").await;
    let stolen = own.clone();
    let mut others = Vec::new();
    for server in [&stage.one, &stage.other, &stage.other] {
        let mut device = server.client();
        device.post("/login/ada").await;
        assert_eq!(device.get("/profile").await.text, "ada");
        others.push(device);
    }
    let mut bob = stage.other.client();
    bob.post("/login/bob").await;
    let answer = own.post("/password").await;
    assert_eq!((answer.status, &*answer.text), (StatusCode::OK, "3"));

    others.push(stolen);
    for device in &others {
        stage.is_refused(&device.token().expect("it was signed in")).await;
        for server in stage.servers() {
            let mut device = device.at(server);
            assert_eq!(device.get("/profile").await.status, StatusCode::UNAUTHORIZED);
            assert_eq!(device.post("/count").await.status, StatusCode::UNAUTHORIZED);
        }
    }
    for server in stage.servers() {
        assert_eq!(own.at(server).get("/profile").await.text, "ada");
        assert_eq!(bob.at(server).get("/profile").await.text, "bob");
    }
}

/// Related: similar account names are confused, because of a collation, a pattern, a
/// separator or an unescaped query.
pub async fn owners_whose_names_are_alike_do_not_reach_each_other(stage: &Stage) {
    let names = [
        "ada",
        "Ada",
        "ADA",
        "ada ",
        " ada",
        "ada\t",
        "àda",
        "a\u{300}da",
        "аda",
        "ad",
        "adaa",
        "ada%",
        "a_a",
        "*",
        "%",
        "ada*",
        "?da",
        "[a]da",
        ":ada",
        "ada:",
        "admin:ada",
        "{1}",
        "{ada}",
        "}:owner:ada",
        "owner:ada",
        "ada'",
        "ada\"",
        "ada`",
        "ada\\",
        "' OR '1'='1",
        "'; DELETE FROM stage_0_sessions; --",
        "$1",
        "ada\n",
        "ﬀ",
        "ss",
        "ß",
        "1",
        "01",
        "1.0",
        "true",
        "null",
        "",
    ];
    let manager = stage.one.manager();
    let mut tokens = Vec::new();
    for name in names {
        tokens.push(sign_in(&manager, name).await);
    }
    let other = stage.other.manager();
    for (name, token) in names.iter().zip(&tokens) {
        assert_eq!(ids(&other, name).await, [token.id()], "{name:?}");
    }
    // No owner can revoke another's session by its id.
    for (at, token) in tokens.iter().enumerate() {
        let thief = account(names[(at + 1) % names.len()]);
        assert!(!other.revoke_owned(&thief, token.id()).await.expect("the store answers"));
        assert_eq!(other.revoke_others(token).await.expect("the store answers"), 0);
    }
    for (at, name) in names.iter().enumerate() {
        assert_eq!(
            other.revoke_owner(&account(name)).await.expect("the store answers"),
            1,
            "{name:?}"
        );
        let left = stage.one.store.count().await.expect("the store answers");
        assert_eq!(left as usize, names.len() - at - 1, "{name:?}");
    }
}
