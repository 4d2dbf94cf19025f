//! The rules of the layer behind the types of actix-web.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::cell::Cell;
use std::fmt;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Waker};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::{Next, from_fn};
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, FromRequest, HttpRequest, HttpResponse, ResponseError, web};
use futures_util::FutureExt;
use kvolt::testing::TestClient;
use kvolt_actix::{Error, Result, Session, SessionHandle, SessionMiddleware, device};
use kvolt_cache::{Encoded, MemoryStore};
use kvolt_middleware::{Lookup, Refusal, Sessions, TrustedProxies};
use kvolt_session::{
    AnonymousSessions, Level, Manager, NewSession, OwnerLimit, RecordJson, StepUp, Token,
};
use kvolt_testkit::Call;
use support::{Client, User, World, user};

async fn profile(session: Session<User>) -> String {
    session.name.clone()
}

async fn home(session: Option<Session<User>>) -> String {
    session.map_or_else(|| String::from("nobody"), |session| session.name.clone())
}

async fn login(client: SessionHandle<User>) -> Result<&'static str> {
    client.login(user("ada")).await?;
    Ok("in")
}

async fn logout(client: SessionHandle<User>) -> Result<()> {
    Ok(client.logout().await?)
}

async fn count(mut session: Session<User>) -> Result<String> {
    Ok(session.update(|user| user.count += 1).await?.count.to_string())
}

async fn rotate(session: Session<User>) -> Result<&'static str> {
    session.rotate().await?;
    Ok("rotated")
}

fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/", web::get().to(home))
        .route("/profile", web::get().to(profile))
        .route("/login", web::post().to(login))
        .route("/logout", web::post().to(logout))
        .route("/count", web::post().to(count))
        .route("/rotate", web::post().to(rotate))
        .route("/static", web::get().to(async || "file"));
}

#[actix_web::test]
async fn client_signs_in_and_out() {
    for at_once in [true, false] {
        let world = World::new();
        world.faults.answers_at_once(at_once);
        let app = init_service(App::new().configure(routes).wrap(world.optional())).await;
        let mut client = Client::default();
        let visitor = client.get(&app, "/").await;
        assert_eq!((visitor.status, &*visitor.text), (200, "nobody"));
        assert_eq!(visitor.all("vary"), ["cookie"]);
        assert_eq!(visitor.header("cache-control"), None);
        let file = client.get(&app, "/static").await;
        assert_eq!((file.header("vary"), file.header("cache-control")), (None, None));

        let login = client.post(&app, "/login").await;
        assert_eq!((login.status, &*login.text), (200, "in"));
        let cookie = login.header("set-cookie").unwrap();
        assert!(cookie.starts_with("__Host-session_id="), "{cookie}");
        assert!(cookie.ends_with("; Path=/; HttpOnly; Secure; SameSite=Lax"), "{cookie}");
        assert_eq!(login.header("cache-control"), Some("no-store"));

        let profile = client.get(&app, "/profile").await;
        assert_eq!((&*profile.text, profile.header("set-cookie")), ("ada", None));
        assert_eq!(profile.all("vary"), ["cookie"]);
        assert_eq!(profile.all("cache-control"), ["no-store"]);
        assert_eq!(client.post(&app, "/count").await.text, "1");
        assert_eq!(client.post(&app, "/count").await.text, "2");

        let mut before = client.clone();
        assert_eq!(client.post(&app, "/rotate").await.text, "rotated");
        assert_ne!(client.cookie, before.cookie);
        assert_eq!(before.get(&app, "/profile").await.status, 401);
        let mut known = client.clone();
        let logout = client.post(&app, "/logout").await;
        assert_eq!(logout.status, 204);
        assert!(logout.header("set-cookie").unwrap().contains("Max-Age=0"));
        let refused = known.get(&app, "/profile").await;
        assert_eq!((refused.status, &*refused.text), (401, "sign in first\n"));
        assert_eq!(refused.header("cache-control"), Some("no-store"));
        assert_eq!(world.store.len(), 0);
    }
}

