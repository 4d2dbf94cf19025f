//! A service on axum_session 0.22 and axum_session_sqlx 0.12.

use axum::Router;
use axum::body::Body;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{Request, StatusCode};
use axum::routing::post;
use axum_session::{Session, SessionConfig, SessionLayer, SessionStore};
use axum_session_sqlx::SessionPgPool;
use sqlx::PgPool;
use tokio::runtime::Runtime;
use tower::ServiceExt;

use super::{OldLibrary, pair};

pub struct AxumSessionService {
    runtime: Runtime,
    app: Router,
}

impl AxumSessionService {
    pub fn postgres(url: &str) -> Self {
        let runtime = crate::runtime();
        let app = runtime.block_on(async {
            let pool = PgPool::connect(url).await.unwrap();
            let store =
                SessionStore::<SessionPgPool>::new(Some(pool.into()), SessionConfig::default());
            let routes =
                Router::new().route("/login/{name}", post(login)).route("/logout", post(logout));
            routes.layer(SessionLayer::new(store.await.unwrap()))
        });
        Self { runtime, app }
    }

    fn send(&self, path: &str, cookie: Option<&str>) -> Option<String> {
        let mut request = Request::post(path);
        if let Some(cookie) = cookie {
            request = request.header(COOKIE, format!("{cookie}; store=true"));
        }
        let request = request.body(Body::empty()).unwrap();
        let answer = self.runtime.block_on(self.app.clone().oneshot(request)).unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let cookies = answer.headers().get_all(SET_COOKIE).iter();
        cookies
            .map(|header| pair(header.to_str().unwrap()))
            .find(|pair| pair.starts_with("session="))
    }
}

async fn login(session: Session<SessionPgPool>, path: axum::extract::Path<String>) {
    session.set("user", path.0);
}

async fn logout(session: Session<SessionPgPool>) {
    session.destroy();
}

impl OldLibrary for AxumSessionService {
    fn sign_in(&self, names: Vec<String>) -> Vec<String> {
        let login = |name| self.send(&format!("/login/{name}"), None).unwrap();
        names.into_iter().map(login).collect()
    }

    fn sign_out(&self, cookies: Vec<String>) -> bool {
        for cookie in cookies {
            self.send("/logout", Some(&cookie));
        }
        true
    }
}
