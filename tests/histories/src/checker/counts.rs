//! P4: ending all sessions of an owner, or all others, returns their number.

use super::index::Index;
use super::{Effect, Kind, Report};
use crate::history::{Answer, Call, SessionNo};

pub(super) fn check(index: &Index<'_>, report: &mut Report) {
    for (number, op) in index.ops.iter().enumerate() {
        let Some(Answer::EndedMany(count)) = op.answer() else { continue };
        let Some(owner) = index.owner_of(&op.call) else { continue };
        let (kept, all_wanted) = match op.call {
            Call::RevokeOthers { token } => {
                let kept = index.session_no(token);
                // The kept session may not have existed; then the call ends nothing.
                let kept_lived = index.leads(token, op.returned)
                    && kept.is_some_and(|kept| index.ender(kept, op.returned, number).is_none());
                (kept, kept_lived)
            }
            _ => (None, true),
        };
        let there = |session_no: &&SessionNo| {
            let session = &index.sessions[*session_no];
            Some(**session_no) != kept
                && session.born.is_some_and(|born| born.at < op.invoked)
                && index.ender(**session_no, op.returned, number).is_none()
        };
        let possibly = |session_no: &&SessionNo| {
            let session = &index.sessions[*session_no];
            Some(**session_no) != kept
                && index.ops[session.made_by].invoked < op.returned
                && session.ended.anywhere.is_none_or(|ended| ended.at >= op.invoked)
        };
        let session_nos = index.sessions_of(owner);
        let least: Vec<SessionNo> = session_nos.iter().filter(there).copied().collect();
        let most = session_nos.iter().filter(possibly).count();
        if all_wanted && least.len() > *count {
            let what = || format!("at least {} sessions were live: {}", least.len(), names(&least));
            let made = least.iter().map(|session_no| index.sessions[session_no].made_by);
            let proof: Vec<usize> = made.take(8).chain([number]).collect();
            let is_acknowledged = |session_no: &SessionNo| {
                !index.ops[index.sessions[session_no].made_by].is_unknown()
            };
            let undone = Effect::known(op.returned, least.iter().all(is_acknowledged));
            report.add(Kind::WrongCount, undone, index.ops, what, &proof);
        }
        if *count > most {
            let what = || format!("at most {most} sessions were live");
            let undone = Effect::acknowledged(op.returned);
            report.add(Kind::WrongCount, undone, index.ops, what, &[number]);
        }
    }
}

fn names(session_nos: &[SessionNo]) -> String {
    session_nos.iter().map(SessionNo::to_string).collect::<Vec<_>>().join(", ")
}
