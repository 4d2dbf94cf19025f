//! The client's address behind proxies.

mod forwarded;

use std::net::IpAddr;
use std::str::FromStr;

use http::HeaderName;
use http::header::{FORWARDED, USER_AGENT};
use ipnet::{IpNet, Ipv4Net};
use kvolt_session::Device;

use crate::error::ConfigError;
use crate::head::Headers;
use forwarded::Syntax;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies that may state where a request came from.
///
/// Behind a proxy, the peer of every connection is the proxy, and the address of the client is in
/// a header. Any client can send that header too, so it is read only where the peer is a trusted
/// proxy, and from the right, where each proxy appends the address of its own peer:
///
/// 1. If the peer is not a trusted proxy, it is the client.
/// 2. Otherwise entries are taken from the right while they are trusted proxies. The first entry
///    that is not one is the client. The client itself wrote everything further left.
/// 3. An entry without an address (`unknown`, `_hidden`, empty, malformed) stops the search, and so
///    does the bound: the client is then the last trusted proxy.
/// 4. If all entries are trusted proxies, the leftmost is the client.
///
/// [`TrustedProxies::none`], the default, trusts no proxy. Only one header is read: a proxy sets
/// one and passes on the others that a client sends. Name the header that every trusted proxy sets
/// or appends to.
///
/// Addresses are compared and returned in canonical form: `::ffff:192.0.2.1` is `192.0.2.1`.
///
/// # Bounds
///
/// [`MAX_HOPS`](Self::MAX_HOPS) entries and [`MAX_LEN`](Self::MAX_LEN) bytes, from the right.
///
/// ```
/// use http::HeaderMap;
/// use kvolt_middleware::{ForwardingHeader, TrustedProxies};
///
/// let proxies = TrustedProxies::new(["10.0.0.0/8", "::1"])?.header(ForwardingHeader::Forwarded);
///
/// let mut headers = HeaderMap::new();
/// headers.insert("forwarded", r#"for=6.6.6.6, for="[2001:db8::1]:4711", for=10.0.0.2"#.parse()?);
/// let client = proxies.client_address("10.0.0.1".parse()?, &headers);
/// assert_eq!(client.to_string(), "2001:db8::1");
///
/// let stranger = "192.0.2.7".parse()?;
/// assert_eq!(proxies.client_address(stranger, &headers), stranger);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrustedProxies {
    networks: Box<[IpNet]>,
    header: ForwardingHeader,
}

/// The header in which trusted proxies write addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ForwardingHeader {
    /// `X-Forwarded-For`: addresses with commas between them, to which each proxy appends.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239), of which the parameter `for` is read.
    Forwarded,
    /// A header of that name, with one address or several as in `X-Forwarded-For`, such as
    /// `X-Real-IP` and `CF-Connecting-IP`. The proxy must overwrite the header if a client sends it.
    Named(HeaderName),
}

impl ForwardingHeader {
    /// Returns the name of the header.
    ///
    /// ```
    /// use kvolt_middleware::ForwardingHeader;
    ///
    /// assert_eq!(ForwardingHeader::default().name(), "x-forwarded-for");
    /// ```
    pub fn name(&self) -> &HeaderName {
        match self {
            Self::XForwardedFor => &X_FORWARDED_FOR,
            Self::Forwarded => &FORWARDED,
            Self::Named(name) => name,
        }
    }

    fn syntax(&self) -> Syntax {
        if *self.name() == FORWARDED { Syntax::Parameters } else { Syntax::Addresses }
    }
}

impl TrustedProxies {
    /// The maximum number of entries that are read.
    pub const MAX_HOPS: usize = 64;

    /// The maximum length of all headers of the name together that is read, in bytes.
    pub const MAX_LEN: usize = 8 * 1024;

    /// The maximum number of networks.
    pub const MAX_NETWORKS: usize = 1024;

    /// Trusts no proxy: the client is the peer of the connection.
    pub fn none() -> Self {
        Self::default()
    }

