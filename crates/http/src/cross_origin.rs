//! Whether another site made a browser send a request.

use http::header::{HOST, ORIGIN, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use crate::error::ConfigError;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Outcome of the cross-origin check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The request changes nothing, comes from this site or a trusted one, or from no browser.
    Admitted,
    /// Another site made a browser send it.
    CrossOrigin,
}

/// Whether a request with this head may change state, by the rules of `CrossOriginProtection` of
/// Go 1.25:
///
/// 1. A safe method passes (`GET`, `HEAD`, `OPTIONS`), unless it is an upgrade.
/// 2. With `Sec-Fetch-Site`, `same-origin` and `none` pass, and other values from a trusted origin.
/// 3. Without it, a request passes without `Origin`, with the one of the host that it is for, or
///    with a trusted one.
///
/// Unlike there, a host with the default port of the origin's scheme is the same host as without.
/// Over plain HTTP no browser sends `Sec-Fetch-Site`, and proxies add the port.
pub(crate) fn verdict(
    method: &Method,
    headers: &HeaderMap,
    uri: &Uri,
    trusted: &[Box<str>],
) -> Verdict {
    if is_safe(method, headers) {
        return Verdict::Admitted;
    }
    let value = |name| headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
    let origin = value(ORIGIN);
    let is_own = match value(SEC_FETCH_SITE) {
        b"same-origin" | b"none" => true,
        b"" => origin.is_empty() || host(uri, headers).is_some_and(|host| is_of_host(origin, host)),
        _ => false,
    };
    if is_own || trusted.iter().any(|trusted| trusted.as_bytes() == origin) {
        Verdict::Admitted
    } else {
        Verdict::CrossOrigin
    }
}

/// The handshake of a WebSocket is a `GET` that any site's page can make, cookies included, and
/// what follows can do anything.
pub(crate) fn is_safe(method: &Method, headers: &HeaderMap) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
        && !headers.contains_key(UPGRADE)
}

/// The host that a request is for: over HTTP/2, the address has it.
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a [u8]> {
    match uri.authority() {
        Some(authority) => Some(authority.as_str().as_bytes()),
        None => headers.get(HOST).map(|host| host.as_bytes()),
    }
}

/// Path and query of an address, if it is one of the host that a request is for.
pub(crate) fn path_here<'a>(address: &'a str, uri: &Uri, headers: &HeaderMap) -> Option<&'a str> {
    let authority = address.find("://")? + "://".len();
    let path = authority + address[authority..].find('/')?;
    is_of_host(address[..path].as_bytes(), host(uri, headers)?).then_some(&address[path..])
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
/// Returns an error for text that is no `http` or `https` origin: browsers would never send it.
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
    let port = match port.map(|port| (port.bytes().all(|byte| byte.is_ascii_digit()), port.parse()))
    {
        None => default_port,
        Some((true, Ok(port))) => port,
        Some(_) => return Err(error("its port is not a number")),
    };
    let host = canonical_host(host).ok_or_else(|| {
        error("its host is not a name in ASCII (write punycode) or an address, or more follows it")
    })?;
    Ok(if port == default_port {
        format!("{scheme}://{host}").into()
    } else {
        format!("{scheme}://{host}:{port}").into()
    })
}

fn canonical_host(host: &str) -> Option<String> {
    use std::net::{Ipv4Addr, Ipv6Addr};
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let address: Ipv6Addr = address.parse().ok()?;
        // Which browsers write in another way than the standard library.
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
