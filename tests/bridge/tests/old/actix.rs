//! A service on actix-session 0.11.

use actix_session::config::CookieContentSecurity;
use actix_session::storage::{CookieSessionStore, RedisSessionStore, SessionStore};
use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::Key;
use actix_web::http::header::{COOKIE, SET_COOKIE};
use actix_web::web::{self, Path};
use actix_web::{App, HttpResponse, rt, test};
use kvolt_bridge::OldCookie;

use super::{OldLibrary, master_key, pair};

#[derive(Clone, Copy, PartialEq)]
pub enum Content {
    Signed,
    Private,
}

impl Content {
    /// The same for the bridge.
    pub fn cookie(self, name: &str) -> OldCookie {
        match self {
            Self::Signed => OldCookie::signed(name, &master_key()).unwrap(),
            Self::Private => OldCookie::encrypted(name, &master_key()).unwrap(),
        }
    }
}

pub enum Store {
    Redis(String),
    Cookie,
}

pub struct ActixSession {
    store: Store,
    content: Content,
}

/// A path, and the cookie with which it is sent.
type Request = (String, Option<String>);

impl ActixSession {
    pub fn new(store: Store, content: Content) -> Self {
        Self { store, content }
    }

    /// Sends requests, and returns the cookies of the answers.
    fn send(&self, requests: Vec<Request>) -> Vec<String> {
        rt::System::new().block_on(async {
            match &self.store {
                Store::Cookie => self.send_to(CookieSessionStore::default(), requests).await,
                Store::Redis(url) => {
                    let store = RedisSessionStore::builder(url.as_str());
                    let store = store.cache_keygen(|key| format!("old:{key}")).build().await;
                    self.send_to(store.unwrap(), requests).await
                }
            }
        })
    }

    async fn send_to<S: SessionStore + 'static>(
        &self,
        store: S,
        requests: Vec<Request>,
    ) -> Vec<String> {
        let security = match self.content {
            Content::Signed => CookieContentSecurity::Signed,
            Content::Private => CookieContentSecurity::Private,
        };
        let sessions = SessionMiddleware::builder(store, Key::from(&master_key()))
            .cookie_content_security(security)
            .build();
        let app = App::new()
            .wrap(sessions)
            .route("/login/{name}", web::post().to(login))
            .route("/logout", web::post().to(logout));
        let app = test::init_service(app).await;
        let mut cookies = Vec::new();
        for (path, cookie) in requests {
            let mut request = test::TestRequest::post().uri(&path);
            if let Some(cookie) = cookie {
                request = request.insert_header((COOKIE, cookie));
            }
            let answer = test::call_service(&app, request.to_request()).await;
            assert!(answer.status().is_success());
            let cookie = answer.headers().get(SET_COOKIE).unwrap();
            cookies.push(pair(cookie.to_str().unwrap()));
        }
        cookies
    }
}

async fn login(session: Session, name: Path<String>) -> HttpResponse {
    session.insert("user", name.into_inner()).unwrap();
    HttpResponse::Ok().finish()
}

async fn logout(session: Session) -> HttpResponse {
    session.purge();
    HttpResponse::Ok().finish()
}

impl OldLibrary for ActixSession {
    fn sign_in(&self, names: Vec<String>) -> Vec<String> {
        self.send(names.into_iter().map(|name| (format!("/login/{name}"), None)).collect())
    }

    fn sign_out(&self, cookies: Vec<String>) -> bool {
        let logout = |cookie| (String::from("/logout"), Some(cookie));
        self.send(cookies.into_iter().map(logout).collect());
        // A cookie that holds the session is good as long as a client keeps it.
        matches!(self.store, Store::Redis(_))
    }
}
