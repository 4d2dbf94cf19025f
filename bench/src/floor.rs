//! The floor: a session layer written by hand for one program, with nothing that it does not need.
//!
//! It does what KVolt's layer does on each request: finds the cookie, decodes it, hashes it, reads
//! the session, compares a digest and a deadline, moves the deadline, hands the session to the
//! handler by an extension, and says `Vary` and `no-store`. It has no policy, no events, no
//! refusals of its own, no rotation, no other store and no other framework.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Extension;
use axum::http::header::{CACHE_CONTROL, COOKIE, VARY};
use axum::http::{HeaderValue, Request, Response, StatusCode};
use axum::routing::Route;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kvolt::cache::Clock;
use sha2::{Digest, Sha256};
use tower::{Layer, Service};

use crate::http::{IDLE, ada};
use crate::user::User;

const NAME: &str = "__Host-session_id=";
const ID_LEN: usize = 12;
const TOKEN_LEN: usize = 36;

struct Stored {
    secret: [u8; 32],
    user: Arc<User>,
    /// In milliseconds.
    idle_ends: AtomicU64,
    ends: u64,
}

/// The sessions, by their id.
#[derive(Clone)]
pub(crate) struct Floor {
    sessions: Arc<papaya::HashMap<[u8; ID_LEN], Stored>>,
    clock: Clock,
}

impl Floor {
    /// One session, and its cookie.
    pub(crate) fn new() -> (Self, HeaderValue) {
        let token: [u8; TOKEN_LEN] = std::array::from_fn(|index| index as u8 * 7);
        let (sessions, clock) = (Arc::new(papaya::HashMap::new()), Clock::system());
        let now = clock.now().as_millis();
        let stored = Stored {
            secret: Sha256::digest(token).into(),
            user: Arc::new(ada()),
            idle_ends: AtomicU64::new(now + millis(IDLE)),
            ends: now + 24 * millis(IDLE),
        };
        let id = *token.first_chunk().expect("it is long enough");
        sessions.pin().insert(id, stored);
        let cookie = format!("{NAME}{}", URL_SAFE_NO_PAD.encode(token));
        (Self { sessions, clock }, HeaderValue::try_from(cookie).expect("it is a value"))
    }

    fn find(&self, request: &Request<Body>) -> Option<Arc<User>> {
        let header = request.headers().get(COOKIE)?.to_str().ok()?;
        let text = header.split("; ").find_map(|cookie| cookie.strip_prefix(NAME))?;
        let mut token = [0; TOKEN_LEN];
        URL_SAFE_NO_PAD.decode_slice(text, &mut token).ok()?;
        let secret: [u8; 32] = Sha256::digest(token).into();
        let now = self.clock.now().as_millis();
        let sessions = self.sessions.pin();
        let stored = sessions.get(token.first_chunk::<ID_LEN>()?)?;
        let idle_ends = stored.idle_ends.load(Ordering::Acquire);
        if stored.secret != secret || now >= idle_ends.min(stored.ends) {
            return None;
        }
        let next = now + millis(IDLE);
        if next > idle_ends {
            let order = (Ordering::Relaxed, Ordering::Relaxed);
            let _ = stored.idle_ends.compare_exchange(idle_ends, next, order.0, order.1);
        }
        Some(Arc::clone(&stored.user))
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

/// The handler behind it.
pub(crate) async fn profile(Extension(user): Extension<Arc<User>>) -> String {
    user.name.clone()
}

impl Layer<Route> for Floor {
    type Service = FloorService;

    fn layer(&self, route: Route) -> FloorService {
        FloorService { floor: self.clone(), route }
    }
}

#[derive(Clone)]
pub(crate) struct FloorService {
    floor: Floor,
    route: Route,
}

impl Service<Request<Body>> for FloorService {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = FloorFuture;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        <Route as Service<Request<Body>>>::poll_ready(&mut self.route, context)
    }

    fn call(&mut self, mut request: Request<Body>) -> FloorFuture {
        match self.floor.find(&request) {
            Some(user) => {
                request.extensions_mut().insert(user);
                FloorFuture(Some(self.route.call(request)))
            }
            None => FloorFuture(None),
        }
    }
}

pub(crate) struct FloorFuture(Option<<Route as Service<Request<Body>>>::Future>);

impl Future for FloorFuture {
    type Output = Result<Response<Body>, std::convert::Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(route) = &mut self.0 else {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            return Poll::Ready(Ok(response));
        };
        let mut response = ready!(Pin::new(route).poll(context))?;
        let headers = response.headers_mut();
        headers.append(VARY, HeaderValue::from_static("Cookie"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Poll::Ready(Ok(response))
    }
}
