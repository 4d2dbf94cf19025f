//! The headers of responses, for browsers and caches.

use axum::serve;
use http::{Method, StatusCode};
use kvolt_middleware::{CookiePolicy, Sessions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::application::router;
use crate::client::{COOKIE_NAME, Client};
use crate::deployment::Deployment;

/// Flask CVE-2023-30861, Django CVE-2014-1418: a cache stores a user's page or cookie, and sends it
/// to others. Also if the response only extends the session.
pub async fn response_with_a_session_is_not_cached(deployment: &Deployment) {
    let moment = deployment.short_timeout();
    let manager = deployment.one.builder().idle_timeout(moment).build().expect("valid settings");
    let mut client = deployment.one.client_of(manager);
    let is_said = |answer: &crate::Answer, path: &str| {
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("vary"), Some("cookie"), "{path}");
    };
    let anonymous = client.get("/").await;
    assert_eq!(anonymous.header("vary"), Some("cookie"), "it depends on there being none");
    is_said(&client.get("/profile").await, "a refusal");
    is_said(&client.post("/login/ada").await, "a sign-in");
    for method in [Method::GET, Method::HEAD] {
        for path in ["/profile", "/", "/poll", "/cacheable", "/missing", "/broken", "/moved"] {
            is_said(&client.send(method.clone(), path, &[]).await, path);
        }
    }
    // Long enough that this use is recorded: the response only extends the session.
    deployment.advance(moment / 3).await;
    let refreshed = client.get("/profile").await;
    assert_eq!((&*refreshed.text, refreshed.set_cookies().len()), ("ada", 0));
    is_said(&refreshed, "a refresh");
    is_said(&client.get("/cacheable").await, "a handler that says what it must not");
    for path in ["/count", "/rotate", "/password", "/rotate-and-fail", "/logout"] {
        is_said(&client.post(path).await, path);
    }
    let mut unknown = client.presenting(&"A".repeat(48));
    is_said(&unknown.post("/logout").await, "a logout of nobody");
    is_said(&unknown.get("/profile").await, "a refusal");
}

/// Tomcat CVE-2023-28708: behind a proxy that terminates TLS, the server receives plain HTTP and
/// omits `Secure`. A real server on a socket, with the headers of such proxies.
pub async fn cookie_is_secure_behind_a_tls_proxy(deployment: &Deployment) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("a binding");
    let app = router(Sessions::new(deployment.one.manager()));
    let server = tokio::spawn(async move { serve(listener, app).await });
    for headers in [
        "",
        "X-Forwarded-Proto: http\r\n",
        "X-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.1\r\n",
        "Forwarded: proto=http;host=app.test\r\n",
        "X-Forwarded-Proto: http, https\r\nX-Forwarded-Ssl: off\r\nFront-End-Https: off\r\n",
    ] {
        let mut stream = TcpStream::connect(address).await.expect("the server listens");
        let request = format!(
            "POST /login/ada HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\
             Content-Length: 0\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("the server accepts the request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("the store answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let cookies: Vec<_> = answer
            .lines()
            .filter(|line| line.to_ascii_lowercase().starts_with("set-cookie:"))
            .collect();
        let [cookie] = cookies[..] else { panic!("not one cookie: {answer}") };
        for attribute in ["; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/"] {
            assert!(cookie.contains(attribute), "{attribute} is missing in {cookie}");
        }
        assert!(cookie.contains(COOKIE_NAME) && !cookie.contains("Domain"), "{cookie}");
    }
    server.abort();
}

/// actix-extras 87, 129: a logout clears the cookie of another path, and the browser keeps the
/// session's. A real cookie jar, and a logout from a nested path.
pub async fn logout_from_a_nested_path_clears_the_cookie(deployment: &Deployment) {
    let plain = deployment.one.client();
    let other = CookiePolicy::builder().path("/deep").persistent(true).build();
    let other = Sessions::builder(deployment.other.manager())
        .lookup("cookie:__Secure-id".parse().expect("a lookup"))
        .cookie(other.expect("valid attributes"));
    let nested = axum::Router::new().nest("/deep", router(other.build().expect("valid settings")));
    for (mut client, login, profile, logouts) in [
        (plain, "/login/ada", "/profile", &["/deep/down/below/logout", "/logout"][..]),
        (
            Client::new(nested),
            "/deep/login/ada",
            "/deep/profile",
            &["/deep/deep/down/below/logout", "/deep/logout"],
        ),
    ] {
        for logout in logouts {
            assert_eq!(client.post(login).await.status, StatusCode::OK);
            assert!(!client.jar.is_empty());
            assert_eq!(client.get(profile).await.text, "ada");
            let token = client.token().expect("a token in the cookie");
            assert_eq!(client.post(logout).await.status, StatusCode::OK);
            assert!(client.jar.is_empty(), "{logout}: {:?}", client.jar);
            deployment.is_refused(&token).await;
        }
    }
}
