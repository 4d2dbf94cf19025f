use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderName, Method, Request, request};
use kvolt_session::{CsrfToken, Level, NewSession, SessionSnapshot, Token};

use super::TestCookie;
use crate::adapter::{Admission, Headers, PendingResponse};
use crate::error::Kind;
use crate::lookup::Source;
use crate::{Error, Result, SessionHandle, Sessions};

/// A client of an application under test. It holds what a browser or a program would hold: a cookie,
/// or the token for a header, as the lookup of the [`Sessions`] says.
///
/// Its sessions are created in the store by the calls of handlers, and its requests pass the
/// application's own layer. A clone is another device with the same token: it keeps the old token
/// when the original [rotates](Self::rotate).
///
/// ```
/// use http::StatusCode;
/// use kvolt_cache::MemoryStore;
/// use kvolt_middleware::testing::TestClient;
/// use kvolt_middleware::{Session, Sessions};
/// use kvolt_session::{Manager, NewSession};
/// use axum::{Router, body::Body, routing::get};
/// use tower::ServiceExt;
///
/// async fn profile(user: Session<String>) -> String {
///     user.data().clone()
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sessions = Sessions::new(Manager::<String>::new(MemoryStore::new()));
/// let app = Router::new().route("/profile", get(profile)).layer(sessions.layer());
///
/// let ada = NewSession::new(String::from("Ada")).owner(42u64);
/// let ada = TestClient::signed_in(&sessions, ada).await?;
/// let response = app.oneshot(ada.get("/profile").body(Body::empty())?).await?;
/// assert_eq!(response.status(), StatusCode::OK);
/// # Ok(()) }
/// ```
pub struct TestClient<T> {
    sessions: Sessions<T>,
    /// The header that carries the token.
    header: Option<(HeaderName, String)>,
    cookie: Option<TestCookie>,
}

