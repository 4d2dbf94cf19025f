//! P4: ending all sessions, or all others, says how many there were.

use super::index::Index;
use super::{Effect, Kind, Report};
use crate::history::{Answer, Birth, Call};

pub(super) fn check(index: &Index<'_>, report: &mut Report) {
    for (number, op) in index.ops.iter().enumerate() {
        let Some(Answer::EndedMany(count)) = op.answer() else { continue };
        let Some(owner) = index.owner_of(&op.call) else { continue };
        let (kept, all_wanted) = match op.call {
            Call::EndOthers { token } => {
                let kept = index.birth(token);
                // It may have found no session to keep, and then it ends none.
                let kept_lived = index.leads(token, op.returned)
                    && kept.is_some_and(|kept| index.ender(kept, op.returned, number).is_none());
                (kept, kept_lived)
            }
            _ => (None, true),
        };
        let there = |birth: &&Birth| {
            let session = &index.sessions[*birth];
            Some(**birth) != kept
                && session.born.is_some_and(|born| born.at < op.invoked)
                && index.ender(**birth, op.returned, number).is_none()
        };
        let possibly = |birth: &&Birth| {
            let session = &index.sessions[*birth];
            Some(**birth) != kept
                && index.ops[session.made_by].invoked < op.returned
                && session.ended.anywhere.is_none_or(|ended| ended.at >= op.invoked)
        };
        let births = index.births_of(owner);
        let least: Vec<Birth> = births.iter().filter(there).copied().collect();
        let most = births.iter().filter(possibly).count();
        if all_wanted && least.len() > *count {
            let what =
                || format!("at least {} were there to be ended: {}", least.len(), names(&least));
            let made = least.iter().map(|birth| index.sessions[birth].made_by);
            let proof: Vec<usize> = made.take(8).chain([number]).collect();
            let told = |birth: &Birth| !index.ops[index.sessions[birth].made_by].is_unknown();
            let undone = Effect::known(op.returned, least.iter().all(told));
            report.add(Kind::WrongCount, undone, index.ops, what, &proof);
        }
        if *count > most {
            let what = || format!("at most {most} were there to be ended");
            let undone = Effect::acknowledged(op.returned);
            report.add(Kind::WrongCount, undone, index.ops, what, &[number]);
        }
    }
}

fn names(births: &[Birth]) -> String {
    births.iter().map(Birth::to_string).collect::<Vec<_>>().join(", ")
}
