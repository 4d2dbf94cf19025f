//! Ending the sessions of an account ends all of them, and no other.

use http::StatusCode;
use kvolt_cache::Store;

use super::{account, ids, sign_in};
use crate::deployment::Deployment;

/// listmonk, nhost: after a change of the password, a stolen session still works.
///
/// The others end on every server, and the own session gets a new token.
pub async fn changed_password_ends_the_other_sessions(deployment: &Deployment) {
    let mut own = deployment.one.client();
    own.post("/login/ada").await;
    let stolen = own.clone();
    let mut others = Vec::new();
    for server in [&deployment.one, &deployment.other, &deployment.other] {
        let mut device = server.client();
        device.post("/login/ada").await;
        assert_eq!(device.get("/profile").await.text, "ada");
        others.push(device);
    }
    let mut bob = deployment.other.client();
    bob.post("/login/bob").await;
    let answer = own.post("/password").await;
    assert_eq!((answer.status, &*answer.text), (StatusCode::OK, "3"));

    others.push(stolen);
    for device in &others {
        deployment.is_refused(&device.token().expect("a token in the cookie")).await;
        for server in deployment.servers() {
            let mut device = device.at(server);
            assert_eq!(device.get("/profile").await.status, StatusCode::UNAUTHORIZED);
            assert_eq!(device.post("/count").await.status, StatusCode::UNAUTHORIZED);
        }
    }
    for server in deployment.servers() {
        assert_eq!(own.at(server).get("/profile").await.text, "ada");
        assert_eq!(bob.at(server).get("/profile").await.text, "bob");
    }
}

/// The class of the above: similar account names are taken for each other, by a collation, a
/// pattern, a separator or a query built from text.
pub async fn owners_with_similar_names_are_separate(deployment: &Deployment) {
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
        "'; DELETE FROM deployment_0_sessions; --",
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
    let manager = deployment.one.manager();
    let mut tokens = Vec::new();
    for name in names {
        tokens.push(sign_in(&manager, name).await);
    }
    let other = deployment.other.manager();
    for (name, token) in names.iter().zip(&tokens) {
        assert_eq!(ids(&other, name).await, [token.id()], "{name:?}");
    }
    // No account ends another's session by its id.
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
        let left = deployment.one.store.count().await.expect("the store answers");
        assert_eq!(left as usize, names.len() - at - 1, "{name:?}");
    }
}