impl<T: Send + Sync + 'static> TestClient<T> {
    /// A client without a session.
    pub fn new(sessions: &Sessions<T>) -> Self {
        Self { sessions: sessions.clone(), header: None, cookie: None }
    }

    /// A client that signs in now. [`NewSession`] sets the owner, the data, the level, the device
    /// and "remember me"; [`make_older`](Self::make_older) the time.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`SessionHandle::login`].
    pub async fn signed_in(
        sessions: &Sessions<T>,
        session: impl Into<NewSession<T>>,
    ) -> Result<Self> {
        let mut client = Self::new(sessions);
        client.run(async |client| client.login(session).await).await?;
        Ok(client)
    }

    /// A visitor with an anonymous session.
    ///
    /// ```
    /// use kvolt_cache::MemoryStore;
    /// use kvolt_middleware::Sessions;
    /// use kvolt_middleware::testing::TestClient;
    /// use kvolt_session::{AnonymousSessions, Manager};
    ///
    /// # pollster::block_on(async {
    /// let manager = Manager::<Vec<String>>::builder(MemoryStore::new());
    /// let manager = manager.anonymous(AnonymousSessions::new(1_000)).build()?;
    /// let visitor = TestClient::visitor(&Sessions::new(manager), Vec::new()).await?;
    /// let basket = visitor.session().await?.expect("it was just created");
    /// assert!(basket.is_anonymous());
    /// # Ok::<(), kvolt_middleware::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`SessionHandle::create_anonymous`].
    pub async fn visitor(sessions: &Sessions<T>, data: T) -> Result<Self> {
        let mut client = Self::new(sessions);
        client.run(async |client| client.create_anonymous(data).await).await?;
        Ok(client)
    }

    /// Runs a handler as a request of this client does, behind an optional layer that shows
    /// anonymous sessions, and [keeps](Self::keep) the token of the response.
    ///
    /// ```
    /// use kvolt_cache::MemoryStore;
    /// use kvolt_middleware::Sessions;
    /// use kvolt_middleware::testing::TestClient;
    /// use kvolt_session::Manager;
    ///
    /// # pollster::block_on(async {
    /// let sessions = Sessions::new(Manager::new(MemoryStore::new()));
    /// let mut ada = TestClient::signed_in(&sessions, String::from("Ada")).await?;
    /// ada.run(async |client| client.logout().await).await?;
    /// assert!(ada.cookie().is_none());
    /// # Ok::<(), kvolt_middleware::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the handler's error, or an error if the store is unavailable
    /// ([`Error::is_unavailable`]).
    pub async fn run<R>(
        &mut self,
        handler: impl AsyncFnOnce(SessionHandle<T>) -> Result<R>,
    ) -> Result<R> {
        let layer = Arc::new(self.sessions.layer().optional().anonymous());
        let request = self.post("/").body(()).expect("the token is visible ASCII");
        let session = match layer.try_admit(&request, None)? {
            Admission::Pass(session) => session,
            Admission::Wait(wait) => wait.await?,
            Admission::Answer(_) => unreachable!("only `admit` answers"),
        };
        let mut pending = PendingResponse::new(session.clone());
        let result = handler(session.handle()).await;
        let mut headers = HeaderMap::new();
        pending.finish(&mut headers);
        self.keep(&headers);
        result
    }

    /// Gives the session a new token, as a layer does when a rotation is due. A clone that was made
    /// before has the old one.
    ///
    /// ```
    /// use kvolt_cache::MemoryStore;
    /// use kvolt_middleware::Sessions;
    /// use kvolt_middleware::testing::TestClient;
    /// use kvolt_session::Manager;
    ///
    /// # pollster::block_on(async {
    /// let sessions = Sessions::new(Manager::new(MemoryStore::new()));
    /// let mut ada = TestClient::signed_in(&sessions, String::from("Ada")).await?;
    /// let thief = ada.clone();
    /// ada.rotate().await?;
    /// assert!(ada.session().await?.is_some());
    /// assert!(thief.session().await?.is_none());
    /// # Ok::<(), kvolt_middleware::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Session::rotate`](crate::Session::rotate), and an error without a
    /// live session ([`Error::is_ended`]).
    pub async fn rotate(&mut self) -> Result<()> {
        self.run(async |client| client.session().ok_or(Error(Kind::Ended))?.rotate().await).await
    }

    /// Proves the user's identity again, now, at this level.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_cache::MemoryStore;
    /// use kvolt_middleware::Sessions;
    /// use kvolt_middleware::testing::TestClient;
    /// use kvolt_session::{Level, Manager, StepUp};
    ///
    /// # pollster::block_on(async {
    /// let sessions = Sessions::new(Manager::new(MemoryStore::new()));
    /// let mut ada = TestClient::signed_in(&sessions, String::from("Ada")).await?;
    /// ada.make_older(Duration::from_secs(20 * 60)).await?;
    /// ada.reauthenticate(Level::Two).await?;
    ///
    /// let session = ada.session().await?.expect("it lives for 12 hours");
    /// let recent = StepUp::within(Duration::from_secs(60)).and_level(Level::Two);
    /// assert!(session.meets(&recent, sessions.manager().clock().now()));
    /// # Ok::<(), kvolt_middleware::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Session::reauthenticate`](crate::Session::reauthenticate), and an
    /// error without a live session ([`Error::is_ended`]).
    pub async fn reauthenticate(&mut self, level: Level) -> Result<()> {
        let session = async |client: SessionHandle<T>| {
            client.session().ok_or(Error(Kind::Ended))?.reauthenticate(level).await
        };
        self.run(session).await
    }

    /// Makes the session older, as if everything but its last use had happened that much earlier:
    /// see [`Manager::make_older`](kvolt_session::Manager::make_older). It works on every store.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Manager::make_older`](kvolt_session::Manager::make_older), and an
    /// error without a live session ([`Error::is_ended`]).
    pub async fn make_older(&self, by: Duration) -> Result<()> {
        let token = self.token().ok_or(Error(Kind::Ended))?;
        let is_live = self.sessions.manager().make_older(&token, by).await?;
        is_live.then_some(()).ok_or(Error(Kind::Ended))
    }

    /// The session as it is in the store, for assertions. Does not count as use. `None` without a
    /// live session.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable ([`Error::is_unavailable`]), or if the session
    /// can't be read.
    pub async fn session(&self) -> Result<Option<SessionSnapshot<T>>> {
        let Some(token) = self.token() else { return Ok(None) };
        Ok(self.sessions.manager().peek(&token).await?)
    }

    /// A form token of the session, for the field [`CSRF_FIELD`](crate::CSRF_FIELD) or the header
    /// [`CSRF_HEADER`](crate::CSRF_HEADER).
    ///
    /// ```
    /// use kvolt_cache::MemoryStore;
    /// use kvolt_middleware::testing::TestClient;
    /// use kvolt_middleware::{CSRF_HEADER, Sessions};
    /// use kvolt_session::Manager;
    ///
    /// # pollster::block_on(async {
    /// let sessions = Sessions::new(Manager::new(MemoryStore::new()));
    /// let ada = TestClient::signed_in(&sessions, String::from("Ada")).await?;
    /// let delete = ada.post("/delete").header(CSRF_HEADER, ada.csrf_token().await?.as_str());
    /// assert!(delete.body(()).is_ok());
    /// # Ok::<(), kvolt_middleware::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`session`](Self::session), and an error without a live session
    /// ([`Error::is_ended`]).
    pub async fn csrf_token(&self) -> Result<CsrfToken> {
        let session = self.session().await?.ok_or(Error(Kind::Ended))?;
        Ok(session.csrf_token()?)
    }

    /// Starts a `GET` request with the client's token.
    pub fn get(&self, uri: &str) -> request::Builder {
        self.request(Method::GET, uri)
    }

    /// Starts a `POST` request with the client's token.
    pub fn post(&self, uri: &str) -> request::Builder {
        self.request(Method::POST, uri)
    }

    /// Starts a request with the client's token.
    ///
    /// ```
    /// use http::Method;
    /// use kvolt_cache::MemoryStore;
    /// use kvolt_middleware::Sessions;
    /// use kvolt_middleware::testing::TestClient;
    /// use kvolt_session::Manager;
    ///
    /// # pollster::block_on(async {
    /// let sessions = Sessions::new(Manager::<String>::new(MemoryStore::new()));
    /// let ada = TestClient::signed_in(&sessions, String::from("Ada")).await?;
    /// let request = ada.request(Method::DELETE, "/notes/7").body(()).expect("it is well-formed");
    /// assert!(request.headers().contains_key("cookie"));
    /// # Ok::<(), kvolt_middleware::Error>(()) }).unwrap();
    /// ```
    pub fn request(&self, method: Method, uri: &str) -> request::Builder {
        let request = Request::builder().method(method).uri(uri);
        match self.header() {
            Some((name, value)) => request.header(name, value),
            None => request,
        }
    }

    /// The header that carries the client's token, as a name and a value: for a test framework with
    /// requests of its own. `None` without a token.
    ///
    /// ```
    /// use kvolt_cache::MemoryStore;
    /// use kvolt_middleware::Sessions;
    /// use kvolt_middleware::testing::TestClient;
    /// use kvolt_session::Manager;
    ///
    /// # pollster::block_on(async {
    /// let manager = Manager::new(MemoryStore::new());
    /// let sessions = Sessions::builder(manager).lookup("header:Authorization".parse().unwrap());
    /// let ada = TestClient::signed_in(&sessions.build().unwrap(), String::from("Ada")).await?;
    /// let (name, value) = ada.header().expect("it is signed in");
    /// assert_eq!(name, "authorization");
    /// assert!(value.starts_with("Bearer "));
    /// # Ok::<(), kvolt_middleware::Error>(()) }).unwrap();
    /// ```
    pub fn header(&self) -> Option<(&str, &str)> {
        self.header.as_ref().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The client's cookie, for a browser. `None` without a token, or if the token travels in a
    /// header.
    pub fn cookie(&self) -> Option<&TestCookie> {
        self.cookie.as_ref()
    }

    /// The client's token, for calls of the manager.
    pub fn token(&self) -> Option<Token> {
        self.sessions.0.lookup.find(&self.get("/").body(()).ok()?)
    }

    /// Keeps the token of a response's headers, or drops the client's, as a browser or a program
    /// does. A response that changes no token changes nothing.
    ///
    /// ```
    /// use http::HeaderMap;
    /// use kvolt_cache::MemoryStore;
    /// use kvolt_middleware::Sessions;
    /// use kvolt_middleware::testing::TestClient;
    /// use kvolt_session::Manager;
    ///
    /// let sessions = Sessions::new(Manager::<String>::new(MemoryStore::new()));
    /// let mut client = TestClient::new(&sessions);
    /// // In a test, the headers of the response of the application's own sign-in.
    /// let mut headers = HeaderMap::new();
    /// let cookie = format!("__Host-session_id={}; Path=/; Secure", "A".repeat(48));
    /// headers.insert("set-cookie", cookie.parse().expect("visible ASCII"));
    /// client.keep(&headers);
    /// assert!(client.token().is_some());
    /// ```
    pub fn keep(&mut self, headers: &impl Headers) {
        let sessions = self.sessions.clone();
        for source in sessions.0.lookup.sources() {
            match source {
                Source::Cookie(name) => headers.each(&SET_COOKIE, &mut |header| {
                    if let Some(cookie) = TestCookie::parse(header).filter(|c| *c.name == **name) {
                        self.keep_cookie(cookie);
                    }
                }),
                Source::Query(_) => {}
                Source::Header(_) | Source::Bearer => {
                    let name = source.header_name().expect("it is a header");
                    let value =
                        headers.first(&name).and_then(|value| std::str::from_utf8(value).ok());
                    if let Some(value) = value {
                        self.header = Some((name, value.to_owned()));
                    }
                }
            }
        }
    }

    fn keep_cookie(&mut self, cookie: TestCookie) {
        if cookie.value.is_empty() {
            (self.header, self.cookie) = (None, None);
        } else {
            self.header = Some((COOKIE, format!("{}={}", cookie.name, cookie.value)));
            self.cookie = Some(cookie);
        }
    }
}

impl<T> Clone for TestClient<T> {
    fn clone(&self) -> Self {
        let (sessions, header) = (self.sessions.clone(), self.header.clone());
        Self { sessions, header, cookie: self.cookie.clone() }
    }
}

impl<T> fmt::Debug for TestClient<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient").field("cookie", &self.cookie).finish_non_exhaustive()
    }
}
