//! Times and durations as text for people.

use askama::Template;
use kvolt::session::Timestamp;

/// A time as HTML: how long ago it was, and the exact time as the tooltip.
#[derive(Template)]
#[template(
    source = "<time datetime=\"{{ exact }}\" title=\"{{ exact }}\">{{ ago }}</time>",
    ext = "html"
)]
pub(crate) struct RelativeTime {
    exact: String,
    ago: String,
}

impl RelativeTime {
    pub(crate) fn new(time: Timestamp, now: Timestamp) -> Self {
        Self { exact: rfc3339(time), ago: ago(time, now) }
    }
}

/// The time since then, in its largest unit.
fn ago(then: Timestamp, now: Timestamp) -> String {
    match now.since(then).as_secs() {
        0..60 => String::from("just now"),
        seconds => format!("{} ago", largest(seconds / 60)),
    }
}

/// The time until then, rounded up.
pub(crate) fn left(until: Timestamp, now: Timestamp) -> String {
    let minutes = until.since(now).as_secs().div_ceil(60).max(1);
    match (minutes / HOUR, minutes % HOUR) {
        (0, _) | (1..24, 0) => largest(minutes),
        (hours @ 1..24, minutes) => format!("{} {}", largest(hours * HOUR), largest(minutes)),
        _ => largest(minutes.next_multiple_of(DAY)),
    }
}

/// Minutes in an hour, and in a day.
const HOUR: u64 = 60;
const DAY: u64 = 24 * HOUR;

/// Minutes in their largest whole unit, rounded down.
fn largest(minutes: u64) -> String {
    let (number, unit) = match minutes {
        0..HOUR => (minutes, "minute"),
        HOUR..DAY => (minutes / HOUR, "hour"),
        _ => (minutes / DAY, "day"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

/// The time in UTC, as RFC 3339 has it.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    humantime::format_rfc3339_seconds(time.into()).to_string()
}

/// The exact time in UTC, for a table: `2026-01-31 12:00:00`.
pub(crate) fn exact(time: Timestamp) -> String {
    rfc3339(time).trim_end_matches('Z').replace('T', " ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_rounded_to_their_largest_unit() {
        let now = Timestamp::from_millis(1_767_225_600_000);
        let before = |seconds| now.saturating_sub(Duration::from_secs(seconds));
        for (seconds, expected) in [
            (0, "just now"),
            (59, "just now"),
            (60, "1 minute ago"),
            (7_199, "1 hour ago"),
            (7_200, "2 hours ago"),
            (200_000, "2 days ago"),
        ] {
            assert_eq!(ago(before(seconds), now), expected);
        }
        assert_eq!(ago(now, before(10)), "just now", "a clock that was set back");
        let after = |seconds| now.saturating_add(Duration::from_secs(seconds));
        for (seconds, expected) in [
            (0, "1 minute"),
            (61, "2 minutes"),
            (12 * 3_600, "12 hours"),
            (12 * 3_600 - 61, "11 hours 59 minutes"),
            (24 * 3_600, "1 day"),
            (25 * 3_600, "2 days"),
            (30 * 86_400 - 61, "30 days"),
        ] {
            assert_eq!(left(after(seconds), now), expected);
        }
        assert_eq!(
            RelativeTime::new(now, now).to_string(),
            "<time datetime=\"2026-01-01T00:00:00Z\" title=\"2026-01-01T00:00:00Z\">just now</time>"
        );
        assert_eq!(exact(now), "2026-01-01 00:00:00");
    }
}
