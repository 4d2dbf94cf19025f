//! P1 and P4: an ended session is not found again.

use super::index::{Index, KnownSince, Session, refused};
use super::{Effect, Kind, Report};
use crate::history::{Answer, Call, Op, SessionNo};

pub(super) fn check(index: &Index<'_>, report: &mut Report) {
    for (session_no, session) in &index.sessions {
        for &(number, by) in &session.found {
            let op = &index.ops[number];
            let stale = index.stale(op);
            let found = |what: &dyn std::fmt::Display, ended: KnownSince, report: &mut Report| {
                let after = (op.invoked - ended.at) as f64 / 1e6;
                let what = || format!("{what} was found {after:.3} ms after it had ended");
                let proof = [ended.op, session.made_by, number];
                let undone = Effect::known(ended.at, is_acknowledged_end(&index.ops[ended.op]));
                report.add(Kind::Resurrection, undone, index.ops, what, &proof);
            };
            // Only the store itself confirms that a logout ended a session.
            let by_store = stale.filter(|_| !matches!(op.call, Call::Logout { .. }));
            if let Some(ended) = session.ended.before(op, by_store) {
                found(session_no, ended, report);
            } else if let Some(token) = by
                && let Some(known) = index.tokens.get(&token)
                && let Some(ended) = known.ended.before(op, stale)
            {
                found(&format_args!("{session_no} by {token}"), ended, report);
            }
        }
        ended_once(index, report, *session_no, session);
    }
}

/// Checks that at most one removal reports that it ended the session.
fn ended_once(
    index: &Index<'_>,
    report: &mut Report,
    session_no: SessionNo,
    session: &Session<'_>,
) {
    let ended = session.enders.iter().copied().filter(|&op| {
        let op = &index.ops[op];
        !matches!(op.call, Call::Login { .. }) && op.answer() == Some(&Answer::Ended(true))
    });
    let ended: Vec<usize> = ended.collect();
    if let [first, second, ..] = ended[..] {
        let what = || format!("{session_no} was ended twice");
        let at = index.ops[first].returned.min(index.ops[second].returned);
        let proof = [session.made_by, first, second];
        report.add(Kind::EndedTwice, Effect::acknowledged(at), index.ops, what, &proof);
    }
}

/// Returns whether this operation ended the session, instead of only observing its end.
fn is_acknowledged_end(op: &Op) -> bool {
    let ends = matches!(
        op.call,
        Call::Login { .. }
            | Call::Rotate { .. }
            | Call::Logout { .. }
            | Call::Revoke { .. }
            | Call::RevokeOthers { .. }
            | Call::RevokeOwner { .. }
    );
    ends && refused(op).is_none()
}
