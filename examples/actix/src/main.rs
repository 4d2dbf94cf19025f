//! On actix-web: sign in, see your devices and sign them out, and a WebSocket that closes with its
//! session.
//!
//! After `cargo run -p actix`, open <http://localhost:3000/> in two browsers.

use std::pin::pin;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Form, Html, Payload, Redirect, ServiceConfig};
use actix_web::{App, Either, HttpRequest, HttpResponse, HttpServer};
use actix_ws::{CloseCode, CloseReason, Message, MessageStream};
use kvolt::middleware::{ConfigError, TrustedProxies};
use kvolt::session::LiveSession;
use kvolt::{Manager, MemoryStore, NewSession, Refusal, SessionSnapshot, Sessions};
use kvolt_actix::{CsrfForm, Result, Session, SessionHandle, SessionMiddleware, device};
use serde::Deserialize;
use tokio::time::timeout;

#[derive(Clone)]
struct User {
    name: String,
}

#[derive(Deserialize)]
struct Credentials {
    name: String,
    password: String,
}

#[derive(Deserialize)]
struct Chosen {
    id: String,
}

/// A form without fields of its own.
#[derive(Deserialize)]
struct Nothing {}

/// Replace this with your own check.
fn are_right(given: &Credentials) -> bool {
    ["ada", "bob"].contains(&&*given.name) && given.password == "lovelace"
}

async fn home(user: Option<Session<User>>) -> Either<Redirect, Html> {
    match user {
        Some(_) => Either::Left(Redirect::to("/account").see_other()),
        None => Either::Right(Html::new(include_str!("login.html"))),
    }
}

async fn login(
    client: SessionHandle<User>,
    request: HttpRequest,
    proxies: Data<TrustedProxies>,
    Form(given): Form<Credentials>,
) -> Result<Either<Redirect, (&'static str, StatusCode)>> {
    if !are_right(&given) {
        return Ok(Either::Right(("wrong name or password\n", StatusCode::UNAUTHORIZED)));
    }
    let session = NewSession::new(User { name: given.name.clone() }).owner(given.name);
    client.login(session.device(device(&request, &proxies))).await?;
    Ok(Either::Left(Redirect::to("/account").see_other()))
}

async fn account(user: Session<User>) -> Result<Html> {
    let devices = user.list().await?.sessions;
    let field = user.csrf_field()?;
    let item = |other: &SessionSnapshot<User>| {
        let agent = other.device().user_agent().unwrap_or("unknown");
        let mark = if other.id() == user.id() { ", this device" } else { "" };
        format!(
            "<li>{}{mark} <form method=post action=/account/revoke>{field}\
             <input type=hidden name=id value={}><button>Sign out</button></form></li>",
            escaped(agent),
            other.id(),
        )
    };
    let page = include_str!("account.html");
    let page = page.replace("{name}", &escaped(&user.name)).replace("{field}", &field.to_string());
    Ok(Html::new(page.replace("{devices}", &devices.iter().map(item).collect::<String>())))
}

/// A user agent is text of the client's.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

async fn revoke(CsrfForm(user, chosen): CsrfForm<User, Chosen>) -> Result<Redirect> {
    match chosen.id.parse() {
        Ok(id) if id == user.id() => user.logout().await?,
        Ok(id) => _ = user.revoke(id).await?,
        Err(_) => {}
    }
    Ok(Redirect::to("/account").see_other())
}

async fn logout(CsrfForm(user, Nothing {}): CsrfForm<User, Nothing>) -> Result<Redirect> {
    user.logout().await?;
    Ok(Redirect::to("/").see_other())
}

/// Without a session, the handshake is refused with 401; from another site's page, with 403.
async fn echo(
    user: Session<User>,
    request: HttpRequest,
    body: Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let (response, socket, messages) = actix_ws::handle(&request, body)?;
    actix_web::rt::spawn(serve(socket, messages, user.live()));
    Ok(response)
}

/// Sends each line back until the client leaves or its session ends.
async fn serve(
    mut socket: actix_ws::Session,
    mut messages: MessageStream,
    live: LiveSession<User>,
) {
    let name = live.session().data().name.clone();
    let mut ended = pin!(live.ended());
    // A client that does not read can't keep the connection open.
    let patience = Duration::from_secs(5);
    loop {
        let message = tokio::select! {
            biased;
            () = &mut ended => break,
            message = messages.recv() => message,
        };
        let sent = match message {
            Some(Ok(Message::Text(text))) => {
                timeout(patience, socket.text(format!("{name}: {text}"))).await
            }
            Some(Ok(Message::Ping(data))) => timeout(patience, socket.pong(&data)).await,
            Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            Some(Ok(_)) => continue,
        };
        if !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
    let description = Some(String::from("you are signed out"));
    let reason = CloseReason { code: CloseCode::Policy, description };
    _ = timeout(patience, socket.close(Some(reason))).await;
}

fn sessions() -> Result<Sessions<User>, ConfigError> {
    let manager = Manager::<User>::new(MemoryStore::new());
    Sessions::builder(manager).refusal(Refusal::redirect_browsers("/")?).build()
}

fn routes(sessions: &Sessions<User>) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let optional = SessionMiddleware::new(sessions.layer().optional());
    let required = SessionMiddleware::new(sessions.layer());
    let account = web::scope("/account")
        .route("", web::get().to(account))
        .route("/revoke", web::post().to(revoke))
        .route("/logout", web::post().to(logout))
        .route("/echo", web::get().to(echo))
        .wrap(required);
    let open = web::scope("")
        .route("/", web::get().to(home))
        .route("/login", web::post().to(login))
        .wrap(optional);
    // Behind a proxy, name it here.
    let proxies = Data::new(TrustedProxies::none());
    move |config| _ = config.app_data(proxies).service(account).service(open)
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let sessions = sessions().map_err(std::io::Error::other)?;
    HttpServer::new(move || App::new().configure(routes(&sessions)))
        .bind("127.0.0.1:3000")?
        .run()
        .await
}

#[cfg(test)]
mod tests;
