//! The output of commands: text for people, or JSON.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use kvolt::cache::{Clock, Timestamp};
use serde::Serialize;

use crate::failure::{Failure, usage};

/// Where a command prints, and in which form.
pub(crate) struct Output {
    pub(crate) is_json: bool,
    out: io::BufWriter<io::Stdout>,
}

impl Output {
    pub(crate) fn new(is_json: bool) -> Self {
        Self { is_json, out: io::BufWriter::new(io::stdout()) }
    }

    /// Prints a line for people.
    pub(crate) fn line(&mut self, line: &str) -> Result<(), Failure> {
        Ok(writeln!(self.out, "{line}")?)
    }

    /// Prints a value as one line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.out, value).map_err(io::Error::from)?;
        Ok(self.out.write_all(b"\n")?)
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.out.write_all(bytes)?)
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }
}

/// Prints a remark that is no part of the output.
pub(crate) fn note(text: &str) {
    // Nothing can be done if this fails.
    let _ = writeln!(io::stderr(), "note: {text}");
}

/// Asks the operator. Without a terminal, `--yes` must be given.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(usage(format!("{question} There is no terminal to ask on: add --yes")));
    }
    let mut stderr = io::stderr();
    write!(stderr, "{question} [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Rows whose columns are aligned.
pub(crate) struct Table {
    widths: Vec<usize>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(titles: &[&str]) -> Self {
        let mut table = Self { widths: vec![0; titles.len()], rows: Vec::new() };
        table.row(titles.iter().map(|title| (*title).to_owned()).collect());
        table
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        for (width, cell) in self.widths.iter_mut().zip(&cells) {
            *width = (*width).max(cell.chars().count());
        }
        self.rows.push(cells);
    }

    /// Prints the rows, and forgets all but their widths.
    pub(crate) fn print(&mut self, output: &mut Output) -> Result<(), Failure> {
        for row in std::mem::take(&mut self.rows) {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&self.widths) {
                let padding = width.saturating_sub(cell.chars().count());
                let _ = write!(line, "{cell}{}  ", " ".repeat(padding));
            }
            output.line(line.trim_end())?;
        }
        Ok(())
    }
}

/// Text of users, for a terminal: without characters that control it, or that reorder a line.
pub(crate) fn printable(text: &str) -> String {
    let is_hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().fold(String::with_capacity(text.len()), |mut printable, c| {
        if is_hidden(c) {
            let _ = write!(printable, "{}", c.escape_unicode());
        } else {
            printable.push(c);
        }
        printable
    })
}

/// The first characters of a text.
pub(crate) fn shortened(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The time, as RFC 3339 has it.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    let millis = at.as_millis();
    let (days, of_day) = (millis / 86_400_000, millis % 86_400_000);
    let (year, month, day) = date(days);
    let (seconds, millis) = (of_day / 1_000, of_day % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// The time for people: UTC, and how long ago or ahead it is.
pub(crate) fn time(at: Timestamp) -> String {
    let text = rfc3339(at);
    format!("{} {} UTC ({})", &text[..10], &text[11..19], distance(at))
}

/// How long ago or ahead a time is.
pub(crate) fn distance(at: Timestamp) -> String {
    let now = Clock::system().now();
    if at > now {
        format!("in {}", span(at.since(now)))
    } else {
        format!("{} ago", span(now.since(at)))
    }
}

/// A duration in its largest unit.
pub(crate) fn span(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// The date of a day since 1970 in the Gregorian calendar. Years begin in March, so that the day
/// that is sometimes missing is the last one.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_BEFORE_1970: u64 = 719_468;
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let days = days.saturating_add(DAYS_BEFORE_1970);
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_767_225_600_000, "2026-01-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (9_999_999_999_999, "2286-11-20T17:46:39.999Z"),
        ] {
            assert_eq!(rfc3339(Timestamp::from_millis(millis)), text);
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable("a\u{1b}[2J\u{202e}\nü"), "a\\u{1b}[2J\\u{202e}\\u{a}ü");
    }
}
