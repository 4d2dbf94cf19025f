//! P11: a token has at most one successor.

use super::index::Index;
use super::{Effect, Kind, Report};

pub(super) fn check(index: &Index<'_>, report: &mut Report) {
    for (number, token) in &index.tokens {
        let known = token.rotations.iter().copied().filter(|&op| !index.ops[op].is_unknown());
        if let [first, second, ..] = known.collect::<Vec<_>>()[..] {
            let what = || format!("{number} has two successors");
            let at = index.ops[first].returned.min(index.ops[second].returned);
            let undone = Effect::acknowledged(at);
            report.add(Kind::SecondSuccessor, undone, index.ops, what, &[first, second]);
        }
    }
}
