use kvolt_servers::http::Answer;
use serde_json::Value;

use crate::{Client, DeviceKey, Server};

/// The offer of a server after a sign-in.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The header `Secure-Session-Registration`.
    pub header: String,
    /// Where to register.
    pub path: String,
    /// The challenge to sign.
    pub challenge: String,
}

impl Offer {
    /// The offer of an answer.
    pub fn of(answer: &Answer) -> Option<Self> {
        let header = answer.header("secure-session-registration")?.to_owned();
        let parameter = |name| quoted_after(&header, &format!("{name}=\""));
        let (path, challenge) = (parameter("path")?, parameter("challenge")?);
        Some(Self { header, path, challenge })
    }
}

/// A client of the protocol that has signed in. The server takes it for a browser.
#[derive(Debug)]
pub struct Device<'a> {
    /// Where it signed in.
    pub server: &'a dyn Server,
    /// Its cookies.
    pub client: Client,
    /// Its key.
    pub key: DeviceKey,
    /// The offer after the sign-in.
    pub offer: Offer,
    /// The `session_identifier` of the registration; empty before.
    pub id: String,
    /// The challenge for the next refresh; empty before the registration.
    pub challenge: String,
}

impl<'a> Device<'a> {
    /// Signs in, with an offer.
    pub fn signed_in(server: &'a dyn Server) -> Self {
        let mut client = Client::of(server);
        let answer = server.sign_in(&client);
        client.keep(&answer);
        let offer = Offer::of(&answer);
        let offer = offer.unwrap_or_else(|| panic!("no offer with the sign-in: {answer:?}"));
        let key = DeviceKey::generate();
        Self { server, client, key, offer, id: String::new(), challenge: String::new() }
    }

    /// Signs in and registers.
    pub fn bound(server: &'a dyn Server) -> Self {
        let mut device = Self::signed_in(server);
        let answer = device.register();
        assert_eq!(answer.status, 200, "the registration: {}", answer.text);
        device
    }

    /// The proof of its registration.
    pub fn registration(&self) -> String {
        self.key.proof(&self.key.registration_header(), &self.offer.challenge)
    }

    /// Sends a proof to the endpoint of the registration.
    pub fn register_with(&self, proof: &str) -> Answer {
        self.client.post(&self.offer.path, &[("secure-session-response", proof)])
    }

    /// Registers, and keeps the answer.
    pub fn register(&mut self) -> Answer {
        let answer = self.register_with(&self.registration());
        if answer.status == 200 {
            let id = &instructions(&answer)["session_identifier"];
            id.as_str().expect("an id").clone_into(&mut self.id);
            self.keep(&answer);
        }
        answer
    }

    /// The proof of a refresh.
    pub fn proof(&self) -> String {
        self.key.proof(&DeviceKey::refresh_header(), &self.challenge)
    }

    /// Sends a refresh, with or without a proof.
    pub fn refresh_with(&self, proof: Option<&str>) -> Answer {
        refresh(self.server, &self.client, &self.id, proof)
    }

    /// Refreshes, and keeps the answer.
    pub fn refresh(&mut self) -> Answer {
        let answer = self.refresh_with(Some(&self.proof()));
        self.keep(&answer);
        answer
    }

    /// Keeps the cookies and the challenge of an answer.
    pub fn keep(&mut self, answer: &Answer) {
        self.client.keep(answer);
        if let Some((challenge, _)) = challenge(answer) {
            self.challenge = challenge;
        }
    }

    /// The status of the protected page.
    pub fn status(&self) -> u16 {
        self.client.get(self.server.protected(), &[]).status
    }

    /// The value of its bound cookie.
    pub fn bound_value(&self) -> &str {
        &self.client.cookies[self.server.bound_cookie()]
    }

    /// The same client without the bound cookie.
    pub fn unproven(&self) -> Client {
        self.client.without(self.server.bound_cookie())
    }
}

/// Sends a refresh with a client's cookies.
pub(crate) fn refresh(
    server: &dyn Server,
    client: &Client,
    id: &str,
    proof: Option<&str>,
) -> Answer {
    let mut headers = vec![("sec-secure-session-id", id)];
    headers.extend(proof.map(|proof| ("secure-session-response", proof)));
    client.post(server.refresh_path(), &headers)
}

/// The challenge of an answer, and the id of its session.
pub(crate) fn challenge(answer: &Answer) -> Option<(String, String)> {
    let header = answer.header("secure-session-challenge")?;
    Some((quoted_after(header, "\"")?, quoted_after(header, "id=\"")?))
}

/// The registration's JSON.
pub(crate) fn instructions(answer: &Answer) -> Value {
    serde_json::from_str(&answer.text).unwrap_or_else(|error| panic!("{error}: {}", answer.text))
}

fn quoted_after(text: &str, start: &str) -> Option<String> {
    let (_, rest) = text.split_once(start)?;
    Some(rest.split_once('"')?.0.to_owned())
}

/// Whether the server refuses a session without proof: never as if there were none.
#[track_caller]
pub(crate) fn assert_refused(answer: &Answer, what: &str) {
    assert!(matches!(answer.status, 401 | 503), "{what}: {} {}", answer.status, answer.text);
}
