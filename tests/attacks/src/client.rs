use axum::Router;
use axum::body::Body;
use http::header::{CONTENT_TYPE, COOKIE, HOST, SET_COOKIE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kvolt_session::Token;
use tower::ServiceExt;

use crate::deployment::Server;
use crate::jar::Jar;

/// A browser: an application to talk to, and a cookie jar.
#[derive(Debug, Clone)]
pub struct Client {
    app: Router,
    /// Its cookies.
    pub jar: Jar,
}

/// The name of the application's cookie.
pub(crate) const COOKIE_NAME: &str = "__Host-session_id";

impl Client {
    /// A client without cookies.
    pub fn new(app: Router) -> Self {
        Self { app, jar: Jar::default() }
    }

    /// A client of the same application, without cookies.
    pub fn other(&self) -> Self {
        Self::new(self.app.clone())
    }

    /// A client of the same application, with other cookies.
    pub fn with(&self, jar: Jar) -> Self {
        Self { app: self.app.clone(), jar }
    }

    /// A client of the same application, with this value as its cookie.
    pub fn presenting(&self, value: &str) -> Self {
        self.with(Jar::with(COOKIE_NAME, value))
    }

    /// A client with the same cookies at another server, as behind a load balancer.
    pub fn at(&self, server: &Server) -> Self {
        Self { jar: self.jar.clone(), ..server.client() }
    }

    /// The token in the jar.
    pub fn token(&self) -> Option<Token> {
        self.jar.value().and_then(Token::parse)
    }

    /// A `GET`.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &[]).await
    }

    /// A `POST` without a body.
    pub async fn post(&mut self, path: &str) -> Answer {
        self.send(Method::POST, path, &[]).await
    }

    /// A request with more headers.
    pub async fn send(&mut self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send_with(method, path, headers, String::new()).await
    }

    /// A form, as a browser sends it.
    pub async fn submit(&mut self, path: &str, form: &str) -> Answer {
        let headers = [(CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded")];
        self.send_with(Method::POST, path, &headers, form.to_owned()).await
    }

    async fn send_with(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "app.test");
        if let Some(cookie) = self.jar.header(path) {
            request = request.header(COOKIE, cookie);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body)).expect("a valid request");
        let Ok(response) = self.app.clone().oneshot(request).await;
        for header in response.headers().get_all(SET_COOKIE) {
            self.jar.set(path, header.to_str().expect("a cookie is ASCII"));
        }
        Answer::read(response).await
    }
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub text: String,
    head: Response<()>,
}

impl Answer {
    async fn read(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a complete body").to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Self { status: parts.status, text, head: Response::from_parts(parts, ()) }
    }

    /// The header with this name; `None` if it is absent.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers().get(name).map(|value| value.to_str().expect("ASCII"))
    }

    /// The values of `Set-Cookie`.
    pub fn set_cookies(&self) -> Vec<&str> {
        let cookies = self.head.headers().get_all(SET_COOKIE).iter();
        cookies.map(|value| value.to_str().expect("ASCII")).collect()
    }
}
