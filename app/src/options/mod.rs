//! The options: on the command line, or in the environment.

mod listen_address;
mod store_url;
mod values;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use axum::http::HeaderName;
use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use kvolt::cache::codec::EncryptionKey;
use kvolt::middleware::{ForwardingHeader, TrustedProxies};

pub(crate) use self::listen_address::ListenAddress;
pub(crate) use self::store_url::{StoreKind, StoreUrl};
use self::values::duration;
pub(crate) use self::values::{AtLimit, Credentials, Every, PerUser, Reuse};

/// How long a replaced token stays valid, by default.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// The name of the cookie over plain HTTP, by default.
const PLAIN_COOKIE: &str = "session_id";

/// The name of the cookie behind TLS, by default: browsers accept it from this host only, and
/// over HTTPS only.
const SECURE_COOKIE: &str = "__Host-session_id";

/// The reference application of KVolt: sign-in, devices, live events, administration.
///
/// Each option can also be set in the environment.
#[derive(Debug, Parser)]
#[command(name = "kvolt-app", version, about)]
pub(crate) struct Options {
    /// Where to listen, as HOST:PORT. Port 0 picks a free port.
    #[arg(long, value_name = "ADDRESS", env = "KVOLT_LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) listen: ListenAddress,

    /// Where sessions are stored: memory:, sqlite:PATH, redis:// or rediss://, postgres://,
    /// mysql:// (also MariaDB). `cargo run` builds memory: and sqlite: only; for another store,
    /// name its feature: `cargo run --features redis -- --store redis://localhost`. The features
    /// are redis, postgres, mysql, and all-stores.
    #[arg(
        long,
        value_name = "URL",
        env = "KVOLT_STORE",
        default_value = "memory:",
        hide_env_values = true
    )]
    pub(crate) store: StoreUrl,

    /// The name of this deployment in the store, such as `shop`. Sessions and users of one
    /// namespace are unknown in another. Required for every store except memory:.
    #[arg(long, value_name = "NAME", env = "KVOLT_NAMESPACE")]
    pub(crate) namespace: Option<String>,

    /// Keep copies of the store's sessions in memory, at most this old, such as 1s. Without it,
    /// every request reads the store.
    #[arg(long, value_name = "DURATION", env = "KVOLT_NEAR_CACHE", value_parser = duration)]
    pub(crate) near_cache: Option<Duration>,

    /// Encrypt sessions in the store with this key of 64 hexadecimal digits. Several keys are
    /// separated by commas: the first encrypts, all decrypt.
    #[arg(
        long = "encryption-key",
        value_name = "HEX",
        env = "KVOLT_ENCRYPTION_KEY",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub(crate) encryption_keys: Vec<EncryptionKey>,

    /// End a session that is unused for this long.
    #[arg(long, value_name = "DURATION", env = "KVOLT_IDLE", default_value = "30m", value_parser = duration)]
    pub(crate) idle: Duration,

    /// End a session this long after the sign-in, used or not.
    #[arg(long, value_name = "DURATION", env = "KVOLT_LIFETIME", default_value = "12h", value_parser = duration)]
    pub(crate) lifetime: Duration,

    /// End a remembered session ("remember me") this long after the sign-in, used or not.
    #[arg(long, value_name = "DURATION", env = "KVOLT_REMEMBER_LIFETIME", default_value = "30d", value_parser = duration)]
    pub(crate) remember_lifetime: Duration,

    /// Replace a token that is older than this at the next request, or `off`.
    #[arg(long, value_name = "DURATION", env = "KVOLT_ROTATE_EVERY", default_value = "15m")]
    pub(crate) rotate_every: Every,

    /// How long a replaced token stays valid. Defaults to 10 seconds, or to --idle or
    /// --rotate-every if that is shorter.
    #[arg(long, value_name = "DURATION", env = "KVOLT_ROTATION_GRACE", value_parser = duration)]
    pub(crate) rotation_grace: Option<Duration>,

    /// The reaction to a replaced token after that: it may be stolen, or its client may
    /// have missed a response.
    #[arg(long, value_enum, env = "KVOLT_TOKEN_REUSE", default_value = "report")]
    pub(crate) token_reuse: Reuse,

    /// The maximum number of sessions of a user, or `unlimited`.
    #[arg(long, value_name = "NUMBER", env = "KVOLT_SESSIONS_PER_USER", default_value = "20")]
    pub(crate) sessions_per_user: PerUser,

    /// The reaction to a sign-in above that maximum.
    #[arg(long, value_enum, env = "KVOLT_AT_LIMIT", default_value = "end-oldest")]
    pub(crate) at_limit: AtLimit,

    /// Changing a password and administration ask for the password if it was last given longer
    /// ago than this.
    #[arg(long, value_name = "DURATION", env = "KVOLT_FRESH", default_value = "5m", value_parser = duration)]
    pub(crate) fresh: Duration,

    /// The maximum number of failed sign-ins in five minutes for one name. For one address it is
    /// ten times as many.
    #[arg(long, value_name = "NUMBER", env = "KVOLT_FAILED_SIGN_INS", default_value = "10")]
    pub(crate) failed_sign_ins: NonZeroUsize,

    /// A user. Can be repeated; in the environment, one user per line. Without any, there is one
    /// user, `demo`, with a random password that is printed.
    #[arg(
        long = "user",
        value_name = "NAME:PASSWORD",
        env = "KVOLT_USER",
        value_delimiter = '\n',
        hide_env_values = true
    )]
    pub(crate) users: Vec<Credentials>,

    /// An administrator. Can be repeated; in the environment, one per line.
    #[arg(
        long = "admin",
        value_name = "NAME:PASSWORD",
        env = "KVOLT_ADMIN",
        value_delimiter = '\n',
        hide_env_values = true
    )]
    pub(crate) admins: Vec<Credentials>,

    /// Print a link at the start that signs in this user. It is valid once, for 15 minutes, at this
    /// instance. Defaults to the user `demo`, if its password is printed.
    #[arg(long, value_name = "NAME", env = "KVOLT_SIGN_IN_LINK")]
    pub(crate) sign_in_link: Option<String>,

    /// Keep the accounts in this file, which contains password hashes. Changed passwords then
    /// survive a restart, and all instances share them. New --user and --admin are added to it.
    #[arg(long, value_name = "FILE", env = "KVOLT_ACCOUNTS")]
    pub(crate) accounts: Option<PathBuf>,

    /// Serve metrics for Prometheus at this address, under /metrics. Without it, there are no
    /// metrics. Keep the address private: behind a proxy, every request seems to be local.
    #[arg(long, value_name = "ADDRESS", env = "KVOLT_METRICS_LISTEN")]
    pub(crate) metrics_listen: Option<ListenAddress>,

    /// A proxy, by address or network such as 10.0.0.0/8, whose --forwarding-header is trusted
    /// for the address of the client. Can be repeated.
    #[arg(
        long = "trusted-proxy",
        value_name = "CIDR",
        env = "KVOLT_TRUSTED_PROXY",
        value_delimiter = ','
    )]
    pub(crate) trusted_proxies: Vec<String>,

    /// The header in which the trusted proxies send the client's address: x-forwarded-for,
    /// forwarded, or another name. The proxies must overwrite it when a client sends it.
    #[arg(
        long,
        value_name = "NAME",
        env = "KVOLT_FORWARDING_HEADER",
        default_value = "x-forwarded-for",
        requires = "trusted_proxies"
    )]
    pub(crate) forwarding_header: HeaderName,

    /// The name of the cookie, such as `shop_session`. Cookies have no port: two instances on one
    /// host need two names. Defaults to `__Host-session_id`, or `session_id` over plain HTTP.
    #[arg(long, value_name = "NAME", env = "KVOLT_COOKIE_NAME")]
    pub(crate) cookie_name: Option<String>,

    /// An origin whose pages may change data here, such as `https://shop.example`. Needed if a
    /// proxy rewrites the `Host` header. Can be repeated.
    #[arg(
        long = "trusted-origin",
        value_name = "ORIGIN",
        env = "KVOLT_TRUSTED_ORIGIN",
        value_delimiter = ','
    )]
    pub(crate) trusted_origins: Vec<String>,

    /// Use the secure cookie on a loopback address too, because a proxy terminates TLS.
    #[arg(long, env = "KVOLT_BEHIND_TLS", conflicts_with = "insecure_plain_http")]
    pub(crate) behind_tls: bool,

    /// For development only: serve HTTPS, with a self-signed certificate that is made at each start.
    /// Prints a command that starts Chromium with trust in it, and with keys for device-bound
    /// sessions. In production, use a TLS proxy and --behind-tls.
    #[arg(
        long,
        env = "KVOLT_DEV_HTTPS",
        conflicts_with_all = ["behind_tls", "insecure_plain_http"]
    )]
    pub(crate) dev_https: bool,

    /// How long a stolen copy of the cookies of a session that is bound to a device is valid. Over
    /// HTTPS, browsers that can do it bind their sessions; below 300 seconds is for tests only.
    #[arg(long, value_name = "DURATION", env = "KVOLT_BOUND_LIFETIME", default_value = "10m", value_parser = duration)]
    pub(crate) bound_lifetime: Duration,

    /// Use a cookie without Secure on any address. An attacker on the network can steal sessions.
    #[arg(long, env = "KVOLT_INSECURE_PLAIN_HTTP")]
    pub(crate) insecure_plain_http: bool,
}

