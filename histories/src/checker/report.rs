//! What was found.

use std::collections::BTreeMap;
use std::fmt;

use super::Rules;
use crate::history::{Fault, History};

/// Which promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// P1, P4: a session, or a token, was accepted or listed after it had ended.
    Resurrection,
    /// A session that nobody ended is said not to be there.
    FalseAbsence,
    /// P2: what was acknowledged is missing later, or was undone by another update.
    LostUpdate,
    /// P2: one update took effect twice.
    DoubleUpdate,
    /// P2: an update that had not begun yet, was refused, or was another session's, is in a ledger.
    StrangeUpdate,
    /// P2: of two updates one after the other, the later comes first in the ledger.
    UpdateOrder,
    /// P11: a token has two successors, or is shown as current after it was replaced.
    SecondSuccessor,
    /// A token or a name leads to another session's data, or to another owner's.
    WrongSession,
    /// One session twice in one list.
    ListedTwice,
    /// Of two removals of one session, both say that they have ended it.
    EndedTwice,
    /// P4: ending all, or the others, ended fewer than were there, or more than there were.
    WrongCount,
}

/// What an engine lost that it had acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// A session, or its new token.
    Creates,
    /// An update.
    Updates,
    /// The end of a session or of a token.
    Removals,
}

impl Kind {
    /// What was lost, if the engine went back to an earlier state.
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
    /// Which promise.
    pub kind: Kind,
    /// What is wrong, in a sentence.
    pub what: String,
    /// The operations that prove it, by their place in the history, as lines.
    pub proof: Vec<(usize, String)>,
}

/// How long before a failover what was acknowledged may be lost by it, in nanoseconds.
const LOSS_WINDOW: u64 = 5_000_000_000;

/// How many violations of one kind are kept; a store that is broken breaks a promise thousands of times.
const KEPT_MAX: usize = 5;

/// The verdict on a history.
#[derive(Debug)]
pub struct Report {
    violations: BTreeMap<Kind, (usize, Vec<Violation>)>,
    losses: BTreeMap<Loss, (usize, Vec<Violation>)>,
    failovers: Vec<Fault>,
}

impl Report {
    pub(super) fn new(history: &History, rules: &Rules) -> Self {
        let faults = history.faults.iter().filter(|fault| rules.lossy && fault.may_lose);
        Self {
            violations: BTreeMap::new(),
            losses: BTreeMap::new(),
            failovers: faults.cloned().collect(),
        }
    }

    /// Takes a violation; `acknowledged` is when what was lost had been acknowledged, if it was a loss.
    pub(super) fn add(
        &mut self,
        kind: Kind,
        acknowledged: u64,
        history: &[crate::history::Op],
        what: impl FnOnce() -> String,
        proof: &[usize],
    ) {
        let lost = kind.as_loss().filter(|_| self.may_be_lost(acknowledged));
        let (count, kept) = match lost {
            Some(loss) => self.losses.entry(loss).or_default(),
            None => self.violations.entry(kind).or_default(),
        };
        *count += 1;
        if kept.len() < KEPT_MAX {
            let mut proof = proof.to_vec();
            proof.sort_unstable();
            proof.dedup();
            let proof = proof.iter().map(|&op| (op, history[op].to_string())).collect();
            kept.push(Violation { kind, what: what(), proof });
        }
    }

    fn may_be_lost(&self, acknowledged: u64) -> bool {
        self.failovers.iter().any(|fault| {
            acknowledged >= fault.from.saturating_sub(LOSS_WINDOW)
                && acknowledged <= fault.to.saturating_add(LOSS_WINDOW)
        })
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
        self.losses.get(&loss).map_or(0, |(count, _)| *count)
    }

    /// The first few of each kind.
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        self.violations.values().flat_map(|(_, kept)| kept)
    }

    /// The first few of each sort of loss.
    pub fn losses(&self) -> impl Iterator<Item = &Violation> {
        self.losses.values().flat_map(|(_, kept)| kept)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (loss, (count, kept)) in &self.losses {
            let what = match loss {
                Loss::Creates => "lost creates",
                Loss::Updates => "lost updates",
                Loss::Removals => "undone removals",
            };
            writeln!(f, "{what}, acknowledged shortly before a failover: {count}")?;
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
