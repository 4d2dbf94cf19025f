//! Where a store is, as the command line names it.
//!
//! No message has a part of a URL that may be a password: a wrong URL may have it anywhere.

use std::env;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::args::first_line;
use crate::failure::{Failure, usage};
use crate::output::note;

/// A kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Redis,
    Postgres,
    MySql,
    Sqlite,
}

impl Kind {
    /// Its name in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Postgres => "postgres",
            Self::MySql => "mysql",
            Self::Sqlite => "sqlite",
        }
    }

    fn of(scheme: &str) -> Option<Self> {
        let server = scheme.split_once('+').map_or(scheme, |(server, _)| server);
        Some(match server {
            "redis" | "rediss" | "valkey" | "valkeys" | "unix" => Self::Redis,
            "postgres" | "postgresql" => Self::Postgres,
            "mysql" | "mariadb" => Self::MySql,
            "sqlite" => Self::Sqlite,
            _ => return None,
        })
    }
}

/// A store's URL, and the settings that were its parameters.
#[cfg_attr(test, derive(Debug))]
pub(crate) struct StoreUrl {
    pub(crate) kind: Kind,
    /// The URL for the store's own builder. Has the password, unless `credentials` has it.
    pub(crate) url: String,
    /// The user and the password for Redis, if the password came from a variable or a file.
    pub(crate) credentials: Option<(Option<String>, String)>,
    pub(crate) settings: Settings,
    /// Whether a password was on the command line.
    pub(crate) shows_password: bool,
    shown: String,
    identity: String,
}

/// Settings of the stores' builders.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    pub(crate) max_connections: Option<usize>,
    pub(crate) keeps_schema: bool,
    pub(crate) is_synchronous_normal: bool,
    pub(crate) max_file_size: Option<u64>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) client_certificate: Option<PathBuf>,
    pub(crate) client_key: Option<PathBuf>,
    pub(crate) accepts_any_certificate: bool,
    pub(crate) sentinel_user: Option<String>,
    pub(crate) sentinel_password: Option<Secret>,
    pub(crate) wait_replicas: Option<u32>,
    password: Option<Secret>,
}

/// A text that is never printed.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Parameters whose values are shown. The value of any other may be a secret.
const SHOWN: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-ca",
    "pooled_by_transactions",
    "max_connections",
    "migrate",
    "synchronous",
    "max_file_size",
    "ca_file",
    "client_certificate",
    "insecure_accept_any_certificate",
    "wait_replicas",
    "password_env",
    "password_file",
    "sentinel_password_env",
    "sentinel_password_file",
    "db",
    "host",
    "port",
    "dbname",
];

/// Parameters that decide which database it is.
const PLACES: &[&str] = &["db", "host", "hostaddr", "port", "dbname", "socket"];

