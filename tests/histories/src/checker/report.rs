//! The result of a check.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::Rules;
use crate::history::{FaultPeriod, History, MayLose, Op};

/// The broken promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// P1, P4: a session or token was accepted or listed after it had ended.
    Resurrection,
    /// A session that was not ended is reported absent.
    FalseAbsence,
    /// P2: an acknowledged update is missing later, or was undone by another update.
    LostUpdate,
    /// P2: an update took effect twice.
    DoubleUpdate,
    /// P2: a ledger contains an update that had not begun, was rejected, or belongs to
    /// another session.
    StrangeUpdate,
    /// P2: of two sequential updates, the later comes first in the ledger.
    UpdateOrder,
    /// P11: a token has two successors.
    SecondSuccessor,
    /// A token or an id leads to the data of another session or owner.
    WrongSession,
    /// A list contains a session twice.
    ListedTwice,
    /// Two removals report that they ended the same session.
    EndedTwice,
    /// P4: the number of ended sessions is impossible.
    WrongCount,
}

/// An acknowledged change that the engine lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// A session, or its new token.
    Creates,
    /// An update.
    Updates,
    /// The end of a session or of a token.
    Removals,
    /// A change that other clients had seen, but that was not acknowledged.
    Unacknowledged,
}

/// The effect that a violation reports as undone: its time, and the evidence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effect {
    at: u64,
    is_acknowledged: bool,
}

impl Effect {
    /// Acknowledged to the client that requested it.
    pub(super) const fn acknowledged(at: u64) -> Self {
        Self { at, is_acknowledged: true }
    }

    /// Visible to other clients.
    pub(super) const fn seen(at: u64) -> Self {
        Self { at, is_acknowledged: false }
    }

    /// Acknowledged or visible.
    pub(super) const fn known(at: u64, is_acknowledged: bool) -> Self {
        Self { at, is_acknowledged }
    }
}

impl Kind {
    /// Classifies the loss, for an engine that returned to an earlier state.
    const fn as_loss(self) -> Option<Loss> {
        match self {
            Self::FalseAbsence => Some(Loss::Creates),
            Self::LostUpdate => Some(Loss::Updates),
            Self::Resurrection | Self::SecondSuccessor | Self::EndedTwice | Self::WrongCount => {
                Some(Loss::Removals)
            }
            // Returning to an earlier state can't explain these.
            Self::DoubleUpdate
            | Self::StrangeUpdate
            | Self::UpdateOrder
            | Self::WrongSession
            | Self::ListedTwice => None,
        }
    }
}

/// A broken promise and its proof.
#[derive(Debug, Clone)]
pub struct Violation {
    /// The broken promise.
    pub kind: Kind,
    /// The violation in one sentence.
    pub what: String,
    /// The operations that prove it: their index in the history, and their text.
    pub proof: Vec<(usize, String)>,
}

/// Maximum time between an acknowledgement and a failover that may undo it, in nanoseconds.
const LOSS_WINDOW: u64 = 5_000_000_000;

/// Maximum time between visibility and a crash that may undo it, in nanoseconds.
const UNWRITTEN_WINDOW: u64 = 1_000_000_000;

/// Violations kept per kind; a broken store breaks a promise thousands of times.
const MAX_KEPT: usize = 5;

/// The result of a check.
#[derive(Debug)]
pub struct Report {
    violations: BTreeMap<Kind, (usize, Vec<Violation>)>,
    losses: BTreeMap<Loss, LostChanges>,
    faults: Vec<FaultPeriod>,
}

/// Losses of one kind in failovers.
#[derive(Debug, Default)]
struct LostChanges {
    /// The acknowledged operations that were lost, each counted once.
    ops: BTreeSet<usize>,
    /// The longest time from an acknowledgement to the failover that undid it.
    before: u64,
    /// The lost operations for each kind of fault.
    faults: BTreeMap<String, BTreeSet<usize>>,
    kept: Vec<Violation>,
}

impl Report {
    pub(super) fn new(history: &History, rules: &Rules) -> Self {
        let may_lose = |fault: &&FaultPeriod| match fault.may_lose {
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

    /// Adds a violation with its proof. If `undone` is a loss, the first operation of the
    /// proof is the lost one.
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

    /// Returns the fault that may have undone the effect, and the time between them.
    fn undone_by(&self, undone: Effect) -> Option<(u64, String)> {
        let by = self.faults.iter().filter_map(|fault| {
            let before = fault.from.saturating_sub(undone.at);
            let may_lose = match fault.may_lose {
                MayLose::Recent => before <= LOSS_WINDOW,
                _ => !undone.is_acknowledged && before <= UNWRITTEN_WINDOW,
            };
            (undone.at <= fault.to && may_lose).then_some((before, fault))
        });
        by.min_by_key(|(before, _)| *before).map(|(before, fault)| (before, fault.name.clone()))
    }

    /// Returns whether no promise was broken.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// Returns the number of violations of this kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.violations.get(&kind).map_or(0, |(count, _)| *count)
    }

    /// Returns the kinds of violations found.
    pub fn kinds(&self) -> Vec<Kind> {
        self.violations.keys().copied().collect()
    }

    /// Returns the number of losses of this kind in failovers.
    pub fn lost(&self, loss: Loss) -> usize {
        self.losses.get(&loss).map_or(0, |lost| lost.ops.len())
    }

    /// Returns the first violations of each kind.
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        self.violations.values().flat_map(|(_, kept)| kept)
    }

    /// Returns the first losses of each kind.
    pub fn losses(&self) -> impl Iterator<Item = &Violation> {
        self.losses.values().flat_map(|lost| &lost.kept)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (loss, LostChanges { ops, before, faults, kept }) in &self.losses {
            let what = match loss {
                Loss::Creates => "lost creates",
                Loss::Updates => "lost updates",
                Loss::Removals => "undone removals",
                Loss::Unacknowledged => "undone changes, visible but not acknowledged",
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
