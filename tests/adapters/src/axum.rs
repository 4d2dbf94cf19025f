//! The application on axum.

use axum::Router;
use axum::body::Body;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{Path, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, SET_COOKIE, VARY,
};
use http::{HeaderName, HeaderValue, StatusCode};
use kvolt_middleware::{Csrf, CsrfForm, Result, Session, SessionHandle, Sessions};
use kvolt_session::{Flash, Level};
use kvolt_testkit::http::ENCODED;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::lines::lines;
use crate::sessions::{fresh, list, sessions, strong, to_pages};
use crate::{Backend, Running, User};

/// Serves the application on a free port.
pub async fn start(backend: Backend) -> Running {
    start_altered(backend, |router| router).await
}

/// Serves the application within something that alters its requests and its responses.
pub async fn start_altered(mut backend: Backend, alter: impl FnOnce(Router) -> Router) -> Running {
    let sessions = sessions(backend.builder.take().expect("an application is started once"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let server = axum::serve(listener, alter(router(&sessions)));
    let server = Server(tokio::spawn(async move { server.await.expect("it serves") }));
    Running { address, backend, _server: Box::new(server) }
}

struct Server(JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn router(sessions: &Sessions<User>) -> Router {
    let layer = || sessions.layer();
    let outer = || sessions.layer().optional();
    let optional = Router::new()
        .route("/", get(home))
        .route("/merely", get(name))
        .route("/login/{name}", post(login))
        .route("/remember/{name}", post(remember))
        .route("/login-and-fail/{name}", post(login_and_fail))
        .route("/reject", post(|| async { StatusCode::FORBIDDEN }))
        .route("/logout", post(logout))
        .route("/static", get(fixed))
        .route_layer(layer().optional());
    let required = Router::new()
        .route("/name", any(name))
        .route("/count", get(counted).post(count))
        .route("/rotate", post(rotate))
        .route("/rotate-and-fail", post(rotate_and_fail))
        .route("/reauthenticate/{level}", post(reauthenticate))
        .route("/credentials", post(change_credentials))
        .route("/require", post(require_strong))
        .route("/deep/down/logout", post(logout_by_the_session))
        .route("/logout-and-wait", post(logout_and_wait))
        .route("/logout-and-count", post(logout_and_count))
        .route("/sessions", get(devices))
        .route("/revoke/{id}", post(revoke))
        .route("/revoke-others", post(revoke_others))
        .route("/revoke-all", post(revoke_all))
        .route("/public", get(public))
        .route("/private", get(private))
        .route("/theme", get(theme))
        .route("/theme-and-rotate", post(theme_and_rotate))
        .route("/encoded", get(encoded))
        .route("/encoded-error", post(encoded_error))
        .route("/form", get(form).post(submitted))
        .route("/script", post(scripted))
        .route("/flash/{text}", post(flash))
        .route("/flashes", get(flashes))
        .route("/stream", get(stream))
        .route("/socket", any(socket))
        .route_layer(layer());
    let visitors = Router::new()
        .route("/basket", get(basket))
        .route("/basket/{text}", post(put))
        .route_layer(layer().optional().anonymous());
    let pages =
        Router::new().route("/page", get(name).post(name)).route_layer(layer().refusal(to_pages()));
    let strong_pages = Router::new()
        .route("/page/strong", get(done).post(done))
        .route_layer(layer().refusal(to_pages()).require(strong()));
    let section = Router::new().route("/page", get(name));
    let section = section.route_layer(layer().refusal(to_pages()));
    let admitting = layer().optional().dangerous_admit_cross_origin(|_| true);
    Router::new()
        .merge(optional)
        .merge(required)
        .merge(visitors)
        .merge(pages)
        .merge(strong_pages)
        .nest("/section", section)
        .route("/bare/name", get(name))
        .route("/bare/login/{name}", post(login))
        .route("/strict", get(name).route_layer(layer().strict()))
        .route("/peek", get(name).route_layer(layer().peek()))
        .route("/basket-owner", get(name).route_layer(layer().anonymous()))
        .route("/fresh", post(done).route_layer(layer().require(fresh())))
        .route("/strong", post(done).route_layer(layer().require(strong())))
        .route("/acs", post(home).route_layer(admitting))
        .route("/nested/name", get(name).route_layer(layer()).route_layer(outer()))
        .route("/nested/login/{name}", post(login).route_layer(outer()).route_layer(outer()))
        .route(
            "/nested/strong",
            post(done).route_layer(layer().require(strong())).route_layer(outer()),
        )
}

async fn home(session: Option<Session<User>>) -> String {
    session.map_or_else(|| String::from("no session"), |session| session.name.clone())
}

async fn name(session: Session<User>) -> String {
    session.name.clone()
}

async fn done() -> &'static str {
    "done"
}

async fn login(client: SessionHandle<User>, Path(name): Path<String>) -> Result<&'static str> {
    client.login(User::signed_in(name)).await?;
    Ok("in")
}

async fn remember(client: SessionHandle<User>, Path(name): Path<String>) -> Result<&'static str> {
    client.login(User::signed_in(name).remember(true)).await?;
    Ok("in")
}

async fn login_and_fail(
    client: SessionHandle<User>,
    Path(name): Path<String>,
) -> Result<StatusCode> {
    client.login(User::signed_in(name)).await?;
    Ok(StatusCode::INTERNAL_SERVER_ERROR)
}

