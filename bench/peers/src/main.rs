//! The application of `kvolt-bench serve`, on tower-sessions or ruts: `kvolt-bench-peers STORE URL`.
//!
//! `STORE` is `memory`, `redis`, `postgres` or `sqlite`, with `+moka` for a cache in this process
//! and `+sliding` to save each session at the end of each request, which is how a session that is
//! only read is prolonged. `postgres+ruts` is ruts, the others are tower-sessions. It prints the port that it listens on, and ends with its input.

#[path = "../../src/user.rs"]
mod user;

mod ruts;

use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::io::AsyncReadExt;
use tower_sessions::cookie::time::Duration;
use tower_sessions::{
    CachingSessionStore, Expiry, MemoryStore, Session, SessionManagerLayer, SessionStore,
};
use tower_sessions_moka_store::MokaStore;
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::{ClientLike, Config, Pool};
use tower_sessions_sqlx_store::{PostgresStore, SqliteStore};

use crate::user::User;

const IDLE: Duration = Duration::minutes(30);
const USER: &str = "user";
/// The default size of an sqlx pool, which is also KVolt's.
const CONNECTIONS: u32 = 10;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [spec, url] = &arguments[..] else { panic!("usage: kvolt-bench-peers STORE URL") };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().expect("it starts");
    runtime.block_on(open_and_serve(spec, url));
}

async fn open_and_serve(spec: &str, url: &str) {
    let mut words = spec.split('+');
    let store = words.next().unwrap_or_default();
    let options: Vec<&str> = words.collect();
    let table = format!("ts_{}", spec.replace('+', "_"));
    match store {
        "memory" => serve(MemoryStore::default(), &options).await,
        "redis" => {
            // As in its documentation.
            let config = Config::from_url(url).expect("it is a URL");
            let pool = Pool::new(config, None, None, None, 6).expect("it is a size");
            pool.init().await.expect("Redis is there");
            serve(RedisStore::new(pool), &options).await;
        }
        "postgres" if options.contains(&"ruts") => {
            ruts::serve(url, options.contains(&"sliding")).await
        }
        "postgres" => {
            let pool = PgPoolOptions::new().max_connections(CONNECTIONS);
            let pool = pool.connect(url).await.expect("PostgreSQL is there");
            let store = PostgresStore::new(pool).with_table_name(table).expect("it is a name");
            store.migrate().await.expect("it may");
            serve(store, &options).await;
        }
        "sqlite" => {
            // The same settings as KVolt's, which suit many readers best.
            let file = SqliteConnectOptions::new()
                .filename(url)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full);
            let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS);
            let pool = pool.connect_with(file).await.expect("it can be made");
            let store = SqliteStore::new(pool).with_table_name(table).expect("it is a name");
            store.migrate().await.expect("it may");
            serve(store, &options).await;
        }
        _ => panic!("there is no such store: {store}"),
    }
}

async fn serve<S: SessionStore + Clone>(store: S, options: &[&str]) {
    let sliding = options.contains(&"sliding");
    if options.contains(&"moka") {
        let cache = MokaStore::new(Some(100_000));
        listen(CachingSessionStore::new(cache, store), sliding).await;
    } else {
        listen(store, sliding).await;
    }
}

async fn listen<S: SessionStore + Clone>(store: S, sliding: bool) {
    let layer = SessionManagerLayer::new(store)
        .with_expiry(Expiry::OnInactivity(IDLE))
        .with_always_save(sliding);
    let app = Router::new()
        .route("/profile", get(profile))
        .route("/change", post(change))
        .route("/logout", post(logout))
        .route("/login", post(login))
        .layer(layer);
    answer(app).await;
}

async fn answer(app: Router) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    println!("{}", listener.local_addr().expect("it has one").port());
    tokio::spawn(async move { axum::serve(listener, app).await });
    // Runs until the process that started it has exited.
    let mut rest = Vec::new();
    let _ = tokio::io::stdin().read_to_end(&mut rest).await;
    std::process::exit(0);
}

type Answer<T> = Result<T, StatusCode>;

fn failed(error: tower_sessions::session::Error) -> StatusCode {
    eprintln!("{error}");
    StatusCode::INTERNAL_SERVER_ERROR
}

async fn user(session: &Session) -> Answer<User> {
    session.get(USER).await.map_err(failed)?.ok_or(StatusCode::UNAUTHORIZED)
}

async fn profile(session: Session) -> Answer<String> {
    Ok(user(&session).await?.name)
}

async fn change(session: Session) -> Answer<String> {
    let mut user = user(&session).await?;
    user.visits += 1;
    let visits = user.visits.to_string();
    session.insert(USER, user).await.map_err(failed)?;
    Ok(visits)
}

async fn logout(session: Session) -> Answer<()> {
    user(&session).await?;
    session.flush().await.map_err(failed)
}

async fn login(session: Session) -> Answer<()> {
    static USERS: AtomicU64 = AtomicU64::new(0);
    // Against fixation; there is nothing to change for a client that came with none.
    if session.id().is_some() {
        session.cycle_id().await.map_err(failed)?;
    }
    let user = User::new(USERS.fetch_add(1, Ordering::Relaxed));
    session.insert(USER, user).await.map_err(failed)
}
