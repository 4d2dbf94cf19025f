//! A service on tower-sessions 0.14 and its released stores.

use std::path::Path;

use axum::Router;
use axum::body::Body;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{Request, StatusCode};
use axum::routing::post;
use sqlx_of_old::postgres::PgPool;
use sqlx_of_old::sqlite::{SqliteConnectOptions, SqlitePool};
use time::Duration;
use tokio::runtime::Runtime;
use tower::ServiceExt;
use tower_sessions::cookie::Key;
use tower_sessions::{Expiry, Session, SessionManagerLayer, SessionStore};
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::{ClientLike, Config, Pool};
use tower_sessions_sqlx_store::{PostgresStore, SqliteStore};

use super::{OldLibrary, master_key, pair};

#[derive(Clone, Copy, PartialEq)]
pub enum Security {
    Signed,
    Private,
}

pub struct TowerSessions {
    runtime: Runtime,
    app: Router,
}

impl TowerSessions {
    pub fn redis(url: &str) -> Self {
        let runtime = crate::runtime();
        let app = runtime.block_on(async {
            let pool = Pool::new(Config::from_url(url).unwrap(), None, None, None, 2).unwrap();
            drop(pool.connect());
            pool.wait_for_connect().await.unwrap();
            routes().layer(SessionManagerLayer::new(RedisStore::new(pool)).with_expiry(an_hour()))
        });
        Self { runtime, app }
    }

    pub fn postgres(url: &str, security: Security) -> Self {
        let runtime = crate::runtime();
        let app = runtime.block_on(async {
            let store = PostgresStore::new(PgPool::connect(url).await.unwrap());
            store.migrate().await.unwrap();
            secured(store, security)
        });
        Self { runtime, app }
    }

    pub fn sqlite(file: &Path, security: Security) -> Self {
        let runtime = crate::runtime();
        let app = runtime.block_on(async {
            let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
            let store = SqliteStore::new(SqlitePool::connect_with(options).await.unwrap());
            store.migrate().await.unwrap();
            secured(store, security)
        });
        Self { runtime, app }
    }

    fn send(&self, path: &str, cookie: Option<&str>) -> (StatusCode, Option<String>) {
        let mut request = Request::post(path);
        if let Some(cookie) = cookie {
            request = request.header(COOKIE, cookie);
        }
        let request = request.body(Body::empty()).unwrap();
        let answer = self.runtime.block_on(self.app.clone().oneshot(request)).unwrap();
        let cookie = answer.headers().get(SET_COOKIE).map(|header| pair(header.to_str().unwrap()));
        (answer.status(), cookie)
    }
}

fn an_hour() -> Expiry {
    Expiry::OnInactivity(Duration::hours(1))
}

fn routes() -> Router {
    Router::new().route("/login/{name}", post(login)).route("/logout", post(logout))
}

fn secured(store: impl SessionStore + Clone, security: Security) -> Router {
    let layer = SessionManagerLayer::new(store).with_name("sid").with_expiry(an_hour());
    let key = Key::from(&master_key());
    match security {
        Security::Signed => routes().layer(layer.with_signed(key)),
        Security::Private => routes().layer(layer.with_private(key)),
    }
}

async fn login(session: Session, path: axum::extract::Path<String>) {
    session.insert("user", path.0).await.unwrap();
    // Data of other kinds, which the move reads past.
    session.insert("visits", vec![1_u64, u64::MAX]).await.unwrap();
    session.insert("theme", serde_json::json!({ "dark": true, "ratio": 1.5 })).await.unwrap();
}

async fn logout(session: Session) {
    session.flush().await.unwrap();
}

impl OldLibrary for TowerSessions {
    fn sign_in(&self, names: Vec<String>) -> Vec<String> {
        let login = |name| self.send(&format!("/login/{name}"), None).1.unwrap();
        names.into_iter().map(login).collect()
    }

    fn sign_out(&self, cookies: Vec<String>) -> bool {
        for cookie in cookies {
            assert_eq!(self.send("/logout", Some(&cookie)).0, StatusCode::OK);
        }
        true
    }
}
