//! An adapter for a framework with types of its own: the same rules on plain names and values.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::sync::Arc;

use kvolt_middleware::adapter::{
    Admission, HeaderName, HeaderValue, Headers, PendingResponse, RequestHead, RequestSession,
    ResponseHead,
};
use kvolt_middleware::{Error, SessionHandle, SessionLayer};
use support::{User, World, user};

type Fields = Vec<(String, Vec<u8>)>;

#[derive(Default)]
struct Head {
    method: &'static str,
    target: &'static str,
    fields: Fields,
}

struct Answer {
    status: u16,
    fields: Fields,
    text: String,
}

fn each<'a>(fields: &'a Fields, name: &HeaderName, visit: &mut dyn FnMut(&'a [u8])) {
    let same = fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name.as_str()));
    same.for_each(|(_, value)| visit(value));
}

impl Headers for Head {
    fn each<'a>(&'a self, name: &HeaderName, visit: &mut dyn FnMut(&'a [u8])) {
        each(&self.fields, name, visit);
    }
}

impl RequestHead for Head {
    fn method(&self) -> &str {
        self.method
    }

    fn authority(&self) -> Option<&str> {
        None
    }

    fn path_and_query(&self) -> &str {
        self.target
    }
}

impl Headers for Answer {
    fn each<'a>(&'a self, name: &HeaderName, visit: &mut dyn FnMut(&'a [u8])) {
        each(&self.fields, name, visit);
    }
}

impl ResponseHead for Answer {
    fn append(&mut self, name: &HeaderName, value: HeaderValue) -> bool {
        let had_one = self.first(name).is_some();
        self.fields.push((name.as_str().to_owned(), value.as_bytes().to_vec()));
        had_one
    }

    fn retain(&mut self, name: &HeaderName, keep: &mut dyn FnMut(&[u8]) -> bool) {
        self.fields.retain(|(other, value)| other != name.as_str() || keep(value));
    }
}

impl Answer {
    fn text(text: &str) -> Self {
        Self { status: 200, fields: Vec::new(), text: text.to_owned() }
    }

    fn of(response: http::Response<bytes::Bytes>) -> Self {
        let fields = response.headers().iter();
        let fields = fields.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        let (status, fields) = (response.status().as_u16(), fields.collect());
        let text = String::from_utf8(response.into_body().to_vec()).unwrap();
        Self { status, fields, text }
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.header(name).map(|value| str::from_utf8(value).unwrap())
    }
}

async fn handle(client: SessionHandle<User>, head: &Head) -> Result<Answer, Error> {
    match head.path() {
        "/login" => client.login(user("ada")).await.map(|()| Answer::text("in")),
        "/rotate" => match client.session() {
            Some(session) => session.rotate().await.map(|()| Answer::text("rotated")),
            None => Ok(Answer::of(client.refuse(head))),
        },
        _ => Ok(Answer::text(&client.session().map_or("nobody".into(), |user| user.name.clone()))),
    }
}

/// The adapter.
async fn serve(layers: &[Arc<SessionLayer<User>>], head: &Head) -> Answer {
    let mut sessions: Vec<RequestSession<User>> = Vec::new();
    for layer in layers {
        let admitted = match layer.admit(head, sessions.last()) {
            Admission::Pass(session) => Ok(session),
            Admission::Answer(answer) => Err(answer),
            Admission::Wait(wait) => wait.await.map_err(|denied| layer.answer(denied, head)),
        };
        match admitted {
            Ok(session) => sessions.push(session),
            Err(answer) => return Answer::of(*answer),
        }
    }
    let innermost = sessions.last().unwrap().handle();
    let mut pending: Vec<_> = sessions.into_iter().map(PendingResponse::new).collect();
    let answer = handle(innermost, head).await;
    let mut answer = answer.unwrap_or_else(|error| Answer::of(pending[0].error_response(&error)));
    pending.iter_mut().rev().for_each(|pending| pending.finish(&mut answer));
    answer
}

fn request(method: &'static str, target: &'static str, fields: &[(&str, &str)]) -> Head {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
    Head { method, target, fields: fields.collect() }
}

#[tokio::test]
async fn adapter_gets_the_rules_of_the_tower_layer() {
    for at_once in [true, false] {
        let world = World::new();
        world.faults.answers_at_once(at_once);
        let sessions = world.sessions();
        let optional = Arc::new(sessions.layer().optional());
        let open = [Arc::clone(&optional)];
        let closed = [optional, Arc::new(sessions.layer().strict())];

        let login = serve(&open, &request("POST", "/login", &[])).await;
        let cookie = login.field("set-cookie").unwrap();
        assert!(cookie.ends_with("; Path=/; HttpOnly; Secure; SameSite=Lax"), "{cookie}");
        assert_eq!(login.field("cache-control"), Some("no-store"));
        let cookie = cookie.split(';').next().unwrap();

        let known = serve(&closed, &request("GET", "/", &[("Cookie", cookie)])).await;
        assert_eq!((known.status, &*known.text), (200, "ada"));
        assert_eq!((known.field("vary"), known.field("set-cookie")), (Some("cookie"), None));
        let visitor = serve(&open, &request("GET", "/", &[])).await;
        assert_eq!((&*visitor.text, visitor.field("cache-control")), ("nobody", None));

        let json = ("Accept", "application/json");
        let refused = serve(&closed, &request("GET", "/", &[json])).await;
        let expected = "{\"error\":\"no_session\",\"message\":\"sign in first\"}\n";
        assert_eq!((refused.status, &*refused.text), (401, expected));
        let foreign = [("Cookie", cookie), ("Origin", "https://evil.test"), ("Host", "app.test")];
        assert_eq!(serve(&open, &request("POST", "/rotate", &foreign)).await.status, 403);

        let rotated = serve(&closed, &request("POST", "/rotate", &[("Cookie", cookie)])).await;
        let renewed = rotated.field("set-cookie").unwrap().split(';').next().unwrap();
        assert_ne!(renewed, cookie);
        assert_eq!(serve(&closed, &request("GET", "/", &[("Cookie", cookie)])).await.status, 401);

        world.faults.fail_all(true);
        let down = serve(&open, &request("GET", "/", &[("Cookie", renewed), json])).await;
        assert_eq!((down.status, down.field("retry-after")), (503, Some("5")));
    }
}
