//! What can be set on the command line and in the environment.

mod values;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use axum::http::HeaderName;
use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use kvolt::cache::codec::EncryptionKey;
use kvolt::middleware::{ForwardingHeader, TrustedProxies};

use self::values::duration;
pub(crate) use self::values::{AtLimit, Credentials, Every, PerUser, Reuse};
use crate::store::StoreUrl;

/// How long a token is still accepted that was changed, unless set.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// The reference application of KVolt: sign-in, devices, live events, administration.
#[derive(Debug, Parser)]
#[command(name = "kvolt-app", version, about)]
pub(crate) struct Options {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", env = "KVOLT_LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// Where sessions are kept: memory:, redis:// or rediss://, postgres://,
    /// mysql:// (MariaDB too), sqlite:PATH.
    #[arg(
        long,
        value_name = "URL",
        env = "KVOLT_STORE",
        default_value = "memory:",
        hide_env_values = true
    )]
    pub(crate) store: StoreUrl,

    /// The name of this deployment in a store that others may share, such as `shop`: sessions and
    /// users of one namespace mean nothing in another. Required for every store but memory:.
    #[arg(long, value_name = "NAME", env = "KVOLT_NAMESPACE")]
    pub(crate) namespace: Option<String>,

    /// Keep copies of the store's sessions in memory that may be this old, such as 1s.
    /// Without it, every request asks the store.
    #[arg(long, value_name = "DURATION", env = "KVOLT_NEAR_CACHE", value_parser = duration)]
    pub(crate) near_cache: Option<Duration>,

    /// Encrypt sessions in the store with this key of 64 hexadecimal digits; of several,
    /// separated by commas, the first encrypts and all decrypt.
    #[arg(
        long = "encryption-key",
        value_name = "HEX",
        env = "KVOLT_ENCRYPTION_KEY",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub(crate) encryption_keys: Vec<EncryptionKey>,

    /// How long a session lives unused, such as 30m.
    #[arg(long, value_name = "DURATION", env = "KVOLT_IDLE", default_value = "30m", value_parser = duration)]
    pub(crate) idle: Duration,

    /// How long a session lives at the most, such as 12h.
    #[arg(long, value_name = "DURATION", env = "KVOLT_LIFETIME", default_value = "12h", value_parser = duration)]
    pub(crate) lifetime: Duration,

    /// How long a session lives, used or not, of one who asked to be remembered.
    #[arg(long, value_name = "DURATION", env = "KVOLT_REMEMBER_LIFETIME", default_value = "30d", value_parser = duration)]
    pub(crate) remember_lifetime: Duration,

    /// How old a token may get before a request changes it, such as 15m, or `off`.
    #[arg(long, value_name = "DURATION", env = "KVOLT_ROTATE_EVERY", default_value = "15m")]
    pub(crate) rotate_every: Every,

    /// How long a token is still accepted that was changed. Without it 10 seconds, or less
    /// where sessions or tokens live shorter.
    #[arg(long, value_name = "DURATION", env = "KVOLT_ROTATION_GRACE", value_parser = duration)]
    pub(crate) rotation_grace: Option<Duration>,

    /// What happens when a token is used after that: the sign of a theft, or of a lost answer.
    #[arg(long, value_enum, env = "KVOLT_TOKEN_REUSE", default_value = "report")]
    pub(crate) token_reuse: Reuse,

    /// How many sessions a user may have at once, or `unlimited`.
    #[arg(long, value_name = "NUMBER", env = "KVOLT_SESSIONS_PER_USER", default_value = "20")]
    pub(crate) sessions_per_user: PerUser,

    /// What a sign-in does that would be one too many.
    #[arg(long, value_enum, env = "KVOLT_AT_LIMIT", default_value = "end-oldest")]
    pub(crate) at_limit: AtLimit,

    /// How recently somebody must have given their password to change it or to administer.
    #[arg(long, value_name = "DURATION", env = "KVOLT_FRESH", default_value = "5m", value_parser = duration)]
    pub(crate) fresh: Duration,

    /// How many sign-ins may fail within five minutes for one name; ten times as many
    /// from one address.
    #[arg(long, value_name = "NUMBER", env = "KVOLT_FAILED_SIGN_INS", default_value = "10")]
    pub(crate) failed_sign_ins: NonZeroUsize,

    /// Who can sign in; may be given several times, in the environment one a line.
    /// Without it, one user with a new password that is printed.
    #[arg(
        long = "user",
        value_name = "NAME:PASSWORD",
        env = "KVOLT_USER",
        value_delimiter = '\n',
        hide_env_values = true
    )]
    pub(crate) users: Vec<Credentials>,

    /// The same for those who administer everybody's sessions.
    #[arg(
        long = "admin",
        value_name = "NAME:PASSWORD",
        env = "KVOLT_ADMIN",
        value_delimiter = '\n',
        hide_env_values = true
    )]
    pub(crate) admins: Vec<Credentials>,

    /// Keep accounts in this file, so that a changed password outlives the program and all
    /// instances know it. Users who are given and not in it are added; it holds hashes only.
    #[arg(long, value_name = "FILE", env = "KVOLT_ACCOUNTS")]
    pub(crate) accounts: Option<PathBuf>,

    /// Where to serve metrics for Prometheus, under /metrics; nowhere without it. An address
    /// of its own, because behind a proxy every request seems to come from this machine.
    #[arg(long, value_name = "ADDRESS", env = "KVOLT_METRICS_LISTEN")]
    pub(crate) metrics_listen: Option<SocketAddr>,

    /// A proxy that is believed about where requests come from, by its address or network, such
    /// as 10.0.0.0/8; may be given several times. Without it, nobody is.
    #[arg(
        long = "trusted-proxy",
        value_name = "CIDR",
        env = "KVOLT_TRUSTED_PROXY",
        value_delimiter = ','
    )]
    pub(crate) trusted_proxies: Vec<String>,

    /// The header in which these proxies say it: x-forwarded-for, forwarded, or another name,
    /// which they must overwrite when a client sends it.
    #[arg(
        long,
        value_name = "NAME",
        env = "KVOLT_FORWARDING_HEADER",
        default_value = "x-forwarded-for",
        requires = "trusted_proxies"
    )]
    pub(crate) forwarding_header: HeaderName,

    /// The name of the cookie, such as `shop_session`. Two instances on one host need two, since
    /// cookies have no port. Defaults to `__Host-session_id`, or `session_id` over plain HTTP.
    #[arg(long, value_name = "NAME", env = "KVOLT_COOKIE_NAME")]
    pub(crate) cookie_name: Option<String>,

    /// An origin whose pages may change things here, such as `https://shop.example`: needed where a
    /// proxy rewrites Host; may be given several times.
    #[arg(
        long = "trusted-origin",
        value_name = "ORIGIN",
        env = "KVOLT_TRUSTED_ORIGIN",
        value_delimiter = ','
    )]
    pub(crate) trusted_origins: Vec<String>,

    /// Use the safe cookie also on a loopback address: TLS ends in front of it.
    #[arg(long, env = "KVOLT_BEHIND_TLS", conflicts_with = "insecure_plain_http")]
    pub(crate) behind_tls: bool,

    /// Use the cookie without Secure on any address: whoever is on the way can take sessions over.
    #[arg(long, env = "KVOLT_INSECURE_PLAIN_HTTP")]
    pub(crate) insecure_plain_http: bool,
}

