//! The findings.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::Rules;
use crate::history::{Fault, History, MayLose, Op};

/// Which promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// P1, P4: a session, or a token, was accepted or listed after it had ended.
    Resurrection,
    /// A session that no operation ended was not found.
    FalseAbsence,
    /// P2: an acknowledged update is missing later, or was undone by another update.
    LostUpdate,
    /// P2: one update took effect twice.
    DoubleUpdate,
    /// P2: an update that had not begun yet, was refused, or was another session's, is in a ledger.
    StrangeUpdate,
    /// P2: of two updates one after the other, the later comes first in the ledger.
    UpdateOrder,
    /// P11: a token has two successors.
    SecondSuccessor,
    /// A token or a name leads to another session's data, or to another owner's.
    WrongSession,
    /// One session twice in one list.
    ListedTwice,
    /// Two removals of one session both reported that they ended it.
    EndedTwice,
    /// P4: ending all sessions of an owner, or all others, ended fewer or more than existed.
    WrongCount,
}

/// A loss of an acknowledged change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// A session, or its new token.
    Creates,
    /// An update.
    Updates,
    /// The end of a session or of a token.
    Removals,
    /// A change that other clients had seen, and that was not acknowledged.
    Unacknowledged,
}

/// A change that a violation shows to be undone: since when it was in effect, and how that is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effect {
    at: u64,
    is_acknowledged: bool,
}

impl Effect {
    /// The client got an acknowledgement.
    pub(super) const fn acknowledged(at: u64) -> Self {
        Self { at, is_acknowledged: true }
    }

    /// Others saw it.
    pub(super) const fn seen(at: u64) -> Self {
        Self { at, is_acknowledged: false }
    }

    /// One or the other.
    pub(super) const fn known(at: u64, is_acknowledged: bool) -> Self {
        Self { at, is_acknowledged }
    }
}

impl Kind {
    /// The loss, if the engine returned to an earlier state.
    const fn as_loss(self) -> Option<Loss> {
        match self {
            Self::FalseAbsence => Some(Loss::Creates),
            Self::LostUpdate => Some(Loss::Updates),
            Self::Resurrection | Self::SecondSuccessor | Self::EndedTwice | Self::WrongCount => {
                Some(Loss::Removals)
            }
            // No way back explains these.
            Self::DoubleUpdate
            | Self::StrangeUpdate
            | Self::UpdateOrder
            | Self::WrongSession
            | Self::ListedTwice => None,
        }
    }
}

/// One broken promise and its proof.
#[derive(Debug, Clone)]
pub struct Violation {
    /// The promise.
    pub kind: Kind,
    /// The fault, in a sentence.
    pub what: String,
    /// The operations that prove it, by their place in the history, as lines.
    pub proof: Vec<(usize, String)>,
}

/// How long before a failover what was acknowledged may be lost by it, in nanoseconds.
const LOSS_WINDOW: u64 = 5_000_000_000;

/// How long before a crash what others saw may not have been on the disk, in nanoseconds.
const UNWRITTEN_WINDOW: u64 = 1_000_000_000;

/// How many violations of one kind are kept; a store that is broken breaks a promise thousands of times.
const MAX_KEPT: usize = 5;

/// The verdict on a history.
#[derive(Debug)]
pub struct Report {
    violations: BTreeMap<Kind, (usize, Vec<Violation>)>,
    losses: BTreeMap<Loss, Lost>,
    faults: Vec<Fault>,
}

/// The losses of one kind.
#[derive(Debug, Default)]
struct Lost {
    /// The operations that had been acknowledged, each counted once however often it was missed.
    ops: BTreeSet<usize>,
    /// The longest time from an acknowledgement to the beginning of the failover that undid it.
    before: u64,
    /// Which faults undid it, and how much of it each sort.
    faults: BTreeMap<String, BTreeSet<usize>>,
    kept: Vec<Violation>,
}