    /// Trusts the proxies in these networks, and reads `X-Forwarded-For`.
    ///
    /// A network is written `10.0.0.0/8` or `2001:db8::/32`, and a single proxy as its address.
    /// `::/0` does not include IPv4 addresses.
    ///
    /// # Errors
    ///
    /// Returns an error if a network can't be parsed, has bits set past its prefix, or contains all
    /// addresses (`/0`: any client could then choose its address), or if there are more than
    /// [`MAX_NETWORKS`](Self::MAX_NETWORKS).
    pub fn new<I>(networks: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let networks = networks.into_iter().take(Self::MAX_NETWORKS + 1);
        let networks: Vec<IpNet> =
            networks.map(|network| parse_network(network.as_ref())).collect::<Result<_, _>>()?;
        if networks.len() > Self::MAX_NETWORKS {
            return Err(ConfigError::new("there are more than 1024 networks of trusted proxies"));
        }
        Ok(Self { networks: networks.into(), header: ForwardingHeader::default() })
    }

    /// Sets the header that is read. Defaults to `X-Forwarded-For`.
    #[must_use]
    pub fn header(mut self, header: ForwardingHeader) -> Self {
        self.header = header;
        self
    }

    /// Whether this is the address of a trusted proxy.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Returns the address of the client that sent a request, where `peer` is the remote end of the
    /// connection.
    ///
    /// A Unix socket has no remote address. If every program that can open the socket is trusted,
    /// pass a trusted address such as `127.0.0.1`.
    pub fn client_address(&self, peer: IpAddr, headers: &impl Headers) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.contains(client) {
            return client;
        }
        let syntax = self.header.syntax();
        let mut hops_left = Self::MAX_HOPS;
        let mut len_left = Self::MAX_LEN;
        // Several headers of one name are one list, in their order (RFC 9110, section 5.3).
        let mut values = Vec::new();
        headers.each(self.header.name(), &mut |value| values.push(value));
        for value in values.into_iter().rev() {
            let mut rest = Some(value);
            while rest.is_some() {
                let Some(entry) = syntax.take_last(&mut rest, len_left) else { return client };
                let Some(address) = syntax.address(entry) else { return client };
                if hops_left == 0 {
                    return client;
                }
                hops_left -= 1;
                len_left = len_left.saturating_sub(entry.len() + 1);
                client = address;
                if !self.contains(client) {
                    return client;
                }
            }
        }
        client
    }

    /// Returns the device of a request: its user agent, and the
    /// [address of the client](Self::client_address) if the peer is known.
    ///
    /// Invalid UTF-8 in the user agent is replaced.
    pub fn device(&self, peer: Option<IpAddr>, headers: &impl Headers) -> Device {
        let mut device = Device::new();
        if let Some(user_agent) = headers.first(&USER_AGENT) {
            device = device.with_user_agent(&String::from_utf8_lossy(user_agent));
        }
        if let Some(peer) = peer {
            device = device.with_address(self.client_address(peer, headers));
        }
        device
    }
}

/// Networks with commas between them, as in an environment variable. An empty text trusts no proxy.
impl FromStr for TrustedProxies {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        if text.trim().is_empty() {
            return Ok(Self::none());
        }
        Self::new(text.split(','))
    }
}

fn parse_network(text: &str) -> Result<IpNet, ConfigError> {
    let text = text.trim();
    let error = |reason: &str| {
        let text: String = text.chars().take(100).collect();
        ConfigError::new(format!("{text:?} can't be a network of trusted proxies: {reason}"))
    };
    let Some(network) = address_and_prefix(text) else {
        return Err(error(
            "a network is written as 10.0.0.0/8 or 2001:db8::/32, or as one address",
        ));
    };
    if network != network.trunc() {
        let (whole, one) = (network.trunc(), network.addr());
        return Err(error(&format!("it has bits set past its prefix; write {whole} or {one}")));
    }
    let network = canonical(network);
    if network.prefix_len() == 0 {
        return Err(error(
            "it contains all addresses, so that any client could choose its address",
        ));
    }
    Ok(network)
}

