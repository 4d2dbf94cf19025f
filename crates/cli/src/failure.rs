//! The failures of commands, and their exit status.

use std::fmt;

/// Why a command failed. The message has no secret.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) is_usage: bool,
    /// The reader of the output has closed it.
    pub(crate) is_closed_output: bool,
}

/// The exit status of a command that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    Fully,
    /// Something was found that the operator should see, or was not found.
    WithFindings,
}

impl Done {
    /// `WithFindings` if `is_finding`.
    pub(crate) const fn unless(is_finding: bool) -> Self {
        if is_finding { Self::WithFindings } else { Self::Fully }
    }
}

/// A failure of the store, or a refusal.
pub(crate) fn failed(message: impl Into<String>) -> Failure {
    Failure { message: message.into(), is_usage: false, is_closed_output: false }
}

/// A failure of the command line.
pub(crate) fn usage(message: impl Into<String>) -> Failure {
    Failure { is_usage: true, ..failed(message) }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<kvolt::cache::Error> for Failure {
    fn from(error: kvolt::cache::Error) -> Self {
        failed(error.to_string())
    }
}

impl From<kvolt::session::Error> for Failure {
    fn from(error: kvolt::session::Error) -> Self {
        match std::error::Error::source(&error) {
            Some(source) => failed(format!("{error}: {source}")),
            None => failed(error.to_string()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let is_closed_output = error.kind() == std::io::ErrorKind::BrokenPipe;
        Self { is_closed_output, ..failed(format!("the output can't be written: {error}")) }
    }
}