impl StoreUrl {
    /// Reads a URL, `env:NAME` or `@FILE`.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        if let Some(name) = text.strip_prefix("env:") {
            let url = env::var(name);
            let url = url.map_err(|_| usage(format!("the variable {name} is not set")))?;
            return Self::parse_url(url.trim());
        }
        if let Some(path) = text.strip_prefix('@') {
            let url = first_line(&PathBuf::from(path));
            let url = url.map_err(|why| usage(format!("{path} can't be read: {why}")))?;
            return Self::parse_url(&url);
        }
        let url = Self::parse_url(text)?;
        let (_, rest) = text.split_once("://").unwrap_or(("", text));
        let credentials = rest.rsplit_once('@').map_or("", |(credentials, _)| credentials);
        let has_password = credentials.contains(':') || text.contains("password=");
        Ok(Self { shows_password: has_password && url.kind != Kind::Sqlite, ..url })
    }

    fn parse_url(text: &str) -> Result<Self, Failure> {
        let is_sqlite = !text.contains("://") || text.starts_with("sqlite:");
        let (base, query) = match text.split_once('?') {
            Some((base, query)) => (base, query),
            None => (text, ""),
        };
        if is_sqlite {
            return Self::sqlite(base, query);
        }
        let (scheme, rest) = base.split_once("://").unwrap_or(("", base));
        if query.contains('@') && !rest.contains('@') {
            // The query may be the end of a password that is not encoded.
            return Err(usage("in the URL, `?` must be %3F in a password, and `@` %40 after `?`"));
        }
        let kind = Kind::of(scheme).ok_or_else(|| {
            usage("the URL's scheme is none of redis, postgres, mysql and sqlite (`kvolt --help`)")
        })?;
        let (settings, others) = Settings::parse(kind, query)?;
        let (user, mut url, hosts) = match rest.rsplit_once('@') {
            Some((credentials, hosts)) => {
                let (user, password) = match credentials.split_once(':') {
                    Some((user, password)) => (user, Some(password)),
                    None => (credentials, None),
                };
                if password.is_some() && settings.password.is_some() {
                    return Err(usage("the URL has a password and names another one"));
                }
                (user, base.to_owned(), hosts)
            }
            None => ("", base.to_owned(), rest),
        };
        let mut credentials = None;
        if let Some(Secret(password)) = &settings.password {
            if kind == Kind::Redis {
                let user = if user.is_empty() { None } else { Some(decode(user)?) };
                credentials = Some((user, password.clone()));
                url = format!("{scheme}://{hosts}");
            } else {
                url = format!("{scheme}://{user}:{}@{hosts}", encode(password));
            }
        }
        let shown_user = match (user, rest.contains('@')) {
            (_, false) => String::new(),
            (user, true) => format!("{}:***@", if is_plain(user) { user } else { "***" }),
        };
        let mut shown = format!("{scheme}://{shown_user}{hosts}");
        let mut identity = format!("{}://{}", kind.name(), hosts.to_ascii_lowercase());
        if !others.is_empty() {
            let _ = write!(url, "?{}", others.join("&"));
        }
        for (index, pair) in pairs(query).enumerate() {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = if is_plain(name) { name } else { "***" };
            let value = if SHOWN.contains(&name) { value } else { "***" };
            let _ = write!(shown, "{}{name}={value}", if index == 0 { '?' } else { '&' });
            if PLACES.contains(&name) {
                let _ = write!(identity, "&{pair}");
            }
        }
        let shows_password = false;
        Ok(Self { kind, url, credentials, settings, shows_password, shown, identity })
    }

    fn sqlite(base: &str, query: &str) -> Result<Self, Failure> {
        let (settings, others) = Settings::parse(Kind::Sqlite, query)?;
        if settings.password.is_some() || !others.is_empty() {
            return Err(usage(unknown(Kind::Sqlite)));
        }
        let path = sqlite_path(base);
        let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let whole = std::fs::canonicalize(&whole).unwrap_or(whole);
        Ok(Self {
            kind: Kind::Sqlite,
            url: base.to_owned(),
            credentials: None,
            settings,
            shows_password: false,
            shown: format!("sqlite:{}", path.display()),
            identity: format!("sqlite:{}", whole.display()),
        })
    }

    /// Remarks that other users of the machine can see the password.
    pub(crate) fn warn(&self) {
        if self.shows_password {
            note(
                "the password is in the list of processes: use env:NAME, @FILE or password_env=NAME",
            );
        }
    }

    /// The URL without its password.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// Names the place, without credentials: the same for each URL that differs in them alone.
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    /// The path of a SQLite file.
    pub(crate) fn path(&self) -> &Path {
        sqlite_path(&self.url)
    }

    /// The hosts, as far as the URL names them.
    pub(crate) fn is_loopback(&self) -> bool {
        let (_, rest) = self.url.split_once("://").unwrap_or(("", &self.url));
        let rest = rest.split('?').next().unwrap_or_default();
        let hosts = rest.rsplit_once('@').map_or(rest, |(_, hosts)| hosts);
        let hosts = hosts.split('/').next().unwrap_or_default();
        hosts.split(',').all(|host| {
            ["127.", "localhost", "[::1]"].iter().any(|own| host.starts_with(own))
                || host.is_empty()
        })
    }
}

