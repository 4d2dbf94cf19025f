//! A bar of what is done: redrawn in a terminal, a line now and then without one.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use super::parts::Part;

const WIDTH: usize = 24;

pub(super) struct Progress {
    start: Instant,
    /// Seconds that each part is expected to take.
    expected: Vec<(&'static str, u64)>,
    part: usize,
    is_terminal: bool,
    /// The tenth of the part that was printed last, without a terminal.
    last: usize,
}

impl Progress {
    pub(super) fn new(parts: &[&Part], quick: bool) -> Self {
        let seconds = |part: &Part| if quick { part.quick.unwrap_or(part.full) } else { part.full };
        Self {
            start: now(),
            expected: parts.iter().map(|part| (part.name, seconds(part).max(1))).collect(),
            part: 0,
            is_terminal: stderr().is_terminal(),
            last: usize::MAX,
        }
    }

    /// Seconds after which a part hangs.
    pub(super) fn limit(&self) -> Duration {
        Duration::from_secs(120 + 6 * self.expected[self.part].1)
    }

    /// Shows that this share of the part is done.
    pub(super) fn show(&mut self, share: f64, what: &str) {
        let (name, expected) = self.expected[self.part];
        let before: u64 = self.expected[..self.part].iter().map(|(_, seconds)| seconds).sum();
        let all: u64 = self.expected.iter().map(|(_, seconds)| seconds).sum();
        let done = before as f64 + share.clamp(0.0, 1.0) * expected as f64;
        // A slower machine takes longer for what is left, too.
        let elapsed = self.start.elapsed().as_secs_f64();
        let pace = if done < 5.0 { 1.0 } else { elapsed / done };
        let left = (pace * (all as f64 - done)).round() as u64;
        let share_of_all = done / all as f64;
        let filled = (share_of_all * WIDTH as f64) as usize;
        let text = format!(
            "[{}{}] {:>3.0} %, {} left, {name}: {what}",
            "#".repeat(filled),
            ".".repeat(WIDTH - filled),
            share_of_all * 100.0,
            time(left)
        );
        if self.is_terminal {
            let text: String = text.chars().take(110).collect();
            eprint!("\r\x1b[2K{text}");
            let _ = stderr().flush();
        } else if self.last != (share * 4.0) as usize {
            self.last = (share * 4.0) as usize;
            eprintln!("{text}");
        }
    }

    /// The next part begins.
    pub(super) fn next(&mut self) {
        self.part += 1;
        self.last = usize::MAX;
        self.clear();
    }

    /// Removes the bar, so that other lines can be printed.
    pub(super) fn clear(&self) {
        if self.is_terminal {
            eprint!("\r\x1b[2K");
        }
    }

    pub(super) fn elapsed(&self) -> String {
        time(self.start.elapsed().as_secs())
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a run takes is no session's deadline")]
pub(super) fn now() -> Instant {
    Instant::now()
}

fn time(seconds: u64) -> String {
    match seconds {
        0..100 => format!("{seconds} s"),
        _ => format!("{} min", seconds.div_ceil(60)),
    }
}
