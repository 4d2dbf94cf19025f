//! Live switches: visitors of a service that ran on another library, in its released version, go on
//! with KVolt on two servers.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod new;
mod old;

use std::sync::Arc;

use kvolt_bridge::{
    ActixSessionCookies, ActixSessionRedis, OldCookie, TowerSessionsPostgres, TowerSessionsRedis,
    TowerSessionsSqlite,
};
use kvolt_cache::{Clock, Timestamp};
use kvolt_servers::{Package, Postgres, Redis, require};
use new::{Application, redis_connection};
use old::actix::{ActixSession, Content, Store};
use old::tower::{Security, TowerSessions};
use old::{OldLibrary, master_key};

/// How many visitors of each library the test command moves.
const VISITORS: usize = 60;
/// How many visitors the ignored tests move.
const MANY: usize = 1_000;

const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Switches from tower-sessions on Redis, with a plain cookie.
fn tower_redis(visitors: usize) {
    if !require(&[Package::Redis]) {
        return;
    }
    let (redis, runtime) = (Redis::start(), runtime());
    let library = TowerSessions::redis(&redis.url());
    runtime.block_on(async {
        let old = TowerSessionsRedis::new(redis_connection(&redis.url()).await);
        let application = Application::start(&redis.url(), old).await;
        new::switch(&application, Arc::new(library), visitors).await;
    });
    assert_eq!(redis.cli(&["KEYS", "??????????????????????"]), "");
}

/// Switches from tower-sessions on PostgreSQL, with a signed cookie.
fn tower_postgres(visitors: usize) {
    if !require(&[Package::Redis, Package::Postgres]) {
        return;
    }
    let (redis, postgres, runtime) = (Redis::start(), Postgres::start(), runtime());
    let library = TowerSessions::postgres(&postgres.url(), Security::Signed);
    runtime.block_on(async {
        let pool = sqlx::PgPool::connect(&postgres.url()).await.unwrap();
        let cookie = OldCookie::signed("sid", &master_key()).unwrap().path("/");
        let old = TowerSessionsPostgres::new(pool).cookie(cookie);
        let application = Application::start(&redis.url(), old).await;
        new::switch(&application, Arc::new(library), visitors).await;
    });
    assert_eq!(postgres.psql("SELECT count(*) FROM tower_sessions.session"), "0");
}

/// Switches from tower-sessions on SQLite, with an encrypted cookie.
fn tower_sqlite(visitors: usize) {
    if !require(&[Package::Redis]) {
        return;
    }
    let (redis, runtime) = (Redis::start(), runtime());
    let file = redis.folder().join("old.sqlite");
    let library = TowerSessions::sqlite(&file, Security::Private);
    runtime.block_on(async {
        let url = format!("sqlite:{}", file.display());
        let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
        let cookie = OldCookie::encrypted("sid", &master_key()).unwrap();
        let old = TowerSessionsSqlite::new(pool.clone()).cookie(cookie);
        let application = Application::start(&redis.url(), old).await;
        new::switch(&application, Arc::new(library), visitors).await;
        let left: i64 =
            sqlx::query_scalar("SELECT count(*) FROM tower_sessions").fetch_one(&pool).await.unwrap();
        assert_eq!(left, 0);
    });
}

/// Switches from actix-session on Redis.
fn actix_redis(visitors: usize, content: Content) {
    if !require(&[Package::Redis]) {
        return;
    }
    let (redis, runtime) = (Redis::start(), runtime());
    let library = ActixSession::new(Store::Redis(redis.url()), content);
    runtime.block_on(async {
        let cookie = content.cookie("id");
        let old = ActixSessionRedis::new(redis_connection(&redis.url()).await, cookie);
        let old = old.key(|key| format!("old:{key}"));
        let application = Application::start(&redis.url(), old).await;
        new::switch(&application, Arc::new(library), visitors).await;
    });
    assert_eq!(redis.cli(&["KEYS", "old:*"]), "");
}

/// Switches from actix-session with all of a session in the cookie.
fn actix_cookies(visitors: usize, content: Content) {
    if !require(&[Package::Redis]) {
        return;
    }
    let (redis, runtime) = (Redis::start(), runtime());
    let library = ActixSession::new(Store::Cookie, content);
    runtime.block_on(async {
        let until: Timestamp = Clock::system().now().saturating_add(DAY);
        let old = ActixSessionCookies::new(content.cookie("id"), until);
        let application = Application::start(&redis.url(), old).await;
        new::switch(&application, Arc::new(library), visitors).await;
    });
}

#[test]
fn visitors_of_tower_sessions_on_redis_stay_signed_in() {
    tower_redis(VISITORS);
}

#[test]
fn visitors_of_tower_sessions_on_postgres_stay_signed_in() {
    tower_postgres(VISITORS);
}

#[test]
fn visitors_of_tower_sessions_on_sqlite_stay_signed_in() {
    tower_sqlite(VISITORS);
}

#[test]
fn visitors_of_actix_session_on_redis_stay_signed_in() {
    actix_redis(VISITORS, Content::Private);
    actix_redis(VISITORS / 4, Content::Signed);
}

#[test]
fn visitors_of_actix_session_in_cookies_stay_signed_in() {
    actix_cookies(VISITORS, Content::Private);
    actix_cookies(VISITORS / 4, Content::Signed);
}

#[test]
#[ignore = "for a thousand visitors of each library"]
fn thousand_visitors_of_each_library_stay_signed_in() {
    tower_redis(MANY);
    tower_postgres(MANY);
    tower_sqlite(MANY);
    actix_redis(MANY, Content::Private);
    actix_cookies(MANY, Content::Private);
}

#[test]
fn old_libraries_are_told_apart_from_strangers() {
    let cookie = Content::Private.cookie("id");
    assert_eq!(cookie.open("strange"), None);
    let library = ActixSession::new(Store::Cookie, Content::Private);
    let [pair] = <[String; 1]>::try_from(library.sign_in(vec![String::from("ada")])).unwrap();
    let sealed = percent(pair.strip_prefix("id=").unwrap());
    assert_eq!(cookie.open(&sealed).as_deref(), Some(r#"{"user":"\"ada\""}"#));
    // Another name, another key, another kind of cookie.
    assert_eq!(Content::Private.cookie("sid").open(&sealed), None);
    assert_eq!(OldCookie::encrypted("id", &[9; 64]).unwrap().open(&sealed), None);
    assert_eq!(Content::Signed.cookie("id").open(&sealed), None);
}

/// Without percent-encoding.
fn percent(value: &str) -> String {
    value.replace("%3D", "=").replace("%2B", "+").replace("%2F", "/")
}
