//! Moments and durations, as people read them.

use askama::Template;
use kvolt::session::Timestamp;

/// A moment: how long ago it was, and exactly when for those who point at it.
#[derive(Template)]
#[template(
    source = "<time datetime=\"{{ exact }}\" title=\"{{ exact }}\">{{ ago }}</time>",
    ext = "html"
)]
pub(crate) struct When {
    exact: String,
    ago: String,
}

impl When {
    pub(crate) fn new(moment: Timestamp, now: Timestamp) -> Self {
        Self { exact: rfc3339(moment), ago: ago(moment, now) }
    }
}

/// How long ago something was.
fn ago(then: Timestamp, now: Timestamp) -> String {
    match now.since(then).as_secs() {
        0..60 => String::from("just now"),
        seconds => format!("{} ago", largest(seconds / 60)),
    }
}

/// How long something still takes, for people, at the most.
pub(crate) fn left(until: Timestamp, now: Timestamp) -> String {
    let minutes = until.since(now).as_secs().div_ceil(60).max(1);
    match (minutes / HOUR, minutes % HOUR) {
        (0, _) | (1..24, 0) => largest(minutes),
        (hours @ 1..24, minutes) => format!("{} {}", largest(hours * HOUR), largest(minutes)),
        _ => largest(minutes.next_multiple_of(DAY)),
    }
}

/// In minutes.
const HOUR: u64 = 60;
const DAY: u64 = 24 * HOUR;

/// So many minutes in the largest unit of which there is a whole one, rounded down.
fn largest(minutes: u64) -> String {
    let (number, unit) = match minutes {
        0..HOUR => (minutes, "minute"),
        HOUR..DAY => (minutes / HOUR, "hour"),
        _ => (minutes / DAY, "day"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

/// The text of a moment (RFC 3339).
pub(crate) fn rfc3339(moment: Timestamp) -> String {
    humantime::format_rfc3339_seconds(moment.into()).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_read_as_people_say_them() {
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
        assert_eq!(ago(now, before(10)), "just now", "a clock that went back harms nothing");
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
            When::new(now, now).to_string(),
            "<time datetime=\"2026-01-01T00:00:00Z\" title=\"2026-01-01T00:00:00Z\">just now</time>"
        );
    }
}
