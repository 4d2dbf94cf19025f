//! A store that can be broken, and a client that keeps its cookie.
#![allow(unreachable_pub, reason = "it is a module of each test file")]
#![allow(dead_code, reason = "each test file uses its part")]

use actix_http::Request;
use actix_web::body::{MessageBody, to_bytes};
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::Method;
use actix_web::test::TestRequest;
use kvolt_actix::SessionMiddleware;
use kvolt_cache::MemoryStore;
use kvolt_middleware::Sessions;
use kvolt_session::{Manager, ManagerBuilder, NewSession, Record};
use kvolt_testkit::{Faults, FaultyStore};

#[derive(Debug, Clone, PartialEq)]
pub struct User {
    pub name: String,
    pub count: u32,
}

pub fn user(name: &str) -> NewSession<User> {
    NewSession::new(User { name: name.to_owned(), count: 0 }).owner(name)
}

/// A store that can be broken, and the sessions on it.
pub struct World {
    pub store: MemoryStore<Record<User>>,
    pub faults: Faults,
    pub sessions: Sessions<User>,
}

impl World {
    pub fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub fn with(settings: impl FnOnce(ManagerBuilder<User>) -> ManagerBuilder<User>) -> Self {
        let store = MemoryStore::new();
        let (faulty, faults) = FaultyStore::new(store.clone());
        let manager = settings(Manager::builder(faulty)).build().unwrap();
        Self { store, faults, sessions: Sessions::new(manager) }
    }

    pub fn manager(&self) -> &Manager<User> {
        self.sessions.manager()
    }

    pub fn required(&self) -> SessionMiddleware<User> {
        SessionMiddleware::new(self.sessions.layer())
    }

    pub fn optional(&self) -> SessionMiddleware<User> {
        SessionMiddleware::new(self.sessions.layer().optional())
    }

    /// The cookie of a new session.
    pub async fn signed_in(&self, name: &str) -> Client {
        let token = self.manager().create(user(name)).await.unwrap();
        Client { cookie: format!("__Host-session_id={}", token.expose()) }
    }
}

/// A client with a jar for one cookie.
#[derive(Debug, Clone, Default)]
pub struct Client {
    pub cookie: String,
}

impl Client {
    pub fn request(&self, method: Method, path: &str) -> TestRequest {
        let request =
            TestRequest::with_uri(path).method(method).insert_header(("host", "app.test"));
        if self.cookie.is_empty() {
            return request;
        }
        request.insert_header(("cookie", &*self.cookie))
    }

    pub async fn get<A, B>(&mut self, app: &A, path: &str) -> Answer
    where
        A: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
        B: MessageBody,
    {
        self.send(app, self.request(Method::GET, path)).await
    }

    pub async fn post<A, B>(&mut self, app: &A, path: &str) -> Answer
    where
        A: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
        B: MessageBody,
    {
        self.send(app, self.request(Method::POST, path)).await
    }

    /// As the server does, it makes a response of an error.
    pub async fn send<A, B>(&mut self, app: &A, request: TestRequest) -> Answer
    where
        A: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
        B: MessageBody,
    {
        let answer = match app.call(request.to_request()).await {
            Ok(response) => Answer::of(response.into_parts().1).await,
            Err(error) => Answer::of(error.error_response()).await,
        };
        for cookie in answer.all("set-cookie") {
            cookie.split(';').next().unwrap().clone_into(&mut self.cookie);
        }
        answer
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub text: String,
    headers: actix_web::http::header::HeaderMap,
}

impl Answer {
    async fn of<B: MessageBody>(response: actix_web::HttpResponse<B>) -> Self {
        let (head, body) = response.into_parts();
        let body = to_bytes(body).await.unwrap_or_else(|_| panic!("the body can't be read"));
        let text = String::from_utf8(body.to_vec()).unwrap();
        Self { status: head.status().as_u16(), text, headers: head.headers().clone() }
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).map(|value| value.to_str().unwrap()).collect()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }
}
