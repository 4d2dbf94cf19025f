//! P1 and P4: what has ended is not found again.

use super::index::{Index, Known, Session, refused};
use super::{Effect, Kind, Report};
use crate::history::{Answer, Birth, Call, Op};

pub(super) fn check(index: &Index<'_>, report: &mut Report) {
    for (birth, session) in &index.sessions {
        for &(number, by) in &session.found {
            let op = &index.ops[number];
            let stale = index.stale(op);
            let found = |what: &dyn std::fmt::Display, ended: Known, report: &mut Report| {
                let after = (op.invoked - ended.at) as f64 / 1e6;
                let what = || format!("{what} was found {after:.3} ms after it had ended");
                let proof = [ended.op, session.made_by, number];
                let undone = Effect::known(ended.at, was_told(&index.ops[ended.op]));
                report.add(Kind::Resurrection, undone, index.ops, what, &proof);
            };
            if let Some(ended) = session.ended.before(op, stale) {
                found(birth, ended, report);
            } else if matches!(op.call, Call::End { .. }) {
                // The name of a token that was replaced is no key to its session, and ends it.
            } else if let Some(key) = by
                && let Some(ended) = index.tokens.get(&key).and_then(|t| t.ended.before(op, stale))
            {
                found(&format_args!("{birth} by {key}"), ended, report);
            }
        }
        ended_once(index, report, *birth, session);
    }
}

/// Of all removals of one session, one has ended it.
fn ended_once(index: &Index<'_>, report: &mut Report, birth: Birth, session: &Session<'_>) {
    let ended = session.enders.iter().copied().filter(|&op| {
        let op = &index.ops[op];
        !matches!(op.call, Call::Login { .. }) && op.answer() == Some(&Answer::Ended(true))
    });
    let ended: Vec<usize> = ended.collect();
    if let [first, second, ..] = ended[..] {
        let what = || format!("{birth} was ended twice");
        let at = index.ops[first].returned.min(index.ops[second].returned);
        let proof = [session.made_by, first, second];
        report.add(Kind::EndedTwice, Effect::acknowledged(at), index.ops, what, &proof);
    }
}

/// Whether this operation ended it, and did not only see that it had ended.
fn was_told(op: &Op) -> bool {
    refused(op).is_none() && !matches!(op.call, Call::List { .. })
}
