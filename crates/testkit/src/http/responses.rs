//! Laws of the responses around a handler.

use super::client::Client;
use super::{Application, CLEARED_COOKIE, ENCODED, LIMIT};

/// The request headers on which a response depends, sorted.
const VARY: [&str; 2] = ["authorization", "cookie"];

/// No cache keeps a response that depends on a session.
pub async fn session_response_is_not_cached(application: &impl Application) {
    let mut client = Client::of(application);
    for answer in [
        client.post("/login/ada").await,
        client.get("/name").await,
        client.get("/").await,
        client.post("/count").await,
        client.post("/rotate").await,
        client.post("/logout").await,
        client.get("/name").await,
    ] {
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
        assert_eq!(answer.list("vary"), VARY, "{answer:?}");
    }
}

/// A response that depends on there being no session varies, and may be cached.
pub async fn visitor_response_varies(application: &impl Application) {
    let answer = Client::of(application).get("/").await;
    assert_eq!((answer.list("vary"), answer.header("cache-control")), (to_list(&VARY), None));
}

/// A handler's laxer `Cache-Control` is replaced. A stricter one stays.
pub async fn handler_can_be_stricter_about_caches(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let answer = client.get("/public").await;
    assert_eq!(answer.all("cache-control"), ["no-store"]);
    let answer = client.get("/private").await;
    assert_eq!(answer.all("cache-control"), ["private, max-age=60"]);
}

/// A handler's own `Vary` and the session's are combined, without a name twice.
pub async fn handler_s_vary_is_combined(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let answer = client.get("/public").await;
    assert_eq!(answer.list("vary"), ["accept-language", "authorization", "cookie"]);
    let answer = client.get("/private").await;
    assert_eq!(answer.list("vary"), VARY);
}

/// A handler's own cookies stay beside the session's.
pub async fn handler_s_cookies_are_kept(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    assert_eq!(client.get("/theme").await.set_cookies(), ["theme=dark; Path=/"]);
    let answer = client.post("/theme-and-rotate").await;
    let cookies = answer.set_cookies();
    assert_eq!(cookies.len(), 2, "{cookies:?}");
    assert!(cookies.contains(&"theme=dark; Path=/"), "{cookies:?}");
}

/// A response whose handler has not asked for the session keeps its caching, with a cookie and
/// without.
pub async fn independent_response_keeps_its_caching(application: &impl Application) {
    let client = Client::signed_in(application, "ada").await;
    for mut client in [client.other(), client] {
        let answer = client.get("/static").await;
        assert_eq!((answer.status, &*answer.text()), (200, "static"));
        assert_eq!(answer.all("cache-control"), ["public, max-age=600"]);
        assert_eq!((answer.header("vary"), answer.set_cookies().len()), (None, 0));
    }
}

/// A `304` passes as it is, and has no body.
pub async fn not_modified_is_untouched(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let etag = client.get("/static").await.header("etag").expect("an `ETag`").to_owned();
    let answer = client.send("GET", "/static", &[("if-none-match", &etag)]).await;
    assert_eq!((answer.status, answer.body.len()), (304, 0));
    assert_eq!(answer.header("etag"), Some(&*etag));
    assert_eq!((answer.header("vary"), answer.set_cookies().len()), (None, 0));
}

