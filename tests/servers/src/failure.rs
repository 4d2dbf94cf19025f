use std::error::Error;
use std::fmt;

/// Why a server did not start, or rejected a command.
///
/// The message is for the reader of a test's output: a sentence, and the end of the server's log if
/// the server is at fault.
#[derive(Clone)]
pub struct Failure {
    kind: Kind,
    message: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Passing,
    Final,
    PortTaken,
}

impl Failure {
    /// A failure that the next attempt may not have.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { kind: Kind::Passing, message: message.into() }
    }

    /// A failure that every attempt has.
    pub(crate) fn last(message: impl Into<String>) -> Self {
        Self { kind: Kind::Final, message: message.into() }
    }

    /// Another process took the port before the server started.
    pub(crate) fn port_taken(message: impl Into<String>) -> Self {
        Self { kind: Kind::PortTaken, message: message.into() }
    }

    pub(crate) fn is_final(&self) -> bool {
        self.kind != Kind::Passing
    }

    pub(crate) fn is_port_taken(&self) -> bool {
        self.kind == Kind::PortTaken
    }

    /// Prefixes the message with the action that failed.
    pub(crate) fn during(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The same as `Display`, because `expect` prints this form, and a log must keep its lines.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for Failure {}

/// Adds the action that failed to an error of the operating system.
pub(crate) trait During<T> {
    fn during(self, what: impl fmt::Display) -> Result<T, Failure>;
}

impl<T> During<T> for std::io::Result<T> {
    fn during(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("{what}: {error}")))
    }
}

/// Panics at the line of the test if a server fails.
pub(crate) trait OrPanic<T> {
    #[track_caller]
    fn or_panic(self) -> T;
}

impl<T> OrPanic<T> for Result<T, Failure> {
    fn or_panic(self) -> T {
        match self {
            Ok(value) => value,
            Err(failure) => panic!("{failure}"),
        }
    }
}
