//! What a history shows about each session and each token.

use std::collections::{BTreeMap, HashMap};

use super::Rules;
use crate::history::{
    Answer, Birth, Call, Fault, History, IdNo, Op, OwnerNo, Reading, Seen, TokenNo,
};

pub(super) struct Index<'h> {
    pub(super) ops: &'h [Op],
    faults: &'h [Fault],
    pub(super) grace: u64,
    pub(super) slack: u64,
    /// How long after a change a copy may show the earlier state; `None` without a near cache.
    pub(super) stale: Option<u64>,
    pub(super) sessions: BTreeMap<Birth, Session<'h>>,
    pub(super) tokens: HashMap<TokenNo, Token>,
    pub(super) ids: HashMap<IdNo, Id>,
    pub(super) owners: HashMap<OwnerNo, Owned>,
}

/// How long a process estimates the store's time by one answer, in nanoseconds, with a margin.
const OLDEST_SAMPLE: u64 = 2_000_000_000;

/// One session.
pub(super) struct Session<'h> {
    pub(super) owner: Option<OwnerNo>,
    /// The operation that made it, or may have.
    pub(super) made_by: usize,
    /// Since when it is known to be or to have been there.
    pub(super) born: Option<Known>,
    /// Its public id, and the first operation that returned it.
    pub(super) id: Option<(IdNo, usize)>,
    /// Whether it may be shown and then taken back before it is acknowledged.
    pub(super) is_tentative: bool,
    /// Every time it was shown.
    pub(super) shown: Vec<(usize, &'h Seen)>,
    /// Every operation that found it, and by which token.
    pub(super) found: Vec<(usize, Option<TokenNo>)>,
    /// Since when it is known to have ended.
    pub(super) ended: Ended,
    /// Operations on this session alone that may have ended it.
    pub(super) enders: Vec<usize>,
}

/// One public id.
pub(super) struct Id {
    pub(super) birth: Birth,
    /// The first operation that returned it.
    pub(super) told_by: usize,
}

/// One token.
pub(super) struct Token {
    pub(super) birth: Birth,
    /// The first operation that returned it.
    pub(super) told_by: usize,
    /// Since when it is known to be refused.
    pub(super) ended: Ended,
    /// Operations that may have replaced it.
    pub(super) rotations: Vec<usize>,
}

/// One owner.
#[derive(Default)]
pub(super) struct Owned {
    pub(super) births: Vec<Birth>,
    /// Operations that may have ended several of their sessions.
    pub(super) enders: Vec<usize>,
}

/// A moment, and the operation from which it is known.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) at: u64,
    pub(super) op: usize,
}

/// Since when something is known to have ended: anywhere, and for the server that ended it.
#[derive(Default, Clone)]
pub(super) struct Ended {
    pub(super) anywhere: Option<Known>,
    by_server: Vec<(u16, Known)>,
}

impl Ended {
    fn note(&mut self, at: u64, op: usize) {
        if self.anywhere.is_none_or(|known| at < known.at) {
            self.anywhere = Some(Known { at, op });
        }
    }

    /// Ended by a server, whose own copies must reflect it at once.
    fn note_by(&mut self, server: u16, at: u64, op: usize) {
        self.note(at, op);
        match self.by_server.iter_mut().find(|(of, _)| *of == server) {
            Some((_, known)) if known.at <= at => {}
            Some((_, known)) => *known = Known { at, op },
            None => self.by_server.push((server, Known { at, op })),
        }
    }

    /// The proof that this had ended before an operation began that found it.
    pub(super) fn before(&self, op: &Op, stale: Option<u64>) -> Option<Known> {
        let known = self.anywhere?;
        if op.invoked > known.at.saturating_add(stale.unwrap_or(0)) {
            return Some(known);
        }
        stale?;
        let own = self.by_server.iter().find(|(server, _)| *server == op.server);
        own.map(|(_, known)| *known).filter(|known| op.invoked > known.at)
    }
}

