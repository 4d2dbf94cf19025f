//! A token from before a sign-in is invalid after it.

use http::StatusCode;

use super::{account, listed};
use crate::deployment::Deployment;

/// passport CVE-2022-25896: the id survives the sign-in, so an attacker who planted it is signed in
/// too.
///
/// The attacker saves the cookies of a visitor's session before the sign-in, and tries them on both
/// servers.
pub async fn cookies_are_invalid_after_a_sign_in(deployment: &Deployment) {
    for path in ["/login/ada", "/nested/login/ada", "/account/remembered/ada"] {
        for server in deployment.servers() {
            let mut victim = deployment.one.client();
            assert_eq!(victim.post("/guest/10").await.status, StatusCode::OK);
            let saved = victim.clone();
            assert_eq!(saved.clone().get("/profile").await.text, "guest");
            let mut victim = victim.at(server);
            assert_eq!(victim.post(path).await.status, StatusCode::OK);
            deployment.is_refused(&saved.token().expect("a session")).await;
            for server in deployment.servers() {
                let mut attacker = saved.at(server);
                let answer = attacker.get("/profile").await;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", answer.text);
                assert_eq!(attacker.get("/").await.text, "nobody");
                assert_eq!(victim.at(server).get("/profile").await.text, "ada");
            }
            assert_eq!(victim.post("/logout").await.status, StatusCode::OK);
        }
    }
    assert_eq!(deployment.count(), 0);
}

/// Symfony CVE-2023-46733: the id survives when another user signs in over the first.
pub async fn cookies_are_invalid_after_a_change_of_user(deployment: &Deployment) {
    let mut shared = deployment.one.client();
    shared.post("/login/ada").await;
    let ada = shared.clone();
    let mut shared = shared.at(&deployment.other);
    assert_eq!(shared.post("/login/bob").await.status, StatusCode::OK);
    deployment.is_refused(&ada.token().expect("a session")).await;
    assert_eq!(ada.at(&deployment.one).get("/profile").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(shared.get("/profile").await.text, "bob");
    // The first user does not own the second user's session.
    let manager = deployment.other.manager();
    let of = async |owner: &str| listed(&manager, owner).await.len();
    assert_eq!((of("ada").await, of("bob").await), (0, 1));
    assert_eq!(manager.revoke_owner(&account("ada")).await.expect("the store answers"), 0);
    assert_eq!(shared.get("/profile").await.text, "bob");
    // A sign-in as the first user creates a new session.
    shared.post("/login/ada").await;
    assert_ne!(shared.jar, ada.jar);
}
