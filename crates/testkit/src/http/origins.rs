//! Laws of requests that another site made a browser send.

use super::client::Client;
use super::{Application, HOST, TRUSTED_ORIGIN, WEBSOCKET};

/// Headers by which a browser says that another site has made it send a request.
const FOREIGN: [&[(&str, &str)]; 6] = [
    &[("sec-fetch-site", "cross-site")],
    &[("sec-fetch-site", "same-site")],
    &[("origin", "https://evil.test")],
    &[("origin", "null")],
    &[("origin", "https://app.test.evil.test")],
    &[("sec-fetch-site", "cross-site"), ("origin", "http://app.test")],
];

/// Headers of the application's own pages, and of programs that are no browsers.
const OWN: [&[(&str, &str)]; 5] = [
    &[("sec-fetch-site", "same-origin")],
    &[("sec-fetch-site", "none")],
    &[("origin", "http://app.test")],
    &[("origin", "https://app.test:443")],
    &[],
];

/// A request from another site changes no state: 403, on every kind of layer.
pub async fn cross_site_request_is_rejected(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    for headers in FOREIGN {
        for path in
            ["/count", "/login/eve", "/logout", "/basket/tea", "/nested/login/eve", "/fresh"]
        {
            let answer = client.send("POST", path, headers).await;
            assert_eq!((answer.status, answer.set_cookies().len()), (403, 0), "{path} {headers:?}");
        }
    }
    assert_eq!(client.get("/count").await.text(), "0", "nothing has happened");
    assert_eq!(client.name().await.as_deref(), Some("ada"));
}

/// A login from another site is rejected for a client without a session too: it would sign the
/// user in as another one.
pub async fn cross_site_login_is_rejected(application: &impl Application) {
    for headers in FOREIGN {
        let answer = Client::of(application).send("POST", "/login/eve", headers).await;
        assert_eq!((answer.status, answer.set_cookies().len()), (403, 0), "{headers:?}");
    }
}

/// Every method but `GET`, `HEAD` and `OPTIONS` changes state.
pub async fn only_safe_methods_are_admitted_cross_site(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    for headers in FOREIGN {
        for (method, expected) in [
            ("GET", 200),
            ("HEAD", 200),
            ("OPTIONS", 200),
            ("POST", 403),
            ("PUT", 403),
            ("PATCH", 403),
            ("DELETE", 403),
        ] {
            let answer = client.send(method, "/name", headers).await;
            assert_eq!(answer.status, expected, "{method} {headers:?}");
        }
    }
}

/// The application's own pages are admitted: by Fetch metadata, or by `Origin` and `Host`.
pub async fn own_request_is_admitted(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    for (headers, expected) in OWN.iter().zip(1..) {
        let answer = client.send("POST", "/count", headers).await;
        assert_eq!(answer.text(), expected.to_string(), "{headers:?}");
    }
    assert_eq!(HOST, "app.test", "the origins above are those of the host");
}

/// `Origin` is compared with the host and the port that the request is for: those of an absolute
/// target, or else those of `Host`.
pub async fn origin_is_compared_with_the_host(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let target = "http://shop.test/count";
    for (path, host, origin, expected) in [
        ("/count", "shop.test:8443", "https://shop.test:8443", 200),
        ("/count", "Shop.Test", "https://shop.test", 200),
        ("/count", "shop.test:443", "https://shop.test", 200),
        ("/count", "shop.test", "https://shop.test:8443", 403),
        ("/count", "shop.test:8443", "https://shop.test", 403),
        ("/count", "shop.test", "https://app.test", 403),
        (target, "shop.test", "http://shop.test", 200),
        (target, "app.test", "http://app.test", 403),
    ] {
        let headers = [("host", host), ("origin", origin)];
        let answer = client.send("POST", path, &headers).await;
        assert_eq!(answer.status, expected, "{origin} for {host}");
    }
}

/// Pages of a trusted origin are admitted, and those of no other.
pub async fn trusted_origin_is_admitted(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let headers = [("sec-fetch-site", "cross-site"), ("origin", TRUSTED_ORIGIN)];
    assert_eq!(client.send("POST", "/count", &headers).await.text(), "1");
    let longer = format!("{TRUSTED_ORIGIN}.evil.test");
    let plain = TRUSTED_ORIGIN.replace("https", "http");
    for origin in [longer, plain] {
        let headers = [("sec-fetch-site", "cross-site"), ("origin", &*origin)];
        assert_eq!(client.send("POST", "/count", &headers).await.status, 403, "{origin}");
    }
}

/// Browsers add no header on their own, so a request with a token in one may come from any page.
pub async fn header_token_is_admitted_cross_site(application: &impl Application) {
    let client = Client::signed_in(application, "ada").await;
    let bearer = format!("Bearer {}", client.token());
    let foreign = ("sec-fetch-site", "cross-site");
    let headers = [foreign, ("authorization", &*bearer)];
    assert_eq!(client.other().send("POST", "/count", &headers).await.text(), "1");
    let headers = [foreign, ("authorization", "Bearer x")];
    let answer = client.clone().send("POST", "/count", &headers).await;
    assert_eq!(answer.status, 403, "a header that carries no token admits no cookie");
}

/// One route can admit requests from other sites.
pub async fn one_route_can_admit_other_sites(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    for headers in FOREIGN {
        assert_eq!(client.send("POST", "/acs", headers).await.text(), "ada", "{headers:?}");
    }
}

/// A WebSocket's handshake is a `GET` that any site's page can make, cookies included.
pub async fn cross_site_websocket_is_rejected(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    for (headers, expected) in
        FOREIGN.iter().map(|headers| (*headers, 403)).chain(OWN.map(|own| (own, 101)))
    {
        let headers = [&WEBSOCKET[..], headers].concat();
        let connection = client.open("/socket", &headers).await;
        assert_eq!(connection.answer.status, expected, "{headers:?}");
    }
}

/// The rejection is JSON where it was asked for, and is not cached.
pub async fn rejection_says_why(application: &impl Application) {
    let mut client = Client::signed_in(application, "ada").await;
    let headers = [("sec-fetch-site", "cross-site"), ("accept", "application/json")];
    let answer = client.send("POST", "/count", &headers).await;
    let expected =
        "{\"error\":\"cross_origin\",\"message\":\"requests from other sites are rejected\"}\n";
    assert_eq!((answer.status, &*answer.text()), (403, expected));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}
