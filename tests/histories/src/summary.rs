//! The figures of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::Recording;
use crate::history::{Answer, Fault, History, Outcome};

/// Operations by kind and outcome, faults, outages and recoveries.
#[derive(Debug)]
pub struct Summary {
    /// How many operations there were.
    pub ops: usize,
    by_call: BTreeMap<&'static str, Outcomes>,
    errors: BTreeMap<String, usize>,
    /// For each sort of fault, each time from its end until every process had had an answer to
    /// something that was asked after it; `None` where the next fault came before.
    faults: BTreeMap<String, Vec<Option<Duration>>>,
    /// The longest time in which no operation at all was answered, during the run.
    pub longest_outage: Duration,
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
        let mut faults: BTreeMap<String, Vec<Option<Duration>>> = BTreeMap::new();
        for (number, fault) in history.faults.iter().enumerate() {
            let next = history.faults.get(number + 1).map_or(u64::MAX, |next| next.from);
            let recovery = recovery(history, fault, next);
            faults.entry(fault.what.clone()).or_default().push(recovery);
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
        self.faults.values().map(Vec::len).sum()
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
        for (what, recoveries) in &self.faults {
            write!(f, "fault: {:>3} × {what}", recoveries.len())?;
            let mut known: Vec<Duration> = recoveries.iter().copied().flatten().collect();
            known.sort_unstable();
            if let (Some(median), Some(longest)) = (known.get(known.len() / 2), known.last()) {
                write!(f, "; all processes had answers {median:.1?} after it (median), ")?;
                write!(f, "{longest:.1?} at the latest")?;
            }
            match recoveries.len() - known.len() {
                0 => writeln!(f)?,
                others => writeln!(f, "; {others} times the next fault came before")?,
            }
        }
        if self.faults.is_empty() {
            writeln!(f, "fault: none")?;
        }
        writeln!(f, "longest time without any answer: {:.1?}", self.longest_outage)?;
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

/// How long after a fault the last of the processes had an answer to something asked after it.
fn recovery(history: &History, fault: &Fault, next: u64) -> Option<Duration> {
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
