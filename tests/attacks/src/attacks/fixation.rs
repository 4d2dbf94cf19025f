//! The id from before a sign-in is worth nothing after it.

use http::StatusCode;

use super::{account, listed};
use crate::stage::Stage;

/// passport CVE-2022-25896: the id is kept over the sign-in, so whoever made the victim use it is
/// signed in, too.
///
/// The jar is saved before, with the session of a visitor in it, and tried on both servers.
pub async fn a_jar_saved_before_a_sign_in_is_worth_nothing_after_it(stage: &Stage) {
    for path in ["/login/ada", "/nested/login/ada"] {
        for server in stage.servers() {
            let mut victim = stage.one.client();
            assert_eq!(victim.post("/guest/10").await.status, StatusCode::OK);
            let saved = victim.clone();
            assert_eq!(saved.clone().get("/profile").await.text, "guest");
            let mut victim = victim.at(server);
            assert_eq!(victim.post(path).await.status, StatusCode::OK);
            stage.is_refused(&saved.token().expect("it was a session")).await;
            for server in stage.servers() {
                let mut attacker = saved.at(server);
                let answer = attacker.get("/profile").await;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", answer.text);
                assert_eq!(attacker.get("/").await.text, "nobody");
                assert_eq!(victim.at(server).get("/profile").await.text, "ada");
            }
            assert_eq!(victim.post("/logout").await.status, StatusCode::OK);
        }
    }
    assert_eq!(stage.count(), 0);
}

/// Symfony CVE-2023-46733: the id is kept when another user signs in over the first.
pub async fn a_jar_saved_before_a_change_of_user_is_worth_nothing_after_it(stage: &Stage) {
    let mut shared = stage.one.client();
    shared.post("/login/ada").await;
    let ada = shared.clone();
    let mut shared = shared.at(&stage.other);
    assert_eq!(shared.post("/login/bob").await.status, StatusCode::OK);
    stage.is_refused(&ada.token().expect("it was a session")).await;
    assert_eq!(ada.at(&stage.one).get("/profile").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(shared.get("/profile").await.text, "bob");
    // Nor does the first user own what the second does now.
    let manager = stage.other.manager();
    let of = async |owner: &str| listed(&manager, owner).await.len();
    assert_eq!((of("ada").await, of("bob").await), (0, 1));
    assert_eq!(manager.revoke_owner(&account("ada")).await.expect("the store answers"), 0);
    assert_eq!(shared.get("/profile").await.text, "bob");
    // Back again, and not to what was before.
    shared.post("/login/ada").await;
    assert_ne!(shared.jar, ada.jar);
}
