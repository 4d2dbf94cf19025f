//! Which token is whose: the first pass, which all others build on.

use std::collections::HashMap;
use std::collections::hash_map;

use super::index::{Ended, Index, Known, Session, Token};
use super::{Effect, Kind, Report};
use crate::history::{Answer, Birth, Call, KeyNo, Seen};

/// Finds the sessions and their tokens, and says where a token leads to another's session.
pub(super) fn find(index: &mut Index<'_>, report: &mut Report) {
    find_sessions(index);
    // What a token belongs to is known once the operation that gave it has returned.
    let mut by_return: Vec<usize> = (0..index.ops.len()).collect();
    by_return.sort_unstable_by_key(|&op| index.ops[op].returned);
    for number in by_return {
        told(index, report, number);
    }
}

fn find_sessions(index: &mut Index<'_>) {
    for (number, op) in index.ops.iter().enumerate() {
        let (Call::Create { birth, owner } | Call::Login { birth, owner, .. }) = op.call else {
            continue;
        };
        let acknowledged = matches!(op.answer(), Some(Answer::Token(_)));
        let session = Session {
            owner,
            made_by: number,
            born: acknowledged.then_some(Known { at: op.returned, op: number }),
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

/// What one operation tells about tokens.
fn told(index: &mut Index<'_>, report: &mut Report, number: usize) {
    let ops = index.ops;
    let op = &ops[number];
    match (&op.call, op.answer()) {
        (Call::Create { birth, .. } | Call::Login { birth, .. }, Some(Answer::Token(key))) => {
            belongs(index, report, *key, *birth, number)
        }
        (Call::Rotate { token, .. }, Some(Answer::Token(key))) => {
            if let Some(birth) = index.birth(*token) {
                belongs(index, report, *key, birth, number);
            }
        }
        _ => {}
    }
    let mut in_list = HashMap::new();
    for seen in op.seen() {
        shown(index, report, number, seen);
        belongs(index, report, seen.id, seen.birth, number);
        if let Some(key) = op.call.key() {
            belongs(index, report, key, seen.birth, number);
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

/// A session was shown: it has to be one that was being made by then, with its own owner.
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
    if session.born.is_none_or(|born| op.returned < born.at) {
        session.born = Some(Known { at: op.returned, op: number });
    }
}

/// A token is one session's for good.
fn belongs(index: &mut Index<'_>, report: &mut Report, key: KeyNo, birth: Birth, number: usize) {
    let ops = index.ops;
    match index.tokens.entry(key) {
        hash_map::Entry::Vacant(vacant) => {
            let (ended, rotations) = (Ended::default(), Vec::new());
            vacant.insert(Token { birth, told_by: number, ended, rotations });
        }
        hash_map::Entry::Occupied(occupied) if occupied.get().birth != birth => {
            let first = occupied.get();
            let what = || format!("{key} is of {} and leads to {birth}", first.birth);
            let proof = [first.told_by, number];
            report.add(
                Kind::WrongSession,
                Effect::acknowledged(ops[number].returned),
                ops,
                what,
                &proof,
            );
        }
        hash_map::Entry::Occupied(_) => {}
    }
}