async fn logout(client: SessionHandle<User>) -> Result<&'static str> {
    client.logout().await?;
    Ok("out")
}

async fn fixed(request: Request) -> Response {
    let etag = [(ETAG, "\"1\"")];
    if request.headers().get(IF_NONE_MATCH).is_some_and(|known| known == "\"1\"") {
        return (StatusCode::NOT_MODIFIED, etag).into_response();
    }
    (etag, [(CACHE_CONTROL, "public, max-age=600")], "static").into_response()
}

async fn counted(session: Session<User>) -> String {
    session.count.to_string()
}

async fn count(mut session: Session<User>) -> Result<String> {
    Ok(session.update(|user| user.count += 1).await?.count.to_string())
}

async fn rotate(session: Session<User>) -> Result<&'static str> {
    session.rotate().await?;
    Ok("rotated")
}

async fn rotate_and_fail(session: Session<User>) -> Result<StatusCode> {
    session.rotate().await?;
    Ok(StatusCode::INTERNAL_SERVER_ERROR)
}

async fn reauthenticate(session: Session<User>, Path(level): Path<u8>) -> Result<&'static str> {
    session.reauthenticate(Level::from_number(level).unwrap_or_default()).await?;
    Ok("done")
}

async fn change_credentials(session: Session<User>) -> Result<String> {
    Ok(session.change_credentials(None).await?.to_string())
}

async fn require_strong(session: Session<User>) -> Result<&'static str> {
    session.require(strong())?;
    Ok("done")
}

async fn logout_by_the_session(session: Session<User>) -> Result<&'static str> {
    session.logout().await?;
    Ok("out")
}

async fn logout_and_wait(session: Session<User>) -> Result<&'static str> {
    session.logout().await?;
    std::future::pending().await
}

async fn logout_and_count(session: Session<User>) -> Result<String> {
    session.logout().await?;
    count(session).await
}

async fn devices(session: Session<User>) -> Result<String> {
    list(&session).await
}

async fn revoke(session: Session<User>, Path(id): Path<String>) -> Result<String> {
    let Ok(id) = id.parse() else { return Ok(String::from("false")) };
    Ok(session.revoke(id).await?.to_string())
}

async fn revoke_others(session: Session<User>) -> Result<String> {
    Ok(session.revoke_others().await?.to_string())
}

async fn revoke_all(session: Session<User>) -> Result<&'static str> {
    session.revoke_all().await?;
    Ok("out")
}

type Header = (HeaderName, &'static str);

async fn public(session: Session<User>) -> ([Header; 2], String) {
    let headers = [(CACHE_CONTROL, "public, max-age=600"), (VARY, "Accept-Language")];
    (headers, session.name.clone())
}

async fn private(session: Session<User>) -> ([Header; 2], String) {
    let headers = [(CACHE_CONTROL, "private, max-age=60"), (VARY, "Cookie")];
    (headers, session.name.clone())
}

async fn theme(session: Session<User>) -> ([Header; 1], String) {
    ([(SET_COOKIE, "theme=dark; Path=/")], session.name.clone())
}

async fn theme_and_rotate(session: Session<User>) -> Result<([Header; 1], String)> {
    session.rotate().await?;
    Ok(theme(session).await)
}

async fn encoded() -> ([Header; 2], [u8; 30]) {
    let headers = [(CONTENT_ENCODING, "gzip"), (CONTENT_TYPE, "text/html; charset=utf-8")];
    (headers, ENCODED)
}

async fn encoded_error(session: Session<User>) -> Response {
    let mut response = logout_and_count(session).await.into_response();
    response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    *response.body_mut() = Body::from(&ENCODED[..]);
    response
}

async fn form(session: Session<User>) -> Result<String> {
    Ok(session.csrf_token()?.to_string())
}

#[derive(Deserialize)]
struct Note {
    title: String,
}

async fn submitted(CsrfForm(session, note): CsrfForm<User, Note>) -> String {
    format!("{}: {}", session.name, note.title)
}

async fn scripted(Csrf(session): Csrf<User>) -> String {
    session.name.clone()
}

async fn flash(session: Session<User>, Path(text): Path<String>) -> Result<&'static str> {
    session.flash(Flash::new("info", &text)).await?;
    Ok("left")
}

async fn flashes(session: Session<User>) -> Result<String> {
    let flashes = session.take_flashes().await?;
    Ok(flashes.iter().map(|flash| format!("{}\n", flash.text())).collect())
}

async fn stream(session: Session<User>) -> Body {
    Body::from_stream(lines(&session))
}

async fn socket(session: Session<User>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async move |mut socket| {
        // A client that has gone away needs no greeting and no farewell.
        let _ = socket.send(Message::text(session.name.clone())).await;
        session.live().ended().await;
        let _ = socket.send(Message::Close(None)).await;
    })
}

async fn basket(session: Option<Session<User>>) -> String {
    session.map_or_else(String::new, |session| session.basket.join(","))
}

async fn put(client: SessionHandle<User>, Path(text): Path<String>) -> Result<String> {
    let Some(mut session) = client.session() else {
        client.create_anonymous(User::visitor(text.clone())).await?;
        return Ok(text);
    };
    Ok(session.update(|user| user.basket.push(text.clone())).await?.basket.join(","))
}
