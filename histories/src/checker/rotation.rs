//! P11: a token has one successor, and is not current any more once it has it.

use std::collections::HashMap;

use super::index::{Index, Known};
use super::{Effect, Kind, Report};
use crate::history::{Answer, Call, KeyNo};

pub(super) fn check(index: &Index<'_>, report: &mut Report) {
    let mut replaced: HashMap<KeyNo, Known> = HashMap::new();
    for (number, op) in index.ops.iter().enumerate() {
        let key = match (&op.call, op.answer()) {
            (Call::Rotate { token, .. }, Some(Answer::Token(_))) => *token,
            // Found by it under another name.
            (Call::Read { token, .. } | Call::Update { token, .. }, Some(Answer::Seen(seen)))
                if seen.id != *token =>
            {
                *token
            }
            _ => continue,
        };
        let known = Known { at: op.returned, op: number };
        replaced
            .entry(key)
            .and_modify(|first| {
                if known.at < first.at {
                    *first = known;
                }
            })
            .or_insert(known);
    }
    for (key, token) in &index.tokens {
        let twice = token.rotations.iter().copied().filter(|&op| !index.ops[op].is_unknown());
        if let [first, second, ..] = twice.collect::<Vec<_>>()[..] {
            let what = || format!("{key} has two successors");
            let at = index.ops[first].returned.min(index.ops[second].returned);
            let undone = Effect::acknowledged(at);
            report.add(Kind::SecondSuccessor, undone, index.ops, what, &[first, second]);
        }
    }
    for session in index.sessions.values() {
        for &(number, seen) in &session.shown {
            let op = &index.ops[number];
            if let Some(known) = replaced.get(&seen.id)
                && op.invoked > known.at.saturating_add(index.stale(op).unwrap_or(0))
            {
                let what = || format!("{} is shown as current after it was replaced", seen.id);
                let told = matches!(index.ops[known.op].call, Call::Rotate { .. });
                let undone = Effect::known(known.at, told);
                report.add(Kind::SecondSuccessor, undone, index.ops, what, &[known.op, number]);
            }
        }
    }
}
