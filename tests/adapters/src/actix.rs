//! The application on actix-web.

use std::sync::mpsc;
use std::thread;

use actix_web::body::BoxBody;
use actix_web::dev::ServerHandle;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, SET_COOKIE,
    VARY,
};
use actix_web::web::{Path, Payload, ServiceConfig, get, head, post, resource, route, scope};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, ResponseError};
use kvolt_actix::{Csrf, CsrfForm, Result, Session, SessionHandle, SessionMiddleware};
use kvolt_middleware::Sessions;
use kvolt_session::{Flash, Level};
use kvolt_testkit::http::ENCODED;
use serde::Deserialize;

use crate::lines::lines;
use crate::sessions::{fresh, list, sessions, strong, to_pages};
use crate::{Backend, Running, User};

/// Serves the application on a free port.
pub async fn start(mut backend: Backend) -> Running {
    let sessions = sessions(backend.builder.take().expect("an application is started once"));
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let server =
                HttpServer::new(move || App::new().configure(|app| routes(app, &sessions)));
            let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0));
            let server = server.expect("a free port");
            let address = server.addrs()[0];
            let server = server.run();
            sender.send((address, Server(server.handle()))).expect("the test waits");
            server.await.expect("it serves");
        });
    });
    let (address, server) = receiver.recv().expect("it starts");
    Running { address, backend, _server: Box::new(server) }
}

struct Server(ServerHandle);

impl Drop for Server {
    fn drop(&mut self) {
        // The command is sent at once; the future would wait until the server has stopped.
        drop(self.0.stop(false));
    }
}

fn routes(app: &mut ServiceConfig, sessions: &Sessions<User>) {
    let wrap = SessionMiddleware::new;
    let layer = || sessions.layer();
    let optional = wrap(layer().optional());
    let at = |path: &str| resource(path).wrap(optional.clone());
    app.service(at("/").route(get().to(home)).route(head().to(home)))
        .service(at("/merely").route(get().to(name)))
        .service(at("/login/{name}").route(post().to(login)))
        .service(at("/remember/{name}").route(post().to(remember)))
        .service(at("/login-and-fail/{name}").route(post().to(login_and_fail)))
        .service(at("/reject").route(post().to(HttpResponse::Forbidden)))
        .service(at("/logout").route(post().to(logout)))
        .service(at("/static").route(get().to(fixed)));
    let required = wrap(layer());
    let at = |path: &str| resource(path).wrap(required.clone());
    app.service(at("/name").route(route().to(name)))
        .service(at("/count").route(get().to(counted)).route(post().to(count)))
        .service(at("/rotate").route(post().to(rotate)))
        .service(at("/rotate-and-fail").route(post().to(rotate_and_fail)))
        .service(at("/reauthenticate/{level}").route(post().to(reauthenticate)))
        .service(at("/credentials").route(post().to(change_credentials)))
        .service(at("/require").route(post().to(require_strong)))
        .service(at("/deep/down/logout").route(post().to(logout_by_the_session)))
        .service(at("/logout-and-wait").route(post().to(logout_and_wait)))
        .service(at("/logout-and-count").route(post().to(logout_and_count)))
        .service(at("/sessions").route(get().to(devices)))
        .service(at("/revoke/{id}").route(post().to(revoke)))
        .service(at("/revoke-others").route(post().to(revoke_others)))
        .service(at("/revoke-all").route(post().to(revoke_all)))
        .service(at("/public").route(get().to(public)))
        .service(at("/private").route(get().to(private)))
        .service(at("/theme").route(get().to(theme)))
        .service(at("/theme-and-rotate").route(post().to(theme_and_rotate)))
        .service(at("/encoded").route(get().to(encoded)).route(head().to(encoded)))
        .service(at("/encoded-error").route(post().to(encoded_error)))
        .service(at("/form").route(get().to(form)).route(post().to(submitted)))
        .service(at("/script").route(post().to(scripted)))
        .service(at("/flash/{text}").route(post().to(flash)))
        .service(at("/flashes").route(get().to(flashes)))
        .service(at("/stream").route(get().to(stream)))
        .service(at("/socket").route(get().to(socket)));
    let visitors = wrap(layer().optional().anonymous());
    let at = |path: &str| resource(path).wrap(visitors.clone());
    app.service(at("/basket").route(get().to(basket)))
        .service(at("/basket/{text}").route(post().to(put)));
    let pages = wrap(layer().refusal(to_pages()));
    let strong_pages = wrap(layer().refusal(to_pages()).require(strong()));
    let admitting = wrap(layer().optional().dangerous_admit_cross_origin(|_| true));
    let by_level = wrap(layer().require(strong()));
    let section = scope("/section").wrap(pages.clone()).route("/page", get().to(name));
    app.service(resource("/page").wrap(pages).route(route().to(name)))
        .service(section)
        .route("/bare/name", get().to(name))
        .route("/bare/login/{name}", post().to(login))
        .service(resource("/page/strong").wrap(strong_pages).route(route().to(done)))
        .service(resource("/strict").wrap(wrap(layer().strict())).to(name))
        .service(resource("/peek").wrap(wrap(layer().peek())).to(name))
        .service(resource("/basket-owner").wrap(wrap(layer().anonymous())).to(name))
        .service(resource("/fresh").wrap(wrap(layer().require(fresh()))).to(done))
        .service(resource("/strong").wrap(by_level.clone()).to(done))
        .service(resource("/acs").wrap(admitting).to(home))
        .service(resource("/nested/name").wrap(required).wrap(optional.clone()).to(name))
        .service(
            resource("/nested/login/{name}")
                .wrap(optional.clone())
                .wrap(optional.clone())
                .to(login),
        )
        .service(resource("/nested/strong").wrap(by_level).wrap(optional).to(done));
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

async fn login(client: SessionHandle<User>, name: Path<String>) -> Result<&'static str> {
    client.login(User::signed_in(name.into_inner())).await?;
    Ok("in")
}

