//! The floor of a remote store: a route that asks the driver for one value, and has no sessions.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::routing::{get, post};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::sync::{Semaphore, SemaphorePermit};

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
            let connections = Connections::open(url).await;
            let mut first = connections.take().await;
            for sql in [
                "create table floor (key text primary key, name text not null)",
                "insert into floor values ('floor', 'Ada Lovelace')",
            ] {
                sqlx::query(sql).execute(&mut *first).await.expect("it may");
            }
            drop(first);
            router.merge(Router::new().route("/profile", get(by_postgres)).with_state(connections))
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

async fn by_postgres(State(connections): State<Connections>, headers: HeaderMap) -> String {
    let query = sqlx::query_scalar("select name from floor where key = $1").bind(key(&headers));
    let mut connection = connections.take().await;
    query.fetch_one(&mut *connection).await.expect("PostgreSQL is there")
}

/// As many connections as every store has, without a pool, which asks them whether they are alive.
#[derive(Clone)]
struct Connections(Arc<(Semaphore, Mutex<Vec<PgConnection>>)>);

impl Connections {
    async fn open(url: &str) -> Self {
        let mut connections = Vec::new();
        for _ in 0..10 {
            connections.push(PgConnection::connect(url).await.expect("PostgreSQL is there"));
        }
        Self(Arc::new((Semaphore::new(connections.len()), Mutex::new(connections))))
    }

    async fn take(&self) -> Taken<'_> {
        let (semaphore, connections) = &*self.0;
        let permit = semaphore.acquire().await.expect("it is never closed");
        let connection = connections.lock().expect("no panic").pop();
        Taken { connection, connections, _permit: permit }
    }
}

/// A connection in use, put back when it is dropped.
struct Taken<'a> {
    connection: Option<PgConnection>,
    connections: &'a Mutex<Vec<PgConnection>>,
    _permit: SemaphorePermit<'a>,
}

impl Deref for Taken<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect("it is put back only at the end")
    }
}

impl DerefMut for Taken<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("it is put back only at the end")
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.connections.lock().expect("no panic").extend(self.connection.take());
    }
}