impl Options {
    /// The options; or the exit code, after help or one line about an error was printed.
    pub(crate) fn from_command_line() -> Result<Self, ExitCode> {
        let error = match Self::try_parse() {
            Ok(options) => match options.check() {
                Ok(()) => return Ok(options),
                Err(message) => format!("error: {message}"),
            },
            Err(help)
                if matches!(help.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) =>
            {
                // If standard output is closed, there is nowhere to report it.
                let _ = help.print();
                return Err(ExitCode::SUCCESS);
            }
            Err(error) => line(error),
        };
        eprintln!("{error}");
        Err(ExitCode::from(2))
    }

    /// Checks options against each other, in the units in which they were written.
    fn check(&self) -> Result<(), String> {
        if self.idle > self.lifetime {
            let [idle, lifetime] = [self.idle, self.lifetime].map(humantime::format_duration);
            return Err(format!(
                "--idle {idle} is longer than the lifetime, --lifetime {lifetime}"
            ));
        }
        Ok(())
    }

    pub(crate) fn cookie_name(&self) -> &str {
        let default = if self.plain_cookie() { PLAIN_COOKIE } else { SECURE_COOKIE };
        self.cookie_name.as_deref().unwrap_or(default)
    }

    /// Whether the cookie has no `Secure`.
    pub(crate) fn plain_cookie(&self) -> bool {
        let encrypted = self.behind_tls || self.dev_https;
        self.insecure_plain_http || (self.listen.is_loopback() && !encrypted)
    }

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

