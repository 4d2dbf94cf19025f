//! The floor of a remote store: a route that asks the driver for one value, and has no sessions.

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::routing::{get, post};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use sqlx::postgres::{PgPool, PgPoolOptions};

use crate::user::NAME;

const KEY: &str = "floor";
const FIELD: &str = "id=";

/// `POST /login` stores the name, `GET /profile` reads it by the key in the cookie.
pub(super) async fn app(store: &str, url: &str) -> Router {
    let login = async || ([(SET_COOKIE, format!("{FIELD}{KEY}"))], "");
    let router = Router::new().route("/login", post(login));
    match store {
        "redis" => {
            let client = redis::Client::open(url).expect("it is a URL");
            let mut connection =
                client.get_multiplexed_async_connection().await.expect("Redis is there");
            let () = connection.set(KEY, NAME).await.expect("it may");
            router.merge(Router::new().route("/profile", get(by_redis)).with_state(connection))
        }
        "postgres" => {
            // As many connections as KVolt's store and the other libraries have.
            let pool = PgPoolOptions::new().max_connections(10).test_before_acquire(false);
            let pool = pool.connect(url).await.expect("PostgreSQL is there");
            for sql in [
                "create table floor (key text primary key, name text not null)",
                "insert into floor values ('floor', 'Ada Lovelace')",
            ] {
                sqlx::query(sql).execute(&pool).await.expect("it may");
            }
            router.merge(Router::new().route("/profile", get(by_postgres)).with_state(pool))
        }
        _ => panic!("there is no driver for {store}"),
    }
}

fn key(headers: &HeaderMap) -> &str {
    let cookie = headers.get(COOKIE).and_then(|cookie| cookie.to_str().ok());
    cookie.and_then(|cookie| cookie.strip_prefix(FIELD)).expect("it is a client of this")
}

async fn by_redis(
    State(mut connection): State<MultiplexedConnection>,
    headers: HeaderMap,
) -> String {
    connection.get(key(&headers)).await.expect("Redis is there")
}

async fn by_postgres(State(pool): State<PgPool>, headers: HeaderMap) -> String {
    let query = sqlx::query_scalar("select name from floor where key = $1").bind(key(&headers));
    query.fetch_one(&pool).await.expect("PostgreSQL is there")
}
