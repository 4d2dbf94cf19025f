//! Moments and durations, as people read them.

use std::time::Duration;

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

/// How long ago something was, for people.
fn ago(then: Timestamp, now: Timestamp) -> String {
    let (number, unit) = match now.since(then).as_secs() {
        0..60 => return String::from("just now"),
        seconds @ 60..3_600 => (seconds / 60, "minute"),
        seconds @ 3_600..86_400 => (seconds / 3_600, "hour"),
        seconds => (seconds / 86_400, "day"),
    };
    format!("{number} {unit}{} ago", if number == 1 { "" } else { "s" })
}

/// How long something still takes, for people, to the minute.
pub(crate) fn left(until: Timestamp, now: Timestamp) -> String {
    let minutes = until.since(now).as_secs().div_ceil(60).max(1);
    humantime::format_duration(Duration::from_secs(minutes * 60)).to_string()
}

/// The text of a moment (RFC 3339).
pub(crate) fn rfc3339(moment: Timestamp) -> String {
    humantime::format_rfc3339_seconds(moment.into()).to_string()
}

#[cfg(test)]
mod tests {
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
        assert_eq!(left(now.saturating_add(Duration::from_secs(61)), now), "2m");
        assert_eq!(
            When::new(now, now).to_string(),
            "<time datetime=\"2026-01-01T00:00:00Z\" title=\"2026-01-01T00:00:00Z\">just now</time>"
        );
    }
}
