//! An estimate of a server's clock.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use kvolt_cache::{Clock, Timestamp};

/// The age of the last sample at which a read asks the server for the time again.
const MAX_SAMPLE_AGE: Duration = Duration::from_secs(1);

/// An estimate of a server's clock that is never behind it, and ahead by at most a round trip: the
/// time in a reply, and what has passed here since the question was sent.
///
/// It counts the time during which the machine is suspended. It is behind only after the server's
/// clock was set forward or a hypervisor paused this machine, until the next sample.
pub(crate) struct ServerTime {
    clock: Clock,
    /// The most by which the server's clock is ahead of ours, in milliseconds; `UNKNOWN` before the
    /// first sample.
    ahead: AtomicI64,
    /// When the last question was sent, by our clock.
    asked: AtomicU64,
}

const UNKNOWN: i64 = i64::MIN;

impl ServerTime {
    pub(crate) const fn new(clock: Clock) -> Self {
        Self { clock, ahead: AtomicI64::new(UNKNOWN), asked: AtomicU64::new(0) }
    }

    /// The moment before a question is sent, for [`update`](Self::update), and whether this question
    /// should ask for the time too.
    pub(crate) fn ask(&self) -> (Timestamp, bool) {
        let sent = self.clock.now();
        let asked = self.asked.load(Ordering::Relaxed);
        let is_old = sent.since(Timestamp::from_millis(asked)) >= MAX_SAMPLE_AGE;
        // One caller asks, and the others use the last sample. Before the first one, each must ask.
        let is_first = || {
            let now = sent.as_millis();
            self.asked.compare_exchange(asked, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        (sent, self.ahead.load(Ordering::Relaxed) == UNKNOWN || is_old && is_first())
    }

    /// Adds a sample: the server's time when it answered the question that was sent at `sent`.
    pub(crate) fn update(&self, sent: Timestamp, server: Timestamp) {
        // Both clocks are rounded down, so the server's may be a millisecond later than it says.
        let ahead = server.as_millis().wrapping_sub(sent.as_millis()).wrapping_add(1);
        self.ahead.store(ahead.cast_signed(), Ordering::Relaxed);
        self.asked.fetch_max(sent.as_millis(), Ordering::Relaxed);
    }

    /// Forgets the last sample, because another server may answer next.
    pub(crate) fn forget(&self) {
        self.ahead.store(UNKNOWN, Ordering::Relaxed);
    }

    /// The server's time or slightly more; `None` before the first sample.
    pub(crate) fn now(&self) -> Option<Timestamp> {
        match self.ahead.load(Ordering::Relaxed) {
            UNKNOWN => None,
            ahead => Some(Timestamp::from_millis(
                self.clock.now().as_millis().wrapping_add_signed(ahead),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use kvolt_cache::ManualClock;

    use super::*;

    const RTT: Duration = Duration::from_millis(40);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn estimate_is_ahead_by_at_most_a_round_trip() {
        let here = ManualClock::new();
        let time = ServerTime::new(here.clock());
        assert_eq!(time.now(), None);
        // Behind this machine's clock, and ahead of it.
        for server in [5_000u64, u64::MAX >> 2] {
            let (sent, _) = time.ask();
            here.advance(RTT);
            // The server may have answered at any moment in between.
            time.update(sent, at(server));
            assert_eq!(time.now(), Some(at(server + 41)));
            here.advance(Duration::from_secs(9));
            assert_eq!(time.now(), Some(at(server + 9_041)));
        }
    }

    #[test]
    fn forgotten_time_is_asked_for_again() {
        let time = ServerTime::new(ManualClock::new().clock());
        let (sent, _) = time.ask();
        time.update(sent, at(7));
        assert!(!time.ask().1);
        time.forget();
        assert_eq!(time.now(), None);
        assert!(time.ask().1);
    }

    #[test]
    fn time_is_asked_for_once_a_second() {
        let here = ManualClock::new();
        let time = ServerTime::new(here.clock());
        let (sent, first) = time.ask();
        assert!(first && time.ask().1, "every caller, before the first sample");
        time.update(sent, at(7));
        assert!(!time.ask().1);
        here.advance(Duration::from_millis(999));
        assert!(!time.ask().1);
        here.advance(Duration::from_millis(1));
        assert!(time.ask().1);
        assert!(!time.ask().1, "another caller asks already");
        here.advance(Duration::from_secs(1));
        let (sent, again) = time.ask();
        assert!(again, "no reply has come");
        // A script's reply has the time too.
        time.update(sent, at(9));
        here.advance(Duration::from_millis(999));
        assert!(!time.ask().1);
    }
}
