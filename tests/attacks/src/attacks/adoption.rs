//! An id of the client's choice is never adopted, and a request creates no entry.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, StatusCode};
use kvolt_cache::{Freshness, Key, Store};
use kvolt_session::Token;

use crate::client::COOKIE_NAME;
use crate::deployment::Deployment;

/// fiber CVE-2024-38513, aiohttp-session CVE-2018-1000519, CodeIgniter CVE-2018-12071: an unknown
/// id is adopted, at any request; axum_session 0.22, ruts 0.13 (tried): at the sign-in.
///
/// A well-formed id that the server never issued, on every route: no entry is stored under it.
pub async fn chosen_token_is_never_adopted(deployment: &Deployment) {
    let manager = deployment.one.manager();
    for (number, server) in (0..).zip(deployment.servers()) {
        let chosen = URL_SAFE_NO_PAD.encode([number; 36]);
        let token = Token::parse(&chosen).expect("a well-formed token");
        let attacker = server.client().presenting(&chosen);
        for (method, path, expected) in [
            (Method::GET, "/", 200),
            (Method::GET, "/profile", 401),
            (Method::GET, "/poll", 401),
            (Method::POST, "/count", 401),
            (Method::POST, "/note/10", 401),
            (Method::POST, "/rotate", 401),
            (Method::POST, "/password", 401),
            (Method::POST, "/revoke-all", 401),
            (Method::POST, "/deep/down/below/logout", 401),
            (Method::POST, "/logout", 200),
            (Method::POST, "/guest/10", 200),
            (Method::POST, "/login/ada", 200),
            (Method::POST, "/nested/login/ada", 200),
        ] {
            let mut victim = attacker.clone();
            let answer = victim.send(method, path, &[]).await;
            assert_eq!(answer.status.as_u16(), expected, "{path}");
            let gave = answer.set_cookies().iter().any(|cookie| cookie.contains(&chosen));
            assert!(!gave, "{path}: the client is given what it chose");
            assert!(
                !path.contains("login") || victim.jar.value().is_some_and(|value| value != chosen)
            );
            // Neither under its id nor under any other key derived from it.
            let key = token.id().key(manager.namespace());
            for key in [key, Key::of(&chosen), Key::from_bytes([number; 32])] {
                let found = server.store.get(&key, Freshness::Strict).await;
                let found = found.expect("the store answers");
                assert!(found.is_none(), "{path}: something is stored under a chosen id");
            }
            deployment.is_refused(&token).await;
            assert_eq!(attacker.clone().get("/profile").await.status, StatusCode::UNAUTHORIZED);
        }
    }
    // Only the sessions of the visitors and of the sign-ins exist.
    let indexes = usize::from(deployment.dump().windows(9).any(|window| window == b".owners:{"));
    assert_eq!(deployment.count(), 6 + indexes);
}

/// Django CVE-2015-5143, -5963, -5964: a request with an unknown id, or a logout without a session,
/// creates a record, and visitors fill the store.
pub async fn unknown_ids_and_logouts_create_no_entry(deployment: &Deployment) {
    let client = deployment.one.client();
    for number in 0_u32..1_000 {
        let mut bytes = [0; 36];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        let mut unknown = client.presenting(&URL_SAFE_NO_PAD.encode(bytes));
        let answer = unknown.get("/").await;
        assert_eq!((&*answer.text, answer.set_cookies().len()), ("nobody", 0));
    }
    let mut nobody = client.other();
    for _ in 0..1_000 {
        let answer = nobody.post("/logout").await;
        assert_eq!((answer.status, answer.set_cookies().len()), (StatusCode::OK, 0));
    }
    for number in 0_u8..100 {
        // A logout with an unknown id clears the cookie, and creates no entry.
        let mut unknown = client.presenting(&URL_SAFE_NO_PAD.encode([number; 36]));
        let answer = unknown.post("/logout").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(unknown.jar.is_empty(), "the cookie {COOKIE_NAME} stays");
    }
    assert_eq!(deployment.count(), 0);
}