impl<'h> Index<'h> {
    pub(super) fn new(history: &'h History, rules: &Rules) -> Self {
        let nanos = |duration: std::time::Duration| duration.as_nanos() as u64;
        Self {
            ops: &history.ops,
            faults: &history.faults,
            grace: nanos(rules.grace),
            slack: nanos(rules.slack),
            // A near cache counts in whole milliseconds, at both ends.
            stale: rules.bound.map(|bound| nanos(bound) + 2_000_000),
            sessions: BTreeMap::new(),
            tokens: HashMap::new(),
            ids: HashMap::new(),
            owners: HashMap::new(),
        }
    }

    /// Notes what the history shows, once the sessions and their tokens are known.
    pub(super) fn note(&mut self, rules: &Rules) {
        self.note_finds();
        self.note_enders();
        self.note_ends(!rules.login_takes_two_steps);
        self.note_list_gaps();
        self.note_refusals();
    }

    pub(super) fn birth(&self, token: TokenNo) -> Option<Birth> {
        self.tokens.get(&token).map(|token| token.birth)
    }

    /// The session that an operation asks for, by its token or its id.
    pub(super) fn subject(&self, call: &Call) -> Option<Birth> {
        match call {
            Call::End { id, .. } => self.ids.get(id).map(|id| id.birth),
            call => self.birth(call.token()?),
        }
    }

    pub(super) fn births_of(&self, owner: OwnerNo) -> &[Birth] {
        self.owners.get(&owner).map_or(&[], |owned| &owned.births)
    }

    /// For how long the answer of this operation may be behind the store.
    pub(super) fn stale(&self, op: &Op) -> Option<u64> {
        let by_copy = match (&op.call, op.answer()) {
            (Call::Read { access, .. }, _) => *access != Reading::Strict,
            (Call::Rotate { .. }, Some(Answer::AlreadyRotated)) => true,
            // A copy may have let the token in; that the session was ended, the store has said.
            (Call::Destroy { .. }, _) => true,
            _ => false,
        };
        self.stale.filter(|_| by_copy)
    }

    /// Whose sessions this operation ends, if it may end several.
    pub(super) fn owner_of(&self, call: &Call) -> Option<OwnerNo> {
        match call {
            Call::EndAll { owner } => Some(*owner),
            Call::EndOthers { token } => self.sessions.get(&self.birth(*token)?)?.owner,
            _ => None,
        }
    }

    /// Which operations found a session, and so prove that it lived.
    fn note_finds(&mut self) {
        for (number, op) in self.ops.iter().enumerate() {
            let found = match (&op.call, op.answer()) {
                (Call::List { .. }, Some(Answer::Listed(all))) => {
                    for seen in all {
                        if let Some(session) = self.sessions.get_mut(&seen.birth) {
                            session.found.push((number, None));
                        }
                    }
                    continue;
                }
                (Call::Read { .. } | Call::Update { .. }, Some(Answer::Seen(_)))
                | (Call::Rotate { .. }, Some(Answer::Token { .. } | Answer::AlreadyRotated))
                | (Call::Destroy { .. } | Call::End { .. }, Some(Answer::Ended(true))) => true,
                (Call::EndOthers { .. }, Some(Answer::EndedMany(count))) => *count > 0,
                _ => false,
            };
            if found
                && let Some(birth) = self.subject(&op.call)
                && let Some(session) = self.sessions.get_mut(&birth)
            {
                session.found.push((number, op.call.token()));
            }
        }
    }

    /// Which operations may have ended what, or replaced which token.
    fn note_enders(&mut self) {
        for (number, op) in self.ops.iter().enumerate() {
            let unknown = op.is_unknown();
            match (&op.call, op.answer()) {
                (Call::Destroy { .. } | Call::End { .. }, answer)
                    if !unknown && answer != Some(&Answer::Ended(true)) => {}
                (Call::Destroy { .. } | Call::End { .. } | Call::Login { .. }, _) => {
                    if let Some(birth) = self.subject(&op.call)
                        && let Some(session) = self.sessions.get_mut(&birth)
                    {
                        session.enders.push(number);
                    }
                }
                (Call::Rotate { token, .. }, answer)
                    if unknown || matches!(answer, Some(Answer::Token { .. })) =>
                {
                    if let Some(token) = self.tokens.get_mut(token) {
                        token.rotations.push(number);
                    }
                }
                (Call::EndAll { .. } | Call::EndOthers { .. }, answer)
                    if answer != Some(&Answer::EndedMany(0)) =>
                {
                    if let Some(owner) = self.owner_of(&op.call) {
                        self.owners.entry(owner).or_default().enders.push(number);
                    }
                }
                _ => {}
            }
        }
    }

