use std::error::Error;
use std::fmt;

/// Reason why a server did not start or failed a request.
///
/// The message is one sentence for the reader of a test's output. If a server failed, the
/// end of its log follows.
#[derive(Clone)]
pub struct Failure {
    kind: Kind,
    message: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Transient,
    Fatal,
    PortTaken,
}

impl Failure {
    /// Creates a failure that a retry may resolve.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { kind: Kind::Transient, message: message.into() }
    }

    /// Creates a failure that no retry can resolve.
    pub(crate) fn fatal(message: impl Into<String>) -> Self {
        Self { kind: Kind::Fatal, message: message.into() }
    }

    /// Creates a failure for a port that another process took before the server started.
    pub(crate) fn port_taken(message: impl Into<String>) -> Self {
        Self { kind: Kind::PortTaken, message: message.into() }
    }

    pub(crate) fn is_fatal(&self) -> bool {
        self.kind != Kind::Transient
    }

    pub(crate) fn is_port_taken(&self) -> bool {
        self.kind == Kind::PortTaken
    }

    /// Prefixes the message with the operation that failed.
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

/// Same text as `Display`: `expect` prints the `Debug` form, which would put a log on one
/// line.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for Failure {}

/// Adds the failed operation to an operating system error.
pub(crate) trait During<T> {
    fn during(self, what: impl fmt::Display) -> Result<T, Failure>;
}

impl<T> During<T> for std::io::Result<T> {
    fn during(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(format!("{what}: {error}")))
    }
}

/// Panics with the failure, and reports the caller's line.
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
