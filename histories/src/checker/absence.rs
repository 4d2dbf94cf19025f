//! What nobody has ended is there, and an error is not an absence.

use super::index::{Index, refused};
use super::{Effect, Kind, Report};
use crate::history::{Answer, Birth, Call, KeyNo};

/// No operation is exempt.
const NONE: usize = usize::MAX;

pub(super) fn check(index: &Index<'_>, report: &mut Report) {
    for (number, op) in index.ops.iter().enumerate() {
        if let Some(key) = refused(op) {
            if index.leads(key, op.returned) {
                by_key(index, report, number, key);
            }
            continue;
        }
        match (&op.call, op.answer()) {
            // By its public name, a session is found only until that is replaced.
            (Call::End { owner, id }, Some(Answer::Ended(false))) => {
                let Some(token) = index.tokens.get(id) else { continue };
                let replaced = token
                    .rotations
                    .iter()
                    .any(|&op| index.ops[op].invoked < index.ops[number].returned);
                let session = index.sessions.get(&token.birth);
                if session.is_some_and(|session| session.owner == Some(*owner)) && !replaced {
                    by_key(index, report, number, *id);
                }
            }
            (Call::List { owner }, Some(Answer::Listed(_))) => {
                for birth in index.missing(*owner, op) {
                    absent(index, report, number, birth, None);
                }
            }
            _ => {}
        }
    }
}

fn by_key(index: &Index<'_>, report: &mut Report, number: usize, key: KeyNo) {
    if let Some(token) = index.tokens.get(&key) {
        // One that is told of only later is one that the client could not know.
        if index.ops[token.told_by].returned <= index.ops[number].invoked {
            absent(index, report, number, token.birth, Some((key, token.told_by)));
        }
    }
}

fn absent(
    index: &Index<'_>,
    report: &mut Report,
    number: usize,
    birth: Birth,
    by: Option<(KeyNo, usize)>,
) {
    let Some(session) = index.sessions.get(&birth) else { return };
    let op = &index.ops[number];
    if index.ender(birth, op.returned, NONE).is_some() {
        return;
    }
    let mut proof = vec![session.made_by, number];
    proof.extend(by.map(|(_, told_by)| told_by));
    // The last that found it before, for the reader.
    let last = session.found.iter().rev().map(|(found, _)| *found);
    proof.extend(last.into_iter().find(|&found| index.ops[found].returned < op.invoked));
    proof.extend(beside(index, number, birth));
    let what = || match by {
        Some((key, _)) => {
            format!("{birth} was said to be absent by {key}, and nobody had ended it")
        }
        None => format!("{birth} is not in its owner's list, and nobody had ended it"),
    };
    let told_by = by.map(|(_, told_by)| told_by).or(session.born.map(|born| born.op));
    let undone = told_by.map_or(Effect::seen(0), |told_by| {
        let told_by = &index.ops[told_by];
        let given = matches!(told_by.answer(), Some(Answer::Token(_)));
        Effect::known(told_by.returned, given)
    });
    report.add(Kind::FalseAbsence, undone, index.ops, what, &proof);
}

/// How many operations beside it are shown.
const BESIDE_MAX: usize = 8;

/// What went on with the same session at that moment, for the reader.
fn beside(index: &Index<'_>, number: usize, birth: Birth) -> Vec<usize> {
    let op = &index.ops[number];
    let beside = index.ops.iter().enumerate().filter(|(_, other)| {
        let key = other.call.key();
        other.invoked < op.returned
            && other.returned > op.invoked
            && key.and_then(|key| index.birth(key)) == Some(birth)
    });
    beside.map(|(beside, _)| beside).take(BESIDE_MAX).collect()
}