    /// Notes the ends that were acknowledged.
    fn note_ends(&mut self, in_one_step: bool) {
        for (number, op) in self.ops.iter().enumerate() {
            let at = op.returned;
            match (&op.call, op.answer()) {
                (Call::Destroy { .. } | Call::End { .. }, Some(Answer::Ended(true))) => {
                    if let Some(birth) = self.subject(&op.call)
                        && let Some(session) = self.sessions.get_mut(&birth)
                    {
                        session.ended.note_by(op.server, at, number);
                    }
                }
                (Call::Login { old, birth, .. }, answer) => {
                    if matches!(answer, Some(Answer::Token { .. })) {
                        self.note_login(*old, number);
                    } else if let Some(first) = self.first_shown(*birth).filter(|_| in_one_step) {
                        // The new one was seen, so the old one was gone by then.
                        self.note_login_seen(*old, first);
                    }
                }
                (Call::Rotate { token, grace }, Some(Answer::Token { .. })) => {
                    let (grace_time, slack) = (self.grace, self.slack);
                    if let Some(token) = self.tokens.get_mut(token) {
                        if *grace {
                            token.ended.note(at + grace_time + slack, number);
                        } else {
                            token.ended.note_by(op.server, at, number);
                        }
                    }
                }
                (Call::EndAll { .. } | Call::EndOthers { .. }, Some(Answer::EndedMany(count))) => {
                    // Of none that were ended it is not known whether it came so far.
                    let kept = match &op.call {
                        Call::EndOthers { .. } if *count == 0 => continue,
                        Call::EndOthers { token } => self.birth(*token),
                        _ => None,
                    };
                    let Some(owner) = self.owner_of(&op.call) else { continue };
                    for birth in self.births_of(owner).to_vec() {
                        if let Some(session) = self.sessions.get_mut(&birth)
                            && Some(birth) != kept
                            && session.born.is_some_and(|born| born.at < op.invoked)
                        {
                            session.ended.note(at, number);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// A login over a token's session was acknowledged: both are rejected from now on.
    fn note_login(&mut self, old: TokenNo, number: usize) {
        let (server, at) = (self.ops[number].server, self.ops[number].returned);
        let led = self.leads(old, at);
        if let Some(token) = self.tokens.get_mut(&old) {
            token.ended.note(at, number);
            if led && let Some(session) = self.sessions.get_mut(&token.birth) {
                session.ended.note_by(server, at, number);
            }
        }
    }

    /// A login's new session was seen, so the session that it replaces had ended by then.
    fn note_login_seen(&mut self, old: TokenNo, seen: usize) {
        let at = self.ops[seen].returned;
        if self.leads(old, at)
            && let Some(birth) = self.birth(old)
            && let Some(session) = self.sessions.get_mut(&birth)
        {
            session.ended.note(at, seen);
        }
    }

    /// The operation that was the first to return with this session.
    fn first_shown(&self, birth: Birth) -> Option<usize> {
        let shown = self.sessions.get(&birth)?.shown.iter().map(|(number, _)| *number);
        shown.min_by_key(|number| self.ops[*number].returned)
    }

    /// A session that was missing in a later list had ended.
    fn note_list_gaps(&mut self) {
        for (number, op) in self.ops.iter().enumerate() {
            if let (Call::List { owner }, Some(Answer::Listed(_))) = (&op.call, op.answer()) {
                for birth in self.missing(*owner, op) {
                    if let Some(session) = self.sessions.get_mut(&birth) {
                        session.ended.note(op.returned, number);
                    }
                }
            }
        }
    }

    /// The owner's sessions that a list should have shown unless they had ended.
    pub(super) fn missing(&self, owner: OwnerNo, list: &Op) -> Vec<Birth> {
        let should = |birth: &Birth| {
            let session = &self.sessions[birth];
            session.born.is_some_and(|born| born.at < list.invoked)
                && session.ended.anywhere.is_none_or(|ended| ended.at >= list.invoked)
                && !list.seen().iter().any(|seen| seen.birth == *birth)
        };
        self.births_of(owner).iter().copied().filter(should).collect()
    }

    /// A token that was rejected once is rejected forever, and so is a token that leads to it.
    fn note_refusals(&mut self) {
        for (number, op) in self.ops.iter().enumerate() {
            if let Some(token) = refused(op)
                && let Some(token) = self.tokens.get_mut(&token)
            {
                // Of the end of a grace, each process has its own idea.
                let has_grace = token.rotations.iter().any(|&rotation| {
                    let rotation = &self.ops[rotation];
                    rotation.invoked < op.returned
                        && matches!(rotation.call, Call::Rotate { grace: true, .. })
                });
                if !has_grace {
                    token.ended.note(op.returned, number);
                }
            }
        }
        let rotated = self.ops.iter().filter_map(|op| match (&op.call, op.answer()) {
            (Call::Rotate { token, .. }, Some(Answer::Token { token: next, .. })) => {
                Some((op, *token, *next))
            }
            _ => None,
        });
        let mut rotated: Vec<_> = rotated.collect();
        rotated.sort_unstable_by_key(|(op, ..)| std::cmp::Reverse(op.returned));
        for (_, token, next) in rotated {
            let next = self.tokens.get(&next).and_then(|next| next.ended.anywhere);
            if let Some(next) = next
                && let Some(token) = self.tokens.get_mut(&token)
            {
                token.ended.note(next.at, next.op);
            }
        }
    }

    /// Whether a token certainly leads to its session, until then, for as long as that lives.
    pub(super) fn leads(&self, token: TokenNo, until: u64) -> bool {
        let Some(token) = self.tokens.get(&token) else { return false };
        let mut rotations =
            token.rotations.iter().map(|&op| &self.ops[op]).filter(|op| op.invoked < until);
        match (rotations.next(), rotations.next()) {
            (None, _) => true,
            (Some(op), None) => match (&op.call, op.answer()) {
                (Call::Rotate { grace: true, .. }, Some(Answer::Token { token: next, .. })) => {
                    until.saturating_add(self.slack) < op.invoked + self.grace
                        && self.is_calm(op.invoked, until)
                        && self.leads(*next, until)
                }
                _ => false,
            },
            (Some(_), Some(_)) => false,
        }
    }

    /// Whether there was no fault in this time or shortly before.
    ///
    /// A process that estimates the store's time is ahead of it by up to a round trip, so a grace is
    /// shorter by that much. A round trip takes long only during a fault.
    fn is_calm(&self, from: u64, to: u64) -> bool {
        let from = from.saturating_sub(OLDEST_SAMPLE);
        self.faults.iter().all(|fault| fault.to < from || fault.from > to)
    }

    /// An operation other than `except` that may have ended the session by then.
    pub(super) fn ender(&self, birth: Birth, until: u64, except: usize) -> Option<usize> {
        let session = &self.sessions[&birth];
        let made = self.ops[session.made_by].invoked;
        let several = session.owner.and_then(|owner| self.owners.get(&owner));
        let several = several.map_or(&[][..], |owned| &owned.enders).iter();
        let may_end = |&&number: &&usize| {
            let op = &self.ops[number];
            let spares = match op.call {
                Call::EndOthers { token } => self.birth(token) == Some(birth),
                _ => false,
            };
            number != except && op.invoked < until && op.effective_until() > made && !spares
        };
        session.enders.iter().chain(several).find(may_end).copied()
    }
}

/// The token that this operation found to be invalid.
pub(super) fn refused(op: &Op) -> Option<TokenNo> {
    match (&op.call, op.answer()) {
        (
            Call::Read { token, .. } | Call::Update { token, .. } | Call::Rotate { token, .. },
            Some(Answer::Absent),
        )
        | (Call::Destroy { token }, Some(Answer::Ended(false))) => Some(*token),
        _ => None,
    }
}
