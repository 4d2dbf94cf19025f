use axum::Router;
use axum::body::Body;
use http::header::{CONTENT_TYPE, COOKIE, HOST, SET_COOKIE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kvolt_session::Token;
use tower::ServiceExt;

use crate::deployment::Server;
use crate::jar::Jar;

/// A browser: an application that it talks to, and a jar.
#[derive(Debug, Clone)]
pub struct Client {
    app: Router,
    /// Its cookies.
    pub jar: Jar,
}

/// The cookie that the application gives.
pub(crate) const COOKIE_NAME: &str = "__Host-session_id";

impl Client {
    /// One that has nothing yet.
    pub fn new(app: Router) -> Self {
        Self { app, jar: Jar::default() }
    }

    /// The same application, for somebody else.
    pub fn other(&self) -> Self {
        Self::new(self.app.clone())
    }

    /// The same application, with another jar.
    pub fn with(&self, jar: Jar) -> Self {
        Self { app: self.app.clone(), jar }
    }

    /// The same application, with this as its cookie.
    pub fn presenting(&self, value: &str) -> Self {
        self.with(Jar::with(COOKIE_NAME, value))
    }

    /// The same jar, sent to another server: a load balancer does that.
    pub fn at(&self, server: &Server) -> Self {
        Self { jar: self.jar.clone(), ..server.client() }
    }

    /// The token in its jar.
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
        let request = request.body(Body::from(body)).expect("the request is one");
        let Ok(response) = self.app.clone().oneshot(request).await;
        for header in response.headers().get_all(SET_COOKIE) {
            self.jar.set(path, header.to_str().expect("a cookie is ASCII"));
        }
        Answer::read(response).await
    }
}

/// What came back.
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
        let bytes = body.collect().await.expect("the body is there").to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Self { status: parts.status, text, head: Response::from_parts(parts, ()) }
    }

    /// A header that is there once.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers().get(name).map(|value| value.to_str().expect("it is ASCII"))
    }

    /// The cookies that it sets or removes.
    pub fn set_cookies(&self) -> Vec<&str> {
        let cookies = self.head.headers().get_all(SET_COOKIE).iter();
        cookies.map(|value| value.to_str().expect("it is ASCII")).collect()
    }
}
