//! Laws of an owner's sessions.

use super::client::Client;
use super::{Application, CLEARED_COOKIE};

/// An owner's list has the owner's sessions, oldest first, and marks the client's own.
pub async fn list_has_the_owner_s_sessions(application: &impl Application) {
    let mut first = Client::signed_in(application, "ada").await;
    let mut second = Client::signed_in(application, "ada").await;
    Client::signed_in(application, "bob").await;
    let ids = [first.id().await, second.id().await];
    assert_eq!(first.get("/sessions").await.text(), format!("* {}\n- {}\n", ids[0], ids[1]));
    assert_eq!(second.get("/sessions").await.text(), format!("- {}\n* {}\n", ids[0], ids[1]));
}

/// An owner ends one session by its id, and no session of another owner.
pub async fn one_session_is_revoked_by_its_id(application: &impl Application) {
    let mut ada = Client::signed_in(application, "ada").await;
    let mut other = Client::signed_in(application, "ada").await;
    let mut bob = Client::signed_in(application, "bob").await;
    let (other_id, bob_id) = (other.id().await, bob.id().await);
    assert_eq!(ada.post(&format!("/revoke/{bob_id}")).await.text(), "false");
    let answer = ada.post(&format!("/revoke/{other_id}")).await;
    assert_eq!((&*answer.text(), answer.set_cookies().len()), ("true", 0));
    assert_eq!(ada.post(&format!("/revoke/{other_id}")).await.text(), "false");
    assert_eq!(other.name().await, None);
    assert_eq!(ada.name().await.as_deref(), Some("ada"));
    assert_eq!(bob.name().await.as_deref(), Some("bob"));
}

/// An owner ends all other sessions, and keeps the own one with its token.
pub async fn others_are_revoked(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let mut others = [client.other(), client.other()];
    for other in &mut others {
        other.login("ada").await;
    }
    let mut bob = Client::signed_in(application, "bob").await;
    let answer = client.post("/revoke-others").await;
    assert_eq!((&*answer.text(), answer.set_cookies().len()), ("2", 0));
    for other in &mut others {
        assert_eq!(other.name().await, None);
    }
    assert_eq!(client.name().await.as_deref(), Some("ada"));
    assert_eq!(bob.name().await.as_deref(), Some("bob"));
}

/// An owner ends all sessions, and the cookie is cleared.
pub async fn all_are_revoked(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let mut other = Client::signed_in(application, "ada").await;
    let mut replay = client.clone();
    let answer = client.post("/revoke-all").await;
    assert_eq!((answer.status, answer.set_cookies()), (200, vec![CLEARED_COOKIE]));
    assert_eq!((replay.name().await, other.name().await), (None, None));
}
