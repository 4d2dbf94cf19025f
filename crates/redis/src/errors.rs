//! Errors of the driver and of the server, as errors of the store.

use std::fmt::Display;
use std::io;
use std::time::Duration;

use kvolt_cache::Error;
use redis::{ErrorKind, RedisError};

use crate::url::Address;

/// An error that can be cloned, because several callers may wait for one connection.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    kind: Kind,
    message: String,
    /// The code of the server's reply, such as `READONLY`.
    code: Option<String>,
    cause: Option<RedisError>,
    /// Whether nothing was sent, so that another server can be asked.
    pub(crate) is_unsent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unavailable,
    Misconfigured,
    Full,
}

impl Fault {
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message.into(), None)
    }

    pub(crate) fn misconfigured(message: impl Into<String>) -> Self {
        Self::new(Kind::Misconfigured, message.into(), None)
    }

    /// No reply within the limit.
    pub(crate) fn no_reply(server: impl Display, limit: Duration) -> Self {
        Self::unavailable(format!("{server} did not reply within {limit:?}"))
    }

    const fn new(kind: Kind, message: String, cause: Option<RedisError>) -> Self {
        Self { kind, message, code: None, cause, is_unsent: false }
    }

    /// A connection that could not be made.
    pub(crate) fn io(message: String, error: io::Error) -> Self {
        Self::new(Kind::Unavailable, message, Some(RedisError::from(error)))
    }

    /// The fault, if retrying does not help.
    #[cfg(feature = "tls")]
    pub(crate) fn permanent(self) -> Self {
        Self { kind: Kind::Misconfigured, ..self }
    }

    /// The fault, before anything was sent.
    pub(crate) fn before_sending(self) -> Self {
        Self { is_unsent: true, ..self }
    }

    /// Whether no reply came.
    pub(crate) fn is_lost(&self) -> bool {
        self.kind == Kind::Unavailable && self.code.is_none()
    }

    /// Whether the server is a replica.
    pub(crate) fn is_replica(&self) -> bool {
        matches!(self.code(), Some("READONLY" | "MASTERDOWN"))
    }

    pub(crate) fn is_misconfigured(&self) -> bool {
        self.kind == Kind::Misconfigured
    }

    /// The code of the server's reply.
    pub(crate) fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// The address to which a node of a cluster redirects.
    pub(crate) fn redirect(&self) -> Option<&str> {
        Some(self.cause.as_ref()?.redirect_node()?.0)
    }

    /// An error of the driver, or one that the server replied with.
    pub(crate) fn from_driver(error: RedisError, server: &Address) -> Self {
        let text = error.to_string();
        let code = error.code().map(|code| inner_code(&text).unwrap_or(code));
        let (kind, why) = match error.kind() {
            _ if error.is_timeout() => (
                Kind::Unavailable,
                String::from("did not reply within the connection's response timeout"),
            ),
            ErrorKind::Io | ErrorKind::Parse => {
                (Kind::Unavailable, String::from("closed the connection, or the network did"))
            }
            ErrorKind::AuthenticationFailed => explain("WRONGPASS", &text),
            ErrorKind::RESP3NotSupported => {
                let why = "is older than Redis 6.2, the oldest that this store works with";
                (Kind::Misconfigured, String::from(why))
            }
            _ => explain(code.unwrap_or_default(), &text),
        };
        let code = code.map(String::from);
        Self { code, ..Self::new(kind, format!("{server} {why}"), Some(error)) }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        let error = match fault.kind {
            Kind::Unavailable => Self::unavailable(fault.message),
            Kind::Misconfigured => Self::misconfigured(fault.message),
            Kind::Full => Self::full(fault.message),
        };
        match fault.cause {
            Some(cause) => error.with_source(cause),
            None => error,
        }
    }
}

/// The code of an error inside a script. Before Redis 7 it is part of another error's text:
/// `… @user_script: 31: -READONLY You can't write …`.
fn inner_code(text: &str) -> Option<&str> {
    let (_, inner) = text.rsplit_once("@user_script:")?.1.split_once(": ")?;
    let word = inner.split_whitespace().next()?.trim_start_matches('-');
    let is_code = word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    is_code.then_some(word)
}

/// The explanation of an error reply, for messages that begin with the address of the server.
fn explain(code: &str, text: &str) -> (Kind, String) {
    let unavailable = |why: &str| (Kind::Unavailable, String::from(why));
    let misconfigured = |why: &str| (Kind::Misconfigured, String::from(why));
    let quoting = |why: &str| (Kind::Misconfigured, format!("{why}: {text}"));
    let has_any = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    const PERMISSION: [&str; 4] =
        ["ACL failure", "can't run this command", "can't access at least", "No permissions"];
    match code {
        "WRONGPASS" | "NOAUTH" => misconfigured(
            "rejected the user name or the password: correct them in the URL, in \
             `credentials` or in what `credentials_from` returns",
        ),
        "OOM" => (Kind::Full, String::from("has reached its maxmemory")),
        "LOADING" => unavailable("is still loading its data"),
        "BUSY" => unavailable("is busy with a script"),
        "MASTERDOWN" => unavailable("is a replica that has lost its master"),
        "CLUSTERDOWN" => unavailable("belongs to a cluster that is down"),
        "TRYAGAIN" | "ASK" | "MOVED" => unavailable("is moving the slot to another node"),
        "READONLY" => unavailable("is a replica, and another server is the master or will be"),
        "NOREPLICAS" => unavailable("has fewer replicas than its min-replicas-to-write"),
        "MISCONF" => unavailable("can't write its data to disk, and rejects changes until it can"),
        "WRONGTYPE" => misconfigured(
            "has data of another program under this store's namespace: use another namespace",
        ),
        "CROSSSLOT" => misconfigured(
            "rejected a key outside its owner's part of the cluster: call `Store::place` first",
        ),
        _ if code == "NOPERM" || has_any(&PERMISSION) => {
            quoting("denied the user a permission (the README has the ACL rule that is needed)")
        }
        _ if has_any(&["max number of clients"]) => unavailable("has too many clients"),
        _ if has_any(&["DB index"]) => quoting("has no such database"),
        _ if has_any(&["unknown command"]) => {
            quoting("lacks a command that this store needs (Redis 6.2 or later)")
        }
        _ => quoting("rejected a command"),
    }
}