impl Options {
    /// The options, or how to exit: after help, or after one line about what is wrong.
    pub(crate) fn from_command_line() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                // Nobody can be told that nobody can be told.
                let _ = error.print();
                ExitCode::SUCCESS
            }
            _ => {
                eprintln!("{}", line(error));
                ExitCode::from(2)
            }
        })
    }

    /// The name of the cookie.
    pub(crate) fn cookie_name(&self) -> &str {
        let default = if self.plain_cookie() {
            crate::state::PLAIN_COOKIE
        } else {
            crate::state::SAFE_COOKIE
        };
        self.cookie_name.as_deref().unwrap_or(default)
    }

    /// Whether the cookie goes without `Secure`.
    pub(crate) fn plain_cookie(&self) -> bool {
        self.insecure_plain_http || (self.listen.ip().is_loopback() && !self.behind_tls)
    }

    /// Who is believed about where requests come from.
    pub(crate) fn proxies(&self) -> Result<TrustedProxies, String> {
        let header = match self.forwarding_header.as_str() {
            "x-forwarded-for" => ForwardingHeader::XForwardedFor,
            "forwarded" => ForwardingHeader::Forwarded,
            _ => ForwardingHeader::Named(self.forwarding_header.clone()),
        };
        let proxies = TrustedProxies::new(&self.trusted_proxies);
        let proxies = proxies.map_err(|error| format!("--trusted-proxy: {error}"))?;
        Ok(proxies.header(header))
    }

    /// How long a token is still accepted that was changed.
    pub(crate) fn rotation_grace(&self) -> Duration {
        let shortest = self.idle.min(self.remember_lifetime);
        let shortest = self.rotate_every.0.map_or(shortest, |every| shortest.min(every));
        self.rotation_grace.unwrap_or(DEFAULT_GRACE.min(shortest))
    }
}