/// A compressed body passes byte by byte, with its encoding and its type.
pub async fn encoded_body_is_untouched(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let answer = client.get("/encoded").await;
    assert_eq!(answer.body, ENCODED);
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

/// An error whose body was compressed passes as it is. Where it is JSON instead, the encoding of the
/// replaced body is gone.
pub async fn encoded_error_can_be_decoded(application: &impl Application) {
    let json = b"{\"error\":\"session_ended\",\"message\":\"the session has ended\"}\n";
    for (accept, kind, encoding, body) in [
        ("*/*", "text/plain; charset=utf-8", Some("gzip"), &ENCODED[..]),
        ("application/json", "application/json", None, json),
    ] {
        let mut client = Client::signed_in(application, "ada").await;
        let answer = client.send("POST", "/encoded-error", &[("accept", accept)]).await;
        assert_eq!((answer.status, &*answer.body), (401, body), "{accept}");
        assert_eq!(answer.header("content-encoding"), encoding, "{accept}");
        assert_eq!(answer.header("content-type"), Some(kind));
        let length = body.len().to_string();
        assert_eq!(answer.header("content-length"), Some(&*length), "{accept}");
    }
}

/// A `HEAD` request gets the status and the headers of a `GET`, and no body.
pub async fn head_request_has_no_body(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    for mut client in [client.clone(), client.other()] {
        for path in ["/name", "/", "/encoded"] {
            let (get, head) = (client.get(path).await, client.send("HEAD", path, &[]).await);
            assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
            for name in ["cache-control", "content-type", "vary", "www-authenticate"] {
                assert_eq!(head.list(name), get.list(name), "{path}: {name}");
            }
        }
    }
    assert_eq!(client.name().await.as_deref(), Some("ada"));
}

/// A request that changes no token sets no cookie.
pub async fn unchanged_token_sets_no_cookie(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    for (method, path) in [
        ("GET", "/name"),
        ("GET", "/"),
        ("POST", "/count"),
        ("POST", "/flash/a"),
        ("GET", "/flashes"),
    ] {
        let answer = client.send(method, path, &[]).await;
        assert_eq!((answer.status, answer.set_cookies().len()), (200, 0), "{path}");
    }
}

/// The answers of the layer and the errors of handlers are JSON for a request that prefers it, and
/// text for all others.
pub async fn errors_are_json_where_it_was_asked_for(application: &impl Application) {
    let foreign = ("sec-fetch-site", "cross-site");
    let rejected = "requests from other sites are rejected";
    let too_old = "the form token is missing or too old: load the page again";
    let mut filled = Client::signed_in(application, "carl").await;
    for _ in 1..LIMIT {
        Client::signed_in(application, "carl").await;
    }
    for (path, headers, is_signed_in, status, code, text) in [
        ("/count", &[][..], false, 401, "no_session", "sign in first"),
        ("/logout-and-count", &[], true, 401, "session_ended", "the session has ended"),
        ("/count", &[foreign], true, 403, "cross_origin", rejected),
        ("/script", &[], true, 403, "form_token", too_old),
        ("/login/carl", &[], false, 409, "too_many_sessions", "too many sessions are open"),
    ] {
        for accept in ["application/json, text/plain", "*/*", "text/html, application/json"] {
            let mut client = Client::of(application);
            if is_signed_in {
                client.login("ada").await;
            }
            let headers = [headers, &[("accept", accept)]].concat();
            let answer = client.send("POST", path, &headers).await;
            assert_eq!(answer.status, status, "{path}");
            let (kind, body) = if accept.starts_with("application/json") {
                let body = format!("{{\"error\":\"{code}\",\"message\":\"{text}\"}}\n");
                ("application/json", body)
            } else {
                ("text/plain; charset=utf-8", format!("{text}\n"))
            };
            assert_eq!((answer.header("content-type"), answer.text()), (Some(kind), body));
            let length = answer.body.len().to_string();
            assert_eq!(answer.header("content-length"), Some(&*length), "{path}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
            assert_eq!(answer.list("vary"), VARY, "{path}");
            client.post("/logout").await;
        }
    }
    assert_eq!(filled.name().await.as_deref(), Some("carl"));
}

/// A handler that returns an error after a logout still clears the client's cookie.
pub async fn handler_s_error_still_clears_the_cookie(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let mut replay = client.clone();
    let answer = client.post("/logout-and-count").await;
    assert_eq!((answer.status, answer.set_cookies()), (401, vec![CLEARED_COOKIE]));
    assert_eq!(replay.name().await, None);
}

/// A route that does not exist is a 404, with a session and without.
pub async fn unknown_route_is_a_404(application: &impl Application) {
    let client = Client::signed_in(application, "ada").await;
    for mut client in [client.other(), client] {
        let answer = client.get("/no-such-route").await;
        assert_eq!((answer.status, answer.set_cookies().len()), (404, 0));
    }
}

fn to_list(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