#[actix_web::test]
async fn middleware_refuses_before_the_handler() {
    for at_once in [true, false] {
        let world = World::new();
        world.faults.answers_at_once(at_once);
        let runs = Rc::new(Cell::new(0));
        let seen = Rc::clone(&runs);
        let handler = move || {
            seen.set(seen.get() + 1);
            async { "ran" }
        };
        let app = App::new().route("/", web::route().to(handler)).wrap(world.required());
        let app = init_service(app).await;
        let mut client = world.signed_in("ada").await;
        assert_eq!(client.get(&app, "/").await.text, "ran");
        let json = ("accept", "application/json");
        let refused = Client::default().request(Method::GET, "/").insert_header(json);
        let refused = Client::default().send(&app, refused).await;
        let expected = "{\"error\":\"no_session\",\"message\":\"sign in first\"}\n";
        assert_eq!((refused.status, &*refused.text), (401, expected));
        assert_eq!(refused.all("content-type"), ["application/json"]);
        let foreign = client.request(Method::POST, "/").insert_header(("origin", "https://a.test"));
        assert_eq!(client.send(&app, foreign).await.status, 403);
        world.faults.fail_all(true);
        let down = client.get(&app, "/").await;
        assert_eq!((down.status, down.header("retry-after")), (503, Some("5")));
        assert_eq!(down.header("set-cookie"), None);
        assert_eq!(runs.get(), 1);
    }
}

