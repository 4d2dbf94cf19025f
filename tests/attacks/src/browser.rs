use std::time::Duration;

use http::Method;
use kvolt_session::Token;
use kvolt_testkit::device::{DeviceKey, challenge_in};

use crate::client::{Answer, COOKIE_NAME, Client};
use crate::deployment::Server;

/// The name of the bound cookie.
pub(crate) const BOUND: &str = "__Host-session_bound";

/// A browser that has keys: a client, and what it knows of its binding.
#[derive(Debug, Clone)]
pub(crate) struct Browser {
    pub(crate) client: Client,
    pub(crate) key: DeviceKey,
    pub(crate) id: String,
    pub(crate) challenge: String,
    /// The offer at its sign-in.
    pub(crate) offer: String,
}

impl Browser {
    /// Signed in, and not bound.
    pub(crate) async fn signed_in(server: &Server, name: &str, key: u8) -> Self {
        let mut client = server.device_bound_client();
        let answer = client.post(&format!("/login/{name}")).await;
        let offer = answer.header("secure-session-registration").and_then(challenge_in);
        let offer = offer.expect("an offer").to_owned();
        let (id, challenge) = Default::default();
        Self { client, key: DeviceKey::new(key), id, challenge, offer }
    }

    /// Signed in and bound, long enough ago that each request needs its cookie.
    pub(crate) async fn bound(server: &Server, name: &str, key: u8) -> Self {
        let mut browser = Self::signed_in(server, name, key).await;
        let offer = browser.offer.clone();
        assert_eq!(browser.register(&offer).await.status, 200);
        browser.age(server, Duration::from_secs(6)).await;
        browser
    }

    /// Lets time pass for its session.
    pub(crate) async fn age(&self, server: &Server, by: Duration) {
        let aged = server.manager().make_older(&self.token(), by).await;
        assert!(aged.expect("the store answers"));
    }

    pub(crate) fn token(&self) -> Token {
        self.client.jar.get(COOKIE_NAME).and_then(Token::parse).expect("a token")
    }

    /// The same at another server, as behind a load balancer.
    pub(crate) fn at(&self, server: &Server) -> Self {
        let client = server.device_bound_client().with(self.client.jar.clone());
        Self { client, ..self.clone() }
    }

    /// The same with another key: a thief with all that is stored.
    pub(crate) fn stolen(&self) -> Self {
        Self { key: DeviceKey::new(99), ..self.clone() }
    }

    /// The same without the cookie of this name.
    pub(crate) fn without(&self, name: &str) -> Self {
        let client = self.client.with(self.client.jar.without(name));
        Self { client, ..self.clone() }
    }

    pub(crate) async fn register(&mut self, offer: &str) -> Answer {
        let proof = self.key.registration(offer);
        let headers = [("secure-session-response", &*proof)];
        let answer = self.client.send(Method::POST, "/dbsc/register", &headers).await;
        self.learn(&answer);
        answer
    }

    /// One request, with a proof of the challenge that it has.
    pub(crate) async fn try_refresh(&mut self) -> u16 {
        let proof = self.key.proof(&self.challenge);
        self.present(Some(&proof)).await
    }

    /// One request with this proof.
    pub(crate) async fn present(&mut self, proof: Option<&str>) -> u16 {
        let id = self.id.clone();
        let proof = proof.map(|proof| ("secure-session-response", proof));
        let id = ("sec-secure-session-id", &*id);
        let headers: Vec<_> = [id].into_iter().chain(proof).collect();
        let answer = self.client.send(Method::POST, "/dbsc/refresh", &headers).await;
        self.learn(&answer);
        answer.status.as_u16()
    }

    /// As the browser does, at most twice.
    pub(crate) async fn refresh(&mut self) {
        let first = self.try_refresh().await;
        if first != 200 {
            assert_eq!((first, self.try_refresh().await), (403, 200));
        }
    }

    fn learn(&mut self, answer: &Answer) {
        let Some(header) = answer.header("secure-session-challenge") else { return };
        challenge_in(header).expect("a challenge").clone_into(&mut self.challenge);
        let (_, id) = header.trim_end_matches('"').split_once(";id=\"").expect("an id");
        id.clone_into(&mut self.id);
    }
}
