//! Where the servers are, as a URL says it.

use std::path::PathBuf;

use kvolt_cache::{Error, Result};

/// A URL, taken apart.
#[derive(Clone)]
pub(crate) struct Url {
    pub(crate) place: Place,
    pub(crate) tls: bool,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: u32,
}

/// Which servers, and how the one to ask is found.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    One(Address),
    Sentinel { sentinels: Vec<Address>, master: String },
    Cluster(Vec<Address>),
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The forms, for messages. A message never has the URL itself: there may be a password in it.
const FORMS: &str = "it has to be of the form redis://[user:password@]host[:port][/database], \
    rediss://…, unix:///path[?db=database], redis+sentinel://[user:password@]host[:port],…/master[/database], \
    rediss+sentinel://…, redis+cluster://[user:password@]host[:port],… or rediss+cluster://…";

fn invalid(what: &str) -> Error {
    Error::misconfigured(format!("the URL of the server is not valid: {what}; {FORMS}"))
}

impl Url {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| invalid("it has no `://`"))?;
        if scheme == "unix" {
            return Self::unix(rest);
        }
        let (tls, kind) = match scheme {
            "redis" | "valkey" => (false, ""),
            "rediss" | "valkeys" => (true, ""),
            _ => match scheme.split_once('+') {
                Some(("redis" | "valkey", kind)) => (false, kind),
                Some(("rediss" | "valkeys", kind)) => (true, kind),
                _ => return Err(invalid("its scheme is unknown")),
            },
        };
        if rest.contains(['?', '#']) {
            return Err(invalid("it has a query or a fragment"));
        }
        // A password may contain an `@` only as %40, but be kind to those who forget.
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (Some(credentials), rest),
            None => (None, rest),
        };
        let (user, password) = credentials.map_or(Ok((None, None)), user_and_password)?;
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.trim_end_matches('/');
        let (place, database) = match kind {
            "" => match &addresses(hosts, 6_379)?[..] {
                [address] => (Place::One(address.clone()), path),
                _ => return Err(invalid("it names several hosts")),
            },
            "sentinel" => {
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                let master = decode(master)?;
                if master.is_empty() {
                    return Err(invalid("it does not say which master the sentinels watch"));
                }
                (Place::Sentinel { sentinels: addresses(hosts, 26_379)?, master }, database)
            }
            "cluster" => (Place::Cluster(addresses(hosts, 6_379)?), path),
            _ => return Err(invalid("its scheme is unknown")),
        };
        let database = database_number(database)?;
        if kind == "cluster" && database != 0 {
            return Err(invalid("a cluster has one database"));
        }
        Ok(Self { place, tls, user, password, database })
    }

    fn unix(rest: &str) -> Result<Self> {
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        if !path.starts_with('/') {
            return Err(invalid("the path of the socket is not absolute"));
        }
        let mut database = 0;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("db", number)) => database = database_number(number)?,
                _ => return Err(invalid("its query has something other than `db`")),
            }
        }
        let place = Place::One(Address::Unix(PathBuf::from(decode(path)?)));
        Ok(Self { place, tls: false, user: None, password: None, database })
    }
}

fn user_and_password(text: &str) -> Result<(Option<String>, Option<String>)> {
    let Some((user, password)) = text.split_once(':') else {
        return Err(invalid("it has a user without a password"));
    };
    let user = decode(user)?;
    Ok(((!user.is_empty()).then_some(user), Some(decode(password)?)))
}

fn database_number(text: &str) -> Result<u32> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| invalid("the database is not a number"))
}

fn addresses(text: &str, port: u16) -> Result<Vec<Address>> {
    text.split(',').map(|host| address(host, port)).collect()
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
pub(crate) fn address(text: &str, default_port: u16) -> Result<Address> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(|| invalid("a `]` is missing"))?;
            (host, port.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().map_err(|_| invalid("a port is not a number"))?,
        None => default_port,
    };
    if host.is_empty() {
        return Err(invalid("a host is missing"));
    }
    Ok(Address::Tcp { host: decode(host)?, port })
}

/// Percent-decoding (RFC 3986, section 2.1).
fn decode(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let pair = digit(rest.next()).zip(digit(rest.next()));
        let (high, low) = pair.ok_or_else(|| invalid("a `%` is not followed by two digits"))?;
        // Two hexadecimal digits make a byte.
        bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
    }
    String::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: String::from(host), port }
    }

    #[test]
    fn each_form_is_understood() {
        let url = Url::parse("redis://ada:p%40ss:word@example.com:7000/3").unwrap();
        assert_eq!(
            (url.user.as_deref(), url.password.as_deref()),
            (Some("ada"), Some("p@ss:word"))
        );
        assert_eq!((url.database, url.tls), (3, false));
        assert!(matches!(url.place, Place::One(address) if address == tcp("example.com", 7_000)));

        let url = Url::parse("rediss://:secret@[::1]").unwrap();
        assert_eq!((url.user, url.password.as_deref(), url.tls), (None, Some("secret"), true));
        assert!(matches!(url.place, Place::One(address) if address == tcp("::1", 6_379)));

        let url = Url::parse("unix:///run/valkey.sock?db=2").unwrap();
        assert_eq!(url.database, 2);
        assert!(
            matches!(url.place, Place::One(Address::Unix(path)) if path.ends_with("valkey.sock"))
        );

        let url = Url::parse("redis+sentinel://a,b:1/main/4").unwrap();
        assert_eq!(url.database, 4);
        let Place::Sentinel { sentinels, master } = url.place else { panic!("it is a Sentinel's") };
        assert_eq!((sentinels, master.as_str()), (vec![tcp("a", 26_379), tcp("b", 1)], "main"));

        let url = Url::parse("rediss+cluster://a,b:1").unwrap();
        assert!(url.tls);
        let Place::Cluster(seeds) = url.place else { panic!("it is a cluster's") };
        assert_eq!(seeds, [tcp("a", 6_379), tcp("b", 1)]);
    }

    #[test]
    fn anything_else_is_refused_without_telling_the_password() {
        for text in [
            "",
            "redis",
            "http://u:hunter2@host",
            "redis://",
            "redis://u:hunter2@",
            "redis://u:hunter2@host:port",
            "redis://u:hunter2@host/x",
            "redis://u:hunter2@a,b",
            "redis://hunter2@host",
            "redis://host?protocol=hunter2",
            "redis+sentinel://u:hunter2@host",
            "redis+cluster://u:hunter2@host/1",
            "redis+other://u:hunter2@host",
            "redis://u:hunter2%zz@host",
            "unix://relative",
            "unix:///path?pass=hunter2",
        ] {
            let error = Url::parse(text).err().expect(text);
            assert!(error.is_misconfigured());
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }
}
