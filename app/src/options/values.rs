//! The values that options take.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use kvolt::session::{OwnerLimit, TokenReuse};

/// A duration that is not zero.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err(String::from("it must not be zero")),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}; write it like 90s, 30m or 12h")),
    }
}

/// How often something is done; never is written `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Every(pub(crate) Option<Duration>);

impl FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self(None)),
            _ => duration(text).map(|every| Self(Some(every))),
        }
    }
}

/// How many sessions a user may have at once; no limit is written `unlimited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PerUser(pub(crate) Option<u32>);

impl FromStr for PerUser {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            _ if text == "unlimited" => Ok(Self(None)),
            Ok(number) if (1..=OwnerLimit::MAX).contains(&number) => Ok(Self(Some(number))),
            _ => Err("write a number from 1 to 64, or `unlimited`"),
        }
    }
}

/// What happens when a token is used that was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reuse {
    /// It is refused, and nothing more.
    Ignore,
    /// It is refused, and told of in the log, the metrics and the audit.
    Report,
    /// It is refused and told of, and the session ends.
    End,
}

impl From<Reuse> for TokenReuse {
    fn from(reuse: Reuse) -> Self {
        match reuse {
            Reuse::Ignore => Self::Ignore,
            Reuse::Report => Self::Report,
            Reuse::End => Self::EndSession,
        }
    }
}

/// What a sign-in does that would be one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AtLimit {
    /// It is refused.
    Refuse,
    /// It ends the user's oldest session.
    EndOldest,
}

impl From<AtLimit> for kvolt::session::AtLimit {
    fn from(at_limit: AtLimit) -> Self {
        match at_limit {
            AtLimit::Refuse => Self::Refuse,
            AtLimit::EndOldest => Self::RemoveOldest,
        }
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