#[actix_web::test]
async fn store_that_is_down_is_no_visitor() {
    for at_once in [true, false] {
        let world = World::new();
        world.faults.answers_at_once(at_once);
        let app = init_service(App::new().configure(routes).wrap(world.optional())).await;
        let mut client = world.signed_in("ada").await;
        world.faults.fail_all(true);
        for path in ["/", "/profile", "/static"] {
            let down = client.get(&app, path).await;
            assert_eq!((down.status, down.header("retry-after")), (503, Some("5")), "{path}");
        }
        assert_eq!(client.post(&app, "/logout").await.status, 503);
        world.faults.fail_all(false);
        assert_eq!(client.get(&app, "/").await.text, "ada");
    }
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Text(String);

/// Sessions whose data is of another form than the application's.
async fn unreadable() -> (Sessions<Text>, Client, Manager<u32>) {
    let bytes = MemoryStore::new();
    let others = Manager::<u32>::new(Encoded::new(bytes.clone(), RecordJson::new()));
    let token = others.create(NewSession::new(7).owner("ada")).await.unwrap();
    let manager = Manager::new(Encoded::new(bytes, RecordJson::<Text>::new()));
    let cookie = format!("__Host-session_id={}", token.expose());
    (Sessions::new(manager), Client { cookie }, others)
}

/// Asks for the session after another middleware of its type has completed the response.
async fn between(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let response = next.call(request).await?;
    let session = Option::<Session<Text>>::extract(response.request()).await;
    assert!(session.is_ok_and(|session| session.is_some()), "took it for a visitor");
    Ok(response)
}

#[actix_web::test]
async fn session_that_cannot_be_read_is_no_visitor() {
    let (sessions, mut client, others) = unreadable().await;
    let runs = Rc::new(Cell::new(0));
    let run = || {
        let runs = Rc::clone(&runs);
        move || runs.set(runs.get() + 1)
    };
    let (optional, result, within) = (run(), run(), run());
    let late = Rc::new(Cell::new(None));
    let keep = Rc::clone(&late);
    let app = App::new()
        .route(
            "/optional",
            web::get().to(move |_: Option<Session<Text>>| {
                optional();
                async { "ran" }
            }),
        )
        .route(
            "/result",
            web::get().to(move |_: Result<Session<Text>>| {
                result();
                async { "ran" }
            }),
        )
        .route(
            "/within",
            web::get().to(move |request: HttpRequest| {
                let within = within.clone();
                async move {
                    let session = Option::<Session<Text>>::extract(&request).await;
                    within();
                    session.map(|_| "ran")
                }
            }),
        )
        .route(
            "/at-once",
            web::get().to(move |request: HttpRequest| {
                let session = Option::<Session<Text>>::extract(&request).now_or_never();
                async move { session.map(|_| "ran").unwrap_or("took it for a visitor") }
            }),
        )
        .service(
            web::resource("/between")
                .wrap(SessionMiddleware::new(sessions.layer().optional()))
                .wrap(from_fn(between))
                .to(async || "ran"),
        )
        .route(
            "/apart",
            web::get().to(async |request: HttpRequest| {
                let apart = async move { Session::<Text>::extract(&request).await.is_ok() };
                let apart = actix_web::rt::spawn(apart);
                apart.await.map(|_| "ran").map_err(actix_web::error::ErrorInternalServerError)
            }),
        )
        .route(
            "/late",
            web::get().to(move |request: HttpRequest| {
                keep.set(Some(request));
                async { "ran" }
            }),
        )
        .route("/merely", web::get().to(async |_: SessionHandle<Text>| "ran"))
        .route(
            "/logout",
            web::post().to(async |client: SessionHandle<Text>| -> Result<()> {
                Ok(client.logout().await?)
            }),
        )
        .wrap(SessionMiddleware::new(sessions.layer().optional()))
        .wrap(SessionMiddleware::new(sessions.layer().optional()));
    let app = init_service(app).await;
    for path in ["/optional", "/result", "/within", "/at-once", "/between", "/apart"] {
        let json = client.request(Method::GET, path).insert_header(("accept", "application/json"));
        let answer = client.send(&app, json).await;
        let expected = "{\"error\":\"internal_error\",\"message\":\"internal error\"}\n";
        assert_eq!((answer.status, &*answer.text), (500, expected), "{path}");
        let answer = client.get(&app, path).await;
        assert_eq!((answer.status, &*answer.text), (500, "internal error\n"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    assert_eq!(runs.get(), 0);
    assert_eq!(client.get(&app, "/merely").await.text, "ran");
    assert_eq!(client.get(&app, "/late").await.text, "ran");
    let request = late.take().unwrap();
    let error = Session::<Text>::extract(&request).await.unwrap_err();
    assert_eq!((error.status_code().as_u16(), error.is_no_session()), (500, false));
    assert_eq!(others.count().await.unwrap(), 1);
    assert_eq!(client.post(&app, "/logout").await.status, 204);
    assert_eq!(others.count().await.unwrap(), 0);
}

#[actix_web::test]
async fn route_without_middleware_is_an_error() {
    let app = init_service(App::new().configure(routes)).await;
    let mut client = Client::default();
    for (method, path) in [(Method::GET, "/profile"), (Method::POST, "/login")] {
        let answer = client.send(&app, client.request(method, path)).await;
        assert_eq!((answer.status, &*answer.text), (500, "internal error\n"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}

#[actix_web::test]
async fn errors_of_handlers_are_json_where_asked_for() {
    /// An application's own error, which answers as the error in it.
    #[derive(Debug)]
    struct AppError(Error);
    impl fmt::Display for AppError {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.fmt(f)
        }
    }
    impl ResponseError for AppError {
        fn status_code(&self) -> StatusCode {
            self.0.status_code()
        }
        fn error_response(&self) -> HttpResponse<BoxBody> {
            self.0.error_response()
        }
    }
    async fn wrapped(client: SessionHandle<User>) -> Result<(), AppError> {
        client.login(user("ada")).await.map_err(|error| AppError(error.into()))
    }
    async fn returned(
        client: SessionHandle<User>,
        request: ServiceRequest,
        next: Next<impl MessageBody>,
    ) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
        client.login(user("ada")).await.map_err(Error::from)?;
        next.call(request).await
    }
    let world = World::with(|builder| builder.owner_limit(OwnerLimit::refuse(1)));
    let app = App::new()
        .configure(routes)
        .route("/wrapped", web::post().to(wrapped))
        .service(web::resource("/returned").wrap(from_fn(returned)).to(async || "ran"))
        .wrap(world.optional());
    let app = init_service(app).await;
    let _ = world.signed_in("ada").await;
    for path in ["/login", "/wrapped", "/returned"] {
        let mut client = Client::default();
        let text = client.post(&app, path).await;
        assert_eq!((text.status, &*text.text), (409, "too many sessions are open\n"), "{path}");
        let json = client.request(Method::POST, path).insert_header(("accept", "application/json"));
        let json = client.send(&app, json).await;
        let expected =
            "{\"error\":\"too_many_sessions\",\"message\":\"too many sessions are open\"}\n";
        assert_eq!((json.status, &*json.text), (409, expected), "{path}");
        assert_eq!(json.all("content-type"), ["application/json"]);
        assert_eq!(json.all("cache-control"), ["no-store"]);
    }
}

/// The session exists in the store, so the client gets its token whatever is answered.
#[actix_web::test]
async fn client_gets_its_token_with_an_error() {
    async fn fail(client: SessionHandle<User>) -> Result<&'static str, actix_web::Error> {
        client.login(user("ada")).await.map_err(Error::from)?;
        Err(actix_web::error::ErrorBadGateway("failed"))
    }
    async fn fail_within(
        client: SessionHandle<User>,
        request: ServiceRequest,
        next: Next<impl MessageBody>,
    ) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
        client.login(user("ada")).await.map_err(Error::from)?;
        let response = next.call(request).await?;
        if response.status() == StatusCode::OK {
            return Err(actix_web::error::ErrorBadGateway("failed"));
        }
        Ok(response)
    }
    let world = World::new();
    let within = web::resource("/within").wrap(from_fn(fail_within)).to(async || "ran");
    let app = App::new()
        .route("/fail", web::post().to(fail))
        .service(within)
        .route("/profile", web::get().to(profile))
        .wrap(world.optional())
        .wrap(world.optional());
    let app = init_service(app).await;
    for path in ["/fail", "/within"] {
        let mut client = Client::default();
        let answer = client.post(&app, path).await;
        assert_eq!((answer.status, &*answer.text), (502, "failed"), "{path}");
        assert_eq!(answer.all("set-cookie").len(), 1, "{path}");
        assert_eq!(answer.all("cache-control"), ["no-store"]);
        assert_eq!(client.get(&app, "/profile").await.text, "ada", "{path}");
    }
}

/// Middlewares around may look at the response of an error, each for itself.
#[actix_web::test]
async fn response_of_an_error_can_be_read_again() {
    async fn reads(
        request: ServiceRequest,
        next: Next<impl MessageBody>,
    ) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
        let returned = next.call(request).await;
        if let Err(error) = &returned {
            for _ in 0..2 {
                let response = error.as_response_error().error_response();
                assert_eq!(response.status(), error.as_response_error().status_code());
                assert!(response.into_body().try_into_bytes().is_ok_and(|body| !body.is_empty()));
            }
        }
        returned
    }
    async fn fails(
        client: SessionHandle<User>,
        request: ServiceRequest,
        _: Next<BoxBody>,
    ) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
        client.login(user("ada")).await.map_err(Error::from)?;
        if request.path() == "/response" {
            let response = HttpResponse::BadGateway().insert_header(("x-why", "it")).body("failed");
            return Err(actix_web::error::InternalError::from_response("failed", response).into());
        }
        Err(client.login(user("bob")).await.map_err(Error::from).unwrap_err().into())
    }
    let world = World::with(|builder| builder.owner_limit(OwnerLimit::refuse(1)));
    let _ = world.signed_in("bob").await;
    let at = |path: &str| web::resource(path).wrap(from_fn(fails)).to(async || "ran");
    let app = App::new()
        .service(at("/response"))
        .service(at("/session"))
        .wrap(world.optional())
        .wrap(from_fn(reads))
        .wrap(world.optional())
        .wrap(from_fn(reads));
    let app = init_service(app).await;
    let mut client = Client::default();
    let answer = client.post(&app, "/response").await;
    assert_eq!((answer.status, &*answer.text, answer.header("x-why")), (502, "failed", Some("it")));
    assert_eq!(answer.all("set-cookie").len(), 1);
    let json =
        client.request(Method::POST, "/session").insert_header(("accept", "application/json"));
    let answer = client.send(&app, json).await;
    let expected = "{\"error\":\"too_many_sessions\",\"message\":\"too many sessions are open\"}\n";
    assert_eq!((answer.status, &*answer.text), (409, expected));
    assert_eq!(answer.all("set-cookie").len(), 1);
}

#[actix_web::test]
async fn handler_can_be_stricter_about_caches_and_not_laxer() {
    async fn page(_: Session<User>, request: HttpRequest) -> HttpResponse {
        let cache = request.query_string().replace('+', " ");
        HttpResponse::Ok()
            .append_header(("vary", "Accept, Cookie"))
            .append_header(("cache-control", cache))
            .append_header(("set-cookie", "theme=dark"))
            .body("page")
    }
    async fn cookies(client: SessionHandle<User>) -> Result<HttpResponse> {
        client.login(user("ada")).await?;
        Ok(HttpResponse::Ok()
            .append_header(("set-cookie", "theme=dark"))
            .append_header(("set-cookie", "__Host-session_id=own"))
            .finish())
    }
    let world = World::new();
    let app = App::new()
        .route("/page", web::get().to(page))
        .route("/cookies", web::post().to(cookies))
        .wrap(world.optional());
    let app = init_service(app).await;
    let mut client = world.signed_in("ada").await;
    for (said, expected) in
        [("public,max-age=60", "no-store"), ("private,max-age=60", "private,max-age=60")]
    {
        let mut client = client.clone();
        let answer = client.get(&app, &format!("/page?{said}")).await;
        assert_eq!(answer.all("cache-control"), [expected]);
        assert_eq!(answer.all("vary"), ["Accept, Cookie"]);
        assert_eq!(answer.all("set-cookie"), ["theme=dark"]);
    }
    let answer = client.post(&app, "/cookies").await;
    let [theme, own] = answer.all("set-cookie")[..] else { panic!("{answer:?}") };
    assert_eq!(theme, "theme=dark");
    assert!(own.len() > "__Host-session_id=own".len(), "{own}");
}

#[actix_web::test]
async fn nested_layers_read_once_and_each_decides() {
    let world = World::with(|builder| builder.anonymous(AnonymousSessions::new(10)));
    world.faults.answers_at_once(false);
    let sessions = &world.sessions;
    let fresh = sessions.layer().require(StepUp::at_level(Level::Two));
    let shop = sessions.layer().optional().anonymous();
    async fn raise(session: Session<User>) -> Result<()> {
        Ok(session.reauthenticate(Level::Two).await?)
    }
    async fn put(client: SessionHandle<User>) -> Result<()> {
        let basket = User { name: String::from("basket"), count: 1 };
        Ok(client.create_anonymous(basket).await?)
    }
    let app = App::new()
        .service(
            web::scope("/in")
                .wrap(world.required())
                .service(
                    web::scope("/fresh")
                        .wrap(SessionMiddleware::new(fresh))
                        .route("/pay", web::get().to(profile)),
                )
                .route("/raise", web::post().to(raise))
                .route("/profile", web::get().to(profile)),
        )
        .service(
            web::scope("/shop")
                .wrap(SessionMiddleware::new(shop))
                .route("/basket", web::get().to(home))
                .route("/put", web::post().to(put)),
        )
        .configure(routes)
        .wrap(world.optional());
    let app = init_service(app).await;
    let mut client = Client::default();
    assert_eq!(client.get(&app, "/in/profile").await.status, 401);
    client.post(&app, "/login").await;
    world.faults.reset();
    world.faults.answers_at_once(false);
    assert_eq!(client.get(&app, "/in/profile").await.text, "ada");
    assert_eq!(world.faults.count(Call::Get), 1);
    let refused = client.get(&app, "/in/fresh/pay").await;
    assert_eq!(refused.status, 401);
    assert!(refused.text.starts_with("insufficient_user_authentication"), "{}", refused.text);
    let raised = client.post(&app, "/in/raise").await;
    assert_eq!((raised.status, raised.all("set-cookie").len()), (204, 1));
    let paid = client.get(&app, "/in/fresh/pay").await;
    assert_eq!((&*paid.text, paid.all("vary").len()), ("ada", 1));
    assert_eq!(paid.all("cache-control"), ["no-store"]);

    let mut visitor = Client::default();
    assert_eq!(visitor.post(&app, "/shop/put").await.status, 204);
    assert_eq!(visitor.get(&app, "/shop/basket").await.text, "basket");
    assert_eq!(visitor.get(&app, "/").await.text, "nobody");
    assert_eq!(visitor.get(&app, "/in/profile").await.status, 401);
}

#[actix_web::test]
async fn browser_is_sent_to_the_login_page_and_back() {
    let world = World::new();
    let refusal = Refusal::redirect_browsers("/login").unwrap();
    let layer = world.sessions.layer().refusal(refusal);
    let scope = web::scope("/in").wrap(SessionMiddleware::new(layer)).configure(routes);
    let app = init_service(App::new().service(scope)).await;
    let mut client = Client::default();
    let page = client.request(Method::GET, "/in/profile?a=b");
    let answer = client.send(&app, page.insert_header(("accept", "text/html"))).await;
    assert_eq!(answer.status, 303);
    assert_eq!(answer.header("location"), Some("/login?next=/in/profile%3Fa%3Db"));
}

#[actix_web::test]
async fn token_travels_in_a_header_of_any_name() {
    let world = World::new();
    let lookup: Lookup = "header:X-Session".parse().unwrap();
    let sessions = Sessions::builder(world.manager().clone()).lookup(lookup).build().unwrap();
    let layer = SessionMiddleware::new(sessions.layer().optional());
    let app = init_service(App::new().configure(routes).wrap(layer)).await;
    let mut client = Client::default();
    let login = client.post(&app, "/login").await;
    let token = login.header("x-session").unwrap().to_owned();
    assert_eq!(token.len(), Token::LEN);
    let request = client.request(Method::GET, "/profile").insert_header(("x-session", token));
    let profile = client.send(&app, request).await;
    assert_eq!((&*profile.text, profile.header("vary")), ("ada", Some("x-session")));
}

#[actix_web::test]
async fn device_is_what_trusted_proxies_say() {
    let proxies = TrustedProxies::new(["10.0.0.0/8"]).unwrap();
    let request = |peer: &str| {
        Client::default()
            .request(Method::GET, "/")
            .peer_addr(format!("{peer}:4711").parse().unwrap())
            .insert_header(("user-agent", "curl/8.14.1"))
            .append_header(("x-forwarded-for", "6.6.6.6"))
            .append_header(("x-forwarded-for", "192.0.2.43, 10.0.0.2"))
            .to_http_request()
    };
    let address = |peer: &str, proxies| device(&request(peer), proxies).address().unwrap();
    assert_eq!(address("10.0.0.1", &proxies).to_string(), "192.0.2.43");
    assert_eq!(address("192.0.2.7", &proxies).to_string(), "192.0.2.7");
    assert_eq!(address("10.0.0.1", &TrustedProxies::none()).to_string(), "10.0.0.1");
    assert_eq!(device(&request("10.0.0.1"), &proxies).user_agent(), Some("curl/8.14.1"));
}

type Kept = Rc<Cell<Option<SessionHandle<User>>>>;

/// Nothing is done, and the error says why.
async fn refuses_new_tokens(world: &World, handle: &SessionHandle<User>) {
    world.faults.reset();
    let begun = |error: kvolt_middleware::Error| assert!(error.to_string().contains("has begun"));
    begun(handle.login(user("bob")).await.unwrap_err());
    begun(handle.session().unwrap().rotate().await.unwrap_err());
    assert_eq!(world.faults.count_all(), 0);
}

#[actix_web::test]
async fn token_that_cannot_reach_its_client_is_not_changed() {
    let world = World::new();
    let kept = Kept::default();
    let keep = |way: &'static str| {
        let kept = Rc::clone(&kept);
        move |client: SessionHandle<User>| {
            kept.set(Some(client));
            async move {
                match way {
                    "open" => "open",
                    "panic" => panic!("on purpose"),
                    _ => pending().await,
                }
            }
        }
    };
    let app = App::new()
        .route("/open", web::get().to(keep("open")))
        .route("/panic", web::get().to(keep("panic")))
        .route("/drop", web::get().to(keep("drop")))
        .wrap(world.optional())
        .wrap(world.optional());
    let app = init_service(app).await;
    let mut client = world.signed_in("ada").await;
    assert_eq!(client.get(&app, "/open").await.text, "open");
    refuses_new_tokens(&world, &kept.take().unwrap()).await;

    let mut context = Context::from_waker(Waker::noop());
    let mut panics = Box::pin(app.call(client.request(Method::GET, "/panic").to_request()));
    let polled = catch_unwind(AssertUnwindSafe(|| panics.as_mut().poll(&mut context).is_ready()));
    assert!(polled.is_err());
    drop(panics);
    refuses_new_tokens(&world, &kept.take().unwrap()).await;

    let mut dropped = Box::pin(app.call(client.request(Method::GET, "/drop").to_request()));
    assert!(dropped.as_mut().poll(&mut context).is_pending());
    drop(dropped);
    refuses_new_tokens(&world, &kept.take().unwrap()).await;
}

/// A login is done or not done, at whichever point the client hangs up.
#[actix_web::test]
async fn dropped_login_is_done_or_not() {
    let world = World::new();
    let app = init_service(App::new().configure(routes).wrap(world.optional())).await;
    for done in [0, 1] {
        match done {
            0 => world.faults.hold_calls(),
            _ => world.faults.hold_answers(),
        }
        let call = Client::default().request(Method::POST, "/login");
        let mut call = Box::pin(app.call(call.to_request()));
        let mut context = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut context).is_pending());
        assert_eq!(world.faults.waiting(), 1);
        drop(call);
        world.faults.release();
        assert_eq!(world.store.len(), done);
    }
    let mut client = Client::default();
    client.post(&app, "/login").await;
    assert_eq!(client.get(&app, "/profile").await.text, "ada");
}

#[actix_web::test]
async fn test_client_is_signed_in() {
    let world = World::new();
    let app = init_service(App::new().wrap(world.required()).configure(routes)).await;
    let ada = TestClient::signed_in(&world.sessions, user("ada")).await.unwrap();
    let request = TestRequest::with_uri("/profile").insert_header(ada.header().unwrap());
    let response = app.call(request.to_request()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.into_body().try_into_bytes().unwrap(), "ada");
}
