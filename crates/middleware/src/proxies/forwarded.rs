//! Entries of forwarding headers: the address that one proxy wrote about its peer.
//!
//! Each proxy appends on the right, so entries are parsed from the right. The text to the left of
//! an entry, which any client may have written, has no influence on how the entry is parsed.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::lookup::is_token;

/// The longest text of a node: an address in brackets, a colon and a port, with some room.
const MAX_NODE_LEN: usize = 64;

/// How the entries of a header are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// Addresses with commas between them, as in `X-Forwarded-For`.
    Addresses,
    /// Lists of parameters with commas between them (RFC 7239, section 4).
    Parameters,
}

impl Syntax {
    /// Removes the rightmost entry from `rest` and returns it. `rest` is then the text to the left
    /// of the entry's comma, or `None` if there is no comma.
    ///
    /// Only the last `max_len` bytes of `rest` are read; a longer entry is `None`.
    pub(crate) fn take_last<'a>(
        self,
        rest: &mut Option<&'a [u8]>,
        max_len: usize,
    ) -> Option<&'a [u8]> {
        let text = rest.take()?;
        let first = text.len().saturating_sub(max_len);
        let comma = match self {
            Self::Addresses => memchr::memrchr(b',', &text[first..]),
            Self::Parameters => last_comma_outside_quotes(&text[first..]),
        };
        match comma {
            Some(comma) => {
                *rest = Some(&text[..first + comma]);
                Some(&text[first + comma + 1..])
            }
            None if first > 0 => None,
            None => Some(text),
        }
    }

    /// The address of an entry in canonical form, or `None` if the entry has none.
    pub(crate) fn address(self, entry: &[u8]) -> Option<IpAddr> {
        let entry = entry.trim_ascii();
        let address = match self {
            Self::Addresses => node(entry, true),
            Self::Parameters => node(&for_parameter(entry)?, false),
        };
        address.map(|address| address.to_canonical())
    }
}

/// The last comma that is not within a quoted string, read from the right.
///
/// A well-formed entry has backslashes only within quotes. So a quote after an even number of
/// backslashes opens or ends a quoted string, and any other quote is part of one, whatever is
/// further left.
fn last_comma_outside_quotes(text: &[u8]) -> Option<usize> {
    let mut quoted = false;
    let mut ends = memchr::memrchr2_iter(b',', b'"', text);
    ends.find(|&at| {
        if text[at] == b',' {
            return !quoted;
        }
        let backslashes = text[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
        quoted ^= backslashes % 2 == 0;
        false
    })
}

/// The value of the parameter `for` of one entry (RFC 7239, section 4), if the entry is
/// well-formed and has it once.
fn for_parameter(entry: &[u8]) -> Option<Cow<'_, [u8]>> {
    let (mut found, mut quoted, mut escaped) = (None, false, false);
    let pairs = entry.split(|byte| {
        let is_quote = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && quoted && !escaped;
        quoted ^= is_quote;
        *byte == b';' && !quoted
    });
    for pair in pairs.map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty()) {
        let equals = memchr::memchr(b'=', pair)?;
        let name = str::from_utf8(&pair[..equals]).ok().filter(|name| is_token(name))?;
        // `None` for a quoted string that does not end.
        let value = unquoted(&pair[equals + 1..])?;
        if name.eq_ignore_ascii_case("for") && found.replace(value).is_some() {
            return None;
        }
    }
    found
}

/// The value of a parameter, without its quotes (RFC 9110, section 5.6.4).
///
/// Without quotes, more than a token is accepted: addresses with ports and in brackets are often
/// written so, though RFC 7239 wants quotes.
fn unquoted(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(quoted) = value.strip_prefix(b"\"") else {
        let plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"\\".contains(byte);
        return (!value.is_empty() && value.iter().all(plain)).then_some(Cow::Borrowed(value));
    };
    let quoted = quoted.strip_suffix(b"\"")?;
    if memchr::memchr2(b'"', b'\\', quoted).is_none() {
        return Some(Cow::Borrowed(quoted));
    }
    let mut plain = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(&byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => *bytes.next()?,
            b'"' => return None,
            _ => byte,
        });
    }
    Some(Cow::Owned(plain))
}

