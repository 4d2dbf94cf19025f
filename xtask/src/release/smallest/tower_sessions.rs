use axum::{Router, routing::{get, post}};
use serde::{Deserialize, Serialize};
use tower_sessions::{MemoryStore, Session, SessionManagerLayer, session::Error};

#[derive(Serialize, Deserialize)]
struct User { name: String }

const USER: &str = "user";

async fn login(session: Session) {
    session.cycle_id().await.expect("a new id");
    session.insert(USER, User { name: "Ada".into() }).await.expect("it is inserted");
}

async fn profile(session: Session) -> String {
    let user: Result<Option<User>, Error> = session.get(USER).await;
    user.ok().flatten().map_or("sign in first".into(), |user| format!("you are {}\n", user.name))
}

async fn logout(session: Session) {
    session.flush().await.expect("it is deleted");
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let app = Router::new().route("/login", post(login)).route("/profile", get(profile))
        .route("/logout", post(logout)).layer(SessionManagerLayer::new(MemoryStore::default()));
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app).await
}
