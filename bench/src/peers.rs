//! The same application on the other libraries, each in memory and as its documentation advises.

use std::sync::Arc;

use axum::http::header::{COOKIE as COOKIE_HEADER, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Extension, Router, extract, middleware};
use axum_session::{SessionConfig, SessionNullPool};
use tower_sessions::SessionManagerLayer;

use crate::http::{App, IDLE, ada};
use crate::user::User;

pub(crate) async fn tower_sessions(always_save: bool) -> App {
    use tower_sessions::cookie::time;
    async fn login(session: tower_sessions::Session) {
        session.insert("user", ada()).await.expect("it works");
    }
    async fn profile(session: tower_sessions::Session) -> String {
        session.get::<User>("user").await.expect("it works").expect("signed in").name
    }
    let idle = time::Duration::try_from(IDLE).expect("it is short");
    let layer = SessionManagerLayer::new(tower_sessions::MemoryStore::default())
        .with_expiry(tower_sessions::Expiry::OnInactivity(idle))
        .with_always_save(always_save);
    let router = Router::new().route("/profile", get(profile)).route("/login", post(login));
    App::new(router.layer(layer)).await
}

pub(crate) async fn axum_session() -> App {
    type Session = axum_session::Session<SessionNullPool>;
    async fn login(session: Session) {
        session.set("user", ada());
    }
    async fn profile(session: Session) -> String {
        session.get::<User>("user").expect("signed in").name
    }
    let store = axum_session::SessionStore::new(None, SessionConfig::default()).await;
    let layer = axum_session::SessionLayer::<SessionNullPool>::new(store.expect("it works"));
    let router = Router::new().route("/profile", get(profile)).route("/login", post(login));
    App::new(router.layer(layer)).await
}

/// ruts has no store in memory but this one. `expire_field` is how it prolongs a value.
pub(crate) async fn ruts(slides: bool) -> App {
    use ruts::store::Ttl;
    use ruts::store::moka::{MokaStore, MokaStoreBuilder};
    type Session = ruts::Session<MokaStore>;
    fn idle() -> Ttl {
        Ttl::new(IDLE.as_secs() as i64).expect("it is short")
    }
    async fn login(session: Session) {
        session.prepare_regenerate();
        session.set("user", &ada(), idle(), None).await.expect("it works");
    }
    async fn name(session: &Session) -> String {
        session.get::<User>("user").await.expect("it works").expect("signed in").name
    }
    let profile = match slides {
        true => get(async |session: Session| {
            assert!(session.expire_field("user", idle()).await.expect("it works"));
            name(&session).await
        }),
        false => get(async |session: Session| name(&session).await),
    };
    let cookie = ruts::CookieOptions::build()
        .name("session")
        .http_only(true)
        .same_site(ruts::cookie::SameSite::Lax)
        .secure(true)
        .max_age(IDLE.as_secs())
        .path("/");
    let store = Arc::new(MokaStoreBuilder::new().max_capacity(1_000_000).build());
    let router = Router::new()
        .route("/profile", profile)
        .route("/login", post(login))
        .layer(ruts::SessionLayer::new(store).with_cookie_options(cookie))
        .layer(tower_cookies::CookieManagerLayer::new());
    App::new(router).await
}

/// saysion has no layer: the cookie is this program's, and the calls are those of its first page.
pub(crate) async fn saysion(slides: bool) -> App {
    use saysion::{MemoryStore, Session, SessionStore};
    const COOKIE: &str = "session=";
    async fn login(extract::State(store): extract::State<MemoryStore>) -> impl IntoResponse {
        let mut session = Session::new();
        session.insert("user", ada()).expect("it is JSON");
        session.expire_in(IDLE);
        let value = store.store_session(session).await.expect("it works").expect("it is new");
        ([(SET_COOKIE, format!("{COOKIE}{value}; Path=/; Secure; HttpOnly; SameSite=Lax"))], "")
    }
    async fn profile(Extension(session): Extension<Session>) -> String {
        session.get::<User>("user").expect("signed in").name
    }
    async fn find(store: &MemoryStore, headers: &HeaderMap) -> Option<Session> {
        let header = headers.get(COOKIE_HEADER)?.to_str().ok()?;
        let value = header.split("; ").find_map(|cookie| cookie.strip_prefix(COOKIE))?;
        store.load_session(value.to_owned()).await.ok()?
    }
    let store = MemoryStore::new();
    let find_and_save = move |extract::State(store): extract::State<MemoryStore>,
                              mut request: extract::Request,
                              next: middleware::Next| async move {
        let Some(mut session) = find(&store, request.headers()).await else {
            return StatusCode::UNAUTHORIZED.into_response();
        };
        request.extensions_mut().insert(session.clone());
        let response = next.run(request).await;
        if slides {
            session.expire_in(IDLE);
            store.store_session(session).await.expect("it works");
        }
        response
    };
    let layer = middleware::from_fn_with_state(store.clone(), find_and_save);
    let router = Router::new()
        .route("/profile", get(profile).layer(layer))
        .route("/login", post(login))
        .with_state(store);
    App::new(router).await
}
