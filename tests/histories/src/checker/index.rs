//! An index of a history: evidence for each session, token, id and owner.

use std::collections::{BTreeMap, HashMap};

use super::Rules;
use crate::history::{
    Answer, Call, FaultPeriod, History, IdNo, Op, OwnerNo, Reading, Seen, SessionNo, TokenNo,
};

pub(super) struct Index<'h> {
    pub(super) ops: &'h [Op],
    faults: &'h [FaultPeriod],
    pub(super) grace: u64,
    pub(super) slack: u64,
    /// How long a near cache may return an earlier state; `None` without near caches.
    pub(super) stale: Option<u64>,
    pub(super) sessions: BTreeMap<SessionNo, Session<'h>>,
    pub(super) tokens: HashMap<TokenNo, Token>,
    pub(super) ids: HashMap<IdNo, Id>,
    pub(super) owners: HashMap<OwnerNo, Owned>,
}

/// How long a process may extrapolate the store's time from one reply, in nanoseconds, with
/// a margin.
const OLDEST_SAMPLE: u64 = 2_000_000_000;

/// Evidence about a session.
pub(super) struct Session<'h> {
    pub(super) owner: Option<OwnerNo>,
    /// The operation that created it, or may have.
    pub(super) made_by: usize,
    /// The time from which it is known to exist.
    pub(super) born: Option<KnownSince>,
    /// Its public id, and the first operation that returned it.
    pub(super) id: Option<(IdNo, usize)>,
    /// Whether it may be visible and then rolled back before it is acknowledged.
    pub(super) is_tentative: bool,
    /// Every operation that returned it.
    pub(super) shown: Vec<(usize, &'h Seen)>,
    /// Every operation that found it, with the token used.
    pub(super) found: Vec<(usize, Option<TokenNo>)>,
    /// The time from which it is known to have ended.
    pub(super) ended: Ended,
    /// Operations on this session alone that may have ended it.
    pub(super) enders: Vec<usize>,
}

/// Evidence about a public id.
pub(super) struct Id {
    pub(super) session_no: SessionNo,
    /// The first operation that returned it.
    pub(super) reported_by: usize,
}

/// Evidence about a token.
pub(super) struct Token {
    pub(super) session_no: SessionNo,
    /// The first operation that returned it.
    pub(super) reported_by: usize,
    /// The time from which it is known to be rejected.
    pub(super) ended: Ended,
    /// Operations that may have replaced it.
    pub(super) rotations: Vec<usize>,
}

/// Evidence about an owner.
#[derive(Default)]
pub(super) struct Owned {
    pub(super) session_nos: Vec<SessionNo>,
    /// Operations that may have ended several of the owner's sessions.
    pub(super) enders: Vec<usize>,
}

/// A time, and the operation that proves it.
#[derive(Clone, Copy)]
pub(super) struct KnownSince {
    pub(super) at: u64,
    pub(super) op: usize,
}

/// The time from which something is known to have ended: on any server, and on the server
/// that ended it.
#[derive(Default, Clone)]
pub(super) struct Ended {
    pub(super) anywhere: Option<KnownSince>,
    by_server: Vec<(u16, KnownSince)>,
}

impl Ended {
    fn note(&mut self, at: u64, op: usize) {
        if self.anywhere.is_none_or(|known| at < known.at) {
            self.anywhere = Some(KnownSince { at, op });
        }
    }

    /// Records the end by a server, whose own copies must reflect it immediately.
    fn note_by(&mut self, server: u16, at: u64, op: usize) {
        self.note(at, op);
        match self.by_server.iter_mut().find(|(of, _)| *of == server) {
            Some((_, known)) if known.at <= at => {}
            Some((_, known)) => *known = KnownSince { at, op },
            None => self.by_server.push((server, KnownSince { at, op })),
        }
    }

