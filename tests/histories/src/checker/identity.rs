//! Assigns tokens and ids to sessions: the first pass, on which all others depend.

use std::collections::HashMap;
use std::fmt::Display;

use super::index::{Ended, Id, Index, KnownSince, Session, Token};
use super::{Effect, Kind, Report, Rules};
use crate::history::{Answer, Call, IdNo, Seen, SessionNo, TokenNo};

/// Finds the sessions and their tokens, and reports a token that leads to another session.
pub(super) fn find(index: &mut Index<'_>, rules: &Rules, report: &mut Report) {
    find_sessions(index, rules);
    // The session of a token is known once the operation that issued it has returned.
    let mut by_return: Vec<usize> = (0..index.ops.len()).collect();
    by_return.sort_unstable_by_key(|&op| index.ops[op].returned);
    for number in by_return {
        record_op(index, report, number);
    }
}

fn find_sessions(index: &mut Index<'_>, rules: &Rules) {
    for (number, op) in index.ops.iter().enumerate() {
        let (Call::Create { session_no, owner } | Call::Login { session_no, owner, .. }) = op.call
        else {
            continue;
        };
        let acknowledged = matches!(op.answer(), Some(Answer::Token { .. }));
        let is_login = matches!(op.call, Call::Login { .. });
        let session = Session {
            owner,
            made_by: number,
            born: acknowledged.then_some(KnownSince { at: op.returned, op: number }),
            id: None,
            is_tentative: is_login && rules.login_takes_two_steps,
            shown: Vec::new(),
            found: Vec::new(),
            ended: Ended::default(),
            enders: Vec::new(),
        };
        index.sessions.insert(session_no, session);
        if let Some(owner) = owner {
            index.owners.entry(owner).or_default().session_nos.push(session_no);
        }
    }
}

/// Records the tokens and ids in one operation's answer.
fn record_op(index: &mut Index<'_>, report: &mut Report, number: usize) {
    let ops = index.ops;
    let op = &ops[number];
    match (&op.call, op.answer()) {
        (
            Call::Create { session_no, .. } | Call::Login { session_no, .. },
            Some(Answer::Token { token, id }),
        ) => {
            check_token(index, report, *token, *session_no, number);
            check_id(index, report, *id, *session_no, number);
        }
        (Call::Rotate { token: old, .. }, Some(Answer::Token { token, id })) => {
            if let Some(session_no) = index.session_no(*old) {
                check_token(index, report, *token, session_no, number);
                check_id(index, report, *id, session_no, number);
            }
        }
        _ => {}
    }
    let mut in_list = HashMap::new();
    for seen in op.seen() {
        check_seen(index, report, number, seen);
        check_id(index, report, seen.id, seen.session_no, number);
        if let Some(token) = op.call.token() {
            check_token(index, report, token, seen.session_no, number);
        }
        let entries = in_list.entry(seen.session_no).or_insert(0);
        *entries += 1;
        if *entries == 2 {
            let what = || format!("a list contains {} twice", seen.session_no);
            report.add(Kind::ListedTwice, Effect::acknowledged(op.returned), ops, what, &[number]);
        }
        if let Call::List { owner } = op.call
            && seen.owner != Some(owner)
        {
            let what = || format!("the list of {owner} contains another owner's session");
            report.add(Kind::WrongSession, Effect::acknowledged(op.returned), ops, what, &[number]);
        }
    }
}

/// Checks a returned session: its creation must have begun before, with the same owner.
fn check_seen<'h>(index: &mut Index<'h>, report: &mut Report, number: usize, seen: &'h Seen) {
    let ops = index.ops;
    let op = &ops[number];
    let Some(session) = index.sessions.get_mut(&seen.session_no) else {
        let what = || format!("{} was never created", seen.session_no);
        return report.add(
            Kind::WrongSession,
            Effect::acknowledged(op.returned),
            ops,
            what,
            &[number],
        );
    };
    let made = &ops[session.made_by];
    if made.invoked > op.returned || session.owner != seen.owner {
        let what = || format!("{} differs from its creation", seen.session_no);
        report.add(
            Kind::WrongSession,
            Effect::acknowledged(op.returned),
            ops,
            what,
            &[session.made_by, number],
        );
    }
    session.shown.push((number, seen));
    if !session.is_tentative && session.born.is_none_or(|born| op.returned < born.at) {
        session.born = Some(KnownSince { at: op.returned, op: number });
    }
}

/// Checks that a token belongs to one session forever.
fn check_token(
    index: &mut Index<'_>,
    report: &mut Report,
    token: TokenNo,
    session_no: SessionNo,
    number: usize,
) {
    let first = index.tokens.entry(token).or_insert_with(|| Token {
        session_no,
        reported_by: number,
        ended: Ended::default(),
        rotations: Vec::new(),
    });
    let first = (first.session_no, first.reported_by);
    check_same_session(index, report, &token, first, (session_no, number));
}

/// Checks that an id belongs to one session forever, and that the session has no other id.
fn check_id(
    index: &mut Index<'_>,
    report: &mut Report,
    id: IdNo,
    session_no: SessionNo,
    number: usize,
) {
    let first = index.ids.entry(id).or_insert(Id { session_no, reported_by: number });
    let first = (first.session_no, first.reported_by);
    check_same_session(index, report, &id, first, (session_no, number));
    // A login that was rolled back may be retried under another id.
    let session = index.sessions.get_mut(&session_no).filter(|session| !session.is_tentative);
    let Some(session) = session else { return };
    let (first, reported_by) = *session.id.get_or_insert((id, number));
    if first != id {
        let what = || format!("{session_no} has two ids: {first} and {id}");
        let undone = Effect::acknowledged(index.ops[number].returned);
        report.add(Kind::WrongSession, undone, index.ops, what, &[reported_by, number]);
    }
}

fn check_same_session(
    index: &Index<'_>,
    report: &mut Report,
    what: &dyn Display,
    (first, reported_by): (SessionNo, usize),
    (session_no, number): (SessionNo, usize),
) {
    if first != session_no {
        let ops = index.ops;
        let what = || format!("{what} belongs to {first} but leads to {session_no}");
        let undone = Effect::acknowledged(ops[number].returned);
        report.add(Kind::WrongSession, undone, ops, what, &[reported_by, number]);
    }
}
