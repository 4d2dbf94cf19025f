//! Which token is whose: the first pass, which all others build on.

use std::collections::HashMap;
use std::fmt::Display;

use super::index::{Ended, Id, Index, Known, Session, Token};
use super::{Effect, Kind, Report, Rules};
use crate::history::{Answer, Birth, Call, IdNo, Seen, TokenNo};

/// Finds the sessions and their tokens, and reports tokens that lead to another session.
pub(super) fn find(index: &mut Index<'_>, rules: &Rules, report: &mut Report) {
    find_sessions(index, rules);
    // A token's session is known once the operation that created it has returned.
    let mut by_return: Vec<usize> = (0..index.ops.len()).collect();
    by_return.sort_unstable_by_key(|&op| index.ops[op].returned);
    for number in by_return {
        told(index, report, number);
    }
}

fn find_sessions(index: &mut Index<'_>, rules: &Rules) {
    for (number, op) in index.ops.iter().enumerate() {
        let (Call::Create { birth, owner } | Call::Login { birth, owner, .. }) = op.call else {
            continue;
        };
        let acknowledged = matches!(op.answer(), Some(Answer::Token { .. }));
        let is_login = matches!(op.call, Call::Login { .. });
        let session = Session {
            owner,
            made_by: number,
            born: acknowledged.then_some(Known { at: op.returned, op: number }),
            id: None,
            is_tentative: is_login && rules.login_takes_two_steps,
            shown: Vec::new(),
            found: Vec::new(),
            ended: Ended::default(),
            enders: Vec::new(),
        };
        index.sessions.insert(birth, session);
        if let Some(owner) = owner {
            index.owners.entry(owner).or_default().births.push(birth);
        }
    }
}

/// Reads what one operation shows about tokens.
fn told(index: &mut Index<'_>, report: &mut Report, number: usize) {
    let ops = index.ops;
    let op = &ops[number];
    match (&op.call, op.answer()) {
        (
            Call::Create { birth, .. } | Call::Login { birth, .. },
            Some(Answer::Token { token, id }),
        ) => {
            belongs(index, report, *token, *birth, number);
            names(index, report, *id, *birth, number);
        }
        (Call::Rotate { token: old, .. }, Some(Answer::Token { token, id })) => {
            if let Some(birth) = index.birth(*old) {
                belongs(index, report, *token, birth, number);
                names(index, report, *id, birth, number);
            }
        }
        _ => {}
    }
    let mut in_list = HashMap::new();
    for seen in op.seen() {
        shown(index, report, number, seen);
        names(index, report, seen.id, seen.birth, number);
        if let Some(token) = op.call.token() {
            belongs(index, report, token, seen.birth, number);
        }
        let entries = in_list.entry(seen.birth).or_insert(0);
        *entries += 1;
        if *entries == 2 {
            let what = || format!("one list has {} twice", seen.birth);
            report.add(Kind::ListedTwice, Effect::acknowledged(op.returned), ops, what, &[number]);
        }
        if let Call::List { owner } = op.call
            && seen.owner != Some(owner)
        {
            let what = || format!("the list of {owner} has a session of somebody else");
            report.add(Kind::WrongSession, Effect::acknowledged(op.returned), ops, what, &[number]);
        }
    }
}

/// A session was shown: it must have been in creation by then, and have its own owner.
fn shown<'h>(index: &mut Index<'h>, report: &mut Report, number: usize, seen: &'h Seen) {
    let ops = index.ops;
    let op = &ops[number];
    let Some(session) = index.sessions.get_mut(&seen.birth) else {
        let what = || format!("{} was never made", seen.birth);
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
        let what = || format!("{} is not shown as it was made", seen.birth);
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
        session.born = Some(Known { at: op.returned, op: number });
    }
}

/// A token belongs to one session forever.
fn belongs(
    index: &mut Index<'_>,
    report: &mut Report,
    token: TokenNo,
    birth: Birth,
    number: usize,
) {
    let first = index.tokens.entry(token).or_insert_with(|| Token {
        birth,
        told_by: number,
        ended: Ended::default(),
        rotations: Vec::new(),
    });
    let first = (first.birth, first.told_by);
    is_of_one(index, report, &token, first, (birth, number));
}

/// An id belongs to one session forever, and a session has one id.
fn names(index: &mut Index<'_>, report: &mut Report, id: IdNo, birth: Birth, number: usize) {
    let first = index.ids.entry(id).or_insert(Id { birth, told_by: number });
    let first = (first.birth, first.told_by);
    is_of_one(index, report, &id, first, (birth, number));
    // One that was taken back is made again under another.
    let session = index.sessions.get_mut(&birth).filter(|session| !session.is_tentative);
    let Some(session) = session else { return };
    let (first, told_by) = *session.id.get_or_insert((id, number));
    if first != id {
        let what = || format!("{birth} has {first} and {id}");
        let undone = Effect::acknowledged(index.ops[number].returned);
        report.add(Kind::WrongSession, undone, index.ops, what, &[told_by, number]);
    }
}

fn is_of_one(
    index: &Index<'_>,
    report: &mut Report,
    what: &dyn Display,
    (first, told_by): (Birth, usize),
    (birth, number): (Birth, usize),
) {
    if first != birth {
        let ops = index.ops;
        let what = || format!("{what} is of {first} and leads to {birth}");
        let undone = Effect::acknowledged(ops[number].returned);
        report.add(Kind::WrongSession, undone, ops, what, &[told_by, number]);
    }
}