    /// Returns the proof that this had ended before the operation began.
    pub(super) fn before(&self, op: &Op, stale: Option<u64>) -> Option<KnownSince> {
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
    /// Creates an index without evidence.
    pub(super) fn new(history: &'h History, rules: &Rules) -> Self {
        let nanos = |duration: std::time::Duration| duration.as_nanos() as u64;
        Self {
            ops: &history.ops,
            faults: &history.faults,
            grace: nanos(rules.grace),
            slack: nanos(rules.slack),
            // Near caches round both times to milliseconds.
            stale: rules.bound.map(|bound| nanos(bound) + 2_000_000),
            sessions: BTreeMap::new(),
            tokens: HashMap::new(),
            ids: HashMap::new(),
            owners: HashMap::new(),
        }
    }

    /// Collects the evidence about the sessions and tokens that the first pass has found.
    pub(super) fn collect_evidence(&mut self, rules: &Rules) {
        self.note_finds();
        self.note_enders();
        self.note_ends(!rules.login_takes_two_steps);
        self.note_list_gaps();
        self.note_refusals();
    }

    pub(super) fn session_no(&self, token: TokenNo) -> Option<SessionNo> {
        self.tokens.get(&token).map(|token| token.session_no)
    }

    /// Returns the session to which the operation refers by a token or an id.
    pub(super) fn subject(&self, call: &Call) -> Option<SessionNo> {
        match call {
            Call::Revoke { id, .. } => self.ids.get(id).map(|id| id.session_no),
            call => self.session_no(call.token()?),
        }
    }

    pub(super) fn sessions_of(&self, owner: OwnerNo) -> &[SessionNo] {
        self.owners.get(&owner).map_or(&[], |owned| &owned.session_nos)
    }

    /// Returns how far this operation's answer may lag behind the store.
    pub(super) fn stale(&self, op: &Op) -> Option<u64> {
        let by_copy = match (&op.call, op.answer()) {
            (Call::Read { access, .. }, _) => *access != Reading::Strict,
            (Call::Rotate { .. }, Some(Answer::AlreadyRotated)) => true,
            // A copy may have accepted the token, but the store confirmed the end of the
            // session.
            (Call::Logout { .. }, _) => true,
            _ => false,
        };
        self.stale.filter(|_| by_copy)
    }

    /// Returns the owner whose sessions this operation may end.
    pub(super) fn owner_of(&self, call: &Call) -> Option<OwnerNo> {
        match call {
            Call::RevokeOwner { owner } => Some(*owner),
            Call::RevokeOthers { token } => self.sessions.get(&self.session_no(*token)?)?.owner,
            _ => None,
        }
    }

    /// Records the operations that found a session, which proves that it lived.
    fn note_finds(&mut self) {
        for (number, op) in self.ops.iter().enumerate() {
            let found = match (&op.call, op.answer()) {
                (Call::List { .. }, Some(Answer::Listed(all))) => {
                    for seen in all {
                        if let Some(session) = self.sessions.get_mut(&seen.session_no) {
                            session.found.push((number, None));
                        }
                    }
                    continue;
                }
                (Call::Read { .. } | Call::Update { .. }, Some(Answer::Seen(_)))
                | (Call::Rotate { .. }, Some(Answer::Token { .. } | Answer::AlreadyRotated))
                | (Call::Logout { .. } | Call::Revoke { .. }, Some(Answer::Ended(true))) => true,
                (Call::RevokeOthers { .. }, Some(Answer::EndedMany(count))) => *count > 0,
                _ => false,
            };
            if found
                && let Some(session_no) = self.subject(&op.call)
                && let Some(session) = self.sessions.get_mut(&session_no)
            {
                session.found.push((number, op.call.token()));
            }
        }
    }

    /// Records the operations that may have ended a session or replaced a token.
    fn note_enders(&mut self) {
        for (number, op) in self.ops.iter().enumerate() {
            let unknown = op.is_unknown();
            match (&op.call, op.answer()) {
                (Call::Logout { .. } | Call::Revoke { .. }, answer)
                    if !unknown && answer != Some(&Answer::Ended(true)) => {}
                (Call::Logout { .. } | Call::Revoke { .. } | Call::Login { .. }, _) => {
                    if let Some(session_no) = self.subject(&op.call)
                        && let Some(session) = self.sessions.get_mut(&session_no)
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
                (Call::RevokeOwner { .. } | Call::RevokeOthers { .. }, answer)
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

    /// Records the sessions and tokens that have certainly ended, by acknowledged
    /// operations.
    fn note_ends(&mut self, in_one_step: bool) {
        for (number, op) in self.ops.iter().enumerate() {
            let at = op.returned;
            match (&op.call, op.answer()) {
                (Call::Logout { .. } | Call::Revoke { .. }, Some(Answer::Ended(true))) => {
                    if let Some(session_no) = self.subject(&op.call)
                        && let Some(session) = self.sessions.get_mut(&session_no)
                    {
                        session.ended.note_by(op.server, at, number);
                    }
                }
                (Call::Login { old, session_no, .. }, answer) => {
                    if matches!(answer, Some(Answer::Token { .. })) {
                        self.note_login(*old, number);
                    } else if let Some(first) =
                        self.first_shown(*session_no).filter(|_| in_one_step)
                    {
                        // The new session was visible, so the old one had ended by then.
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
                (
                    Call::RevokeOwner { .. } | Call::RevokeOthers { .. },
                    Some(Answer::EndedMany(count)),
                ) => {
                    // A count of zero does not prove that the call reached the owner's
                    // sessions.
                    let kept = match &op.call {
                        Call::RevokeOthers { .. } if *count == 0 => continue,
                        Call::RevokeOthers { token } => self.session_no(*token),
                        _ => None,
                    };
                    let Some(owner) = self.owner_of(&op.call) else { continue };
                    for session_no in self.sessions_of(owner).to_vec() {
                        if let Some(session) = self.sessions.get_mut(&session_no)
                            && Some(session_no) != kept
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

    /// Records an acknowledged login: the old token and its session are no longer accepted.
    fn note_login(&mut self, old: TokenNo, number: usize) {
        let (server, at) = (self.ops[number].server, self.ops[number].returned);
        let led = self.leads(old, at);
        if let Some(token) = self.tokens.get_mut(&old) {
            token.ended.note(at, number);
            if led && let Some(session) = self.sessions.get_mut(&token.session_no) {
                session.ended.note_by(server, at, number);
            }
        }
    }

    /// Records a login whose new session was visible: the replaced session had ended by
    /// then.
    fn note_login_seen(&mut self, old: TokenNo, seen: usize) {
        let at = self.ops[seen].returned;
        if self.leads(old, at)
            && let Some(session_no) = self.session_no(old)
            && let Some(session) = self.sessions.get_mut(&session_no)
        {
            session.ended.note(at, seen);
        }
    }

    /// Returns the first operation that returned this session.
    fn first_shown(&self, session_no: SessionNo) -> Option<usize> {
        let shown = self.sessions.get(&session_no)?.shown.iter().map(|(number, _)| *number);
        shown.min_by_key(|number| self.ops[*number].returned)
    }

    /// Records the sessions that were missing in a list although they had been created
    /// before: they had ended.
    fn note_list_gaps(&mut self) {
        for (number, op) in self.ops.iter().enumerate() {
            if let (Call::List { owner }, Some(Answer::Listed(_))) = (&op.call, op.answer()) {
                for session_no in self.missing(*owner, op) {
                    if let Some(session) = self.sessions.get_mut(&session_no) {
                        session.ended.note(op.returned, number);
                    }
                }
            }
        }
    }

    /// Returns the owner's sessions that a list should contain unless they had ended.
    pub(super) fn missing(&self, owner: OwnerNo, list: &Op) -> Vec<SessionNo> {
        let should = |session_no: &SessionNo| {
            let session = &self.sessions[session_no];
            session.born.is_some_and(|born| born.at < list.invoked)
                && session.ended.anywhere.is_none_or(|ended| ended.at >= list.invoked)
                && !list.seen().iter().any(|seen| seen.session_no == *session_no)
        };
        self.sessions_of(owner).iter().copied().filter(should).collect()
    }

    /// A rejected token stays rejected, and so does a token that it succeeded.
    fn note_refusals(&mut self) {
        for (number, op) in self.ops.iter().enumerate() {
            if let Some(token) = refused(op)
                && let Some(token) = self.tokens.get_mut(&token)
            {
                // The processes' clocks may differ about the end of a grace period.
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

    /// Returns whether a token certainly leads to its session until this time, while the
    /// session lives.
    pub(super) fn leads(&self, token: TokenNo, until: u64) -> bool {
        let Some(token) = self.tokens.get(&token) else { return false };
        let mut rotations =
            token.rotations.iter().map(|&op| &self.ops[op]).filter(|op| op.invoked < until);
        match (rotations.next(), rotations.next()) {
            (None, _) => true,
            (Some(op), None) => match (&op.call, op.answer()) {
                (Call::Rotate { grace: true, .. }, Some(Answer::Token { token: next, .. })) => {
                    until.saturating_add(self.slack) < op.invoked + self.grace
                        && self.is_fault_free(op.invoked, until)
                        && self.leads(*next, until)
                }
                _ => false,
            },
            (Some(_), Some(_)) => false,
        }
    }

    /// Returns whether no fault was active in this period or shortly before.
    ///
    /// A process that estimates the store's time may be ahead by up to a round trip, which
    /// shortens a grace period accordingly. Round trips are short except during faults.
    fn is_fault_free(&self, from: u64, to: u64) -> bool {
        let from = from.saturating_sub(OLDEST_SAMPLE);
        self.faults.iter().all(|fault| fault.to < from || fault.from > to)
    }

    /// Returns an operation other than `except` that may have ended the session by this
    /// time.
    pub(super) fn ender(&self, session_no: SessionNo, until: u64, except: usize) -> Option<usize> {
        let session = &self.sessions[&session_no];
        let made = self.ops[session.made_by].invoked;
        let several = session.owner.and_then(|owner| self.owners.get(&owner));
        let several = several.map_or(&[][..], |owned| &owned.enders).iter();
        let may_end = |&&number: &&usize| {
            let op = &self.ops[number];
            let spares = match op.call {
                Call::RevokeOthers { token } => self.session_no(token) == Some(session_no),
                _ => false,
            };
            number != except && op.invoked < until && op.effective_until() > made && !spares
        };
        session.enders.iter().chain(several).find(may_end).copied()
    }
}

/// Returns the token that this operation found invalid.
pub(super) fn refused(op: &Op) -> Option<TokenNo> {
    match (&op.call, op.answer()) {
        (
            Call::Read { token, .. } | Call::Update { token, .. } | Call::Rotate { token, .. },
            Some(Answer::Absent),
        )
        | (Call::Logout { token }, Some(Answer::Ended(false))) => Some(*token),
        _ => None,
    }
}
