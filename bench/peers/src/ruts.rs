//! The application on ruts and PostgreSQL, as its documentation advises.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use ruts::store::Ttl;
use ruts::store::postgres::{PostgresStore, PostgresStoreBuilder};
use ruts::{CookieOptions, SessionLayer};
use sqlx::postgres::PgPoolOptions;
use tower_cookies::CookieManagerLayer;

use crate::user::User;
use crate::{CONNECTIONS, USER, answer};

type Session = ruts::Session<PostgresStore>;
type Answer<T> = Result<T, StatusCode>;

const IDLE: i64 = 30 * 60;

pub(crate) async fn serve(url: &str, slides: bool) {
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS);
    let pool = pool.connect(url).await.expect("PostgreSQL is there");
    let store = PostgresStoreBuilder::new(pool).create_table(true).build().await;
    let cookie = CookieOptions::build()
        .name("session")
        .http_only(true)
        .same_site(ruts::cookie::SameSite::Lax)
        .secure(true)
        .max_age(IDLE as u64)
        .path("/");
    let store = Arc::new(store.expect("it may"));
    let profile = if slides { get(profile_sliding) } else { get(profile) };
    let app = Router::new()
        .route("/profile", profile)
        .route("/change", post(change))
        .route("/logout", post(logout))
        .route("/login", post(login))
        .layer(SessionLayer::new(store).with_cookie_options(cookie))
        .layer(CookieManagerLayer::new());
    answer(app).await;
}

fn idle() -> Ttl {
    Ttl::new(IDLE).expect("it is short")
}

fn failed(error: ruts::Error) -> StatusCode {
    eprintln!("{error}");
    StatusCode::INTERNAL_SERVER_ERROR
}

async fn user(session: &Session) -> Answer<User> {
    session.get(USER).await.map_err(failed)?.ok_or(StatusCode::UNAUTHORIZED)
}

async fn profile(session: Session) -> Answer<String> {
    Ok(user(&session).await?.name)
}

async fn profile_sliding(session: Session) -> Answer<String> {
    session.expire_field(USER, idle()).await.map_err(failed)?;
    profile(session).await
}

async fn change(session: Session) -> Answer<String> {
    let mut user = user(&session).await?;
    user.visits += 1;
    session.set(USER, &user, idle(), None).await.map_err(failed)?;
    Ok(user.visits.to_string())
}

async fn logout(session: Session) -> Answer<()> {
    user(&session).await?;
    session.delete().await.map_err(failed)?;
    Ok(())
}

async fn login(session: Session) -> Answer<()> {
    static USERS: AtomicU64 = AtomicU64::new(0);
    session.prepare_regenerate();
    let user = User::new(USERS.fetch_add(1, Ordering::Relaxed));
    session.set(USER, &user, idle(), None).await.map_err(failed)
}
