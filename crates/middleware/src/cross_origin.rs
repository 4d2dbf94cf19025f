//! Whether another site made a browser send a request.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::HeaderName;
use http::header::{HOST, ORIGIN};

use crate::error::ConfigError;
use crate::head::{Headers, RequestHead, names};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a request that changes state comes from this site or a trusted one, or from no browser,
/// by the rules of `CrossOriginProtection` of Go 1.25:
///
/// 1. A safe method passes (`GET`, `HEAD`, `OPTIONS`), unless it is an upgrade.
/// 2. With `Sec-Fetch-Site`, `same-origin` and `none` pass, and other values from a trusted origin.
/// 3. Without it, a request passes without `Origin`, with the one of the host that it is for, or
///    with a trusted one.
///
/// Unlike there, a host with the default port of the origin's scheme is the same host as without.
/// Over plain HTTP no browser sends `Sec-Fetch-Site`, and proxies add the port.
pub(crate) fn is_admitted(request: &impl RequestHead, trusted: &[Box<str>]) -> bool {
    if is_safe(request) {
        return true;
    }
    let value = |name| request.first(&name).unwrap_or_default();
    let origin = value(ORIGIN);
    let is_own = match value(SEC_FETCH_SITE) {
        b"same-origin" | b"none" => true,
        b"" => origin.is_empty() || is_of_this_host(origin, request),
        _ => false,
    };
    is_own || trusted.iter().any(|trusted| trusted.as_bytes() == origin)
}

/// The handshake of a WebSocket is a `GET` that any site's page can make, cookies included, and
/// what follows can do anything.
#[inline]
pub(crate) fn is_safe(request: &impl RequestHead) -> bool {
    matches!(request.method(), "GET" | "HEAD" | "OPTIONS")
        && request.first(&names::UPGRADE).is_none()
}

/// The origin of a request, as far as it is text.
pub(crate) fn origin<H: Headers + ?Sized>(request: &H) -> Option<&str> {
    str::from_utf8(request.first(&ORIGIN)?).ok()
}

/// Whether a page of this host, loaded over plain HTTP, sent the request. Browsers treat loopback
/// as if it were HTTPS.
pub(crate) fn is_plain_http(request: &impl RequestHead) -> bool {
    let Some(host) = origin(request).and_then(|origin| origin.strip_prefix("http://")) else {
        return false;
    };
    let is_loopback = ["localhost", "127.", "[::1]"].iter().any(|start| host.starts_with(start));
    !is_loopback && is_of_this_host(format!("http://{host}").as_bytes(), request)
}

/// Path and query of an address, if it is one of the host that a request is for.
pub(crate) fn path_here<'a>(address: &'a str, request: &dyn RequestHead) -> Option<&'a str> {
    let authority = address.find("://")? + "://".len();
    let path = authority + address[authority..].find('/')?;
    is_of_this_host(&address.as_bytes()[..path], request).then_some(&address[path..])
}

fn is_of_this_host<H: RequestHead + ?Sized>(origin: &[u8], request: &H) -> bool {
    let host = request.authority().map(str::as_bytes).or_else(|| request.first(&HOST));
    host.is_some_and(|host| is_of_host(origin, host))
}

/// Whether an origin has this host and port.
fn is_of_host(origin: &[u8], host: &[u8]) -> bool {
    [(&b"https://"[..], &b":443"[..]), (b"http://", b":80")].iter().any(|(scheme, port)| {
        let bare = |host: &'_ [u8]| host.strip_suffix(*port).unwrap_or(host).to_ascii_lowercase();
        let authority = origin.split_at_checked(scheme.len());
        authority.is_some_and(|(start, authority)| {
            start.eq_ignore_ascii_case(scheme)
                && !authority.iter().any(|byte| b"/?#@".contains(byte))
                && !bare(authority).is_empty()
                && bare(authority) == bare(host)
        })
    })
}

/// An origin as browsers write it: in lower case, without the default port of its scheme.
///
/// # Errors
///
/// Returns an error for text that is not an `http` or `https` origin: no browser would send it.
pub(crate) fn canonical_origin(text: &str) -> Result<Box<str>, ConfigError> {
    let error = |why| {
        ConfigError::new(format!(
            "{text:?} is not an origin such as https://spa.example or http://localhost:8080: {why}"
        ))
    };
    let lower = text.to_ascii_lowercase();
    let (scheme, authority) = lower.split_once("://").ok_or_else(|| error("it has no scheme"))?;
    let default_port = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return Err(error("its scheme is neither http nor https")),
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    // A sign would be parsed, too.
    let number = |port: &str| port.parse::<u16>().ok().filter(|_| !port.starts_with('+'));
    let port = port
        .map_or(Some(default_port), number)
        .ok_or_else(|| error("its port is not a number up to 65535"))?;
    let host = canonical_host(host).ok_or_else(|| {
        error("its host is not a name in ASCII (write punycode) or an address, or more follows it")
    })?;
    Ok(if port == default_port {
        format!("{scheme}://{host}").into()
    } else {
        format!("{scheme}://{host}:{port}").into()
    })
}

