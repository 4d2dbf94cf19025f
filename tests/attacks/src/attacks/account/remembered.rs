//! The server decides how long "remember me" lasts.

use std::time::Duration;

use http::StatusCode;
use kvolt_session::{Manager, Timeouts, Token};

use crate::client::Answer;
use crate::deployment::{Deployment, Server};
use crate::user::User;

fn remembering(server: &Server, timeouts: Timeouts) -> Manager<User> {
    server.builder().remembered_timeouts(timeouts).build().expect("valid settings")
}

/// The cookie's `Max-Age`; `None` for a session cookie.
fn max_age(answer: &Answer) -> Option<Duration> {
    let cookies = answer.set_cookies();
    let [cookie] = cookies[..] else { panic!("not one cookie: {cookies:?}") };
    assert!(!cookie.to_ascii_lowercase().contains("expires="), "{cookie}");
    let mut attributes = cookie.split("; ");
    let seconds = attributes.find_map(|attribute| attribute.strip_prefix("Max-Age="))?;
    Some(Duration::from_secs(seconds.parse().expect("a number")))
}

/// The remaining lifetime of a session.
async fn rest(deployment: &Deployment, manager: &Manager<User>, token: &Token) -> Duration {
    let session =
        manager.peek(token).await.expect("the store answers").expect("the session exists");
    session.ends_at().since(deployment.now())
}

/// A cookie outlives its session. At the sign-in, and with each new token, the cookie lasts as long
/// as the session, or until the browser closes.
pub async fn remembered_cookie_lasts_as_long_as_its_session(deployment: &Deployment) {
    const DAY: Duration = Duration::from_secs(86_400);
    for (lifetime, kept) in [(30 * DAY, 30 * DAY), (1_000 * DAY, 400 * DAY)] {
        let timeouts = Timeouts::new(lifetime.min(7 * DAY), lifetime);
        let managers = deployment.servers().map(|server| remembering(server, timeouts));
        let mut client = deployment.one.client_of(managers[0].clone());
        let answer = client.post("/login/ada").await;
        assert_eq!(max_age(&answer), None, "a session cookie without \"remember me\"");
        assert_eq!(max_age(&client.post("/rotate").await), None);
        let answer = client.post("/account/remembered/ada").await;
        assert_eq!(max_age(&answer), Some(kept));
        if kept == lifetime {
            deployment.advance(Duration::from_millis(1_100).max(deployment.short_timeout())).await;
        }
        let other = deployment.other.client_of(managers[1].clone());
        let mut client = other.with(client.jar);
        for path in ["/rotate", "/password", "/account/credentials", "/account/prove/2"] {
            let asked = deployment.now();
            let answer = client.post(path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}");
            let told = max_age(&answer).expect("a Max-Age");
            let token = client.token().expect("a token in the cookie");
            let left = rest(deployment, &managers[0], &token).await.min(kept);
            // Some time has passed between the response and this measurement.
            let took = deployment.now().since(asked) + deployment.clock_skew();
            assert!(told <= left + took, "{path}: {told:?}, and there is {left:?}");
            assert!(told + took + Duration::from_secs(1) >= left, "{path}: {told:?} of {left:?}");
        }
        // Without "remember me", it is a session cookie.
        let mut plain = deployment.one.client_of(managers[0].clone()).with(client.jar.clone());
        assert_eq!(max_age(&plain.post("/login/ada").await), None);
        deployment.is_refused(&client.token().expect("a token")).await;
    }
}

/// NIST SP 800-63B-4, 5.1.1: a client that keeps the cookie longer gains nothing. The session is
/// used all the time, on both servers, and the server ends it.
pub async fn remembered_session_ends_before_a_kept_cookie(deployment: &Deployment) {
    let lifetime = deployment.short_timeout() * 2;
    let timeouts = Timeouts::new(lifetime, lifetime);
    let managers = deployment.servers().map(|server| remembering(server, timeouts));
    let mut client = deployment.one.client_of(managers[0].clone());
    let answer = client.post("/account/remembered/ada").await;
    assert_eq!(max_age(&answer), Some(lifetime));
    // These cookie jars do not expire.
    let mut clients = [
        deployment.one.client_of(managers[0].clone()).with(client.jar.clone()),
        deployment.other.client_of(managers[1].clone()).with(client.jar.clone()),
    ];
    let token = client.token().expect("a token in the cookie");
    let end = deployment.now().saturating_add(rest(deployment, &managers[1], &token).await);
    let mut used = 0;
    loop {
        let asked = deployment.now();
        let answer = clients[used % 2].get("/profile").await;
        if answer.status == StatusCode::UNAUTHORIZED {
            break;
        }
        let late = asked.since(end);
        assert!(late <= deployment.clock_skew(), "still there {late:?} after its end");
        used += 1;
        deployment.advance(lifetime / 20).await;
    }
    let early = end.since(deployment.now());
    assert!(early <= deployment.clock_skew(), "it ended {early:?} early, after {used} uses");
    for client in &mut clients {
        assert!(!client.jar.is_empty(), "the cookie is there");
        assert_eq!(client.get("/strict/profile").await.status, StatusCode::UNAUTHORIZED);
        let answer = client.post("/rotate").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert!(answer.set_cookies().is_empty());
    }
    deployment.is_refused(&token).await;
}
