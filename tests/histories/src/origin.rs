use std::time::Instant;

/// The zero of a history's time, shared by all clients.
#[derive(Debug, Clone, Copy)]
pub struct Origin(Instant);

impl Origin {
    /// Returns the current time as the origin.
    #[expect(
        clippy::disallowed_methods,
        reason = "the order of operations must not depend on the clock under test"
    )]
    pub fn now() -> Self {
        Self(Instant::now())
    }

    /// Returns the nanoseconds since the origin.
    pub fn elapsed(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
