//! What time a server has.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use kvolt_cache::{Clock, Timestamp};

/// How old what is known of a server's clock may be before a read asks again.
const MAX_SAMPLE_AGE: Duration = Duration::from_secs(1);

/// An estimate of a server's clock that is never behind it, and ahead by at most a round trip: the
/// time in an answer, and what has passed here since the question was sent.
///
/// What passes here includes the time that the machine is suspended. The estimate is behind only
/// after the server's clock was set forward, or after a hypervisor stood this machine still, and until
/// the next answer.
pub(crate) struct ServerTime {
    clock: Clock,
    /// How far the server's clock is ahead of ours at most, in milliseconds; `UNKNOWN` before the
    /// first answer.
    ahead: AtomicI64,
    /// When the question was sent that was asked last, by our clock.
    asked: AtomicU64,
}

const UNKNOWN: i64 = i64::MIN;

impl ServerTime {
    pub(crate) const fn new(clock: Clock) -> Self {
        Self { clock, ahead: AtomicI64::new(UNKNOWN), asked: AtomicU64::new(0) }
    }

    /// The moment before a question is sent, for [`heard`](Self::heard), and whether it is for this
    /// question to ask for the time too.
    pub(crate) fn ask(&self) -> (Timestamp, bool) {
        let sent = self.clock.now();
        let asked = self.asked.load(Ordering::Relaxed);
        let is_old = sent.since(Timestamp::from_millis(asked)) >= MAX_SAMPLE_AGE;
        // One asks, and the others go by what is known. Without anything, each has to ask.
        let is_first = || {
            let now = sent.as_millis();
            self.asked.compare_exchange(asked, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        (sent, self.ahead.load(Ordering::Relaxed) == UNKNOWN || is_old && is_first())
    }

    /// The server had this time when it answered a question that was sent at `sent`.
    pub(crate) fn heard(&self, sent: Timestamp, server: Timestamp) {
        // Both clocks show whole milliseconds, so the server's may be one later than it says.
        let ahead = server.as_millis().wrapping_sub(sent.as_millis()).wrapping_add(1);
        self.ahead.store(ahead.cast_signed(), Ordering::Relaxed);
        self.asked.fetch_max(sent.as_millis(), Ordering::Relaxed);
    }

    /// The server's time, or a little more; `None` before the first answer.
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
    fn an_estimate_is_never_behind_and_ahead_by_a_round_trip() {
        let here = ManualClock::new();
        let time = ServerTime::new(here.clock());
        assert_eq!(time.now(), None);
        // Behind this machine's clock, and ahead of it.
        for server in [5_000u64, u64::MAX >> 2] {
            let (sent, _) = time.ask();
            here.advance(RTT);
            // It answered as soon as the question was sent, or just before the answer came.
            time.heard(sent, at(server));
            assert_eq!(time.now(), Some(at(server + 41)));
            here.advance(Duration::from_secs(9));
            assert_eq!(time.now(), Some(at(server + 9_041)));
        }
    }

    #[test]
    fn the_time_is_asked_for_once_a_second_and_with_the_first_read() {
        let here = ManualClock::new();
        let time = ServerTime::new(here.clock());
        let (sent, first) = time.ask();
        assert!(first && time.ask().1, "each, before an answer");
        time.heard(sent, at(7));
        assert!(!time.ask().1);
        here.advance(Duration::from_millis(999));
        assert!(!time.ask().1);
        here.advance(Duration::from_millis(1));
        assert!(time.ask().1);
        assert!(!time.ask().1, "another does already");
        here.advance(Duration::from_secs(1));
        let (sent, again) = time.ask();
        assert!(again, "no answer has come");
        // A script's answer has the time, too.
        time.heard(sent, at(9));
        here.advance(Duration::from_millis(999));
        assert!(!time.ask().1);
    }
}
