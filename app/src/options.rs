//! What can be set on the command line and in the environment.

use std::fmt;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use kvolt::cache::codec::EncryptionKey;

use crate::store::StoreUrl;

/// The reference application of KVolt: sign-in, devices, live events.
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

    /// Whether the cookie goes without `Secure`.
    pub(crate) fn plain_cookie(&self) -> bool {
        self.insecure_plain_http || (self.listen.ip().is_loopback() && !self.behind_tls)
    }
}

/// What is wrong, in one line. A value that may hold a password is left out: logs keep such lines.
fn line(mut error: clap::Error) -> String {
    let secret = ["--user", "--store", "--encryption-key"];
    let about = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    if secret.iter().any(|name| about.starts_with(name)) {
        error.insert(ContextKind::InvalidValue, ContextValue::String(String::from("…")));
    }
    let message = error.render().to_string();
    message.lines().next().unwrap_or("error: bad options").to_owned()
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err(String::from("it must not be zero")),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}; write it like 90s, 30m or 12h")),
    }
}

/// A name and a password.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) name: String,
    pub(crate) password: String,
}

impl FromStr for Credentials {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some((name, password)) if !name.is_empty() && !password.is_empty() => {
                Ok(Self { name: name.to_owned(), password: password.to_owned() })
            }
            _ => Err("a user is written NAME:PASSWORD"),
        }
    }
}

/// Without the password.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("name", &self.name).finish_non_exhaustive()
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
        for wrong in [["--store", "hunter2://localhost"], ["--encryption-key", "hunter2"]] {
            let line = line(parse(&wrong).unwrap_err());
            assert!(!line.contains("hunter2"), "{line}");
        }
        let line = line(parse(&["--idle", "soon"]).unwrap_err());
        assert!(line.contains("'soon'"), "all else is shown: {line}");
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
            ["--colour", "red"],
        ] {
            assert!(parse(&options).is_err(), "{options:?}");
        }
        assert!(parse(&["--behind-tls", "--insecure-plain-http"]).is_err());
    }
}