/// The host of an origin.
///
/// # Errors
///
/// Returns the error of [`canonical_origin`].
#[cfg(feature = "device-bound")]
pub(crate) fn host_of(origin: &str) -> Result<String, ConfigError> {
    let uri = canonical_origin(origin)?.parse::<http::Uri>();
    Ok(uri.ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default())
}

fn canonical_host(host: &str) -> Option<String> {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let address: Ipv6Addr = address.parse().ok()?;
        // Browsers write mapped addresses in another way than the standard library.
        return address.to_ipv4_mapped().is_none().then(|| format!("[{address}]"));
    }
    let is_label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !label.is_empty() && label.bytes().all(allowed)
    };
    // Browsers take a name whose last part is a number for an address.
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    let last = host.rsplit('.').next()?;
    if is_number(last) {
        return Some(host.parse::<Ipv4Addr>().ok()?.to_string());
    }
    (host.len() <= 253 && host.split('.').all(is_label)).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::task::{Context, Poll, Waker};

    use http::{HeaderValue, Request, Response};
    use proptest::prelude::*;
    use tower::{Layer, ServiceExt, service_fn};
    use tower_http::csrf::CsrfLayer;

    use super::*;

    /// A head by its method, its address and the headers that it has.
    fn head(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<()> {
        let request = Request::builder().method(method).uri(uri);
        let request = headers.iter().fold(request, |request, (name, value)| {
            if value.is_empty() { request } else { request.header(*name, *value) }
        });
        request.body(()).unwrap()
    }

    fn is_admitted(head: &Request<()>, trusted: &[&str]) -> bool {
        let trusted: Vec<_> =
            trusted.iter().map(|origin| canonical_origin(origin).unwrap()).collect();
        super::is_admitted(head, &trusted)
    }

    /// The verdict of `tower-http`, which follows the same model.
    fn is_admitted_by_the_other(head: &Request<()>, trusted: &[&str]) -> bool {
        let inner =
            service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(String::new())));
        let layer = trusted.iter().try_fold(CsrfLayer::new(), CsrfLayer::add_trusted_origin);
        let mut answer = Box::pin(layer.unwrap().layer(inner).oneshot(head.clone()));
        match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(response)) => response.status().is_success(),
            _ => unreachable!("neither service waits"),
        }
    }

    const TRUSTED: [&str; 2] = ["https://spa.example", "http://localhost:8080"];

    fn any_origin() -> impl Strategy<Value = String> {
        let host = prop_oneof![
            Just("shop.example"),
            Just("spa.example"),
            Just("localhost"),
            Just("[::1]"),
            Just("shop.example.evil.test"),
            Just("evil.test"),
            Just("shop.example@evil.test"),
        ];
        let port = prop_oneof![
            4 => Just(""), 1 => Just(":80"), 1 => Just(":443"), 1 => Just(":8080"), 1 => Just(":"),
        ];
        let scheme = prop_oneof![Just("https"), Just("http"), Just("HTTPS"), Just("ftp"), Just("")];
        let end = prop_oneof![8 => Just(""), 1 => Just("/"), 1 => Just("/shop.example")];
        prop_oneof![
            6 => (scheme, host, port, end)
                .prop_map(|(scheme, host, port, end)| format!("{scheme}://{host}{port}{end}")),
            1 => Just(String::new()),
            1 => Just(String::from("null")),
            1 => "[!-~]{0,20}",
        ]
    }

    fn any_head() -> impl Strategy<Value = Request<()>> {
        let method = prop_oneof![
            3 => Just("POST"), 1 => Just("GET"), 1 => Just("HEAD"), 1 => Just("OPTIONS"),
            1 => Just("PUT"), 1 => Just("DELETE"), 1 => Just("TRACE"), 1 => Just("CONNECT"),
        ];
        let uri = prop_oneof![Just("/"), Just("https://shop.example/"), Just("http://evil.test/")];
        let host = prop_oneof![
            3 => Just("shop.example"), 1 => Just(""), 1 => Just("localhost:8080"), 1 => Just("[::1]"),
            1 => Just("shop.example:8443"),
        ];
        let site = prop_oneof![
            4 => Just(""), 1 => Just("same-origin"), 1 => Just("none"), 1 => Just("same-site"),
            1 => Just("cross-site"), 1 => Just("Same-Origin"),
        ];
        (method, uri, host, site, any_origin()).prop_map(|(method, uri, host, site, origin)| {
            let headers = [("host", host), ("sec-fetch-site", site), ("origin", &*origin)];
            head(method, uri, &headers)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_500))]

        #[test]
        fn verdict_equals_tower_http_except_default_ports(head in any_head()) {
            let (ours, theirs) =
                (is_admitted(&head, &TRUSTED), is_admitted_by_the_other(&head, &TRUSTED));
            let origin = head.headers().get(ORIGIN).map_or(&b""[..], HeaderValue::as_bytes);
            // As a browser writes it: the others may be rejected here, and by a port accepted.
            let is_canonical = str::from_utf8(origin).is_ok_and(|origin| {
                origin.is_empty() || canonical_origin(origin).is_ok_and(|other| *other == *origin)
            });
            if is_canonical || origin == b"null" {
                prop_assert_eq!(ours, theirs, "{:?}", head);
            } else if !origin.ends_with(b":80") && !origin.ends_with(b":443") {
                prop_assert!(theirs || !ours, "laxer: {:?}", head);
            }
        }
    }

    #[test]
    fn default_port_of_the_scheme_is_the_same_host() {
        let own = |origin, host| {
            let by_header = head("POST", "/", &[("origin", origin), ("host", host)]);
            let by_address = head("POST", &format!("http://{host}/"), &[("origin", origin)]);
            assert_eq!(
                is_admitted(&by_header, &[]),
                is_admitted(&by_address, &[]),
                "{origin} {host}"
            );
            is_admitted(&by_header, &[])
        };
        for (origin, host) in [
            ("https://shop.example", "shop.example:443"),
            ("http://shop.example", "shop.example:80"),
            ("https://shop.example", "Shop.Example"),
            ("https://[::1]", "[::1]:443"),
            ("http://shop.example:8080", "shop.example:8080"),
        ] {
            assert!(own(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("https://shop.example", "shop.example:80"),
            ("http://shop.example", "shop.example:443"),
            ("https://shop.example:80", "shop.example"),
            ("https://shop.example:8443", "shop.example:443"),
            ("https://evil.test", "shop.example:443"),
            ("https://:443", ":443"),
            ("https://shop.example:443:443", "shop.example:443"),
            ("null", "null"),
        ] {
            assert!(!own(origin, host), "{origin} {host}");
        }
    }

    #[test]
    fn upgrade_is_not_a_safe_method() {
        let upgrade = ("upgrade", "websocket");
        let foreign = ("origin", "https://evil.test");
        assert!(is_admitted(&head("GET", "/", &[foreign]), &[]));
        assert!(!is_admitted(&head("GET", "/", &[foreign, upgrade]), &[]));
    }

    #[test]
    fn plain_http_page_is_recognized_by_its_origin() {
        let is_plain =
            |origin, host| is_plain_http(&head("POST", "/", &[("origin", origin), ("host", host)]));
        assert!(is_plain("http://app.test:3000", "app.test:3000"));
        for (origin, host) in [
            ("https://app.test", "app.test"),
            ("http://other.test", "app.test"),
            ("http://localhost:3000", "localhost:3000"),
            ("http://127.0.0.1:3000", "127.0.0.1:3000"),
            ("http://[::1]:3000", "[::1]:3000"),
            ("null", "app.test"),
            ("", "app.test"),
        ] {
            assert!(!is_plain(origin, host), "{origin}");
        }
    }

    #[test]
    fn origin_is_normalized() {
        for (text, canonical) in [
            ("https://spa.example", "https://spa.example"),
            ("https://Spa.Example", "https://spa.example"),
            ("HTTPS://spa.example:443", "https://spa.example"),
            ("http://spa.example:80", "http://spa.example"),
            ("https://spa.example:80", "https://spa.example:80"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("http://127.0.0.1:08080", "http://127.0.0.1:8080"),
            ("https://xn--exmple-cua.com", "https://xn--exmple-cua.com"),
            ("https://[2001:DB8:0::1]:443", "https://[2001:db8::1]"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("https://my_host", "https://my_host"),
        ] {
            assert_eq!(&*canonical_origin(text).unwrap(), canonical, "{text}");
        }
        for text in [
            "",
            "null",
            "*",
            "spa.example",
            "//spa.example",
            "ftp://spa.example",
            "https://",
            "https://spa.example/",
            "https://spa.example/x",
            "https://spa.example?x",
            "https://spa.example#x",
            "https://a@spa.example",
            "https://spa.example:",
            "https://:443",
            "https://spa.example:x",
            "https://spa.example:+1",
            "https://spa.example:65536",
            "https://spä.example",
            "https://*.example",
            "https://spa..example",
            "https://1.2.3",
            "https://1.2.3.256",
            "https://01.2.3.4",
            "https://[::1",
            "https://[::ffff:1.2.3.4]",
            "https://[1.2.3.4]",
            "https://a b",
            "https://spa.example:443:443",
            " https://spa.example",
            "https://a,https://b",
        ] {
            let error = canonical_origin(text).unwrap_err().to_string();
            assert!(error.contains("is not an origin"), "{text}: {error}");
        }
    }

    #[test]
    fn path_is_local_for_this_host_only() {
        let request = head("POST", "/", &[("host", "shop.example:443")]);
        let path = |address| path_here(address, &request).map(str::to_owned);
        assert_eq!(path("https://shop.example/a?b#c").as_deref(), Some("/a?b#c"));
        assert_eq!(path("https://shop.example:443/").as_deref(), Some("/"));
        for other in [
            "http://shop.example/",
            "https://shop.example.evil.test/",
            "https://evil.test/https://shop.example/",
            "https://shop.example",
            "//shop.example/",
            "/",
            "https://shop.example@evil.test/",
            "",
        ] {
            assert_eq!(path(other), None, "{other}");
        }
    }
}
