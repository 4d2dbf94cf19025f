//! What a run was like, in numbers.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::Recording;
use crate::history::{Answer, Outcome};

/// Operations by kind and outcome, faults, outages and recoveries.
#[derive(Debug)]
pub struct Summary {
    /// How many operations there were.
    pub ops: usize,
    by_call: BTreeMap<&'static str, Outcomes>,
    errors: BTreeMap<String, usize>,
    faults: BTreeMap<String, usize>,
    /// The longest time in which no operation at all was answered, during the run.
    pub longest_outage: Duration,
    /// From the end of each fault to the next answer of something asked after it.
    pub recoveries: Vec<Duration>,
    settled_after: Option<Duration>,
    unread: usize,
}

#[derive(Debug, Default)]
struct Outcomes {
    found: usize,
    absent: usize,
    failed: usize,
    cut_off: usize,
}

/// How many sorts of errors are printed.
const ERRORS_SHOWN: usize = 8;

impl Summary {
    /// Counts what was recorded.
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
        let mut faults = BTreeMap::new();
        for fault in &history.faults {
            *faults.entry(fault.what.clone()).or_default() += 1;
        }
        let run = history.ops.iter().filter(|op| op.invoked < recording.read_back_from);
        let mut answers: Vec<u64> =
            run.filter(|op| !op.is_unknown()).map(|op| op.returned).collect();
        answers.sort_unstable();
        let longest = answers.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        let recoveries = history.faults.iter().filter_map(|fault| {
            let later = history.ops.iter().filter(|op| op.invoked >= fault.to && !op.is_unknown());
            later.map(|op| op.returned).min().map(|at| Duration::from_nanos(at - fault.to))
        });
        Self {
            ops: history.ops.len(),
            by_call,
            errors,
            faults,
            longest_outage: Duration::from_nanos(longest),
            recoveries: recoveries.collect(),
            settled_after: recording.settled_after,
            unread: recording.unread,
        }
    }

    /// Whether the store answered again at the end, and everything could be read back.
    pub fn has_recovered(&self) -> bool {
        self.settled_after.is_some() && self.unread == 0
    }

    /// How many faults there were.
    pub fn faults(&self) -> usize {
        self.faults.values().sum()
    }

    /// How many operations were answered.
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
        let faults: Vec<String> =
            self.faults.iter().map(|(what, count)| format!("{count} × {what}")).collect();
        writeln!(f, "faults: {}", if faults.is_empty() { "none".into() } else { faults.join(", ") })?;
        writeln!(f, "longest time without any answer: {:.1?}", self.longest_outage)?;
        let mut recoveries = self.recoveries.clone();
        recoveries.sort_unstable();
        if let (Some(median), Some(longest)) =
            (recoveries.get(recoveries.len() / 2), recoveries.last())
        {
            writeln!(f, "answered again after a fault: median {median:.1?}, longest {longest:.1?}")?;
        }
        match self.settled_after {
            Some(time) => writeln!(f, "all processes had answers {time:.1?} after the run")?,
            None => writeln!(f, "NOT RECOVERED: a process got no answer any more")?,
        }
        if self.unread > 0 {
            writeln!(f, "NOT READ BACK: {} sessions or lists", self.unread)?;
        }
        Ok(())
    }
}

/// Errors differ in ports and keys, and are of one sort.
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