fn sqlite_path(url: &str) -> &Path {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    Path::new(path.strip_prefix("//").unwrap_or(path))
}

impl Settings {
    /// Takes the settings out of a URL's query, and returns the other parameters.
    fn parse(kind: Kind, query: &str) -> Result<(Self, Vec<&str>), Failure> {
        let (mut settings, mut others) = (Self::default(), Vec::new());
        for pair in pairs(query) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = || decode(value);
            match (kind, name) {
                (_, "password_env") => settings.password = Some(from_variable(value)?),
                (_, "password_file") => settings.password = Some(from_file(&decoded()?)?),
                (Kind::Postgres | Kind::MySql, "max_connections") => {
                    settings.max_connections = Some(number(name, value)?);
                }
                (Kind::Postgres | Kind::MySql | Kind::Sqlite, "migrate") => {
                    settings.keeps_schema = !is_true(name, value)?;
                }
                (Kind::Sqlite, "synchronous") => match value {
                    "normal" => settings.is_synchronous_normal = true,
                    "full" => {}
                    _ => return Err(usage("`synchronous` is neither normal nor full")),
                },
                (Kind::Sqlite, "max_file_size") => {
                    settings.max_file_size = Some(number(name, value)?);
                }
                (Kind::Redis, "ca_file") => settings.ca_file = Some(decoded()?.into()),
                (Kind::Redis, "client_certificate") => {
                    settings.client_certificate = Some(decoded()?.into());
                }
                (Kind::Redis, "client_key") => settings.client_key = Some(decoded()?.into()),
                (Kind::Redis, "insecure_accept_any_certificate") => {
                    settings.accepts_any_certificate = is_true(name, value)?;
                }
                (Kind::Redis, "sentinel_user") => settings.sentinel_user = Some(decoded()?),
                (Kind::Redis, "sentinel_password_env") => {
                    settings.sentinel_password = Some(from_variable(value)?);
                }
                (Kind::Redis, "sentinel_password_file") => {
                    settings.sentinel_password = Some(from_file(&decoded()?)?);
                }
                (Kind::Redis, "wait_replicas") => {
                    settings.wait_replicas = Some(number(name, value)?);
                }
                (Kind::Redis, "db") => others.push(pair),
                (Kind::Redis | Kind::Sqlite, _) => return Err(usage(unknown(kind))),
                (Kind::Postgres | Kind::MySql, _) => others.push(pair),
            }
        }
        if settings.client_certificate.is_some() != settings.client_key.is_some() {
            return Err(usage("`client_certificate` and `client_key` belong together"));
        }
        Ok((settings, others))
    }

    /// How long a change waits for replicas: less than three quarters of the call's time limit.
    pub(crate) fn replicas(&self, timeout: Duration) -> Option<(u32, Duration)> {
        self.wait_replicas.map(|replicas| (replicas, timeout / 2))
    }
}

fn pairs(query: &str) -> impl Iterator<Item = &str> {
    query.split('&').filter(|pair| !pair.is_empty())
}

/// Without the name, which may be a part of a password.
fn unknown(kind: Kind) -> String {
    format!(
        "the URL has a parameter that a store on {} does not know (`kvolt --help` lists them; in a \
         user name or a password, `?` is %3F)",
        kind.name()
    )
}

fn from_variable(name: &str) -> Result<Secret, Failure> {
    env::var(name).map(Secret).map_err(|_| usage(format!("the variable {name} is not set")))
}