async fn remember(client: SessionHandle<User>, name: Path<String>) -> Result<&'static str> {
    client.login(User::signed_in(name.into_inner()).remember(true)).await?;
    Ok("in")
}

async fn login_and_fail(client: SessionHandle<User>, name: Path<String>) -> Result<HttpResponse> {
    client.login(User::signed_in(name.into_inner())).await?;
    Ok(HttpResponse::InternalServerError().finish())
}

async fn logout(client: SessionHandle<User>) -> Result<&'static str> {
    client.logout().await?;
    Ok("out")
}

async fn fixed(request: HttpRequest) -> HttpResponse {
    if request.headers().get(IF_NONE_MATCH).is_some_and(|known| known == "\"1\"") {
        return HttpResponse::NotModified().insert_header((ETAG, "\"1\"")).finish();
    }
    let mut response = HttpResponse::Ok();
    let response = response.insert_header((ETAG, "\"1\""));
    response.insert_header((CACHE_CONTROL, "public, max-age=600")).body("static")
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

async fn rotate_and_fail(session: Session<User>) -> Result<HttpResponse> {
    session.rotate().await?;
    Ok(HttpResponse::InternalServerError().finish())
}

async fn reauthenticate(session: Session<User>, level: Path<u8>) -> Result<&'static str> {
    session.reauthenticate(Level::from_number(*level).unwrap_or_default()).await?;
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
    Ok(list(&session).await?)
}

async fn revoke(session: Session<User>, id: Path<String>) -> Result<String> {
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

async fn public(session: Session<User>) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    let response = response.insert_header((CACHE_CONTROL, "public, max-age=600"));
    response.insert_header((VARY, "Accept-Language")).body(session.name.clone())
}

async fn private(session: Session<User>) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    let response = response.insert_header((CACHE_CONTROL, "private, max-age=60"));
    response.insert_header((VARY, "Cookie")).body(session.name.clone())
}

async fn theme(session: Session<User>) -> HttpResponse {
    let cookie = (SET_COOKIE, "theme=dark; Path=/");
    HttpResponse::Ok().insert_header(cookie).body(session.name.clone())
}

async fn theme_and_rotate(session: Session<User>) -> Result<HttpResponse> {
    session.rotate().await?;
    Ok(theme(session).await)
}

async fn encoded() -> HttpResponse {
    let mut response = HttpResponse::Ok();
    let response = response.insert_header((CONTENT_ENCODING, "gzip"));
    response.insert_header((CONTENT_TYPE, "text/html; charset=utf-8")).body(&ENCODED[..])
}

async fn encoded_error(session: Session<User>) -> Result<HttpResponse> {
    let Err(error) = logout_and_count(session).await else { return Ok(HttpResponse::Ok().into()) };
    let mut response = error.error_response();
    response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Ok(response.set_body(BoxBody::new(&ENCODED[..])))
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

async fn flash(session: Session<User>, text: Path<String>) -> Result<&'static str> {
    session.flash(Flash::new("info", &text)).await?;
    Ok("left")
}

async fn flashes(session: Session<User>) -> Result<String> {
    let flashes = session.take_flashes().await?;
    Ok(flashes.iter().map(|flash| format!("{}\n", flash.text())).collect())
}

async fn stream(session: Session<User>) -> HttpResponse {
    HttpResponse::Ok().streaming(lines(&session))
}

async fn socket(
    session: Session<User>,
    request: HttpRequest,
    body: Payload,
) -> actix_web::Result<HttpResponse> {
    let (response, mut socket, messages) = actix_ws::handle(&request, body)?;
    actix_web::rt::spawn(async move {
        // A client that has gone away needs no greeting and no farewell.
        let _ = socket.text(session.name.clone()).await;
        session.live().ended().await;
        let _ = socket.close(None).await;
        drop(messages);
    });
    Ok(response)
}

async fn basket(session: Option<Session<User>>) -> String {
    session.map_or_else(String::new, |session| session.basket.join(","))
}

async fn put(client: SessionHandle<User>, text: Path<String>) -> Result<String> {
    let Some(mut session) = client.session() else {
        client.create_anonymous(User::visitor(text.clone())).await?;
        return Ok(text.into_inner());
    };
    Ok(session.update(|user| user.basket.push(text.clone())).await?.basket.join(","))
}