/// Parses addresses as the standard library does, without leading zeros, which some programs read
/// as octal.
fn address_and_prefix(text: &str) -> Option<IpNet> {
    let Some((address, prefix)) = text.split_once('/') else {
        return text.parse::<IpAddr>().ok().map(IpNet::from);
    };
    if !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    IpNet::new(address.parse().ok()?, prefix.parse().ok()?).ok()
}

/// The IPv4 network of which an IPv6 network is the mapped form, since addresses are canonical.
fn canonical(network: IpNet) -> IpNet {
    const MAPPED_LEN: u8 = 128 - 32;
    let IpNet::V6(v6) = network else { return network };
    v6.addr()
        .to_ipv4_mapped()
        .zip(v6.prefix_len().checked_sub(MAPPED_LEN))
        .and_then(|(address, len)| Ipv4Net::new(address, len).ok())
        .map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    const PROXY: &str = "10.0.0.1";
    const CLIENT: &str = "192.0.2.43";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn proxies() -> TrustedProxies {
        TrustedProxies::new(["10.0.0.0/8", "2001:db8:1::/48", "203.0.113.9"]).unwrap()
    }

    fn headers(name: &str, values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    /// The client of a request by a trusted proxy with these values of `X-Forwarded-For`.
    fn client(values: &[&str]) -> String {
        let values: Vec<_> = values.iter().map(|value| value.as_bytes()).collect();
        let headers = headers("x-forwarded-for", &values);
        proxies().client_address(ip(PROXY), &headers).to_string()
    }

    /// The client of a request by a trusted proxy with these values of `Forwarded`.
    fn forwarded(values: &[&str]) -> String {
        let values: Vec<_> = values.iter().map(|value| value.as_bytes()).collect();
        let proxies = proxies().header(ForwardingHeader::Forwarded);
        proxies.client_address(ip(PROXY), &headers("forwarded", &values)).to_string()
    }

    #[test]
    fn by_default_nobody_is_believed() {
        let mut all = headers("x-forwarded-for", &[CLIENT.as_bytes()]);
        all.extend(headers("forwarded", &[b"for=192.0.2.43"]));
        all.extend(headers("x-real-ip", &[CLIENT.as_bytes()]));
        for proxies in [TrustedProxies::default(), TrustedProxies::none(), "".parse().unwrap()] {
            for peer in ["127.0.0.1", PROXY, "::1", "198.51.100.1"] {
                assert_eq!(proxies.client_address(ip(peer), &all), ip(peer));
            }
        }
    }

    #[test]
    fn a_peer_that_is_no_trusted_proxy_is_the_client_whatever_it_sends() {
        for peer in ["192.0.2.7", "11.0.0.1", "203.0.113.8", "2001:db8:2::1", "::ffff:192.0.2.7"] {
            let sent = headers("x-forwarded-for", &[b"10.0.0.1", b"127.0.0.1, 10.0.0.1"]);
            assert_eq!(proxies().client_address(ip(peer), &sent), ip(peer).to_canonical());
        }
    }

    #[test]
    fn the_client_is_the_first_from_the_right_that_is_no_trusted_proxy() {
        for (values, expected) in [
            (&[CLIENT][..], CLIENT),
            (&["192.0.2.43, 10.0.0.2"], CLIENT),
            (&["192.0.2.43,203.0.113.9 ,10.0.0.2:4711"], CLIENT),
            (&["192.0.2.43", "203.0.113.9", "10.0.0.2"], CLIENT),
            (&["192.0.2.43, [2001:db8:1::5]:80, ::ffff:10.9.9.9"], CLIENT),
            (&["2001:db8:2::1, 10.0.0.2"], "2001:db8:2::1"),
            (&["[2001:db8:2::1]:443"], "2001:db8:2::1"),
            (&["::ffff:192.0.2.43"], CLIENT),
        ] {
            assert_eq!(client(values), expected, "{values:?}");
        }
    }

    #[test]
    fn if_all_are_trusted_proxies_the_leftmost_is_the_client() {
        assert_eq!(client(&[]), PROXY);
        assert_eq!(client(&["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
        assert_eq!(client(&["10.0.0.4", "10.0.0.3, 10.0.0.2"]), "10.0.0.4");
        assert_eq!(forwarded(&["for=10.0.0.3, for=10.0.0.2"]), "10.0.0.3");
    }

    #[test]
    fn what_a_client_wrote_itself_is_not_believed() {
        // The proxy appended the client's address to each of these, on the same line or the next.
        for sent in [
            "6.6.6.6",
            "127.0.0.1",
            "10.0.0.9",
            "6.6.6.6, 10.0.0.9",
            "10.0.0.9, 6.6.6.6, 10.0.0.9, 10.0.0.9",
            "unknown",
            "",
            ",",
            ",,,,",
            "\"",
            "\"6.6.6.6",
            "6.6.6.6\\",
            "for=6.6.6.6",
            "[::1",
            "6.6.6.6, \u{e9}\u{1f600}",
            "6.6.6.6 10.0.0.9",
        ] {
            assert_eq!(client(&[&format!("{sent}, {CLIENT}")]), CLIENT, "{sent}");
            assert_eq!(client(&[&format!("{sent},{CLIENT}, 10.0.0.2")]), CLIENT, "{sent}");
            assert_eq!(client(&[sent, CLIENT]), CLIENT, "{sent}");
            assert_eq!(client(&[sent, CLIENT, "10.0.0.2"]), CLIENT, "{sent}");
        }
    }

    #[test]
    fn what_a_client_wrote_itself_in_forwarded_is_not_believed() {
        for sent in [
            "for=6.6.6.6",
            "for=10.0.0.9",
            "for=6.6.6.6;by=10.0.0.1",
            "for=\"",
            "for=\"6.6.6.6",
            "for=6.6.6.6;x=\"",
            "for=6.6.6.6;x=\"\\",
            "for=6.6.6.6;x=\"\\\"",
            "x=\"a, for=6.6.6.6",
            "x=\\",
            "\\\"",
            "for=6.6.6.6,",
            ";;;",
            "for=unknown",
            "=\"=\"=\"",
        ] {
            for appended in [
                "for=192.0.2.43",
                "For=\"192.0.2.43:4711\"",
                "for=192.0.2.43;proto=https;host=\"a, for=6.6.6.6\"",
                "by=\"_x\\\\\";host=\"a\\\", for=6.6.6.6\";for=192.0.2.43",
                "for=192.0.2.43, for=10.0.0.2;by=\"[2001:db8:1::1]\"",
            ] {
                assert_eq!(forwarded(&[&format!("{sent}, {appended}")]), CLIENT, "{sent}");
                assert_eq!(forwarded(&[sent, appended]), CLIENT, "{sent}");
            }
        }
    }

    #[test]
    fn an_entry_that_names_no_address_ends_the_walk_at_the_last_trusted_proxy() {
        for hidden in ["unknown", "_hidden", "", " ", "localhost", "192.0.2.999", "unix:", "\u{e9}"]
        {
            assert_eq!(client(&[&format!("6.6.6.6, {hidden}")]), PROXY, "{hidden}");
            assert_eq!(client(&["6.6.6.6", hidden]), PROXY, "{hidden}");
            assert_eq!(client(&[&format!("6.6.6.6,{hidden},10.0.0.3,10.0.0.2")]), "10.0.0.3");
        }
        for hidden in ["for=unknown", "for=_hidden", "for=\"_h\"", "by=192.0.2.43;proto=https", ""]
        {
            assert_eq!(forwarded(&[&format!("for=6.6.6.6, {hidden}")]), PROXY, "{hidden}");
            assert_eq!(forwarded(&["for=6.6.6.6", hidden, "for=10.0.0.2"]), "10.0.0.2");
        }
    }

    #[test]
    fn one_header_is_believed_and_no_other() {
        let names = ["x-forwarded-for", "forwarded", "x-real-ip"];
        let named = ForwardingHeader::Named(HeaderName::from_static("x-real-ip"));
        let kinds = [ForwardingHeader::XForwardedFor, ForwardingHeader::Forwarded, named];
        for (header, name) in kinds.into_iter().zip(names) {
            assert_eq!(header.name().as_str(), name);
            let proxies = proxies().header(header);
            for sent in names {
                let value: &[u8] = if sent == "forwarded" { b"for=6.6.6.6" } else { b"6.6.6.6" };
                let found = proxies.client_address(ip(PROXY), &headers(sent, &[value]));
                let expected = if sent == name { "6.6.6.6" } else { PROXY };
                assert_eq!(found, ip(expected), "{sent} where {name} is believed");
            }
        }
        let named = proxies().header(ForwardingHeader::Named(FORWARDED));
        assert_eq!(
            named.client_address(ip(PROXY), &headers("forwarded", &[b"for=192.0.2.43"])),
            ip(CLIENT),
            "the header decides how it is read"
        );
    }

    #[test]
    fn more_than_the_bounds_is_not_looked_at() {
        let hops = |count: usize| vec!["10.0.0.2"; count].join(", ");
        let chain = |count: usize| format!("{CLIENT}, {}", hops(count));
        assert_eq!(client(&[&chain(TrustedProxies::MAX_HOPS - 1)]), CLIENT);
        assert_eq!(client(&[&chain(TrustedProxies::MAX_HOPS)]), "10.0.0.2");
        let spaces = " ".repeat(TrustedProxies::MAX_LEN);
        assert_eq!(client(&[&format!("{CLIENT},{spaces}10.0.0.2")]), PROXY);
        assert_eq!(client(&[&format!("{CLIENT}{spaces},10.0.0.2")]), "10.0.0.2");
        let long = "6.6.6.6,".repeat(100_000);
        assert_eq!(
            client(&[&format!("{long}{CLIENT}")]),
            CLIENT,
            "what is left of it costs nothing"
        );
        assert_eq!(client(&[&long, &format!("{CLIENT}, 10.0.0.2")]), CLIENT);
    }

    #[test]
    fn networks_are_compared_in_canonical_form() {
        let proxies = TrustedProxies::new(["::ffff:10.0.0.0/104", "::FFFF:192.0.2.1", "fe80::/10"]);
        let proxies = proxies.unwrap();
        for inside in ["10.255.0.1", "::ffff:10.0.0.1", "192.0.2.1", "fe80::1"] {
            assert!(proxies.contains(ip(inside)), "{inside}");
        }
        for outside in ["11.0.0.1", "192.0.2.2", "::10.0.0.1", "::1", "fec0::1"] {
            assert!(!proxies.contains(ip(outside)), "{outside}");
        }
        assert_eq!(" 10.0.0.0/8 , ::1".parse(), TrustedProxies::new(["10.0.0.0/8", "::1"]));
    }

    #[test]
    fn a_network_that_makes_no_sense_says_why() {
        for (network, expected) in [
            ("", "written as"),
            ("localhost", "\"localhost\""),
            ("10.0.0.0/33", "\"10.0.0.0/33\""),
            ("10.0.0.0/", "written as"),
            ("10.0.0/8", "written as"),
            ("010.0.0.0/8", "written as"),
            ("10.0.0.0/+8", "written as"),
            ("10.0.0.0/8/8", "written as"),
            ("[::1]", "written as"),
            ("10.0.0.1:80", "written as"),
            ("10.0.0.5/8", "write 10.0.0.0/8 or 10.0.0.5"),
            ("2001:db8::1/32", "write 2001:db8::/32 or 2001:db8::1"),
            ("0.0.0.0/0", "all addresses"),
            ("::/0", "all addresses"),
            ("::ffff:0:0/96", "all addresses"),
            ("\u{7}\n", "\\u{7}"),
        ] {
            let error = TrustedProxies::new(["10.0.0.0/8", network]).unwrap_err().to_string();
            assert!(error.contains(expected), "{network:?}: {error}");
        }
        let error = TrustedProxies::new(["x".repeat(100_000)]).unwrap_err().to_string();
        assert!(error.len() < 400);
        let many = vec!["10.0.0.1"; TrustedProxies::MAX_NETWORKS + 1];
        assert!(TrustedProxies::new(&many).unwrap_err().to_string().contains("1024"));
        assert!(TrustedProxies::new(&many[1..]).is_ok());
        assert!("10.0.0.0/8,".parse::<TrustedProxies>().is_err());
    }

    #[test]
    fn a_device_has_the_user_agent_and_the_address_of_the_client() {
        let mut sent = headers("user-agent", &[b"curl/8.14 \xff"]);
        sent.extend(headers("x-forwarded-for", &[b"::ffff:192.0.2.43"]));
        let device = proxies().device(Some(ip(PROXY)), &sent);
        assert_eq!(device.user_agent(), Some("curl/8.14 \u{fffd}"));
        assert_eq!(device.address(), Some(ip(CLIENT)));
        let unknown = proxies().device(None, &sent);
        assert_eq!((unknown.user_agent(), unknown.address()), (device.user_agent(), None));
        assert_eq!(proxies().device(None, &HeaderMap::new()), Device::new());
    }

    /// What can stand in a header: any bytes but controls, and those that matter here often.
    fn sent() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            3 => prop::sample::select(&b"\",;=\\ .:[]0123456789abfor\t"[..]),
            1 => any::<u8>().prop_filter("no controls", |byte| *byte >= 32 && *byte != 127),
        ];
        prop::collection::vec(byte, 0..64)
    }

    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
            any::<u128>().prop_map(|bits| IpAddr::V6(bits.into())),
            (0_u32..1 << 24).prop_map(|bits| IpAddr::V4((10 << 24 | bits).into())),
        ]
    }

    fn entry(syntax: Syntax, address: IpAddr, port: Option<u16>) -> String {
        let port_text = port.map(|port| format!(":{port}")).unwrap_or_default();
        let node = match address {
            IpAddr::V4(_) => format!("{address}{port_text}"),
            IpAddr::V6(_) => format!("[{address}]{port_text}"),
        };
        match syntax {
            Syntax::Addresses => node,
            Syntax::Parameters => format!("proto=https;for=\"{node}\";host=\"a\\\",b\""),
        }
    }

    proptest! {
        #[test]
        fn whatever_a_client_sends_what_proxies_append_decides(
            sent in prop::collection::vec(sent(), 1..4),
            client in address(),
            hops in prop::collection::vec((0_u32..1 << 24, any::<Option<u16>>()), 0..4),
            header in prop::sample::select(
                vec![ForwardingHeader::XForwardedFor, ForwardingHeader::Forwarded]
            ),
            same_line in any::<bool>(),
        ) {
            let proxies = proxies().header(header.clone());
            prop_assume!(!proxies.contains(client));
            let syntax = header.syntax();
            let mut appended = entry(syntax, client, None);
            for (hop, port) in hops {
                appended += ", ";
                appended += &entry(syntax, IpAddr::V4((10 << 24 | hop).into()), port);
            }
            let mut values = sent;
            if same_line && let Some(last) = values.last_mut() {
                last.extend_from_slice(b", ");
                last.extend_from_slice(appended.as_bytes());
            } else {
                values.push(appended.into_bytes());
            }
            let values: Vec<&[u8]> = values.iter().map(|value| &**value).collect();
            let headers = headers(header.name().as_str(), &values);
            prop_assert_eq!(proxies.client_address(ip(PROXY), &headers), client.to_canonical());
        }

        #[test]
        fn a_stranger_is_what_it_is(values in prop::collection::vec(sent(), 0..4), peer in address()) {
            prop_assume!(!proxies().contains(peer));
            let values: Vec<&[u8]> = values.iter().map(|value| &**value).collect();
            let headers = headers("x-forwarded-for", &values);
            prop_assert_eq!(proxies().client_address(peer, &headers), peer.to_canonical());
        }

        #[test]
        fn lines_are_one_list(addresses in prop::collection::vec(address(), 1..6), cut in 0_usize..6) {
            let texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
            let (left, right) = texts.split_at(cut.min(texts.len()));
            let lines = [left.join(","), right.join(",")];
            let lines: Vec<&str> =
                lines.iter().map(String::as_str).filter(|line| !line.is_empty()).collect();
            prop_assert_eq!(client(&lines), client(&[&texts.join(", ")]));
        }
    }
}
