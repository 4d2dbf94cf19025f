use std::error::Error;
use std::fmt;

/// Why a server could not be started, or did not do what it was asked.
///
/// It is for the person who reads the output of a test: a sentence, and where a
/// server is at fault, the end of its log.
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
    /// Something that may be different at the next attempt.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { kind: Kind::Passing, message: message.into() }
    }

    /// Something that no further attempt will change.
    pub(crate) fn last(message: impl Into<String>) -> Self {
        Self { kind: Kind::Final, message: message.into() }
    }

    /// Somebody took the port between its choice and the server's start.
    pub(crate) fn port_taken(message: impl Into<String>) -> Self {
        Self { kind: Kind::PortTaken, message: message.into() }
    }

    pub(crate) fn is_final(&self) -> bool {
        self.kind != Kind::Passing
    }

    pub(crate) fn is_port_taken(&self) -> bool {
        self.kind == Kind::PortTaken
    }

    /// Says before the message what was being done.
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

/// As it is displayed: `expect` prints the `Debug` form, and a log is unreadable in one line.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for Failure {}

/// Adds to an error of the operating system what was being done.
pub(crate) trait During<T> {
    fn during(self, what: impl fmt::Display) -> Result<T, Failure>;
}

impl<T> During<T> for std::io::Result<T> {
    fn during(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("{what}: {error}")))
    }
}

/// Ends the test where a server fails: the report is then at the line of the test.
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
