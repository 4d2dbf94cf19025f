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
            // That a session was there to be ended, only the store says.
            let by_store = stale.filter(|_| !matches!(op.call, Call::Destroy { .. }));
            if let Some(ended) = session.ended.before(op, by_store) {
                found(birth, ended, report);
            } else if let Some(token) = by
                && let Some(known) = index.tokens.get(&token)
                && let Some(ended) = known.ended.before(op, stale)
            {
                found(&format_args!("{birth} by {token}"), ended, report);
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
    let ends = matches!(
        op.call,
        Call::Login { .. }
            | Call::Rotate { .. }
            | Call::Destroy { .. }
            | Call::End { .. }
            | Call::EndOthers { .. }
            | Call::EndAll { .. }
    );
    ends && refused(op).is_none()
}
