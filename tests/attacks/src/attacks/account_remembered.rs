//! The server decides how long a remembered session lives.

use std::time::Duration;

use http::StatusCode;
use kvolt_session::{Manager, Timeouts, Token};

use crate::client::Answer;
use crate::stage::{Server, Stage};
use crate::user::User;

fn remembering(server: &Server, timeouts: Timeouts) -> Manager<User> {
    server.builder().remembered_timeouts(timeouts).build().expect("it can work")
}

/// Returns how long the browser should keep the cookie; `None` until the browser is closed.
fn max_age(answer: &Answer) -> Option<Duration> {
    let cookies = answer.set_cookies();
    let [cookie] = cookies[..] else { panic!("not one cookie: {cookies:?}") };
    assert!(!cookie.to_ascii_lowercase().contains("expires="), "{cookie}");
    let mut attributes = cookie.split("; ");
    let seconds = attributes.find_map(|attribute| attribute.strip_prefix("Max-Age="))?;
    Some(Duration::from_secs(seconds.parse().expect("it is a number")))
}

/// Returns the remaining time of a session.
async fn rest(stage: &Stage, manager: &Manager<User>, token: &Token) -> Duration {
    let session = manager.peek(token).await.expect("the store answers").expect("it is there");
    session.ends_at().since(stage.now())
}

/// The cookie outlives its session. At each login and rotation, the server must set its
/// lifetime to the remaining time of the session, or make it a browser-session cookie.
pub async fn a_remembered_cookie_is_kept_no_longer_than_its_session(stage: &Stage) {
    const DAY: Duration = Duration::from_secs(86_400);
    for (lifetime, kept) in [(30 * DAY, 30 * DAY), (1_000 * DAY, 400 * DAY)] {
        let timeouts = Timeouts::new(lifetime.min(7 * DAY), lifetime);
        let managers = stage.servers().map(|server| remembering(server, timeouts));
        let mut client = stage.one.client_of(managers[0].clone());
        let answer = client.post("/login/ada").await;
        assert_eq!(max_age(&answer), None, "who did not ask for it is not remembered");
        assert_eq!(max_age(&client.post("/rotate").await), None);
        let answer = client.post("/account/remembered/ada").await;
        assert_eq!(max_age(&answer), Some(kept));
        if kept == lifetime {
            stage.pass(Duration::from_millis(1_100).max(stage.moment())).await;
        }
        let other = stage.other.client_of(managers[1].clone());
        let mut client = other.with(client.jar);
        for path in ["/rotate", "/password", "/account/credentials", "/account/prove/2"] {
            let asked = stage.now();
            let answer = client.post(path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}");
            let told = max_age(&answer).expect("it is remembered still");
            let token = client.token().expect("it is signed in");
            let left = rest(stage, &managers[0], &token).await.min(kept);
            // The remaining time was read slightly later.
            let took = stage.now().since(asked) + stage.inexactness();
            assert!(told <= left + took, "{path}: {told:?}, and there is {left:?}");
            assert!(told + took + Duration::from_secs(1) >= left, "{path}: {told:?} of {left:?}");
        }
        // Without "remember me", the cookie must not persist.
        let mut plain = stage.one.client_of(managers[0].clone()).with(client.jar.clone());
        assert_eq!(max_age(&plain.post("/login/ada").await), None);
        stage.is_refused(&client.token().expect("it was one")).await;
    }
}

/// NIST SP 800-63B-4, 5.1.1: a client keeps the cookie beyond its lifetime. The session is
/// used continuously on both servers, and the server must still end it.
pub async fn a_remembered_session_ends_on_the_server_though_its_cookie_is_there(stage: &Stage) {
    let lifetime = stage.moment() * 2;
    let timeouts = Timeouts::new(lifetime, lifetime);
    let managers = stage.servers().map(|server| remembering(server, timeouts));
    let mut client = stage.one.client_of(managers[0].clone());
    let answer = client.post("/account/remembered/ada").await;
    assert_eq!(max_age(&answer), Some(lifetime));
    // This jar never removes a cookie by itself.
    let mut clients = [
        stage.one.client_of(managers[0].clone()).with(client.jar.clone()),
        stage.other.client_of(managers[1].clone()).with(client.jar.clone()),
    ];
    let token = client.token().expect("it is signed in");
    let end = stage.now().saturating_add(rest(stage, &managers[1], &token).await);
    let mut used = 0;
    loop {
        let asked = stage.now();
        let answer = clients[used % 2].get("/profile").await;
        if answer.status == StatusCode::UNAUTHORIZED {
            break;
        }
        let late = asked.since(end);
        assert!(late <= stage.inexactness(), "still there {late:?} after its end");
        used += 1;
        stage.pass(lifetime / 20).await;
    }
    let early = end.since(stage.now());
    assert!(early <= stage.inexactness(), "it ended {early:?} early, after {used} uses");
    for client in &mut clients {
        assert!(!client.jar.is_empty(), "the cookie is there");
        assert_eq!(client.get("/strict/profile").await.status, StatusCode::UNAUTHORIZED);
        let answer = client.post("/rotate").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert!(answer.set_cookies().is_empty());
    }
    stage.is_refused(&token).await;
}
