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
use old::axum::{AxumRows, axum_sessions};
#[cfg(feature = "axum-session")]
use old::axum_service::AxumSessionService;
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
    let library: Arc<dyn OldLibrary> = Arc::new(TowerSessions::redis(&redis.url()));
    runtime.block_on(async {
        let old = TowerSessionsRedis::new(redis_connection(&redis.url()).await);
        let application = Application::start(&redis.url(), old).await;
        new::switch(&application, &library, visitors).await;
    });
    assert_eq!(redis.cli(&["KEYS", "??????????????????????"]), "");
}

/// Switches from tower-sessions on PostgreSQL, with a signed cookie.
fn tower_postgres(visitors: usize) {
    if !require(&[Package::Redis, Package::Postgres]) {
        return;
    }
    let (redis, postgres, runtime) = (Redis::start(), Postgres::start(), runtime());
    let library: Arc<dyn OldLibrary> =
        Arc::new(TowerSessions::postgres(&postgres.url(), Security::Signed));
    runtime.block_on(async {
        let pool = sqlx::PgPool::connect(&postgres.url()).await.unwrap();
        let cookie = OldCookie::signed("sid", &master_key()).unwrap().path("/");
        let old = TowerSessionsPostgres::new(pool).cookie(cookie);
        let application = Application::start(&redis.url(), old).await;
        new::switch(&application, &library, visitors).await;
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
    let library: Arc<dyn OldLibrary> = Arc::new(TowerSessions::sqlite(&file, Security::Private));
    runtime.block_on(async {
        let url = format!("sqlite:{}", file.display());
        let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
        let cookie = OldCookie::encrypted("sid", &master_key()).unwrap();
        let old = TowerSessionsSqlite::new(pool.clone()).cookie(cookie);
        let application = Application::start(&redis.url(), old).await;
        new::switch(&application, &library, visitors).await;
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM tower_sessions")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(left, 0);
    });
}

/// Switches from actix-session on Redis.
fn actix_redis(visitors: usize, content: Content) {
    if !require(&[Package::Redis]) {
        return;
    }
    let (redis, runtime) = (Redis::start(), runtime());
    let library: Arc<dyn OldLibrary> =
        Arc::new(ActixSession::new(Store::Redis(redis.url()), content));
    runtime.block_on(async {
        let cookie = content.cookie("id");
        let old = ActixSessionRedis::new(redis_connection(&redis.url()).await, cookie);
        let old = old.key(|key| format!("old:{key}"));
        let application = Application::start(&redis.url(), old).await;
        new::switch(&application, &library, visitors).await;
    });
    assert_eq!(redis.cli(&["KEYS", "old:*"]), "");
}

/// Switches from actix-session with all of a session in the cookie.
fn actix_cookies(visitors: usize, content: Content) {
    if !require(&[Package::Redis]) {
        return;
    }
    let (redis, runtime) = (Redis::start(), runtime());
    let library: Arc<dyn OldLibrary> = Arc::new(ActixSession::new(Store::Cookie, content));
    runtime.block_on(async {
        let until: Timestamp = Clock::system().now().saturating_add(DAY);
        let old = ActixSessionCookies::new(content.cookie("id"), until);
        let application = Application::start(&redis.url(), old).await;
        new::switch(&application, &library, visitors).await;
    });
}

/// Switches from axum_session on PostgreSQL, as the guide does.
fn axum_postgres<L: OldLibrary>(visitors: usize, library: fn(&str) -> L) {
    if !require(&[Package::Redis, Package::Postgres]) {
        return;
    }
    let (redis, postgres, runtime) = (Redis::start(), Postgres::start(), runtime());
    let library: Arc<dyn OldLibrary> = Arc::new(library(&postgres.url()));
    runtime.block_on(async {
        let pool = sqlx::PgPool::connect(&postgres.url()).await.unwrap();
        let application = Application::start(&redis.url(), axum_sessions(pool)).await;
        new::switch(&application, &library, visitors).await;
    });
    assert_eq!(postgres.psql("SELECT count(*) FROM sessions"), "0");
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
fn visitors_of_axum_session_stay_signed_in() {
    axum_postgres(VISITORS / 4, AxumRows::postgres);
    #[cfg(feature = "axum-session")]
    axum_postgres(VISITORS, AxumSessionService::postgres);
}

/// actix-web gets the bridge by the same builder.
#[actix_web::test]
async fn visitors_stay_signed_in_on_actix_web() {
    let old = ActixSession::new(Store::Cookie, Content::Private);
    let signed_in = std::thread::spawn(move || old.sign_in(vec![String::from("ada")]));
    let old_cookie = signed_in.join().unwrap().remove(0);
    let until = Clock::system().now().saturating_add(DAY);
    let old = ActixSessionCookies::new(Content::Private.cookie("id"), until);
    let sessions = new::in_memory(old);
    let layer = kvolt_actix::SessionMiddleware::new(sessions.layer());
    let name =
        actix_web::web::get().to(async |user: kvolt_actix::Session<String>| user.to_string());
    let app = actix_web::App::new().route("/", name).wrap(layer);
    let app = actix_web::test::init_service(app).await;
    let send = async |cookies: String| {
        let request = actix_web::test::TestRequest::get().insert_header(("cookie", cookies));
        let answer = actix_web::test::call_service(&app, request.to_request()).await;
        let set = answer.headers().get("set-cookie").map(|set| set.to_str().unwrap().to_owned());
        let text = actix_web::test::read_body(answer).await;
        (String::from_utf8(text.to_vec()).unwrap(), set)
    };
    let (first, set) = send(old_cookie.clone()).await;
    let new_cookie = set.unwrap().split(';').next().unwrap().to_owned();
    let (second, set) = send(format!("{old_cookie}; {new_cookie}")).await;
    assert_eq!((&*first, &*second), ("ada", "ada"));
    assert!(set.unwrap().starts_with("id=; Path=/; Max-Age=0"));
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
