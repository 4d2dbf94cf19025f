//! A request through a session middleware of actix-web, beside the bare route: KVolt in memory, and
//! actix-session with a map and with cookies. `kvolt-bench-actix [--quick]`, by `cargo xtask bench`,
//! which reads the lines of JSON that it prints (`bench/src/harness.rs` says how they look).

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use actix_http::Request;
use actix_session::config::{PersistentSession, TtlExtensionPolicy};
use actix_session::storage::{
    CookieSessionStore, LoadError, SaveError, SessionKey, SessionStore, UpdateError,
};
use actix_session::{Session, SessionMiddleware};
use actix_web::body::{MessageBody, to_bytes};
use actix_web::cookie::Key;
use actix_web::cookie::time::Duration;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::header::{COOKIE, SET_COOKIE};
use actix_web::rt::System;
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, Error, HttpResponse, web};
use kvolt::{Manager, MemoryStore, NewSession, Sessions};
use kvolt_actix::SessionHandle;
use rustix::time::{ClockId, clock_gettime};

/// The requests of a turn.
const REQUESTS: u64 = 5_000;

#[path = "../../../src/user.rs"]
mod user;

use user::{NAME, User};

fn ada() -> User {
    User::new(42)
}

/// Sessions in a map: what a store in memory costs at least.
#[derive(Default)]
struct MapStore {
    sessions: Mutex<HashMap<String, HashMap<String, String>>>,
    count: AtomicU64,
}

impl SessionStore for MapStore {
    async fn load(&self, key: &SessionKey) -> Result<Option<HashMap<String, String>>, LoadError> {
        Ok(self.sessions.lock().expect("no panic").get(key.as_ref()).cloned())
    }

    async fn save(
        &self,
        state: HashMap<String, String>,
        _: &Duration,
    ) -> Result<SessionKey, SaveError> {
        let key = format!("{:064}", self.count.fetch_add(1, Ordering::Relaxed));
        self.sessions.lock().expect("no panic").insert(key.clone(), state);
        Ok(SessionKey::try_from(key).expect("it is short"))
    }

    async fn update(
        &self,
        key: SessionKey,
        state: HashMap<String, String>,
        _: &Duration,
    ) -> Result<SessionKey, UpdateError> {
        self.sessions.lock().expect("no panic").insert(key.as_ref().to_owned(), state);
        Ok(key)
    }

    async fn update_ttl(&self, _: &SessionKey, _: &Duration) -> Result<(), anyhow::Error> {
        Ok(())
    }

    async fn delete(&self, key: &SessionKey) -> Result<(), anyhow::Error> {
        self.sessions.lock().expect("no panic").remove(key.as_ref());
        Ok(())
    }
}

/// An application with `POST /login` and `GET /profile`, and the cookie of a signed-in client.
struct Contender<A> {
    app: A,
    cookie: String,
}

impl<A, B> Contender<A>
where
    A: Service<Request, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    async fn new(app: A) -> Self {
        let login = app.call(TestRequest::post().uri("/login").to_request()).await;
        let login = login.expect("it is answered");
        let cookie = login.headers().get(SET_COOKIE).expect("it signs in").to_str();
        let cookie = cookie.expect("it is text").split(';').next().expect("a first").to_owned();
        let contender = Self { app, cookie };
        let profile = contender.app.call(contender.request()).await.expect("it is answered");
        let body = to_bytes(profile.into_body()).await;
        assert_eq!(body.unwrap_or_else(|_| panic!("it has a body")), NAME);
        contender
    }

    fn request(&self) -> Request {
        TestRequest::get().uri("/profile").insert_header((COOKIE, &*self.cookie)).to_request()
    }

    /// Nanoseconds of this thread's processor time per request.
    async fn nanos(&self) -> f64 {
        let now = || clock_gettime(ClockId::ThreadCPUTime);
        let start = now();
        for _ in 0..REQUESTS {
            let response = self.app.call(self.request()).await.expect("it is answered");
            assert!(response.status().is_success());
        }
        let end = now();
        let nanos = (end.tv_sec - start.tv_sec) * 1_000_000_000 + end.tv_nsec - start.tv_nsec;
        nanos as f64 / REQUESTS as f64
    }
}

