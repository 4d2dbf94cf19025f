//! Laws of a token that is replaced.

use std::time::Duration;

use super::client::Client;
use super::{Application, GRACE, IDLE, ROTATE_EVERY, advance};

/// The time after which the use of a previous token is a sign of theft.
const THEFT: Duration = Duration::from_millis(2 * GRACE.as_millis() as u64);

/// A client with a new token, and one that still has the old one.
async fn rotated(application: &impl Application) -> (Client, Client) {
    let mut client = Client::signed_in(application, "ada").await;
    let old = client.clone();
    let answer = client.post("/rotate").await;
    assert_eq!((answer.status, answer.set_cookies().len()), (200, 1));
    (client, old)
}

/// A rotation gives the session another secret. Its id and its data stay.
pub async fn rotation_keeps_the_session(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    client.post("/count").await;
    let (before, id) = (client.clone(), client.id().await);
    client.post("/rotate").await;
    assert_eq!(client.token()[..16], before.token()[..16]);
    assert_ne!(client.token()[16..], before.token()[16..]);
    assert_eq!(client.id().await, id);
    assert_eq!(client.get("/count").await.text(), "1");
}

/// During its grace, a previous token is accepted, and gets no token of its own.
pub async fn old_token_is_accepted_in_its_grace(application: &impl Application) {
    let (mut client, mut old) = rotated(application).await;
    let answer = old.get("/name").await;
    assert_eq!((answer.text(), answer.set_cookies().len()), (String::from("ada"), 0));
    let answer = old.post("/rotate").await;
    assert_eq!((answer.status, answer.set_cookies().len()), (200, 0), "no second successor");
    assert_eq!(client.name().await.as_deref(), Some("ada"));
}

/// After its grace, a previous token is refused. Until twice the grace it counts as late.
pub async fn old_token_is_refused_after_its_grace(application: &impl Application) {
    let (mut client, mut old) = rotated(application).await;
    advance(application, GRACE).await;
    assert_eq!(old.name().await, None);
    assert_eq!(client.name().await.as_deref(), Some("ada"), "a late request ends nothing");
}

/// A previous token that is used after twice its grace was stolen: the session ends.
pub async fn reused_token_ends_the_session(application: &impl Application) {
    let (mut client, mut old) = rotated(application).await;
    advance(application, THEFT).await;
    assert_eq!(client.name().await.as_deref(), Some("ada"), "time alone ends nothing");
    assert_eq!(old.name().await, None);
    assert_eq!(client.name().await, None, "of thief and owner, neither stays signed in");
}

/// A previous token signs its session out, in its grace as the current one does.
pub async fn logout_in_the_grace_ends_the_session(application: &impl Application) {
    let (mut client, mut old) = rotated(application).await;
    assert_eq!(old.post("/logout").await.status, 200);
    assert_eq!(client.name().await, None);
}

/// A handler that changes the token and then fails still gives the client the new one.
pub async fn new_token_survives_a_failing_handler(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let old = client.token().to_owned();
    let answer = client.post("/rotate-and-fail").await;
    assert_eq!((answer.status, answer.set_cookies().len()), (500, 1));
    assert_ne!(client.token(), old);
    assert_eq!(client.name().await.as_deref(), Some("ada"));

    let mut client = Client::of(application);
    let answer = client.post("/login-and-fail/bob").await;
    assert_eq!((answer.status, answer.set_cookies().len()), (500, 1));
    assert_eq!(client.name().await.as_deref(), Some("bob"));
}

/// A token that is due is replaced by the next request that uses the session, once.
pub async fn due_token_is_rotated_once(application: &impl Application) {
    let mut client = used_until_due(application).await;
    let mut old = client.clone();
    let answer = client.get("/name").await;
    assert_eq!((answer.text(), answer.set_cookies().len()), (String::from("ada"), 1));
    assert_ne!(client.token(), old.token());
    assert!(client.get("/name").await.set_cookies().is_empty());
    let answer = old.get("/name").await;
    assert_eq!((answer.text(), answer.set_cookies().len()), (String::from("ada"), 0));
}

/// Of parallel requests with a token that is due, each is answered, and one gets the new token.
pub async fn parallel_requests_get_one_new_token(application: &impl Application) {
    let client = used_until_due(application).await;
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let mut client = client.clone();
        requests.spawn(async move {
            let answer = client.get("/name").await;
            (answer.text(), answer.set_cookies().len())
        });
    }
    let answers = requests.join_all().await;
    assert!(answers.iter().all(|(name, _)| name == "ada"), "{answers:?}");
    assert_eq!(answers.iter().map(|(_, cookies)| cookies).sum::<usize>(), 1, "{answers:?}");
}

/// A request that only peeks rotates nothing.
pub async fn peek_rotates_no_token(application: &impl Application) {
    let mut client = used_until_due(application).await;
    for _ in 0..2 {
        let answer = client.get("/peek").await;
        assert_eq!((answer.text(), answer.set_cookies().len()), (String::from("ada"), 0));
    }
    assert_eq!(client.get("/name").await.set_cookies().len(), 1);
}

/// A client that has used its session until its token is due.
async fn used_until_due(application: &impl Application) -> Client {
    let mut client = Client::signed_in(application, "ada").await;
    let (step, mut left) = (IDLE / 2, ROTATE_EVERY);
    while left > step {
        advance(application, step).await;
        left -= step;
        assert!(client.get("/name").await.set_cookies().is_empty(), "not due yet");
    }
    advance(application, left).await;
    client
}

/// A change of credentials ends the owner's other sessions and the old token, without a grace.
pub async fn changed_credentials_end_the_other_sessions(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let mut other = Client::signed_in(application, "ada").await;
    let mut bob = Client::signed_in(application, "bob").await;
    let mut old = client.clone();
    let answer = client.post("/credentials").await;
    assert_eq!((&*answer.text(), answer.set_cookies().len()), ("1", 1));
    assert_eq!(client.name().await.as_deref(), Some("ada"));
    assert_eq!((old.name().await, other.name().await), (None, None));
    assert_eq!(bob.name().await.as_deref(), Some("bob"));
}
