use axum::Router;
use axum::body::Body;
use http::header::{CONTENT_TYPE, COOKIE, HOST, SET_COOKIE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kvolt_session::Token;
use tower::ServiceExt;

use crate::jar::Jar;
use crate::stage::Server;

/// A browser: an application to send requests to, and a cookie jar.
#[derive(Debug, Clone)]
pub struct Client {
    app: Router,
    /// Its cookies.
    pub jar: Jar,
}

/// Name of the application's session cookie.
pub(crate) const COOKIE_NAME: &str = "__Host-session_id";

impl Client {
    /// Creates a client with an empty jar.
    pub fn new(app: Router) -> Self {
        Self { app, jar: Jar::default() }
    }

    /// Returns a client of the same application with an empty jar.
    pub fn other(&self) -> Self {
        Self::new(self.app.clone())
    }

    /// Returns a client of the same application with another jar.
    pub fn with(&self, jar: Jar) -> Self {
        Self { app: self.app.clone(), jar }
    }

    /// Returns a client of the same application with this value as its session cookie.
    pub fn presenting(&self, value: &str) -> Self {
        self.with(Jar::with(COOKIE_NAME, value))
    }

    /// Returns a client with the same jar at another server, as behind a load balancer.
    pub fn at(&self, server: &Server) -> Self {
        Self { jar: self.jar.clone(), ..server.client() }
    }

    /// Returns the token in the jar.
    pub fn token(&self) -> Option<Token> {
        self.jar.value().and_then(Token::parse)
    }

    /// Sends a `GET` request.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &[]).await
    }

    /// Sends a `POST` request without a body.
    pub async fn post(&mut self, path: &str) -> Answer {
        self.send(Method::POST, path, &[]).await
    }

    /// Sends a request with additional headers.
    pub async fn send(&mut self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send_with(method, path, headers, String::new()).await
    }

    /// Submits a form as a browser does.
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
        let request = request.body(Body::from(body)).expect("the request is one");
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
    /// The status code.
    pub status: StatusCode,
    /// The body.
    pub text: String,
    head: Response<()>,
}

impl Answer {
    async fn read(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("the body is there").to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Self { status: parts.status, text, head: Response::from_parts(parts, ()) }
    }

    /// Returns the value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers().get(name).map(|value| value.to_str().expect("it is ASCII"))
    }

    /// Returns the `Set-Cookie` headers.
    pub fn set_cookies(&self) -> Vec<&str> {
        let cookies = self.head.headers().get_all(SET_COOKIE).iter();
        cookies.map(|value| value.to_str().expect("it is ASCII")).collect()
    }
}
