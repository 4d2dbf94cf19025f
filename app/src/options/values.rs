//! The types of the options' values.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use kvolt::session::{OwnerLimit, TokenReuse};

use crate::users::normalized;

/// A duration that is not zero.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err(String::from("the duration must not be zero")),
        Ok(duration) => Ok(duration),
        Err(error) => Err(format!("{error}; write it like 90s, 30m or 12h")),
    }
}

/// An interval, or `off` for never.
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

/// The maximum number of sessions of a user, or `unlimited`.
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

/// The reaction to the use of a replaced token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reuse {
    /// Refuse the request.
    Ignore,
    /// Refuse the request, and report it in the log, the metrics and the audit log.
    Report,
    /// Refuse the request, report it, and end the session.
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

/// The reaction to a sign-in of a user who has the maximum number of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AtLimit {
    /// Refuse the sign-in.
    Refuse,
    /// End the oldest session of the user.
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

/// The name and password of an account.
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
                Ok(Self { name: normalized(name), password: normalized(password) })
            }
            _ => Err("write the user as NAME:PASSWORD"),
        }
    }
}

/// Does not show the password.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("name", &self.name).finish_non_exhaustive()
    }
}
