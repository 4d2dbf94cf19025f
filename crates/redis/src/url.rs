//! Where the servers are, as a URL says it.

use std::fmt;
use std::path::PathBuf;

use kvolt_cache::{Error, Result};

/// A parsed URL.
#[derive(Clone)]
pub(crate) struct Url {
    pub(crate) deployment: Deployment,
    pub(crate) tls: bool,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: u32,
}

/// The servers that a URL names.
#[derive(Debug, Clone)]
pub(crate) enum Deployment {
    Single(Address),
    Sentinel {
        sentinels: Vec<Address>,
        master: String,
    },
    /// A cluster, by some of its nodes.
    Cluster(Vec<Address>),
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    Tcp {
        host: String,
        port: u16,
    },
    Unix(PathBuf),
    /// Where a connection of the application leads.
    Existing,
}

impl Address {
    /// The address that a server at this one reports. A cluster node that does not know its own
    /// host leaves it out.
    pub(crate) fn beside(&self, host: String, port: u16) -> Self {
        match self {
            Self::Tcp { host: own, .. } if host.is_empty() || host == "?" => {
                Self::Tcp { host: own.clone(), port }
            }
            _ => Self::Tcp { host, port },
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Existing => f.write_str("the server of the application's connection"),
        }
    }
}

/// The forms, for messages. A message never has the URL itself, which may have a password.
const FORMS: &str = "it must have the form redis://[user:password@]host[:port][/database], \
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
        let (server, kind) = match scheme.split_once('+') {
            Some((server, kind)) => (server, Some(kind)),
            None => (scheme, None),
        };
        let tls = matches!(server, "rediss" | "valkeys");
        if !tls && !matches!(server, "redis" | "valkey") {
            return Err(invalid("its scheme is unknown"));
        }
        if rest.contains(['?', '#']) {
            return Err(invalid("it has a query or a fragment"));
        }
        // Tolerates an `@` in a password, which should be `%40`.
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (Some(credentials), rest),
            None => (None, rest),
        };
        let (user, password) = credentials.map_or(Ok((None, None)), user_and_password)?;
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.trim_end_matches('/');
        let (deployment, database) = match kind {
            None => match &addresses(hosts, 6_379)?[..] {
                [address] => (Deployment::Single(address.clone()), path),
                _ => return Err(invalid("it names several hosts")),
            },
            Some("sentinel") => {
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                let master = decode(master)?;
                if master.is_empty() {
                    return Err(invalid("it does not say which master the sentinels watch"));
                }
                (Deployment::Sentinel { sentinels: addresses(hosts, 26_379)?, master }, database)
            }
            Some("cluster") => (Deployment::Cluster(addresses(hosts, 6_379)?), path),
            Some(_) => return Err(invalid("its scheme is unknown")),
        };
        let database = database_number(database)?;
        if kind == Some("cluster") && database != 0 {
            return Err(invalid("a cluster has one database"));
        }
        Ok(Self { deployment, tls, user, password, database })
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
                _ => return Err(invalid("its query has a parameter other than `db`")),
            }
        }
        let deployment = Deployment::Single(Address::Unix(PathBuf::from(decode(path)?)));
        Ok(Self { deployment, tls: false, user: None, password: None, database })
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

/// Decodes percent-encoding (RFC 3986, section 2.1).
fn decode(text: &str) -> Result<String> {
    let mut parts = text.split('%');
    let mut bytes = Vec::from(parts.next().unwrap_or_default());
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or_else(|| invalid("a `%` is not followed by two digits"))?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
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
    fn each_form_is_parsed() {
        let url = Url::parse("redis://ada:p%40ss:word@example.com:7000/3").unwrap();
        assert_eq!(
            (url.user.as_deref(), url.password.as_deref()),
            (Some("ada"), Some("p@ss:word"))
        );
        assert_eq!((url.database, url.tls), (3, false));
        assert!(
            matches!(url.deployment, Deployment::Single(address) if address == tcp("example.com", 7_000))
        );

        let url = Url::parse("rediss://:secret@[::1]").unwrap();
        assert_eq!((url.user, url.password.as_deref(), url.tls), (None, Some("secret"), true));
        assert!(
            matches!(url.deployment, Deployment::Single(address) if address == tcp("::1", 6_379))
        );

        let url = Url::parse("unix:///run/valkey.sock?db=2").unwrap();
        assert_eq!(url.database, 2);
        assert!(
            matches!(url.deployment, Deployment::Single(Address::Unix(path)) if path.ends_with("valkey.sock"))
        );

        let url = Url::parse("redis+sentinel://a,b:1/main/4").unwrap();
        assert_eq!(url.database, 4);
        let Deployment::Sentinel { sentinels, master } = url.deployment else {
            panic!("the URL names sentinels")
        };
        assert_eq!((sentinels, master.as_str()), (vec![tcp("a", 26_379), tcp("b", 1)], "main"));

        let url = Url::parse("rediss+cluster://a,b:1").unwrap();
        assert!(url.tls);
        let Deployment::Cluster(seeds) = url.deployment else { panic!("the URL names a cluster") };
        assert_eq!(seeds, [tcp("a", 6_379), tcp("b", 1)]);
    }

    #[test]
    fn error_never_has_the_password() {
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