    /// How long a replaced token stays valid.
    pub(crate) fn rotation_grace(&self) -> Duration {
        let shortest = self.idle.min(self.remember_lifetime);
        let shortest = self.rotate_every.0.map_or(shortest, |every| shortest.min(every));
        self.rotation_grace.unwrap_or(DEFAULT_GRACE.min(shortest))
    }
}

/// An error in one line, with what helps: possible values, and similar names. Without a value that
/// may contain a password, because logs keep such lines.
fn line(mut error: clap::Error) -> String {
    let secret = ["--user", "--admin", "--store", "--encryption-key"];
    let argument = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    if secret.iter().any(|name| argument.starts_with(name)) {
        error.insert(ContextKind::InvalidValue, ContextValue::String(String::from("…")));
    }
    let message = error.render().to_string();
    let lines = message.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines = lines.take_while(|line| {
        !line.starts_with("Usage:") && !line.starts_with("For more information")
    });
    let mut text = lines.collect::<Vec<_>>().join("; ").replace(":; ", ": ").replace("; [", " [");
    text += "; see --help";
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from([&["kvolt-app"], options].concat())
    }

    #[test]
    fn the_cookie_is_plain_on_loopback_or_on_request() {
        for (options, plain) in [
            (&[][..], true),
            (&["--listen", "[::1]:0"], true),
            (&["--listen", "localhost:0"], true),
            (&["--behind-tls"], false),
            (&["--dev-https"], false),
            (&["--listen", "0.0.0.0:80"], false),
            (&["--listen", "0.0.0.0:80", "--insecure-plain-http"], true),
        ] {
            assert_eq!(parse(options).unwrap().plain_cookie(), plain, "{options:?}");
        }
    }

    #[test]
    fn a_password_may_contain_colons_and_is_not_shown() {
        let options = parse(&["--user", "ada:a:b c", "--user", "bob:x"]).unwrap();
        assert_eq!((&*options.users[0].name, &*options.users[0].password), ("ada", "a:b c"));
        assert_eq!(options.users.len(), 2);
        assert!(!format!("{options:?}").contains("a:b c"));
    }

    #[test]
    fn an_error_does_not_show_secrets() {
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
        assert!(line.contains("'soon'"), "other values are shown: {line}");
    }

    #[test]
    fn the_default_grace_is_at_most_the_shortest_timeout() {
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
    fn invalid_values_are_refused() {
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
        for both in [
            ["--behind-tls", "--insecure-plain-http"],
            ["--dev-https", "--insecure-plain-http"],
            ["--dev-https", "--behind-tls"],
        ] {
            assert!(parse(&both).is_err(), "{both:?}");
        }
    }

    #[test]
    fn an_error_suggests_options_and_values() {
        for (options, expected) in [
            (&["--idel", "5m"][..], "'--idle'"),
            (&["--token-reuse", "explode"], "[possible values: ignore, report, end]"),
            (&["--at-limit", "refuze"], "'refuse'"),
        ] {
            let line = line(parse(options).unwrap_err());
            assert!(line.contains(expected) && line.ends_with("; see --help"), "{line}");
        }
    }

    #[test]
    fn durations_are_compared_in_the_units_given() {
        let error = parse(&["--idle", "13h"]).unwrap().check().unwrap_err();
        assert_eq!(error, "--idle 13h is longer than the lifetime, --lifetime 12h");
    }
}
