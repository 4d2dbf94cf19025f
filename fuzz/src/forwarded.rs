use std::net::IpAddr;

use http::header::{FORWARDED, HeaderName};
use http::{HeaderMap, HeaderValue};
use kvolt_middleware::{ForwardingHeader, TrustedProxies};

const PROXY: &str = "10.0.0.1";
const CLIENT: &str = "192.0.2.43";

/// Each line of the bytes is a header that a client sends through a trusted proxy.
///
/// The entry that the proxy appends decides, on the same line or on the next, whatever precedes it. And
/// what is found in a list of addresses is what a slow and obvious search finds.
///
/// # Panics
///
/// If that does not hold.
pub fn forwarded(data: &[u8]) {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').take(1_000).collect();
    let appended = [
        "for=192.0.2.43",
        "proto=https;FOR=\"192.0.2.43:4711\";host=\"a\\\\\\\",b\", for=\"[::ffff:10.0.0.2]\"",
    ];
    for appended in appended {
        check_appended(&lines, ForwardingHeader::Forwarded, appended);
    }
    for appended in ["192.0.2.43", "192.0.2.43:80,[::ffff:10.0.0.2]:80"] {
        check_appended(&lines, ForwardingHeader::XForwardedFor, appended);
    }

    for header in [ForwardingHeader::Forwarded, ForwardingHeader::XForwardedFor] {
        let Some(headers) = headers(header.name(), &lines) else { return };
        let found = client(header.clone(), PROXY, &headers);
        if *header.name() == FORWARDED {
            assert!(found == ip(PROXY) || stands_in(&headers, header.name()));
        } else {
            assert_eq!(found, search(&headers, header.name()));
        }
        let stranger = "198.51.100.7";
        assert_eq!(client(header, stranger, &headers), ip(stranger));
    }
}

/// The entry that the proxy appends names the client, after anything the client sent.
fn check_appended(lines: &[&[u8]], header: ForwardingHeader, appended: &str) {
    let on_the_next: Vec<&[u8]> = lines.iter().copied().chain([appended.as_bytes()]).collect();
    let mut last = lines.last().copied().unwrap_or_default().to_vec();
    last.extend_from_slice(b", ");
    last.extend_from_slice(appended.as_bytes());
    let before = &lines[..lines.len().saturating_sub(1)];
    let on_the_same: Vec<&[u8]> = before.iter().copied().chain([&*last]).collect();
    for lines in [on_the_next, on_the_same] {
        // A line that is no header is not sent, and if it is the last, nothing is appended.
        if HeaderValue::from_bytes(lines[lines.len() - 1]).is_err() {
            continue;
        }
        let Some(headers) = headers(header.name(), &lines) else { return };
        assert_eq!(client(header.clone(), PROXY, &headers), ip(CLIENT));
    }
}

fn client(header: ForwardingHeader, peer: &str, headers: &HeaderMap) -> IpAddr {
    let proxies = TrustedProxies::new(["10.0.0.0/8"]).expect("it is a network").header(header);
    proxies.client_address(ip(peer), headers)
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("it is an address")
}

fn headers(name: &HeaderName, lines: &[&[u8]]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.try_append(name, value).ok()?;
        }
    }
    Some(headers)
}

/// Whether there is a `for` at all, in any case.
fn stands_in(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers
        .get_all(name)
        .iter()
        .any(|value| value.as_bytes().windows(3).any(|window| window.eq_ignore_ascii_case(b"for")))
}

/// The client by the list of all addresses.
fn search(headers: &HeaderMap, name: &HeaderName) -> IpAddr {
    let values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let all: Vec<&[u8]> = values.flat_map(|value| value.split(|byte| *byte == b',')).collect();
    let (mut hops, mut len) = (0, 0);
    let mut client = ip(PROXY);
    for entry in all.into_iter().rev() {
        hops += 1;
        len += entry.len() + 1;
        let text = str::from_utf8(entry).ok();
        let Some(address) = text.and_then(|text| address(text.trim_ascii())) else { break };
        if hops > TrustedProxies::MAX_HOPS || len > TrustedProxies::MAX_LEN + 1 {
            break;
        }
        client = address;
        if !matches!(client, IpAddr::V4(address) if address.octets()[0] == 10) {
            break;
        }
    }
    client
}

/// An address, with or without brackets and a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.parse().ok();
    let with_port = || {
        let (address, port) = text.rsplit_once(':')?;
        if address.contains(':') && !address.starts_with('[') {
            return None;
        }
        is_port(port).then(|| unbracketed(address)).flatten()
    };
    let address: Option<IpAddr> = bare.or_else(|| unbracketed(text)).or_else(with_port);
    address.map(|address| address.to_canonical())
}

fn unbracketed(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse().ok().map(IpAddr::V6),
        None => text.parse().ok().map(IpAddr::V4),
    }
}

fn is_port(text: &str) -> bool {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let name = text.strip_prefix('_').unwrap_or_default();
    let obfuscated = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (digits && text.parse::<u16>().is_ok()) || (!name.is_empty() && name.bytes().all(obfuscated))
}
