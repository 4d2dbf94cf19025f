//! Several servers, one store: sessions in Redis, encrypted there, with copies
//! near that are at most a second old.
//!
//! ```console
//! $ redis-server --port 6379 &
//! $ export SESSION_KEY=$(openssl rand -hex 32)
//! $ cargo run -p shared-sessions -- 127.0.0.1:3000 &
//! $ cargo run -p shared-sessions -- 127.0.0.1:3001 &
//! $ curl -c jar -X POST http://127.0.0.1:3000/login
//! welcome
//! $ curl -b jar http://127.0.0.1:3001/visits
//! you were here 1 times
//! $ curl -b jar -X POST http://127.0.0.1:3001/logout
//! goodbye
//! $ curl -b jar http://127.0.0.1:3000/visits
//! sign in first
//! ```

use std::env;
use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use kvolt::cache::codec::{Encrypted, EncryptionKey, EncryptionKeys};
use kvolt::cache::{Encoded, NearCache};
use kvolt::middleware::{CookiePolicy, Result, Session, SessionHandle, Sessions};
use kvolt::redis::RedisStore;
use kvolt::session::{Manager, NewSession, RecordJson};
use serde::{Deserialize, Serialize};

/// What each session keeps. It outlives this program, so a new field needs a default.
#[derive(Clone, Serialize, Deserialize)]
struct Visitor {
    name: String,
    #[serde(default)]
    visits: u32,
}

/// Where a real program checks credentials.
async fn login(handle: SessionHandle<Visitor>) -> Result<impl IntoResponse> {
    let ada = NewSession::new(Visitor { name: String::from("Ada"), visits: 0 }).owner("42");
    Ok((handle.login(ada).await?, "welcome\n"))
}

async fn visits(session: Session<Visitor>) -> Result<String> {
    let now = session.update(|visitor| visitor.visits += 1).await?;
    Ok(format!("you were here {} times\n", now.visits))
}

async fn logout(handle: SessionHandle<Visitor>) -> Result<impl IntoResponse> {
    Ok((handle.logout().await?, "goodbye\n"))
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| String::from("127.0.0.1:3000"));
    let url = env::var("REDIS_URL").unwrap_or_else(|_| String::from("redis://127.0.0.1:6379"));
    let key: EncryptionKey = env::var("SESSION_KEY")?.parse()?;

    let codec = Encrypted::new(RecordJson::new(), EncryptionKeys::new(key));
    // What this application keeps there, no other application on that server meets.
    let redis = RedisStore::open(url, "shared_sessions").await?;
    let store = NearCache::new(Encoded::new(redis, codec))?;
    let manager = Manager::new(store, Duration::from_secs(30 * 60));
    // For trying it on this machine. Behind TLS, leave it and the cookie's name out.
    let plain = CookiePolicy::builder().insecure_plain_http(true).build()?;
    let sessions =
        Sessions::builder(manager).lookup("cookie:session_id".parse()?).cookie(plain).build()?;

    let open = Router::new().route("/login", post(login)).route("/logout", post(logout));
    let app = Router::new()
        .route("/visits", get(visits))
        .route_layer(sessions.layer())
        .merge(open.route_layer(sessions.layer().optional()))
        .with_state(sessions);
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, app).await?;
    Ok(())
}
