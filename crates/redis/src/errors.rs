//! The driver's and the server's errors as the store's.

use std::io;

use kvolt_cache::Error;
use redis::{ErrorKind, RedisError};

/// What went wrong, as often as it has to be told: several callers may wait for one connection.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    kind: Kind,
    message: String,
    cause: Option<RedisError>,
    is_replica: bool,
    is_unsent: bool,
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

    const fn new(kind: Kind, message: String, cause: Option<RedisError>) -> Self {
        Self { kind, message, cause, is_replica: false, is_unsent: false }
    }

    /// A connection that could not be made.
    pub(crate) fn io(what: &str, error: io::Error) -> Self {
        Self::new(Kind::Unavailable, String::from(what), Some(RedisError::from(error)))
    }

    /// The same, where trying again is no use.
    #[cfg(feature = "tls")]
    pub(crate) fn for_a_person(self) -> Self {
        Self { kind: Kind::Misconfigured, ..self }
    }

    /// Whether the server does not have the script: it was not executed.
    pub(crate) fn is_unknown_script(&self) -> bool {
        self.code() == Some("NOSCRIPT")
    }

    /// Whether what lies under a name is of another type than the command is for.
    pub(crate) fn is_wrong_type(&self) -> bool {
        let text = self.cause.as_ref().map(ToString::to_string).unwrap_or_default();
        self.cause.as_ref().is_some_and(|cause| code(cause, &text) == "WRONGTYPE")
    }

    /// Whether the server is a replica.
    pub(crate) fn is_replica(&self) -> bool {
        self.is_replica
    }

    /// The same, before anything was sent.
    pub(crate) fn before_sending(self) -> Self {
        Self { is_unsent: true, ..self }
    }

    /// Whether nothing was sent, so that it can be sent elsewhere.
    pub(crate) fn is_unsent(&self) -> bool {
        self.is_unsent
    }

    /// Whether no answer came.
    pub(crate) fn is_lost(&self) -> bool {
        self.kind == Kind::Unavailable && self.code().is_none()
    }

    /// The code of what the server answered.
    pub(crate) fn code(&self) -> Option<&str> {
        self.cause.as_ref()?.code()
    }

    /// Where a cluster says that the slot is, or will be.
    pub(crate) fn redirect(&self) -> Option<&str> {
        Some(self.cause.as_ref()?.redirect_node()?.0)
    }

    pub(crate) fn is_misconfigured(&self) -> bool {
        self.kind == Kind::Misconfigured
    }

    /// An error of the driver's, or one that the server answered with.
    pub(crate) fn of(error: RedisError, server: &str) -> Self {
        let text = error.to_string();
        let (kind, message) = match error.kind() {
            ErrorKind::Io | ErrorKind::Parse => {
                (Kind::Unavailable, format!("the connection to {server} was lost"))
            }
            ErrorKind::AuthenticationFailed => refused_password(server),
            ErrorKind::RESP3NotSupported => (
                Kind::Misconfigured,
                format!("{server} is older than Redis 6.2, the oldest that this store works with"),
            ),
            _ => answered(code(&error, &text), &text, server),
        };
        let is_replica = matches!(code(&error, &text), "READONLY" | "MASTERDOWN");
        Self { is_replica, ..Self::new(kind, message, Some(error)) }
    }

    pub(crate) fn into_error(self) -> Error {
        let error = match self.kind {
            Kind::Unavailable => Error::unavailable(self.message),
            Kind::Misconfigured => Error::misconfigured(self.message),
            Kind::Full => Error::full(self.message),
        };
        match self.cause {
            Some(cause) => error.with_source(cause),
            None => error,
        }
    }
}

/// The code of what the server answered. Before Redis 7, an error of a command in a script comes
/// as the text of another: `… @user_script: 31: -READONLY You can't write …`.
fn code<'a>(error: &'a RedisError, text: &'a str) -> &'a str {
    let code = error.code().unwrap_or("ERR");
    if code != "ERR" {
        return code;
    }
    let inner = text.rsplit_once("@user_script:").and_then(|(_, inner)| inner.split_once(": "));
    let word = inner.and_then(|(_, inner)| inner.split_whitespace().next()).unwrap_or_default();
    let word = word.trim_start_matches('-');
    let is_code = word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    if is_code { word } else { code }
}

fn answered(code: &str, text: &str, server: &str) -> (Kind, String) {
    let unavailable = |why: &str| (Kind::Unavailable, format!("{server} {why}"));
    match code {
        "WRONGPASS" | "NOAUTH" => refused_password(server),
        "NOPERM" => refused_permission(text, server),
        "OOM" => (Kind::Full, format!("{server} has reached its maxmemory")),
        "LOADING" => unavailable("is still loading its data"),
        "BUSY" => unavailable("is busy with a script"),
        "MASTERDOWN" => unavailable("is a replica that has lost its master"),
        "CLUSTERDOWN" => unavailable("belongs to a cluster that is down"),
        "TRYAGAIN" | "ASK" | "MOVED" => unavailable("is moving the slot to another node"),
        "READONLY" => unavailable("is a replica: the master is elsewhere, or about to be"),
        "NOREPLICAS" => unavailable("has fewer replicas than its min-replicas-to-write"),
        "MISCONF" => unavailable("can't write its data to disk, and refuses changes until it can"),
        "WRONGTYPE" => (
            Kind::Misconfigured,
            format!(
                "{server} has something else under this store's namespace: give it one of its own"
            ),
        ),
        "CROSSSLOT" => (
            Kind::Misconfigured,
            String::from(
                "the key does not lie in its owner's part of the cluster: use `Store::place` first",
            ),
        ),
        _ if is_permission(text) => refused_permission(text, server),
        _ if text.contains("max number of clients") => unavailable("has too many clients"),
        _ if text.contains("DB index") => {
            (Kind::Misconfigured, format!("{server} has no such database: {text}"))
        }
        _ if text.contains("unknown command") => (
            Kind::Misconfigured,
            format!("{server} lacks a command that this store needs (Redis 6.2 or later): {text}"),
        ),
        _ => (Kind::Misconfigured, format!("{server} refused: {text}")),
    }
}

fn is_permission(text: &str) -> bool {
    ["ACL failure", "can't run this command", "can't access at least", "No permissions"]
        .iter()
        .any(|part| text.contains(part))
}

fn refused_password(server: &str) -> (Kind, String) {
    let message = format!(
        "{server} refused the user name or the password: correct them in the URL or in `credentials`"
    );
    (Kind::Misconfigured, message)
}

fn refused_permission(text: &str, server: &str) -> (Kind, String) {
    let message = format!(
        "the user at {server} lacks a permission (the README has the ACL line it needs): {text}"
    );
    (Kind::Misconfigured, message)
}
