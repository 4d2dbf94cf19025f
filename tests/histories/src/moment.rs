use std::time::Instant;

/// The moment from which a history counts its nanoseconds, the same for all clients.
#[derive(Debug, Clone, Copy)]
pub struct Origin(Instant);

impl Origin {
    /// This moment.
    #[expect(
        clippy::disallowed_methods,
        reason = "what came before what is the point of a history, and must not depend on the clock under test"
    )]
    pub fn now() -> Self {
        Self(Instant::now())
    }

    /// Nanoseconds since then.
    pub fn elapsed(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
