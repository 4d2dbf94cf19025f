//! Sessions of axum_session as the guide reads them, and rows as axum_session 0.22 writes them.

use std::collections::HashMap;

use kvolt_bridge::{OldCookie, OldSession, OldSessionError, OldSessions};
use kvolt_cache::Timestamp;
use serde::Deserialize;
use sqlx::PgPool;
use tokio::runtime::Runtime;

use super::OldLibrary;

include!("axum_sessions.in");

impl Clone for AxumSessions {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), cookie: self.cookie.clone() }
    }
}

pub fn axum_sessions(pool: PgPool) -> impl OldSessions + Clone {
    AxumSessions { pool, cookie: OldCookie::plain("session") }
}

#[test]
fn guide_has_the_methods_that_are_tested() {
    let page = include_str!("../../../../crates/kvolt/src/guide/moving_from_axum_session.md");
    assert!(page.contains(include_str!("axum_sessions.in")));
}

/// The table without the library, which costs minutes to build.
pub struct AxumRows {
    runtime: Runtime,
    pool: PgPool,
}

impl AxumRows {
    pub fn postgres(url: &str) -> Self {
        let runtime = crate::runtime();
        let pool = runtime.block_on(async {
            let pool = PgPool::connect(url).await.unwrap();
            let table = "CREATE TABLE sessions (id VARCHAR(128) PRIMARY KEY, expires BIGINT NULL, session TEXT NOT NULL)";
            sqlx::query(table).execute(&pool).await.unwrap();
            pool
        });
        Self { runtime, pool }
    }
}

impl OldLibrary for AxumRows {
    fn sign_in(&self, names: Vec<String>) -> Vec<String> {
        let row = "INSERT INTO sessions VALUES ($1, 4102444800, $2)";
        let sign_in = |(at, name): (usize, String)| {
            let id = format!("{at:08}-73d5-4c5e-9b4f-b0f47b0d8d53");
            let session = serde_json::json!({
                "data": { "user": format!("{name:?}") }, "longterm": false,
            });
            let row = sqlx::query(row).bind(&id).bind(session.to_string());
            self.runtime.block_on(row.execute(&self.pool)).unwrap();
            format!("session={id}")
        };
        names.into_iter().enumerate().map(sign_in).collect()
    }

    fn sign_out(&self, cookies: Vec<String>) -> bool {
        for cookie in cookies {
            let row =
                sqlx::query("DELETE FROM sessions WHERE id = $1").bind(&cookie["session=".len()..]);
            self.runtime.block_on(row.execute(&self.pool)).unwrap();
        }
        true
    }
}
