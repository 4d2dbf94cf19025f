//! A session that no operation has ended is found, and an error is not an absence.

use std::fmt::Display;

use super::index::{Index, refused};
use super::{Effect, Kind, Report};
use crate::history::{Answer, Birth, Call};

/// No operation is exempt.
const NONE: usize = usize::MAX;

pub(super) fn check(index: &Index<'_>, report: &mut Report) {
    for (number, op) in index.ops.iter().enumerate() {
        if let Some(key) = refused(op) {
            if index.leads(key, op.returned)
                && let Some(token) = index.tokens.get(&key)
            {
                by_name(index, report, number, token.birth, &key, token.told_by);
            }
            continue;
        }
        match (&op.call, op.answer()) {
            (Call::End { owner, id: key }, Some(Answer::Ended(false))) => {
                let Some(id) = index.ids.get(key) else { continue };
                let session = index.sessions.get(&id.birth);
                if session.is_some_and(|session| session.owner == Some(*owner)) {
                    by_name(index, report, number, id.birth, key, id.told_by);
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

/// Said to be absent by a token or an id.
fn by_name(
    index: &Index<'_>,
    report: &mut Report,
    number: usize,
    birth: Birth,
    name: &dyn Display,
    told_by: usize,
) {
    // Otherwise the client could not know it when it called.
    let was_known = index.ops[told_by].returned <= index.ops[number].invoked;
    let is_tentative = index.sessions.get(&birth).is_some_and(|session| {
        session.is_tentative && session.born.is_none_or(|born| born.at > index.ops[number].invoked)
    });
    if was_known && !is_tentative {
        absent(index, report, number, birth, Some((name, told_by)));
    }
}

fn absent(
    index: &Index<'_>,
    report: &mut Report,
    number: usize,
    birth: Birth,
    by: Option<(&dyn Display, usize)>,
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
        Some((name, _)) => {
            format!("{birth} was said to be absent by {name}, and nobody had ended it")
        }
        None => format!("{birth} is not in its owner's list, and nobody had ended it"),
    };
    let told_by = by.map(|(_, told_by)| told_by).or(session.born.map(|born| born.op));
    let undone = told_by.map_or(Effect::seen(0), |told_by| {
        let told_by = &index.ops[told_by];
        let given = matches!(told_by.answer(), Some(Answer::Token { .. }));
        Effect::known(told_by.returned, given)
    });
    report.add(Kind::FalseAbsence, undone, index.ops, what, &proof);
}

/// How many operations beside it are shown.
const MAX_BESIDE: usize = 8;

/// The operations on the same session at that moment, for the reader.
fn beside(index: &Index<'_>, number: usize, birth: Birth) -> Vec<usize> {
    let op = &index.ops[number];
    let beside = index.ops.iter().enumerate().filter(|(_, other)| {
        other.invoked < op.returned
            && other.returned > op.invoked
            && index.subject(&other.call) == Some(birth)
    });
    beside.map(|(beside, _)| beside).take(MAX_BESIDE).collect()
}