/// What is wrong, in one line. A value that may hold a password is left out: logs keep such lines.
fn line(mut error: clap::Error) -> String {
    let secret = ["--user", "--admin", "--store", "--encryption-key"];
    let about = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    if secret.iter().any(|name| about.starts_with(name)) {
        error.insert(ContextKind::InvalidValue, ContextValue::String(String::from("…")));
    }
    let message = error.render().to_string();
    let mut lines = message.lines().map(str::trim).filter(|line| !line.is_empty());
    match (lines.next(), lines.next()) {
        // What is missing stands below it.
        (Some(first), Some(second)) if first.ends_with(':') => format!("{first} {second}"),
        (first, _) => first.unwrap_or("error: bad options").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from([&["kvolt-app"], options].concat())
    }

    #[test]
    fn the_cookie_is_plain_on_loopback_only_or_where_that_is_asked_for() {
        for (options, plain) in [
            (&[][..], true),
            (&["--listen", "[::1]:0"], true),
            (&["--behind-tls"], false),
            (&["--listen", "0.0.0.0:80"], false),
            (&["--listen", "0.0.0.0:80", "--insecure-plain-http"], true),
        ] {
            assert_eq!(parse(options).unwrap().plain_cookie(), plain, "{options:?}");
        }
    }

    #[test]
    fn a_password_may_contain_colons_and_does_not_show() {
        let options = parse(&["--user", "ada:a:b c", "--user", "bob:x"]).unwrap();
        assert_eq!((&*options.users[0].name, &*options.users[0].password), ("ada", "a:b c"));
        assert_eq!(options.users.len(), 2);
        assert!(!format!("{options:?}").contains("a:b c"));
    }

    #[test]
    fn a_password_that_is_given_wrongly_is_not_told_on() {
        for wrong in ["hunter2", ":hunter2", "ada:right\nhunter2"] {
            let line = line(parse(&["--user", wrong]).unwrap_err());
            assert!(!line.contains("hunter2") && line.contains("NAME:PASSWORD"), "{line}");
        }
        for wrong in [
            ["--store", "hunter2://localhost"],
            ["--encryption-key", "hunter2"],
            ["--admin", "hunter2"],
        ] {
            let line = line(parse(&wrong).unwrap_err());
            assert!(!line.contains("hunter2"), "{line}");
        }
        let line = line(parse(&["--idle", "soon"]).unwrap_err());
        assert!(line.contains("'soon'"), "all else is shown: {line}");
    }

    #[test]
    fn a_grace_is_never_longer_than_what_it_is_a_part_of_unless_set() {
        for (options, expected) in [
            (&[][..], 10_000),
            (&["--idle", "300ms"], 300),
            (&["--rotate-every", "1s"], 1_000),
            (&["--rotate-every", "off", "--rotation-grace", "1m"], 60_000),
        ] {
            let grace = parse(options).unwrap().rotation_grace();
            assert_eq!(grace, Duration::from_millis(expected), "{options:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for options in [
            ["--listen", "here"],
            ["--idle", "soon"],
            ["--idle", "0s"],
            ["--store", "memcached://localhost"],
            ["--near-cache", "0s"],
            ["--encryption-key", "hunter2"],
            ["--user", "ada"],
            ["--admin", "ada"],
            ["--rotate-every", "0s"],
            ["--token-reuse", "forgive"],
            ["--sessions-per-user", "0"],
            ["--at-limit", "cry"],
            ["--failed-sign-ins", "0"],
            ["--colour", "red"],
        ] {
            assert!(parse(&options).is_err(), "{options:?}");
        }
        assert!(parse(&["--behind-tls", "--insecure-plain-http"]).is_err());
    }
}