/// The address of a node (RFC 7239, section 6), with or without a port. `unknown`, names and
/// obfuscated identifiers have no address. With `may_be_bare`, an IPv6 address needs no brackets.
fn node(text: &[u8], may_be_bare: bool) -> Option<IpAddr> {
    if text.len() > MAX_NODE_LEN {
        return None;
    }
    let text = str::from_utf8(text).ok()?;
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let port = rest.strip_prefix(':');
        let ends_well = rest.is_empty() || port.is_some_and(is_port);
        return ends_well.then(|| address.parse::<Ipv6Addr>().ok().map(IpAddr::V6)).flatten();
    }
    if may_be_bare && let Ok(address) = text.parse::<Ipv6Addr>() {
        return Some(IpAddr::V6(address));
    }
    let address = match text.split_once(':') {
        Some((address, port)) => is_port(port).then_some(address)?,
        None => text,
    };
    address.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
}

/// Whether it is a port or an obfuscated one (RFC 7239, section 6.2).
fn is_port(text: &str) -> bool {
    let obfuscated = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match text.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(obfuscated),
        None => text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn entries(syntax: Syntax, text: &str) -> Vec<&str> {
        let mut rest = Some(text.as_bytes());
        let mut entries = Vec::new();
        while let Some(entry) = syntax.take_last(&mut rest, usize::MAX) {
            entries.push(str::from_utf8(entry).unwrap());
        }
        entries
    }

    #[test]
    fn entries_are_read_from_the_right() {
        assert_eq!(entries(Syntax::Addresses, "a, b,c"), ["c", " b", "a"]);
        assert_eq!(entries(Syntax::Addresses, ""), [""]);
        assert_eq!(entries(Syntax::Addresses, ",a,"), ["", "a", ""]);
        assert_eq!(entries(Syntax::Addresses, "\"a,b\""), ["b\"", "\"a"]);
        assert_eq!(entries(Syntax::Parameters, "for=a;by=b, for=c"), [" for=c", "for=a;by=b"]);
    }

    #[test]
    fn quoted_comma_separates_nothing() {
        assert_eq!(entries(Syntax::Parameters, r#"x="a,b",c"#), ["c", r#"x="a,b""#]);
        assert_eq!(entries(Syntax::Parameters, r#"x="a\",b",c"#), ["c", r#"x="a\",b""#]);
        assert_eq!(entries(Syntax::Parameters, r#"x="a\\",c"#), ["c", r#"x="a\\""#]);
        assert_eq!(entries(Syntax::Parameters, r#"x="\\\",\\",c"#), ["c", r#"x="\\\",\\""#]);
    }

    #[test]
    fn open_quote_of_a_client_hides_no_entry() {
        assert_eq!(entries(Syntax::Parameters, r#"x=", for=c"#)[0], " for=c");
        assert_eq!(entries(Syntax::Parameters, r#"x=\", for="[::1]""#)[0], r#" for="[::1]""#);
        assert_eq!(entries(Syntax::Parameters, r#"x="\, for="a,b""#)[0], r#" for="a,b""#);
    }

    #[test]
    fn entry_past_the_bound_is_ignored() {
        let mut rest = Some(&b"aaaa,bbbb"[..]);
        assert_eq!(Syntax::Addresses.take_last(&mut rest, 5), Some(&b"bbbb"[..]));
        assert_eq!(rest, Some(&b"aaaa"[..]));
        assert_eq!(Syntax::Addresses.take_last(&mut rest, 3), None);
        assert_eq!(Syntax::Addresses.take_last(&mut rest, 9), None);
        let mut rest = Some(&b"aaaa,bbbb"[..]);
        assert_eq!(Syntax::Addresses.take_last(&mut rest, 4), None, "its comma is not seen");
    }

    #[test]
    fn address_is_parsed_in_every_form() {
        for (text, address) in [
            ("192.0.2.43", "192.0.2.43"),
            ("  192.0.2.43\t", "192.0.2.43"),
            ("192.0.2.43:47011", "192.0.2.43"),
            ("192.0.2.43:_port", "192.0.2.43"),
            ("2001:db8::1", "2001:db8::1"),
            ("2001:DB8::1", "2001:db8::1"),
            ("2001:db8::1:4711", "2001:db8::1:4711"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("::ffff:192.0.2.43", "192.0.2.43"),
            ("[::ffff:192.0.2.43]:80", "192.0.2.43"),
            ("::FFFF:C000:022B", "192.0.2.43"),
        ] {
            assert_eq!(Syntax::Addresses.address(text.as_bytes()), ip(address), "{text}");
        }
    }

    #[test]
    fn malformed_address_is_rejected() {
        let long = "1".repeat(65);
        for text in [
            "",
            " ",
            "unknown",
            "_hidden",
            "localhost",
            "192.0.2",
            "192.0.2.256",
            "192.0.2.043",
            "0xc0.0.2.1",
            "3221225985",
            "192.0.2.43:",
            "192.0.2.43:+1",
            "192.0.2.43:65536",
            "192.0.2.43:80:80",
            "192.0.2.43 10.0.0.1",
            "192.0.2.43/32",
            "\"192.0.2.43\"",
            "[192.0.2.43]",
            "[2001:db8::1",
            "2001:db8::1]",
            "[2001:db8::1]80",
            "[2001:db8::1]:",
            "[2001:db8::1]:x",
            "[[2001:db8::1]]",
            "fe80::1%eth0",
            "2001:db8:::1",
            "unix:",
            "for=192.0.2.43",
            "١٩٢.0.2.43",
            &long,
        ] {
            assert_eq!(Syntax::Addresses.address(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Syntax::Addresses.address(b"192.0.2.\xff"), None);
    }

    #[test]
    fn forwarded_is_parsed_as_in_rfc_7239() {
        for (text, address) in [
            ("for=192.0.2.43", "192.0.2.43"),
            ("For=192.0.2.43", "192.0.2.43"),
            ("FOR=\"192.0.2.43\"", "192.0.2.43"),
            ("for=\"192.0.2.43:47011\"", "192.0.2.43"),
            ("for=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=\"[2001:db8:cafe::17]\"", "2001:db8:cafe::17"),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("proto=http ; by=203.0.113.43;\tfor=192.0.2.60", "192.0.2.60"),
            ("by=\"a;for=1.1.1.1\";for=192.0.2.60", "192.0.2.60"),
            ("host=\"a\\\";for=1.1.1.1\";for=192.0.2.60", "192.0.2.60"),
            ("for=\"192.0.2\\.43\"", "192.0.2.43"),
            (";for=192.0.2.43;;", "192.0.2.43"),
            ("secret=x;for=\"[::ffff:192.0.2.43]\"", "192.0.2.43"),
            // Not by the letter of the RFC, and often seen.
            ("for=192.0.2.43:47011", "192.0.2.43"),
            ("for=[2001:db8::1]:4711", "2001:db8::1"),
        ] {
            assert_eq!(Syntax::Parameters.address(text.as_bytes()), ip(address), "{text}");
        }
    }

    #[test]
    fn malformed_entry_has_no_address() {
        for text in [
            "",
            "192.0.2.43",
            "for",
            "for=",
            "for=\"\"",
            "for=unknown",
            "for=_gazonk",
            "for=\"_SEVKISEK\"",
            "for =192.0.2.43",
            "for= 192.0.2.43",
            "for=192.0.2.43\"",
            "for=\"192.0.2.43",
            "for=\"192.0.2.43\\\"",
            "for=\"192.0.2.43\"x",
            "for=\"192.0.2.43\"\"\"",
            "for=2001:db8::1",
            "for=\"2001:db8::1\"",
            "for=192.0.2.43;for=192.0.2.44",
            "for=192.0.2.43;For=192.0.2.43",
            "for=192.0.2.43;x",
            "for=192.0.2.43;x=\"",
            "for=192.0.2.43;=x",
            "for=192.0.2.43;é=x",
            "for=192.0.2.43;x=a b",
            "by=192.0.2.43",
            "xfor=192.0.2.43",
        ] {
            assert_eq!(Syntax::Parameters.address(text.as_bytes()), None, "{text:?}");
        }
    }
}