impl Report {
    pub(super) fn new(history: &History, rules: &Rules) -> Self {
        let may_lose = |fault: &&Fault| match fault.may_lose {
            MayLose::Nothing => false,
            MayLose::Unacknowledged => true,
            MayLose::Recent => rules.lossy,
        };
        Self {
            violations: BTreeMap::new(),
            losses: BTreeMap::new(),
            faults: history.faults.iter().filter(may_lose).cloned().collect(),
        }
    }

    /// Takes a violation with its proof, of which the first is what was lost, if it is a loss:
    /// `undone`.
    pub(super) fn add(
        &mut self,
        kind: Kind,
        undone: Effect,
        history: &[Op],
        what: impl FnOnce() -> String,
        proof: &[usize],
    ) {
        let lost = kind.as_loss().zip(self.undone_by(undone));
        let kept = if let Some((loss, (before, fault))) = lost {
            let loss = if undone.is_acknowledged { loss } else { Loss::Unacknowledged };
            let lost = self.losses.entry(loss).or_default();
            lost.ops.extend(proof.first());
            lost.before = lost.before.max(before);
            lost.faults.entry(fault).or_default().extend(proof.first());
            &mut lost.kept
        } else {
            let (count, kept) = self.violations.entry(kind).or_default();
            *count += 1;
            kept
        };
        if kept.len() < MAX_KEPT {
            let mut proof = proof.to_vec();
            proof.sort_unstable();
            proof.dedup();
            let proof = proof.iter().map(|&op| (op, history[op].to_string())).collect();
            kept.push(Violation { kind, what: what(), proof });
        }
    }

    /// How long before which fault this was, if one may have undone it.
    fn undone_by(&self, undone: Effect) -> Option<(u64, String)> {
        let by = self.faults.iter().filter_map(|fault| {
            let before = fault.from.saturating_sub(undone.at);
            let may_lose = match fault.may_lose {
                MayLose::Recent => before <= LOSS_WINDOW,
                _ => !undone.is_acknowledged && before <= UNWRITTEN_WINDOW,
            };
            (undone.at <= fault.to && may_lose).then_some((before, fault))
        });
        by.min_by_key(|(before, _)| *before).map(|(before, fault)| (before, fault.what.clone()))
    }

    /// Whether no promise was broken.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// How often this promise was broken.
    pub fn count(&self, kind: Kind) -> usize {
        self.violations.get(&kind).map_or(0, |(count, _)| *count)
    }

    /// The promises that were broken.
    pub fn kinds(&self) -> Vec<Kind> {
        self.violations.keys().copied().collect()
    }

    /// How much of this the engine lost in failovers.
    pub fn lost(&self, loss: Loss) -> usize {
        self.losses.get(&loss).map_or(0, |lost| lost.ops.len())
    }

    /// The first few of each kind.
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        self.violations.values().flat_map(|(_, kept)| kept)
    }

    /// The first few of each sort of loss.
    pub fn losses(&self) -> impl Iterator<Item = &Violation> {
        self.losses.values().flat_map(|lost| &lost.kept)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (loss, Lost { ops, before, faults, kept }) in &self.losses {
            let what = match loss {
                Loss::Creates => "lost creates",
                Loss::Updates => "lost updates",
                Loss::Removals => "undone removals",
                Loss::Unacknowledged => "undone, seen by others and not acknowledged",
            };
            let before = Duration::from_nanos(*before);
            let count = ops.len();
            writeln!(f, "{what}: {count}, during a fault or at most {before:.1?} before")?;
            for (fault, ops) in faults {
                writeln!(f, "  {} by: {fault}", ops.len())?;
            }
            if let Some(first) = kept.first() {
                write!(f, "  such as {first}")?;
            }
        }
        if self.is_clean() {
            return f.write_str("no violation");
        }
        for (kind, (count, kept)) in &self.violations {
            writeln!(f, "VIOLATION {kind:?}, {count} times")?;
            kept.iter().try_for_each(|violation| write!(f, "  {violation}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}:", self.what)?;
        self.proof.iter().try_for_each(|(op, line)| writeln!(f, "    #{op:<7} {line}"))
    }
}
