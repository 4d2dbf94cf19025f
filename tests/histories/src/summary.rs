//! Statistics of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::Recording;
use crate::history::{Answer, FaultPeriod, History, Outcome};

/// Operations by kind and outcome, faults, outages and recoveries.
#[derive(Debug)]
pub struct Summary {
    /// Number of operations.
    pub ops: usize,
    by_call: BTreeMap<&'static str, Outcomes>,
    errors: BTreeMap<String, usize>,
    /// For each kind of fault, the times from its end until every process had received an
    /// answer to a later call; `None` if the next fault came first.
    faults: BTreeMap<String, Vec<Option<Duration>>>,
    /// The longest time without any answer during the run.
    pub longest_outage: Duration,
    recovered_after: Option<Duration>,
    unread: usize,
}

#[derive(Debug, Default)]
struct Outcomes {
    found: usize,
    absent: usize,
    failed: usize,
    cut_off: usize,
}

/// Maximum number of error kinds printed.
const ERRORS_SHOWN: usize = 8;

impl Summary {
    /// Summarizes a recording.
    pub fn of(recording: &Recording) -> Self {
        let history = &recording.history;
        let mut by_call: BTreeMap<&'static str, Outcomes> = BTreeMap::new();
        let mut errors = BTreeMap::new();
        for op in &history.ops {
            let outcomes = by_call.entry(op.call.name()).or_default();
            match &op.outcome {
                Outcome::Done(Answer::Absent | Answer::Ended(false)) => outcomes.absent += 1,
                Outcome::Done(_) => outcomes.found += 1,
                Outcome::CutOff => outcomes.cut_off += 1,
                Outcome::Failed(error) => {
                    outcomes.failed += 1;
                    *errors.entry(without_numbers(error)).or_default() += 1;
                }
            }
        }
        let mut faults: BTreeMap<String, Vec<Option<Duration>>> = BTreeMap::new();
        for (number, fault) in history.faults.iter().enumerate() {
            let next = history.faults.get(number + 1).map_or(u64::MAX, |next| next.from);
            let recovery = recovery(history, fault, next);
            faults.entry(fault.name.clone()).or_default().push(recovery);
        }
        let run = history.ops.iter().filter(|op| op.invoked < recording.read_back_from);
        let mut answers: Vec<u64> =
            run.filter(|op| !op.is_unknown()).map(|op| op.returned).collect();
        answers.sort_unstable();
        let longest = answers.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        Self {
            ops: history.ops.len(),
            by_call,
            errors,
            faults,
            longest_outage: Duration::from_nanos(longest),
            recovered_after: recording.recovered_after,
            unread: recording.unread,
        }
    }

    /// Returns whether the store recovered at the end and all final reads were answered.
    pub fn has_recovered(&self) -> bool {
        self.recovered_after.is_some() && self.unread == 0
    }

    /// Returns the number of faults.
    pub fn faults(&self) -> usize {
        self.faults.values().map(Vec::len).sum()
    }

    /// Returns the number of answered operations.
    pub fn answered(&self) -> usize {
        self.by_call.values().map(|outcomes| outcomes.found + outcomes.absent).sum()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} operations", self.ops)?;
        let header = ["", "done", "absent", "failed", "cut off"];
        let row = |f: &mut fmt::Formatter<'_>, [name, cells @ ..]: [&str; 5]| {
            write!(f, "  {name:<11}")?;
            cells.iter().try_for_each(|cell| write!(f, "{cell:>9}"))?;
            writeln!(f)
        };
        row(f, header)?;
        for (name, outcomes) in &self.by_call {
            let Outcomes { found, absent, failed, cut_off } = outcomes;
            let cells = [found, absent, failed, cut_off].map(usize::to_string);
            row(f, [name, &cells[0], &cells[1], &cells[2], &cells[3]])?;
        }
        let mut errors: Vec<_> = self.errors.iter().collect();
        errors.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (error, count) in errors.iter().take(ERRORS_SHOWN) {
            writeln!(f, "  {count:>6} failed with: {error}")?;
        }
        for (what, recoveries) in &self.faults {
            write!(f, "fault: {:>3} × {what}", recoveries.len())?;
            let mut known: Vec<Duration> = recoveries.iter().copied().flatten().collect();
            known.sort_unstable();
            if let (Some(median), Some(longest)) = (known.get(known.len() / 2), known.last()) {
                write!(f, "; all processes received answers {median:.1?} after it (median), ")?;
                write!(f, "{longest:.1?} (maximum)")?;
            }
            match recoveries.len() - known.len() {
                0 => writeln!(f)?,
                others => writeln!(f, "; {others} times the next fault came first")?,
            }
        }
        if self.faults.is_empty() {
            writeln!(f, "fault: none")?;
        }
        writeln!(f, "longest time without an answer: {:.1?}", self.longest_outage)?;
        match self.recovered_after {
            Some(time) => writeln!(f, "all processes received answers {time:.1?} after the run")?,
            None => writeln!(f, "NOT RECOVERED: a process no longer received answers")?,
        }
        if self.unread > 0 {
            writeln!(f, "NOT READ BACK: {} sessions or lists", self.unread)?;
        }
        Ok(())
    }
}

/// Returns the time from a fault's end until the last process received an answer to a later
/// call.
fn recovery(history: &History, fault: &FaultPeriod, next: u64) -> Option<Duration> {
    let mut first: BTreeMap<u16, u64> = BTreeMap::new();
    for op in &history.ops {
        let first = first.entry(op.server).or_insert(u64::MAX);
        if op.invoked >= fault.to && !op.is_unknown() {
            *first = op.returned.min(*first);
        }
    }
    let last = first.into_values().max()?;
    (last < next).then(|| Duration::from_nanos(last.saturating_sub(fault.to)))
}

/// Removes ports and keys, so that similar errors are counted together.
fn without_numbers(error: &str) -> String {
    let mut last = ' ';
    let kept = error.chars().filter_map(|character| {
        let shown = if character.is_ascii_digit() { '#' } else { character };
        let repeated = shown == '#' && last == '#';
        last = shown;
        (!repeated).then_some(shown)
    });
    kept.take(160).collect()
}