async fn actix_login(session: Session) -> Result<HttpResponse, Error> {
    session.insert("user", ada())?;
    Ok(HttpResponse::Ok().finish())
}

async fn actix_profile(session: Session) -> Result<String, Error> {
    Ok(session.get::<User>("user")?.expect("signed in").name)
}

async fn kvolt_login(client: SessionHandle<User>) -> kvolt_actix::Result<()> {
    Ok(client.login(NewSession::new(ada()).owner(42u64)).await?)
}

async fn kvolt_profile(user: kvolt_actix::Session<User>) -> String {
    user.name.clone()
}

async fn bare_login() -> HttpResponse {
    let cookie = "__Host-session_id=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    HttpResponse::Ok().insert_header((SET_COOKIE, cookie)).finish()
}

/// The contenders take turns.
async fn race(rounds: u64) {
    let bare = App::new()
        .route("/login", web::post().to(bare_login))
        .route("/profile", web::get().to(async || String::from(NAME)));
    let sessions = Sessions::new(Manager::<User>::new(MemoryStore::new()));
    let kvolt = App::new()
        .route("/login", web::post().to(kvolt_login))
        .route("/profile", web::get().to(kvolt_profile))
        .wrap(kvolt_actix::SessionMiddleware::new(sessions.layer().optional()));
    let actix = || {
        App::new()
            .route("/login", web::post().to(actix_login))
            .route("/profile", web::get().to(actix_profile))
    };
    let key = || Key::from(&[7; 64]);
    let map = actix().wrap(SessionMiddleware::new(MapStore::default(), key()));
    let cookies = actix().wrap(SessionMiddleware::new(CookieSessionStore::default(), key()));
    // By itself, actix-session prolongs a session only when a request changes it.
    let slides = || {
        let policy = TtlExtensionPolicy::OnEveryRequest;
        PersistentSession::default().session_ttl_extension_policy(policy)
    };
    let map_slides = SessionMiddleware::builder(MapStore::default(), key());
    let map_slides = actix().wrap(map_slides.session_lifecycle(slides()).build());
    let cookies_slide = SessionMiddleware::builder(CookieSessionStore::default(), key());
    let cookies_slide = actix().wrap(cookies_slide.session_lifecycle(slides()).build());

    let bare = Contender::new(init_service(bare).await).await;
    let kvolt = Contender::new(init_service(kvolt).await).await;
    let map = Contender::new(init_service(map).await).await;
    let cookies = Contender::new(init_service(cookies).await).await;
    let map_slides = Contender::new(init_service(map_slides).await).await;
    let cookies_slide = Contender::new(init_service(cookies_slide).await).await;
    let mut samples: [Vec<f64>; 6] = Default::default();
    for round in 0..rounds {
        if round % 10 == 0 {
            let done = round as f64 / rounds as f64;
            println!(r#"{{"progress":{{"done":{done},"what":"requests"}}}}"#);
        }
        let turn = [
            bare.nanos().await,
            kvolt.nanos().await,
            map.nanos().await,
            cookies.nanos().await,
            map_slides.nanos().await,
            cookies_slide.nanos().await,
        ];
        turn.iter().zip(&mut samples).for_each(|(turn, samples)| samples.push(*turn));
    }
    let names = [
        "a bare route",
        "KVolt",
        "actix-session with a map, not sliding",
        "actix-session with cookies, not sliding",
        "actix-session with a map, sliding",
        "actix-session with cookies, sliding",
    ];
    for (name, samples) in names.into_iter().zip(samples) {
        let samples = samples.iter().map(|nanos| format!("{nanos:.1}"));
        println!(
            r#"{{"measure":{{"part":"actix","table":"requests","row":"{name}","column":"a request","unit":"ns","samples":[{}]}}}}"#,
            samples.collect::<Vec<_>>().join(",")
        );
    }
}

fn main() {
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    System::new().block_on(race(if is_quick { 21 } else { 101 }));
}