fn from_file(path: &str) -> Result<Secret, Failure> {
    let line = first_line(&PathBuf::from(path));
    line.map(Secret).map_err(|why| usage(format!("{path} can't be read: {why}")))
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, Failure> {
    value.parse().map_err(|_| usage(format!("`{name}` is not a number in its range")))
}

fn is_true(name: &str, value: &str) -> Result<bool, Failure> {
    value.parse().map_err(|_| usage(format!("`{name}` is neither true nor false")))
}

/// Whether a text is a plain name: a password that is not encoded is usually none.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// Percent-encodes a password (RFC 3986, section 2.1).
fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

fn decode(text: &str) -> Result<String, Failure> {
    let wrong = || usage("a `%` in the URL is not followed by two digits");
    let mut parts = text.split('%');
    let mut bytes = Vec::from(parts.next().unwrap_or_default());
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or_else(wrong)?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).map_err(|_| usage("the URL is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "s3cr3t";

    #[test]
    fn url_is_shown_without_its_password() {
        for (url, shown) in [
            ("redis://127.0.0.1:6379/3", "redis://127.0.0.1:6379/3"),
            ("redis://:s3cr3t@a,b", "redis://:***@a,b"),
            ("rediss+cluster://app:s3cr3t@a:1,b:2", "rediss+cluster://app:***@a:1,b:2"),
            ("postgres://app:s3@cr3t:s3cr3t@db/app", "postgres://app:***@db/app"),
            (
                "postgres://app@db/app?password=s3cr3t&sslmode=require",
                "postgres://app:***@db/app?password=***&sslmode=require",
            ),
            ("mysql://s3cr3t!:s3cr3t@db/app", "mysql://***:***@db/app"),
            ("sqlite:sessions.db", "sqlite:sessions.db"),
        ] {
            let parsed = StoreUrl::parse(url).expect(url);
            assert_eq!(parsed.shown(), shown);
            assert_eq!(parsed.shows_password, url.contains(SECRET), "{url}");
        }
    }

    #[test]
    fn url_with_a_fault_is_never_quoted() {
        for url in [
            "s3cr3t://a",
            "redis://:pa?s3cr3t@a",
            "sqlite:a?s3cr3t",
            "redis://a?s3cr3t=1",
            "redis://a?ca_file=%s3cr3t",
            "redis://:s3cr3t@a?password_env=PATH",
            "postgres://u:s3cr3t?s3cr3t@a/b",
        ] {
            let failure = StoreUrl::parse(url).expect_err(url);
            assert!(!failure.message.contains(SECRET), "{}", failure.message);
        }
    }

    #[test]
    fn identity_is_the_place_alone() {
        let identity = |url: &str| StoreUrl::parse(url).expect("it is valid").identity;
        assert_eq!(
            identity("postgres://a:b@Host/app"),
            identity("postgresql://host/app?sslmode=no")
        );
        assert_eq!(identity("redis://host:1/2"), identity("rediss://u:p@host:1/2?ca_file=a"));
        assert_ne!(identity("redis://host:1/2"), identity("redis://host:1/3"));
        assert_ne!(identity("postgres:///app?host=a"), identity("postgres:///app?host=b"));
        assert_eq!(identity("sqlite:./a.db"), identity("a.db"));
    }

    #[test]
    fn password_of_a_variable_is_encoded() {
        let path = env::temp_dir().join(format!("kvolt-password-{}", std::process::id()));
        std::fs::write(&path, "a@/?é\nnot this\n").expect("it can be written");
        let parameter = format!("password_file={}", path.display());
        let parsed = |url: &str| StoreUrl::parse(url).expect("it is valid");
        let postgres = parsed(&format!("postgres://app@db/app?{parameter}&sslmode=disable"));
        assert_eq!(postgres.url, "postgres://app:a%40%2F%3F%C3%A9@db/app?sslmode=disable");
        let redis = parsed(&format!("redis://app@db/1?{parameter}"));
        assert_eq!(redis.url, "redis://db/1");
        assert_eq!(redis.credentials, Some((Some("app".to_owned()), "a@/?é".to_owned())));
        assert!(!redis.shows_password && !postgres.shows_password);
        std::fs::remove_file(path).expect("it exists");
    }
}
