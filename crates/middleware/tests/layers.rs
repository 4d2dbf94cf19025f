//! The layer around other services and layers, in every order.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, COOKIE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use kvolt_middleware::{Session, SessionLayer};
use support::{Client, User, World, user};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;
use tower_http::services::ServeDir;
use tower_http::trace::TraceLayer;

async fn name(session: Session<User>) -> String {
    session.name.clone()
}

/// A service whose body is made of a text.
fn serving<B>(
    body: impl Fn(&'static str) -> B + Clone,
) -> impl Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone {
    service_fn(move |_| {
        let response = Response::new(body("served"));
        async { Ok(response) }
    })
}

async fn text<S, B>(service: S, cookie: &str) -> (StatusCode, String)
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let request = Request::builder().header(COOKIE, cookie).body(Body::empty()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// tower-rs/tower-http#554.
#[tokio::test]
async fn layer_goes_around_any_body() {
    let world = World::new();
    let token = world.manager.create(user("ada")).await.unwrap();
    let cookie = format!("__Host-session_id={}", token.expose());
    let layer = || world.sessions().layer();
    let builder = || ServiceBuilder::new().layer(layer());
    let full = |text: &'static str| Full::<Bytes>::from(text);
    let boxed = move |text| BoxBody::new(full(text));
    for (cookie, expected) in [(&*cookie, (200, "served")), ("", (401, "sign in first\n"))] {
        let answers = [
            text(layer().layer(serving(String::from)), cookie).await,
            text(layer().layer(serving(full)), cookie).await,
            text(layer().layer(serving(boxed)), cookie).await,
            text(layer().layer(serving(Body::from)), cookie).await,
            text(builder().layer(TraceLayer::new_for_http()).service(serving(full)), cookie).await,
            text(builder().layer(CompressionLayer::new()).service(serving(full)), cookie).await,
            text(builder().layer(CatchPanicLayer::new()).service(serving(full)), cookie).await,
            text(builder().layer(CorsLayer::permissive()).service(serving(full)), cookie).await,
            text(builder().layer(layer()).service(serving(boxed)), cookie).await,
            text(TraceLayer::new_for_http().layer(layer().layer(serving(boxed))), cookie).await,
        ];
        for (status, text) in answers {
            assert_eq!((status.as_u16(), &*text), expected);
        }
    }
}

#[tokio::test]
async fn router_takes_the_layers_in_every_order() {
    let world = World::new();
    let token = world.manager.create(user("ada")).await.unwrap();
    let layer: fn(&World) -> SessionLayer<User> = |world| world.sessions().layer();
    let routes = || Router::new().route("/", get(name));
    let inner = ServiceBuilder::new().layer(layer(&world)).layer(TraceLayer::new_for_http());
    let outer = ServiceBuilder::new().layer(TraceLayer::new_for_http()).layer(layer(&world));
    let all = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(CompressionLayer::new())
        .layer(layer(&world))
        .layer(CatchPanicLayer::new());
    for app in [
        routes().layer(inner),
        routes().layer(outer),
        routes().layer(all),
        routes().layer(CompressionLayer::new()).layer(layer(&world)),
        routes().layer(layer(&world)).layer(CompressionLayer::new()),
    ] {
        assert_eq!(Client::with(&app, &token).get("/").await.text, "ada");
        assert_eq!(Client::new(app).get("/").await.status, StatusCode::UNAUTHORIZED);
    }
}

/// vapor/vapor#2813, coderedcorp/wagtail-cache#29.
#[tokio::test]
async fn response_without_the_session_keeps_its_caching() {
    let world = World::with(|builder| builder.rotate_every(std::time::Duration::from_secs(60)));
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let cached = || async { ([(CACHE_CONTROL, "public, max-age=600, immutable")], "cached") };
    let optional = world.sessions().layer().optional();
    let app = Router::new()
        .route("/cached", get(cached))
        .route("/name", get(name))
        .nest_service("/static", ServeDir::new(folder))
        .layer(optional)
        .merge(Router::new().route("/required", get(cached)).route_layer(world.sessions().layer()));
    let token = world.manager.create(user("ada")).await.unwrap();
    for mut client in [Client::with(&app, &token), Client::new(app.clone())] {
        let answer = client.get("/cached").await;
        let cache_control = answer.header("cache-control");
        assert_eq!(cache_control, Some("public, max-age=600, immutable"));
        assert_eq!(answer.header("vary"), None);
        let file = client.get("/static/lib.rs").await;
        assert_eq!((file.status, file.header("vary")), (StatusCode::OK, None));
        assert_eq!(file.header("cache-control"), None);
        let modified = file.header("last-modified").unwrap().to_owned();
        let headers = [("if-modified-since", &*modified)];
        let unchanged = client.send(Method::GET, "/static/lib.rs", &headers).await;
        assert_eq!(unchanged.status, StatusCode::NOT_MODIFIED);
        assert_eq!(unchanged.header("cache-control"), None);
        assert_eq!(client.get("/name").await.header("vary"), Some("cookie"));
    }
    let mut client = Client::with(&app, &token);
    for path in ["/name", "/required"] {
        let answer = client.get(path).await;
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("vary"), Some("cookie"), "{path}");
    }
    world.clock.advance(std::time::Duration::from_secs(60));
    let rotated = client.get("/cached").await;
    assert_eq!(rotated.set_cookies().len(), 1);
    assert_eq!(rotated.header("cache-control"), Some("no-store"), "it carries a token");
}

/// jeremyben/json-server-auth#15, aspnet/CORS#45, http4s/http4s#1039.
#[tokio::test]
async fn preflight_is_answered_by_a_cors_layer_around() {
    let world = World::new();
    let routes = || Router::new().route("/", post(name));
    let cors = || CorsLayer::permissive();
    let outside = routes().layer(world.sessions().layer()).layer(cors());
    let inside = routes().layer(cors()).layer(world.sessions().layer());
    let preflight = [("origin", "https://spa.example"), ("access-control-request-method", "POST")];
    for (app, expected) in [(outside, StatusCode::OK), (inside, StatusCode::UNAUTHORIZED)] {
        let answer = Client::new(app).send(Method::OPTIONS, "/", &preflight).await;
        assert_eq!(answer.status, expected);
    }
}

/// authorizerdev/authorizer#666, FusionAuth/fusionauth-issues#1426, open-metadata/OpenMetadata#28763.
#[tokio::test]
async fn one_route_can_admit_a_cross_site_post() {
    let world = World::new();
    let layer = world.sessions().layer().optional();
    let layer = layer.dangerous_admit_cross_origin(|request| request.path() == "/app/acs");
    let routes = Router::new()
        .route("/acs", post(|| async { "signed in" }))
        .route("/other", post(|| async { "changed" }))
        .layer(layer);
    let mut client = Client::new(Router::new().nest("/app", routes));
    for origin in ["https://idp.example", "null"] {
        let headers = [("origin", origin), ("sec-fetch-site", "cross-site")];
        let answer = client.send(Method::POST, "/app/acs", &headers).await;
        assert_eq!((answer.status, &*answer.text), (StatusCode::OK, "signed in"), "{origin}");
        let answer = client.send(Method::POST, "/app/other", &headers).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{origin}");
    }
}
