//! P2: every acknowledged update appears once, in order.

use std::collections::HashMap;

use super::index::{Index, Session};
use super::{Effect, Kind, Report};
use crate::history::{Answer, Call, Seen, SessionNo, UpdateNo};

pub(super) fn check(index: &Index<'_>, report: &mut Report) {
    let updates = index.ops.iter().enumerate().filter_map(|(number, op)| match op.call {
        Call::Update { update, .. } => Some((update, number)),
        _ => None,
    });
    let updates: HashMap<UpdateNo, usize> = updates.collect();
    for (session_no, session) in &index.sessions {
        if !session.shown.is_empty() {
            let check = Check { index, updates: &updates, session_no: *session_no, session };
            check.own_effect(report);
            check.prefixes(report);
            check.nothing_goes_back(report);
        }
    }
}

struct Check<'a, 'h> {
    index: &'a Index<'h>,
    updates: &'a HashMap<UpdateNo, usize>,
    session_no: SessionNo,
    session: &'a Session<'h>,
}

impl Check<'_, '_> {
    /// The answer to an update must end with that update.
    fn own_effect(&self, report: &mut Report) {
        for &(number, seen) in &self.session.shown {
            let op = &self.index.ops[number];
            if let Call::Update { update, .. } = op.call
                && seen.updates.last() != Some(&update)
            {
                let what = || format!("the answer to {update} does not end with it");
                let undone = Effect::acknowledged(op.returned);
                report.add(Kind::LostUpdate, undone, self.index.ops, what, &[number]);
            }
        }
    }

    /// Of two ledgers of a session, one must be a prefix of the other.
    fn prefixes(&self, report: &mut Report) {
        let mut shown = self.session.shown.clone();
        shown.sort_by_key(|(_, seen)| seen.updates.len());
        for pair in shown.windows(2) {
            let ((shorter, short), (longer, long)) = (pair[0], pair[1]);
            if !long.updates.starts_with(&short.updates) {
                let what = || format!("{} has two contradictory ledgers", self.session_no);
                let ops = self.index.ops;
                let at = ops[shorter].returned.min(ops[longer].returned);
                let common =
                    short.updates.iter().zip(&*long.updates).take_while(|(a, b)| a == b).count();
                let both =
                    [short, long].iter().all(|seen| self.any_acknowledged(&seen.updates[common..]));
                let undone = Effect::known(at, both);
                report.add(Kind::LostUpdate, undone, ops, what, &[shorter, longer]);
                // Check each of them separately.
                self.ledger(report, shorter, short);
            }
        }
        if let Some((number, longest)) = shown.last() {
            self.ledger(report, *number, longest);
        }
        self.not_before_they_began(report, &shown);
    }

    /// A ledger must contain only this session's updates, once each, in the order of real
    /// time.
    fn ledger(&self, report: &mut Report, number: usize, seen: &Seen) {
        let ops = self.index.ops;
        let mut places = HashMap::new();
        // Of the updates so far, the one that began last.
        let mut latest: Option<usize> = None;
        for (place, update) in seen.updates.iter().enumerate() {
            if places.insert(*update, place).is_some() {
                let what = || format!("{update} took effect twice");
                let done = self.updates.get(update).copied().unwrap_or(number);
                report.add(
                    Kind::DoubleUpdate,
                    Effect::acknowledged(ops[number].returned),
                    ops,
                    what,
                    &[done, number],
                );
            }
            let done = self.updates.get(update).copied();
            let own = done.filter(|&done| {
                self.index.subject(&ops[done].call) == Some(self.session_no)
                    && ops[done].answer() != Some(&Answer::Absent)
            });
            let Some(own) = own else {
                let what = || {
                    format!(
                        "{update} was rejected or belongs to another session than {}",
                        self.session_no
                    )
                };
                let proof = [done.unwrap_or(number), number];
                report.add(
                    Kind::StrangeUpdate,
                    Effect::acknowledged(ops[number].returned),
                    ops,
                    what,
                    &proof,
                );
                continue;
            };
            if let Some(before) = latest
                && ops[own].effective_until() < ops[before].invoked
            {
                let what = || format!("{update} precedes the update before it");
                let proof = [own, before, number];
                let undone = Effect::acknowledged(ops[own].returned);
                report.add(Kind::UpdateOrder, undone, ops, what, &proof);
            }
            if latest.is_none_or(|before| ops[own].invoked > ops[before].invoked) {
                latest = Some(own);
            }
        }
    }

    /// A ledger must not contain updates that began after it was read.
    fn not_before_they_began(&self, report: &mut Report, by_length: &[(usize, &Seen)]) {
        let ops = self.index.ops;
        for &(number, seen) in by_length {
            let early = seen.updates.last().and_then(|last| self.updates.get(last));
            if let Some(&early) = early
                && ops[early].invoked > ops[number].returned
            {
                let what = || String::from("an update is visible before it began");
                report.add(
                    Kind::StrangeUpdate,
                    Effect::acknowledged(ops[number].returned),
                    ops,
                    what,
                    &[early, number],
                );
            }
        }
    }

    /// An update that was visible or acknowledged must be in every ledger read later.
    fn nothing_goes_back(&self, report: &mut Report) {
        let ops = self.index.ops;
        let mut by_return = self.session.shown.clone();
        by_return.sort_by_key(|(number, _)| ops[*number].returned);
        // The longest ledger returned so far.
        let mut longest: Vec<(u64, usize, usize)> = Vec::with_capacity(by_return.len());
        for (number, seen) in by_return {
            let length = seen.updates.len();
            if longest.last().is_none_or(|(_, best, _)| length > *best) {
                longest.push((ops[number].returned, length, number));
            }
        }
        for &(number, seen) in &self.session.shown {
            let op = &ops[number];
            let stale = self.index.stale(op);
            let since = op.invoked.saturating_sub(stale.unwrap_or(0));
            let before = longest.partition_point(|(returned, ..)| *returned < since);
            let best = before.checked_sub(1).map(|last| longest[last]);
            let own = stale.and_then(|_| self.own_before(op.server, op.invoked));
            let lost = [best, own].into_iter().flatten().find(|best| best.1 > seen.updates.len());
            if let Some((at, _, proof)) = lost {
                let what =
                    || format!("an update of {} that had been visible is missing", self.session_no);
                let shown =
                    ops[proof].seen().iter().find(|shown| shown.session_no == self.session_no);
                let gone = shown
                    .and_then(|shown| shown.updates.get(seen.updates.len()..))
                    .unwrap_or_default();
                let undone = Effect::known(at, self.any_acknowledged(gone));
                report.add(Kind::LostUpdate, undone, ops, what, &[proof, number]);
            }
        }
    }

    /// Returns whether any of these updates was acknowledged.
    fn any_acknowledged(&self, updates: &[UpdateNo]) -> bool {
        let is_acknowledged =
            |update| self.updates.get(update).is_some_and(|&op| !self.index.ops[op].is_unknown());
        updates.iter().any(is_acknowledged)
    }

    /// Returns the longest ledger that this server had written by then: its own copies must
    /// reflect it.
    fn own_before(&self, server: u16, invoked: u64) -> Option<(u64, usize, usize)> {
        let own = self.session.shown.iter().filter_map(|&(number, seen)| {
            let op = &self.index.ops[number];
            let updated = matches!(op.call, Call::Update { .. });
            (updated && op.server == server && op.returned < invoked).then_some((
                op.returned,
                seen.updates.len(),
                number,
            ))
        });
        own.max_by_key(|(_, length, _)| *length)
    }
}
