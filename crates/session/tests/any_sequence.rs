//! Any sequence of calls by any token, beside a plain list of what each of them means.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::time::Duration;

use kvolt_cache::{AnyStore, ManualClock, MemoryStore};
use kvolt_session::{
    Flash, Level, Manager, NewSession, Owner, Record, RotateOutcome, SessionSnapshot, Timeouts,
    Timestamp, Token, TokenReuse,
};
use kvolt_testkit::FaultyStore;
use pollster::block_on;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use support::{Forgery, forged};

const IDLE: u64 = 600;
const LIFETIME: u64 = 1_800;

/// How many previous tokens a session keeps.
const MAX_PREVIOUS: usize = 16;

/// An action, by one of the tokens that were made so far.
#[derive(Debug, Clone)]
enum Act {
    /// With an idle time and a lifetime of its own, some of them longer than the manager's.
    Create(u8, Level, Option<u64>, Option<u64>),
    Login(usize, u8),
    /// For the user with this number, which may be the administrator's own.
    Impersonate(usize, u8),
    EndImpersonation(usize),
    Get(usize),
    Peek(usize),
    Update(usize),
    Flash(usize),
    TakeFlashes(usize),
    Rotate(usize),
    RotateOften(usize),
    Reauthenticate(usize, Level),
    ChangeCredentials(usize),
    Destroy(usize),
    EndOthers(usize),
    End(usize, u8),
    EndAny(usize),
    Find(usize),
    Forge(usize, Forgery),
    EndAll(u8),
    Advance(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let token = || 0usize..24;
    let owner = || 0u8..3;
    let level = || prop::sample::select(Level::ALL.to_vec());
    let chosen = || prop::option::of(1u64..2 * LIFETIME);
    let forgery = || prop::sample::select(Forgery::ALL.to_vec());
    prop_oneof![
        3 => (owner(), level(), chosen(), chosen()).prop_map(|(owner, level, idle, lifetime)| {
            Act::Create(owner, level, idle, lifetime)
        }),
        1 => (token(), owner()).prop_map(|(token, owner)| Act::Login(token, owner)),
        3 => (token(), owner()).prop_map(|(token, owner)| Act::Impersonate(token, owner)),
        2 => token().prop_map(Act::EndImpersonation),
        4 => token().prop_map(Act::Get),
        2 => token().prop_map(Act::Peek),
        4 => token().prop_map(Act::Update),
        2 => token().prop_map(Act::Flash),
        2 => token().prop_map(Act::TakeFlashes),
        6 => token().prop_map(Act::Rotate),
        1 => token().prop_map(Act::RotateOften),
        3 => (token(), level()).prop_map(|(token, level)| Act::Reauthenticate(token, level)),
        1 => token().prop_map(Act::ChangeCredentials),
        1 => token().prop_map(Act::Destroy),
        1 => token().prop_map(Act::EndOthers),
        1 => (token(), owner()).prop_map(|(token, owner)| Act::End(token, owner)),
        1 => token().prop_map(Act::EndAny),
        2 => token().prop_map(Act::Find),
        3 => (token(), forgery()).prop_map(|(token, forgery)| Act::Forge(token, forgery)),
        1 => owner().prop_map(Act::EndAll),
        // Mostly within a grace.
        4 => (0u64..25).prop_map(Act::Advance),
        2 => (0u64..700).prop_map(Act::Advance),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Status {
    Current,
    InGrace,
    /// Refused, and no sign of a theft.
    Replaced,
    Reused,
    /// Its session has ended.
    Ended,
}

/// A token of a session as it should be.
#[derive(Debug, Clone, Copy)]
struct Made {
    number: usize,
    replaced: u64,
    /// The proofs when it was replaced.
    proofs: [Option<u64>; 3],
    is_accepted: bool,
}

/// A session as it should be.
#[derive(Debug)]
struct Expected {
    /// The one that the store knows.
    owner: u8,
    count: u64,
    proofs: [Option<u64>; 3],
    flashes: usize,
    idle: u64,
    lifetime: u64,
    idle_ends: u64,
    ends: u64,
    ended: bool,
    /// The administrator's own session, in an impersonation.
    by: Option<usize>,
    /// The impersonation that it has started last.
    started: Option<usize>,
    /// Its tokens; the last is the one that it has.
    tokens: Vec<Made>,
}

/// The list of sessions.
struct Model {
    grace: u64,
    reuse: TokenReuse,
    now: u64,
    /// Each token, and the session that it was made for.
    tokens: Vec<(Token, usize)>,
    sessions: Vec<Expected>,
}

impl Model {
    /// Whether the store has the session, which may be an impersonation that has ended.
    fn is_stored(&self, session: usize) -> bool {
        let session = &self.sessions[session];
        !session.ended && self.now < session.idle_ends.min(session.ends)
    }

    fn lives(&self, session: usize) -> bool {
        let is_backed = self.sessions[session]
            .by
            .is_none_or(|own| self.is_stored(own) && self.sessions[own].started == Some(session));
        is_backed && self.is_stored(session)
    }

    /// Ends a session by itself, and the impersonation that it has started.
    fn end(&mut self, session: usize) {
        self.sessions[session].ended = true;
        if let Some(started) = self.sessions[session].started {
            self.sessions[started].ended = true;
        }
    }

    /// Ends the session of a client, and the administrator's own one.
    fn sign_out(&mut self, session: usize) {
        self.end(session);
        if let Some(own) = self.sessions[session].by {
            self.end(own);
        }
    }

    /// Whether an owner sees the session in a list.
    fn is_of(&self, session: usize, owner: u8) -> bool {
        let Expected { owner: user, by, .. } = self.sessions[session];
        user == owner || by.is_some_and(|own| self.sessions[own].owner == owner)
    }

    fn status(&self, token: usize) -> Status {
        if !self.lives(self.tokens[token].1) {
            return Status::Ended;
        }
        let session = &self.sessions[self.tokens[token].1];
        let place = session.tokens.iter().position(|made| made.number == token).unwrap();
        let steps = session.tokens.len() - 1 - place;
        let made = session.tokens[place];
        // Of those that are kept no longer, only the latest end of a time is known.
        let quiet_until = |replaced: u64| replaced + 2 * self.grace;
        let until = if steps <= MAX_PREVIOUS {
            quiet_until(made.replaced)
        } else {
            let dropped = &session.tokens[..session.tokens.len() - 1 - MAX_PREVIOUS];
            dropped.iter().map(|made| quiet_until(made.replaced)).max().unwrap()
        };
        if steps == 0 {
            Status::Current
        } else if steps <= MAX_PREVIOUS && made.is_accepted && self.now < made.replaced + self.grace
        {
            Status::InGrace
        } else if self.now < until {
            Status::Replaced
        } else {
            Status::Reused
        }
    }

    fn of(&mut self, token: usize) -> &mut Expected {
        let session = self.tokens[token].1;
        &mut self.sessions[session]
    }

    fn made(
        &mut self,
        token: Token,
        owner: u8,
        level: Option<Level>,
        idle: u64,
        lifetime: u64,
    ) -> usize {
        let mut proofs = [None; 3];
        if let Some(level) = level {
            proofs[level as usize - 1] = Some(self.now);
        }
        let number = self.tokens.len();
        self.sessions.push(Expected {
            owner,
            count: 0,
            proofs,
            flashes: 0,
            idle,
            lifetime,
            idle_ends: self.now + idle,
            ends: self.now + lifetime,
            ended: false,
            by: None,
            started: None,
            tokens: vec![Made { number, replaced: 0, proofs, is_accepted: true }],
        });
        self.tokens.push((token, self.sessions.len() - 1));
        self.sessions.len() - 1
    }

    fn rotated(&mut self, session: usize, to: Token) {
        let (now, number) = (self.now, self.tokens.len());
        let Expected { tokens, proofs, .. } = &mut self.sessions[session];
        let last = tokens.last_mut().unwrap();
        (last.replaced, last.proofs) = (now, *proofs);
        tokens.push(Made { number, replaced: 0, proofs: *proofs, is_accepted: true });
        self.tokens.push((to, session));
    }

    /// The effect of a request by a stolen token.
    fn used(&mut self, token: usize, status: Status) {
        if status == Status::Reused && self.reuse == TokenReuse::EndSession {
            self.end(self.tokens[token].1);
        }
    }

    /// `by_id` if it was found by the id, which has all rights of the session.
    fn check(
        &self,
        zero: Timestamp,
        token: usize,
        found: Option<&SessionSnapshot<u64>>,
        is_there: bool,
        by_id: bool,
    ) -> TestCaseResult {
        prop_assert_eq!(found.is_some(), is_there);
        let Some(found) = found else { return Ok(()) };
        let expected = &self.sessions[self.tokens[token].1];
        let made = expected.tokens.iter().find(|made| made.number == token).unwrap();
        let is_last = expected.tokens.last().unwrap().number == token;
        let proofs = if by_id || is_last { expected.proofs } else { made.proofs };
        let at = |seconds: u64| zero.saturating_add(Duration::from_secs(seconds));
        prop_assert_eq!(found.id(), self.tokens[token].0.id());
        prop_assert_eq!(**found, expected.count);
        prop_assert_eq!(found.flashes().len(), expected.flashes);
        let by = expected.by.map(|own| owner(self.sessions[own].owner));
        let acting_for = by.is_some().then(|| owner(expected.owner));
        prop_assert_eq!(found.acting_for(), acting_for.as_ref());
        let shown = by.unwrap_or(owner(expected.owner));
        prop_assert_eq!(found.owner(), Some(&shown));
        prop_assert_eq!(found.expires_at(), at(expected.idle_ends.min(expected.ends)));
        prop_assert_eq!(found.ends_at(), at(expected.ends));
        let timeouts = [expected.idle, expected.lifetime].map(Duration::from_secs);
        prop_assert_eq!(found.timeouts(), Timeouts::new(timeouts[0], timeouts[1]));
        for level in Level::ALL {
            let proved = proofs[level as usize - 1..].iter().flatten().max();
            prop_assert_eq!(found.authenticated_at(level), proved.map(|proved| at(*proved)));
        }
        Ok(())
    }

    fn end_owner(&mut self, owner: u8, keep: Option<usize>) -> usize {
        let stored: Vec<_> = (0..self.sessions.len()).map(|at| self.is_stored(at)).collect();
        let mut ended = 0;
        for (number, session) in self.sessions.iter_mut().enumerate() {
            if session.owner == owner && Some(number) != keep && stored[number] {
                session.ended = true;
                ended += 1;
            }
        }
        ended
    }

    /// Ends what the owner of a session has beside it, and the impersonation that it has started.
    fn end_others(&mut self, session: usize) -> usize {
        let ended = self.end_owner(self.sessions[session].owner, Some(session));
        let started = self.sessions[session].started.filter(|started| self.is_stored(*started));
        if let Some(started) = started {
            self.sessions[started].ended = true;
        }
        ended + usize::from(started.is_some())
    }
}

fn owner(number: u8) -> Owner {
    support::owner(&format!("owner {number}"))
}

fn new(number: u8) -> NewSession<u64> {
    NewSession::new(0).owner(owner(number))
}

/// Where the sessions are.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// In memory, read in place.
    Memory,
    /// In memory, read as from a remote store.
    Remote,
    /// As bytes.
    #[cfg(feature = "json")]
    Bytes,
}

impl Place {
    const ALL: &[Self] = &[
        Self::Memory,
        Self::Remote,
        #[cfg(feature = "json")]
        Self::Bytes,
    ];

    fn store(self, time: &ManualClock) -> AnyStore<Record<u64>> {
        let builder = MemoryStore::builder().clock(time.clock());
        #[cfg(feature = "json")]
        if let Self::Bytes = self {
            let bytes = MemoryStore::builder().clock(time.clock()).build();
            let codec = kvolt_session::RecordJson::<u64>::new();
            return AnyStore::new(kvolt_cache::Encoded::new(bytes, codec));
        }
        let (store, faults) = FaultyStore::new(builder.build());
        faults.answers_at_once(matches!(self, Self::Memory));
        AnyStore::new(store)
    }
}

async fn run(acts: Vec<Act>, grace: u64, reuse: TokenReuse, place: Place) -> TestCaseResult {
    let time = ManualClock::new();
    let zero = time.clock().now();
    // Without a grace, that is refused.
    let reuse = if grace == 0 { TokenReuse::Report } else { reuse };
    let manager: Manager<u64> = Manager::builder(place.store(&time))
        .idle_timeout(Duration::from_secs(IDLE))
        .lifetime(Duration::from_secs(LIFETIME))
        .rotation_grace(Duration::from_secs(grace))
        .token_reuse(reuse)
        .build()
        .unwrap();
    let mut model = Model { grace, reuse, now: 0, tokens: Vec::new(), sessions: Vec::new() };
    for act in acts {
        let of = |token: usize| token.checked_rem(model.tokens.len());
        let (at, act) = match act {
            Act::Create(number, level, idle, lifetime) => {
                let mut session = new(number).level(level);
                if let Some(idle) = idle {
                    session = session.idle_timeout(Duration::from_secs(idle));
                }
                if let Some(lifetime) = lifetime {
                    session = session.lifetime(Duration::from_secs(lifetime));
                }
                let token = manager.create(session).await.unwrap();
                let lifetime = lifetime.map_or(LIFETIME, |chosen| chosen.min(LIFETIME));
                let idle = idle.map_or(IDLE, |chosen| chosen.min(IDLE)).min(lifetime);
                model.made(token, number, Some(level), idle, lifetime);
                continue;
            }
            Act::EndAll(number) => {
                let ended = manager.revoke_owner(&owner(number)).await.unwrap();
                prop_assert_eq!(ended, model.end_owner(number, None));
                continue;
            }
            Act::Advance(seconds) => {
                time.advance(Duration::from_secs(seconds));
                model.now += seconds;
                continue;
            }
            Act::Impersonate(at, _) | Act::EndImpersonation(at) => (of(at), act),
            Act::Login(at, _) | Act::Get(at) | Act::Peek(at) | Act::Update(at) => (of(at), act),
            Act::Flash(at) | Act::TakeFlashes(at) | Act::Rotate(at) => (of(at), act),
            Act::Reauthenticate(at, _) | Act::Destroy(at) | Act::EndOthers(at) => (of(at), act),
            Act::End(at, _) | Act::EndAny(at) | Act::Find(at) => (of(at), act),
            Act::RotateOften(at) | Act::ChangeCredentials(at) | Act::Forge(at, _) => (of(at), act),
        };
        let Some(at) = at else { continue };
        let status = model.status(at);
        let is_good = matches!(status, Status::Current | Status::InGrace);
        let is_live = status != Status::Ended;
        let now = model.now;
        let (token, session) = model.tokens[at].clone();
        let is_impersonation = model.sessions[session].by.is_some();
        match act {
            Act::Login(_, number) => {
                let made = manager.login(Some(&token), new(number)).await.unwrap();
                prop_assert_ne!(made.id(), token.id());
                if is_good {
                    model.sign_out(session);
                }
                model.made(made, number, Some(Level::One), IDLE, LIFETIME);
            }
            Act::Impersonate(_, number) => {
                let started = manager.impersonate(&token, new(number)).await;
                let is_current = status == Status::Current;
                if is_current && (is_impersonation || model.of(at).owner == number) {
                    prop_assert!(started.unwrap_err().is_impersonation());
                } else if let Some(made) = started.unwrap() {
                    prop_assert!(is_current, "by {:?}", status);
                    let own = model.of(at);
                    let lifetime = IDLE.min(own.idle_ends - now).min(own.ends - now);
                    let started = model.made(made, number, None, lifetime, lifetime);
                    model.sessions[started].by = Some(session);
                    if let Some(before) = model.sessions[session].started.replace(started) {
                        model.sessions[before].ended = true;
                    }
                } else {
                    prop_assert!(!is_current, "by {:?}", status);
                }
            }
            Act::EndImpersonation(_) => match manager.end_impersonation(&token).await {
                Ok(RotateOutcome::Token(to)) => {
                    prop_assert_eq!(status, Status::Current);
                    let own = model.sessions[session].by.unwrap();
                    model.rotated(own, to);
                    model.sessions[own].started = None;
                    model.sessions[session].ended = true;
                }
                Ok(RotateOutcome::Absent) => prop_assert!(!is_good, "by {:?}", status),
                Ok(RotateOutcome::AlreadyRotated) => {
                    prop_assert!(is_impersonation && status == Status::InGrace);
                }
                Err(error) => {
                    prop_assert!(is_good && !is_impersonation && error.is_misconfigured());
                }
            },
            Act::Get(_) | Act::Peek(_) => {
                let slides = matches!(act, Act::Get(_));
                let found = if slides {
                    manager.get(&token).await.unwrap()
                } else {
                    manager.peek(&token).await.unwrap()
                };
                if slides && status == Status::Current {
                    let session = model.of(at);
                    session.idle_ends = now + session.idle;
                }
                model.check(zero, at, found.as_ref(), is_good, false)?;
                model.used(at, status);
            }
            Act::Update(_) => {
                let found = manager.update(&token, |count| *count += 1).await.unwrap();
                if is_good {
                    model.of(at).count += 1;
                }
                if status == Status::Current {
                    let session = model.of(at);
                    session.idle_ends = now + session.idle;
                }
                model.check(zero, at, found.as_ref(), is_good, false)?;
                model.used(at, status);
            }
            Act::Flash(_) => {
                let left = manager.flash(&token, Flash::new("info", "x")).await.unwrap();
                prop_assert_eq!(left, is_good);
                if is_good {
                    let session = model.of(at);
                    session.flashes = (session.flashes + 1).min(Flash::MAX_WAITING);
                }
                model.used(at, status);
            }
            Act::TakeFlashes(_) => {
                let taken = manager.take_flashes(&token).await.unwrap().len();
                let expected = if is_good { std::mem::take(&mut model.of(at).flashes) } else { 0 };
                prop_assert_eq!(taken, expected);
                model.used(at, status);
            }
            Act::Rotate(_) => match (manager.rotate(&token).await.unwrap(), status) {
                (RotateOutcome::Token(to), Status::Current) => model.rotated(session, to),
                (RotateOutcome::AlreadyRotated, Status::InGrace) => {}
                (RotateOutcome::Absent, _) if !is_good => {}
                (rotated, status) => prop_assert!(false, "{:?} of {:?}", rotated, status),
            },
            Act::RotateOften(_) => {
                let mut current = model.of(at).tokens.last().unwrap().number;
                for _ in 0..if is_live { 6 } else { 0 } {
                    let token = model.tokens[current].0.clone();
                    let RotateOutcome::Token(to) = manager.rotate(&token).await.unwrap() else {
                        panic!("it is the session's own")
                    };
                    model.rotated(session, to);
                    current = model.tokens.len() - 1;
                }
            }
            Act::Reauthenticate(_, level) if is_good && is_impersonation => {
                let refused = manager.reauthenticate(&token, level).await;
                prop_assert!(refused.unwrap_err().is_impersonation());
            }
            Act::ChangeCredentials(_) if is_good && is_impersonation => {
                let refused = manager.change_credentials(&token, None).await;
                prop_assert!(refused.unwrap_err().is_impersonation());
            }
            Act::Reauthenticate(_, level) => {
                match manager.reauthenticate(&token, level).await.unwrap() {
                    RotateOutcome::Token(to) => {
                        prop_assert!(is_good, "by {:?}", status);
                        model.rotated(session, to);
                        let session = model.of(at);
                        session.proofs[level as usize - 1] = Some(now);
                        session.idle_ends = now + session.idle;
                        session.ends = now + session.lifetime;
                    }
                    RotateOutcome::Absent => prop_assert!(!is_good, "by {:?}", status),
                    RotateOutcome::AlreadyRotated => prop_assert!(false, "it is a proof"),
                }
            }
            Act::ChangeCredentials(_) => {
                let (rotated, ended) = manager.change_credentials(&token, None).await.unwrap();
                prop_assert_eq!(ended, if is_good { model.end_others(session) } else { 0 });
                match rotated {
                    RotateOutcome::Token(to) => {
                        prop_assert!(is_good, "by {:?}", status);
                        model.rotated(session, to);
                        model.of(at).started = None;
                        let (_, previous) = model.of(at).tokens.split_last_mut().unwrap();
                        previous.iter_mut().for_each(|made| made.is_accepted = false);
                    }
                    RotateOutcome::Absent => prop_assert!(!is_good, "by {:?}", status),
                    RotateOutcome::AlreadyRotated => prop_assert!(false, "it is a change"),
                }
            }
            Act::Destroy(_) => {
                prop_assert_eq!(manager.logout(&token).await.unwrap(), is_good);
                if is_good {
                    model.sign_out(session);
                }
            }
            Act::EndOthers(_) => {
                let ended = manager.revoke_others(&token).await.unwrap();
                prop_assert_eq!(ended, if is_good { model.end_others(session) } else { 0 });
            }
            Act::End(..) | Act::EndAny(_) => {
                let (ended, theirs) = match act {
                    Act::End(_, number) => (
                        manager.revoke_owned(&owner(number), token.id()).await.unwrap(),
                        model.is_of(session, number),
                    ),
                    _ => (manager.revoke(token.id()).await.unwrap(), true),
                };
                prop_assert_eq!(ended, is_live && theirs);
                // One that was refused already is removed, too.
                if theirs && model.is_stored(session) {
                    model.end(session);
                }
            }
            Act::Find(_) => {
                let found = manager.find(token.id()).await.unwrap();
                model.check(zero, at, found.as_ref(), is_live, true)?;
            }
            Act::Forge(_, forgery) => {
                let other = &model.tokens[(at + 1) % model.tokens.len()].0;
                let junk = forged(forgery, &token, other);
                prop_assert_eq!(junk.id(), token.id());
                support::does_nothing(&manager, &junk, || panic!("it sees the data")).await;
            }
            Act::Create(..) | Act::EndAll(_) | Act::Advance(_) => unreachable!("done above"),
        }
        for number in 0..3 {
            let listed = manager.list(&owner(number)).await.unwrap().sessions.len();
            let theirs = |at: &usize| model.is_of(*at, number) && model.lives(*at);
            prop_assert_eq!(listed, (0..model.sessions.len()).filter(theirs).count());
        }
    }
    // Those that are a sign of a theft last: their use may end a session.
    let mut tokens: Vec<usize> = (0..model.tokens.len()).collect();
    tokens.sort_by_key(|token| model.status(*token) == Status::Reused);
    for token in tokens {
        let status = model.status(token);
        let found = manager.peek(&model.tokens[token].0).await.unwrap();
        let is_good = matches!(status, Status::Current | Status::InGrace);
        model.check(zero, token, found.as_ref(), is_good, false)?;
        model.used(token, status);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_calls_matches_the_model(
        acts in prop::collection::vec(act(), 1..120),
        grace in prop::sample::select(vec![0, 30, 300]),
        reuse in prop::sample::select(vec![TokenReuse::Ignore, TokenReuse::Report, TokenReuse::EndSession]),
        place in prop::sample::select(Place::ALL),
    ) {
        block_on(run(acts, grace, reuse, place))?;
    }
}
