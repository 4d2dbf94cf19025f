//! A session that was not ended is found, and an error is never reported as an absence.

use std::fmt::Display;

use super::index::{Index, refused};
use super::{Effect, Kind, Report};
use crate::history::{Answer, Call, SessionNo};

/// Exempts no operation.
const NONE: usize = usize::MAX;

pub(super) fn check(index: &Index<'_>, report: &mut Report) {
    for (number, op) in index.ops.iter().enumerate() {
        if let Some(key) = refused(op) {
            if index.leads(key, op.returned)
                && let Some(token) = index.tokens.get(&key)
            {
                by_name(index, report, number, token.session_no, &key, token.reported_by);
            }
            continue;
        }
        match (&op.call, op.answer()) {
            (Call::Revoke { owner, id: key }, Some(Answer::Ended(false))) => {
                let Some(id) = index.ids.get(key) else { continue };
                let session = index.sessions.get(&id.session_no);
                if session.is_some_and(|session| session.owner == Some(*owner)) {
                    by_name(index, report, number, id.session_no, key, id.reported_by);
                }
            }
            (Call::List { owner }, Some(Answer::Listed(_))) => {
                for session_no in index.missing(*owner, op) {
                    absent(index, report, number, session_no, None);
                }
            }
            _ => {}
        }
    }
}

/// Checks an absence reported for a token or an id.
fn by_name(
    index: &Index<'_>,
    report: &mut Report,
    number: usize,
    session_no: SessionNo,
    name: &dyn Display,
    reported_by: usize,
) {
    // The client can't have known a token or id that was issued later.
    let was_known = index.ops[reported_by].returned <= index.ops[number].invoked;
    let is_tentative = index.sessions.get(&session_no).is_some_and(|session| {
        session.is_tentative && session.born.is_none_or(|born| born.at > index.ops[number].invoked)
    });
    if was_known && !is_tentative {
        absent(index, report, number, session_no, Some((name, reported_by)));
    }
}

fn absent(
    index: &Index<'_>,
    report: &mut Report,
    number: usize,
    session_no: SessionNo,
    by: Option<(&dyn Display, usize)>,
) {
    let Some(session) = index.sessions.get(&session_no) else { return };
    let op = &index.ops[number];
    if index.ender(session_no, op.returned, NONE).is_some() {
        return;
    }
    let mut proof = vec![session.made_by, number];
    proof.extend(by.map(|(_, reported_by)| reported_by));
    // The last operation that found it before, as context in the report.
    let last = session.found.iter().rev().map(|(found, _)| *found);
    proof.extend(last.into_iter().find(|&found| index.ops[found].returned < op.invoked));
    proof.extend(concurrent_ops(index, number, session_no));
    let what = || match by {
        Some((name, _)) => {
            format!("{session_no} was reported absent for {name}, but no operation had ended it")
        }
        None => {
            format!("{session_no} is missing in its owner's list, but no operation had ended it")
        }
    };
    let reported_by = by.map(|(_, reported_by)| reported_by).or(session.born.map(|born| born.op));
    let undone = reported_by.map_or(Effect::seen(0), |reported_by| {
        let reported_by = &index.ops[reported_by];
        let given = matches!(reported_by.answer(), Some(Answer::Token { .. }));
        Effect::known(reported_by.returned, given)
    });
    report.add(Kind::FalseAbsence, undone, index.ops, what, &proof);
}

/// Maximum number of concurrent operations in a report.
const MAX_CONCURRENT: usize = 8;

/// Returns concurrent operations on the same session, as context in the report.
fn concurrent_ops(index: &Index<'_>, number: usize, session_no: SessionNo) -> Vec<usize> {
    let op = &index.ops[number];
    let concurrent_ops = index.ops.iter().enumerate().filter(|(_, other)| {
        other.invoked < op.returned
            && other.returned > op.invoked
            && index.subject(&other.call) == Some(session_no)
    });
    concurrent_ops.map(|(concurrent_ops, _)| concurrent_ops).take(MAX_CONCURRENT).collect()
}
