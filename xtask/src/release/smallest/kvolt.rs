use axum::{Router, routing::{get, post}};
use kvolt::{Manager, MemoryStore, NewSession, Result, Session, SessionHandle, Sessions};

struct User { name: String }

async fn login(client: SessionHandle<User>) -> Result<()> {
    // After your own check of the password:
    client.login(NewSession::new(User { name: "Ada".into() }).owner(42u64)).await
}

async fn profile(user: Session<User>) -> String {
    format!("you are {}\n", user.name)
}

async fn logout(client: SessionHandle<User>) -> Result<()> {
    client.logout().await
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let sessions = Sessions::new(Manager::<User>::new(MemoryStore::new()));
    let app = Router::new().route("/login", post(login)).route("/profile", get(profile))
        .route("/logout", post(logout)).layer(sessions.layer().optional());
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app).await
}
