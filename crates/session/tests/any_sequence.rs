//! Any sequence of calls, beside a plain list of what each of them means.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::time::Duration;

use kvolt_cache::{ManualClock, MemoryStore};
use kvolt_session::{
    Flash, Level, Manager, NewSession, Owner, Rotated, Session, Timestamp, Token, TokenReuse,
};
use kvolt_testkit::FaultyStore;
use pollster::block_on;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

const IDLE: u64 = 600;
const LIFETIME: u64 = 1_800;

/// How many former tokens of a session are known.
const FORMER_MAX: usize = 16;

/// What is done, by one of the tokens that were made so far.
#[derive(Debug, Clone)]
enum Act {
    Create(u8, Level),
    Login(usize, u8),
    Get(usize),
    Peek(usize),
    Update(usize),
    Flash(usize),
    TakeFlashes(usize),
    Rotate(usize),
    Reauthenticate(usize, Level),
    Destroy(usize),
    EndOthers(usize),
    End(usize, u8),
    EndAny(usize),
    Find(usize),
    EndAll(u8),
    Advance(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let token = || 0usize..24;
    let owner = || 0u8..3;
    let level = || prop::sample::select(Level::ALL.to_vec());
    prop_oneof![
        3 => (owner(), level()).prop_map(|(owner, level)| Act::Create(owner, level)),
        1 => (token(), owner()).prop_map(|(token, owner)| Act::Login(token, owner)),
        4 => token().prop_map(Act::Get),
        2 => token().prop_map(Act::Peek),
        4 => token().prop_map(Act::Update),
        2 => token().prop_map(Act::Flash),
        2 => token().prop_map(Act::TakeFlashes),
        6 => token().prop_map(Act::Rotate),
        3 => (token(), level()).prop_map(|(token, level)| Act::Reauthenticate(token, level)),
        1 => token().prop_map(Act::Destroy),
        1 => token().prop_map(Act::EndOthers),
        1 => (token(), owner()).prop_map(|(token, owner)| Act::End(token, owner)),
        1 => token().prop_map(Act::EndAny),
        2 => token().prop_map(Act::Find),
        1 => owner().prop_map(Act::EndAll),
        // Mostly within a grace.
        4 => (0u64..25).prop_map(Act::Advance),
        2 => (0u64..700).prop_map(Act::Advance),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Standing {
    Current,
    InGrace,
    /// It still leads to its session, and is good for nothing.
    Spent,
    None,
}

/// A session as it should be.
#[derive(Debug)]
struct Expected {
    owner: u8,
    count: u64,
    proofs: [Option<u64>; 3],
    flashes: usize,
    idle_ends: u64,
    ends: u64,
    ended: bool,
    /// Its tokens by their numbers, the last is the one that it has; when each was replaced,
    /// and from when on what was proved does not count for it.
    tokens: Vec<(usize, u64, Option<u64>)>,
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
    fn lives(&self, session: &Expected) -> bool {
        !session.ended && self.now < session.idle_ends.min(session.ends)
    }

    fn standing(&self, token: usize) -> Standing {
        let session = &self.sessions[self.tokens[token].1];
        let place = session.tokens.iter().position(|(number, ..)| *number == token).unwrap();
        let steps = session.tokens.len() - 1 - place;
        let replaced = session.tokens[place].1;
        let remembered = match self.reuse {
            TokenReuse::Ignore => 60.max(self.grace),
            _ => LIFETIME,
        };
        if !self.lives(session) {
            Standing::None
        } else if steps == 0 {
            Standing::Current
        } else if steps <= FORMER_MAX && self.now < replaced + self.grace {
            Standing::InGrace
        } else if steps <= FORMER_MAX && self.now < replaced + remembered {
            Standing::Spent
        } else {
            Standing::None
        }
    }

    fn of(&mut self, token: usize) -> &mut Expected {
        let session = self.tokens[token].1;
        &mut self.sessions[session]
    }

    fn made(&mut self, token: Token, owner: u8, level: Level) {
        let mut proofs = [None; 3];
        proofs[level as usize - 1] = Some(self.now);
        self.sessions.push(Expected {
            owner,
            count: 0,
            proofs,
            flashes: 0,
            idle_ends: self.now + IDLE,
            ends: self.now + LIFETIME,
            ended: false,
            tokens: vec![(self.tokens.len(), 0, None)],
        });
        self.tokens.push((token, self.sessions.len() - 1));
    }

    fn rotated(&mut self, token: usize, to: Token) {
        let (now, number, session) = (self.now, self.tokens.len(), self.tokens[token].1);
        let tokens = &mut self.sessions[session].tokens;
        tokens.last_mut().unwrap().1 = now;
        tokens.push((number, 0, None));
        self.tokens.push((to, session));
    }

    /// What the use of a spent token brings about.
    fn used(&mut self, token: usize, standing: Standing) {
        if standing == Standing::Spent && self.reuse == TokenReuse::EndSession {
            self.of(token).ended = true;
        }
    }

    fn check(
        &self,
        manager: &Manager<u64>,
        zero: Timestamp,
        token: usize,
        found: Option<&Session<u64>>,
        is_there: bool,
        whole: bool,
    ) -> TestCaseResult {
        prop_assert_eq!(found.is_some(), is_there);
        let Some(found) = found else { return Ok(()) };
        let expected = &self.sessions[self.tokens[token].1];
        let by = expected.tokens.iter().find(|(number, ..)| *number == token);
        let outdated = by.and_then(|(_, _, outdated)| *outdated).filter(|_| !whole);
        let at = |seconds: u64| zero.saturating_add(Duration::from_secs(seconds));
        let (last, ..) = expected.tokens.last().unwrap();
        prop_assert_eq!(found.id(), manager.id(&self.tokens[*last].0));
        prop_assert_eq!(**found, expected.count);
        prop_assert_eq!(found.flashes().len(), expected.flashes);
        prop_assert_eq!(found.expires_at(), at(expected.idle_ends.min(expected.ends)));
        prop_assert_eq!(found.ends_at(), at(expected.ends));
        for level in Level::ALL {
            let proofs = expected.proofs[level as usize - 1..].iter().flatten();
            let proved = proofs.filter(|at| outdated.is_none_or(|from| **at < from)).max();
            prop_assert_eq!(found.authenticated_at(level), proved.map(|proved| at(*proved)));
        }
        Ok(())
    }

    fn end_owner(&mut self, owner: u8, keep: Option<usize>) -> usize {
        let lives: Vec<_> = self.sessions.iter().map(|session| self.lives(session)).collect();
        let mut ended = 0;
        for (number, session) in self.sessions.iter_mut().enumerate() {
            if session.owner == owner && Some(number) != keep && lives[number] {
                session.ended = true;
                ended += 1;
            }
        }
        ended
    }
}

fn owner(number: u8) -> Owner {
    Owner::new(format!("owner {number}"))
}

fn new(number: u8) -> NewSession<u64> {
    NewSession::new(0).owner(owner(number))
}

async fn run(acts: Vec<Act>, grace: u64, reuse: TokenReuse, at_once: bool) -> TestCaseResult {
    let time = ManualClock::new();
    let zero = time.clock().now();
    let store = MemoryStore::builder().clock(time.clock()).build();
    let (store, faults) = FaultyStore::new(store);
    faults.answers_at_once(at_once);
    let manager: Manager<u64> = Manager::builder(store)
        .idle_timeout(Duration::from_secs(IDLE))
        .lifetime(Duration::from_secs(LIFETIME))
        .rotation_grace(Duration::from_secs(grace))
        .token_reuse(reuse)
        .clock(time.clock())
        .build()
        .unwrap();
    let mut model = Model { grace, reuse, now: 0, tokens: Vec::new(), sessions: Vec::new() };
    for act in acts {
        let of = |token: usize| token.checked_rem(model.tokens.len());
        let (at, act) = match act {
            Act::Create(number, level) => {
                let token = manager.create(new(number).level(level)).await.unwrap();
                model.made(token, number, level);
                continue;
            }
            Act::EndAll(number) => {
                let ended = manager.end_all(&owner(number)).await.unwrap();
                prop_assert_eq!(ended, model.end_owner(number, None));
                continue;
            }
            Act::Advance(seconds) => {
                time.advance(Duration::from_secs(seconds));
                model.now += seconds;
                continue;
            }
            Act::Login(at, _) | Act::Get(at) | Act::Peek(at) | Act::Update(at) => (of(at), act),
            Act::Flash(at) | Act::TakeFlashes(at) | Act::Rotate(at) => (of(at), act),
            Act::Reauthenticate(at, _) | Act::Destroy(at) | Act::EndOthers(at) => (of(at), act),
            Act::End(at, _) | Act::EndAny(at) | Act::Find(at) => (of(at), act),
        };
        let Some(at) = at else { continue };
        let standing = model.standing(at);
        let is_good = matches!(standing, Standing::Current | Standing::InGrace);
        let leads = standing != Standing::None;
        let now = model.now;
        let token = Token::parse(model.tokens[at].0.expose()).unwrap();
        match act {
            Act::Login(_, number) => {
                let made = manager.login(Some(&token), new(number)).await.unwrap();
                if is_good {
                    model.of(at).ended = true;
                }
                model.made(made, number, Level::One);
            }
            Act::Get(_) | Act::Peek(_) => {
                let slides = matches!(act, Act::Get(_));
                let found = if slides {
                    manager.get(&token).await.unwrap()
                } else {
                    manager.peek(&token).await.unwrap()
                };
                if slides && standing == Standing::Current {
                    model.of(at).idle_ends = now + IDLE;
                }
                model.check(&manager, zero, at, found.as_ref(), is_good, false)?;
                model.used(at, standing);
            }
            Act::Update(_) => {
                let found = manager.update(&token, |count| *count += 1).await.unwrap();
                if is_good {
                    model.of(at).count += 1;
                }
                if standing == Standing::Current {
                    model.of(at).idle_ends = now + IDLE;
                }
                model.check(&manager, zero, at, found.as_ref(), is_good, false)?;
                model.used(at, standing);
            }
            Act::Flash(_) => {
                let left = manager.flash(&token, Flash::new("info", "x")).await.unwrap();
                prop_assert_eq!(left, is_good);
                if is_good {
                    let session = model.of(at);
                    session.flashes = (session.flashes + 1).min(Flash::WAITING_MAX);
                }
                model.used(at, standing);
            }
            Act::TakeFlashes(_) => {
                let taken = manager.take_flashes(&token).await.unwrap().len();
                let expected = if is_good { std::mem::take(&mut model.of(at).flashes) } else { 0 };
                prop_assert_eq!(taken, expected);
                model.used(at, standing);
            }
            Act::Rotate(_) | Act::Reauthenticate(..) => {
                let rotated = match act {
                    Act::Reauthenticate(_, level) => {
                        if is_good {
                            let session = model.of(at);
                            session.proofs[level as usize - 1] = Some(now);
                            for (_, _, outdated) in &mut session.tokens {
                                *outdated = outdated.or(Some(now));
                            }
                            (session.idle_ends, session.ends) = (now + IDLE, now + LIFETIME);
                        }
                        manager.reauthenticate(&token, level).await.unwrap()
                    }
                    _ => manager.rotate(&token).await.unwrap(),
                };
                let proves = matches!(act, Act::Reauthenticate(..));
                match (rotated, standing) {
                    (Rotated::Token(to), Standing::Current) => model.rotated(at, to),
                    (Rotated::Token(to), Standing::InGrace) if proves => model.rotated(at, to),
                    (Rotated::AlreadyRotated, Standing::InGrace) if !proves => {}
                    (Rotated::Absent, Standing::Spent | Standing::None) => {}
                    (rotated, standing) => prop_assert!(false, "{:?} of {:?}", rotated, standing),
                }
            }
            Act::Destroy(_) => {
                prop_assert_eq!(manager.destroy(&token).await.unwrap(), is_good);
                if is_good {
                    model.of(at).ended = true;
                }
            }
            Act::EndOthers(_) => {
                let ended = manager.end_others(&token).await.unwrap();
                let (number, keep) = (model.of(at).owner, model.tokens[at].1);
                let expected = if is_good { model.end_owner(number, Some(keep)) } else { 0 };
                prop_assert_eq!(ended, expected);
            }
            Act::End(..) | Act::EndAny(_) => {
                let id = manager.id(&token);
                let (ended, theirs) = match act {
                    Act::End(_, number) => (
                        manager.end(&owner(number), id).await.unwrap(),
                        model.of(at).owner == number,
                    ),
                    _ => (manager.end_any(id).await.unwrap(), true),
                };
                prop_assert_eq!(ended, leads && theirs);
                if ended {
                    model.of(at).ended = true;
                }
            }
            Act::Find(_) => {
                let found = manager.find(manager.id(&token)).await.unwrap();
                model.check(&manager, zero, at, found.as_ref(), leads, true)?;
            }
            Act::Create(..) | Act::EndAll(_) | Act::Advance(_) => unreachable!("done above"),
        }
        for number in 0..3 {
            let listed = manager.list(&owner(number)).await.unwrap().len();
            let theirs = |session: &&Expected| session.owner == number && model.lives(session);
            prop_assert_eq!(listed, model.sessions.iter().filter(theirs).count());
        }
    }
    // The spent ones last: their use may end a session.
    let mut tokens: Vec<usize> = (0..model.tokens.len()).collect();
    tokens.sort_by_key(|token| model.standing(*token) == Standing::Spent);
    for token in tokens {
        let standing = model.standing(token);
        let found = manager.peek(&model.tokens[token].0).await.unwrap();
        let is_good = matches!(standing, Standing::Current | Standing::InGrace);
        model.check(&manager, zero, token, found.as_ref(), is_good, false)?;
        model.used(token, standing);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_calls_by_any_token_ever_made_does_what_the_list_says(
        acts in prop::collection::vec(act(), 1..120),
        grace in prop::sample::select(vec![0, 30, 300]),
        reuse in prop::sample::select(vec![TokenReuse::Ignore, TokenReuse::Report, TokenReuse::EndSession]),
        at_once in any::<bool>(),
    ) {
        block_on(run(acts, grace, reuse, at_once))?;
    }
}
