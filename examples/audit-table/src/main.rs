//! Keeps the events of sessions in a table, and says what the table lacks. After
//! `cargo run -p audit-table`, in another terminal:
//!
//! ```console
//! $ curl -c jar -X POST http://127.0.0.1:3000/login
//! $ curl -b jar -X POST http://127.0.0.1:3000/admin/end/42
//! 1 ended
//! ```
//!
//! Ctrl-C stops the program, which then writes what is left. `sqlite3 audit.db 'SELECT * FROM audit'`
//! shows who ended the session, and why.

mod audit;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::time::Duration;

use audit::Audit;
use axum::Router;
use axum::extract::Path;
use axum::routing::post;
use kvolt::session::Actor;
use kvolt::{Manager, MemoryStore, NewSession, Owner, Result, Session, SessionHandle, Sessions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

async fn login(client: SessionHandle<String>) -> Result<()> {
    client.login(NewSession::new("Ada".to_owned()).owner(42u64)).await
}

/// After your check that this user is an administrator.
async fn end(admin: Session<String>, Path(user): Path<u64>) -> Result<String> {
    let actor = Actor::new(&format!("admin:{}", *admin)).because("account reported as stolen");
    let manager = admin.handle().manager().by(actor);
    Ok(format!("{} ended\n", manager.revoke_owner(&Owner::from(user)).await?))
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    let options = SqliteConnectOptions::new().filename("audit.db").create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_lazy_with(options);
    // Another one at each start.
    let process =
        format!("{:016x}", std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0));
    let (audit, listener) = Audit::start(pool, process, 10_000);
    let manager = Manager::<String>::builder(MemoryStore::new()).listener(listener).build()?;

    let sessions = Sessions::new(manager.clone());
    let app = Router::new()
        .route("/login", post(login))
        .route("/admin/end/{user}", post(end))
        .layer(sessions.layer().optional());
    drop(sessions);
    let tcp = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    let server = axum::serve(tcp, app)
        .with_graceful_shutdown(async { _ = tokio::signal::ctrl_c().await })
        .into_future();
    tokio::pin!(server);
    loop {
        tokio::select! {
            served = &mut server => break served?,
            () = tokio::time::sleep(Duration::from_secs(10)) => {
                audit.note_missed(manager.events_missed());
            }
        }
    }
    if !audit.finish(manager, Duration::from_secs(10)).await {
        eprintln!("the audit table lacks the last events of this process");
    }
    Ok(())
}
