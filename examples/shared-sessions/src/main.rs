//! Several servers, one store: sessions in Redis, encrypted there, with copies in each process that
//! are at most a second old.
//!
//! ```console
//! $ redis-server --port 6379 &
//! $ export SESSION_KEY=$(openssl rand -hex 32)
//! $ cargo run -p shared-sessions -- 127.0.0.1:3000 &
//! $ cargo run -p shared-sessions -- 127.0.0.1:3001 &
//! $ curl -c jar -X POST http://127.0.0.1:3000/login
//! welcome
//! $ curl -b jar http://127.0.0.1:3001/visit
//! visit 1
//! $ curl -b jar -X POST http://127.0.0.1:3001/logout
//! goodbye
//! $ curl -b jar http://127.0.0.1:3000/visit
//! sign in first
//! ```

use std::env;
use std::error::Error;

use axum::Router;
use axum::routing::{get, post};
use kvolt::cache::codec::{Encrypted, EncryptionKey, EncryptionKeys};
use kvolt::{
    Encoded, Manager, NearCache, NewSession, RecordJson, RedisStore, Result, Session,
    SessionHandle, Sessions,
};
use serde::{Deserialize, Serialize};

/// The data of a session. It outlives this program, so a new field needs a default.
#[derive(Clone, Serialize, Deserialize)]
struct Visitor {
    name: String,
    #[serde(default)]
    visits: u32,
}

/// A real program checks the credentials here.
async fn login(client: SessionHandle<Visitor>) -> Result<&'static str> {
    let ada = Visitor { name: "Ada".to_owned(), visits: 0 };
    client.login(NewSession::new(ada).owner(42u64)).await?;
    Ok("welcome\n")
}

async fn visit(mut session: Session<Visitor>) -> Result<String> {
    session.update(|visitor| visitor.visits += 1).await?;
    Ok(format!("visit {}\n", session.visits))
}

async fn logout(client: SessionHandle<Visitor>) -> Result<&'static str> {
    client.logout().await?;
    Ok("goodbye\n")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let url = env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let key: EncryptionKey = env::var("SESSION_KEY")?.parse()?;

    let codec = Encrypted::new(RecordJson::new(), EncryptionKeys::new(key));
    // Applications with other namespaces share nothing with this one.
    let redis = RedisStore::open(url, "shared_sessions").await?;
    let store = NearCache::new(Encoded::new(redis, codec))?;
    let sessions = Sessions::new(Manager::<Visitor>::new(store));

    let app = Router::new()
        .route("/login", post(login))
        .route("/visit", get(visit))
        .route("/logout", post(logout))
        .layer(sessions.layer().optional());
    let listener = tokio::net::TcpListener::bind(address).await?;
    Ok(axum::serve(listener, app).await?)
}
