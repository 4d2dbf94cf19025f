//! Any sequence of what browsers, thieves and the application do with sessions that are bound to a
//! device, beside a plain list of what each step means.
#![cfg(feature = "device-bound")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join3;
use kvolt_cache::{AnyStore, ManualClock, MemoryStore};
use kvolt_session::testing::DeviceFault;
use kvolt_session::{
    DeviceAnswer, DeviceCookie, DeviceOutcome, Level, Manager, NewSession, Record, StepUp, Token,
};
use kvolt_testkit::device::DeviceKey;
use kvolt_testkit::{Call, Faults, FaultyStore};
use pollster::block_on;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestCaseResult, TestRng, TestRunner};
use support::rotated;

/// Of the bound cookie.
const LIFETIME: u64 = 300;
const CHALLENGE_LIFE: u64 = 2 * LIFETIME;
const SESSION: u64 = 7_200;
const IMPERSONATION: u64 = 1_800;
const OFFER: u64 = 60;
const OFFER_LATER: u64 = 300;
const UNDER_WAY: u64 = 5;
const LEEWAY: u64 = 2;

#[derive(Debug, Clone, Copy)]
enum Key {
    Own,
    Thief,
}

/// How the server's answer fares.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Answer {
    Arrives,
    Lost,
    /// The store has done its work, and its own answer is lost.
    LostByStore,
    /// The store does nothing.
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Signed {
    /// The challenge that the browser got last.
    Known,
    /// One that was signed before.
    Used,
    /// The current one, which a thief has seen, by the thief's key.
    Forged,
    /// As known, with the public key in it, as in a registration.
    WithKey,
    /// The current one of another session.
    OfOther,
    Nothing,
    Garbage,
}

#[derive(Debug, Clone)]
enum Act {
    SignIn { later: bool },
    SignInOver(usize),
    TakeOffer(usize),
    Register { at: usize, old: bool, key: Key, answer: Answer, steps: usize },
    Refresh { at: usize, signed: Signed, answer: Answer, steps: usize, right_id: bool },
    TwoTabs(usize),
    GetIn(usize),
    Rotate(usize),
    Reauthenticate(usize),
    ChangeCredentials(usize),
    Update(usize),
    Impersonate(usize),
    EndImpersonation(usize),
    Logout(usize),
    Revoke(usize),
    Advance(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let at = || 0usize..8;
    let answer = || {
        prop_oneof![
            6 => Just(Answer::Arrives),
            2 => Just(Answer::Lost),
            1 => Just(Answer::LostByStore),
            1 => Just(Answer::Failed),
        ]
    };
    let signed = prop_oneof![
        8 => Just(Signed::Known),
        2 => Just(Signed::Used),
        2 => Just(Signed::Forged),
        1 => Just(Signed::WithKey),
        1 => Just(Signed::OfOther),
        2 => Just(Signed::Nothing),
        1 => Just(Signed::Garbage),
    ];
    let steps = || prop_oneof![4 => Just(0usize), 1 => 1usize..3];
    let key = prop_oneof![5 => Just(Key::Own), 1 => Just(Key::Thief)];
    prop_oneof![
        3 => any::<bool>().prop_map(|later| Act::SignIn { later }),
        1 => at().prop_map(Act::SignInOver),
        2 => at().prop_map(Act::TakeOffer),
        8 => (at(), any::<bool>(), key, answer(), steps()).prop_map(|(at, old, key, answer, steps)| {
            Act::Register { at, old, key, answer, steps }
        }),
        12 => (at(), signed, answer(), steps(), prop::bool::weighted(0.9)).prop_map(
            |(at, signed, answer, steps, right_id)| {
                Act::Refresh { at, signed, answer, steps, right_id }
            }
        ),
        2 => at().prop_map(Act::TwoTabs),
        3 => at().prop_map(Act::GetIn),
        3 => at().prop_map(Act::Rotate),
        1 => at().prop_map(Act::Reauthenticate),
        1 => at().prop_map(Act::ChangeCredentials),
        3 => at().prop_map(Act::Update),
        2 => at().prop_map(Act::Impersonate),
        2 => at().prop_map(Act::EndImpersonation),
        1 => at().prop_map(Act::Logout),
        1 => at().prop_map(Act::Revoke),
        4 => (0u64..8).prop_map(Act::Advance),
        3 => (0u64..310).prop_map(Act::Advance),
        2 => (0u64..700).prop_map(Act::Advance),
    ]
}

/// A value of the bound cookie, unless it was never sent, and its end.
type Cookie = (Option<String>, u64);

/// The device that a session is bound to, as it should be.
#[derive(Debug, Clone)]
struct Bound {
    id: String,
    key: u8,
    /// `None` if it was never sent.
    challenge: Option<String>,
    challenged: u64,
    since: u64,
    proved: u64,
    current: Cookie,
    previous: Option<Cookie>,
}

/// A session as it should be.
#[derive(Debug)]
struct Expected {
    /// Each with the time at which it was replaced, and whether it has a grace.
    tokens: Vec<(Token, u64, bool)>,
    /// That of the browser that has signed in.
    key: u8,
    count: u64,
    created: u64,
    ends: u64,
    ended: bool,
    offer_due: bool,
    offers: Vec<(String, u64)>,
    bound: Option<Bound>,
    /// The challenge that the browser got last.
    known: Option<String>,
    cookies: Vec<String>,
    by: Option<usize>,
    started: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Status {
    Accepted,
    Replaced,
    Ended,
}

struct Model {
    now: u64,
    grace: u64,
    sessions: Vec<Expected>,
    /// The challenges that were accepted in a refresh.
    used: HashSet<String>,
}

impl Model {
    fn is_stored(&self, at: usize) -> bool {
        !self.sessions[at].ended && self.now < self.sessions[at].ends
    }

    fn lives(&self, at: usize) -> bool {
        let by = self.sessions[at].by;
        let is_backed =
            by.is_none_or(|own| self.is_stored(own) && self.sessions[own].started == Some(at));
        is_backed && self.is_stored(at)
    }

    fn end(&mut self, at: usize) {
        self.sessions[at].ended = true;
        if let Some(started) = self.sessions[at].started {
            self.sessions[started].ended = true;
        }
    }

    fn sign_out(&mut self, at: usize) {
        self.end(at);
        if let Some(own) = self.sessions[at].by {
            self.end(own);
        }
    }

    fn token(&self, at: usize, steps: usize) -> (Token, Status) {
        let tokens = &self.sessions[at].tokens;
        let steps = steps.min(tokens.len() - 1);
        let (token, replaced, has_grace) = &tokens[tokens.len() - 1 - steps];
        let is_in_grace = *has_grace && self.now < replaced + self.grace;
        let status = match self.lives(at) {
            false => Status::Ended,
            true if steps == 0 || is_in_grace => Status::Accepted,
            true => Status::Replaced,
        };
        (token.clone(), status)
    }

    fn made(&mut self, token: Token, lifetime: u64) -> usize {
        let at = self.sessions.len();
        self.sessions.push(Expected {
            tokens: vec![(token, 0, true)],
            key: u8::try_from(at % 100).unwrap(),
            count: 0,
            created: self.now,
            ends: self.now + lifetime,
            ended: false,
            offer_due: false,
            offers: Vec::new(),
            bound: None,
            known: None,
            cookies: Vec::new(),
            by: None,
            started: None,
        });
        at
    }

    fn rotated(&mut self, at: usize, to: Token) {
        let now = self.now;
        let tokens = &mut self.sessions[at].tokens;
        tokens.last_mut().unwrap().1 = now;
        tokens.push((to, 0, true));
    }

    fn granted(&mut self, at: usize, grant: Option<&DeviceAnswer>, arrives: bool) {
        let now = self.now;
        let session = &mut self.sessions[at];
        let bound = session.bound.as_mut().unwrap();
        let cookie = grant.and_then(|grant| grant.cookie.clone());
        (bound.challenge, bound.challenged) = (grant.map(|grant| grant.challenge.clone()), now);
        let current = (cookie.clone(), now + LIFETIME + LEEWAY);
        bound.previous = Some(std::mem::replace(&mut bound.current, current));
        session.cookies.extend(cookie);
        if arrives {
            session.known.clone_from(&bound.challenge);
        }
    }

    /// Whether the devices of all sessions are as they should be, by both managers.
    async fn check(&self, managers: &[Manager<u64>; 2]) -> TestCaseResult {
        for (at, expected) in self.sessions.iter().enumerate() {
            let (token, _) = self.token(at, 0);
            let manager = &managers[at % 2];
            let found = manager.peek(&token).await.unwrap();
            prop_assert_eq!(found.is_some(), self.lives(at), "session {}", at);
            let Some(mut found) = found else { continue };
            prop_assert_eq!(*found, expected.count, "the data of session {}", at);
            prop_assert_eq!(found.device_bound().is_some(), expected.bound.is_some());
            let now = manager.clock().now();
            let Some(bound) = &expected.bound else {
                prop_assert!(found.check_device(None, now));
                continue;
            };
            let age = now.since(found.device_bound().unwrap());
            prop_assert_eq!(age, Duration::from_secs(self.now - bound.since));
            for cookie in expected.cookies.iter().rev().take(6).map(Some).chain([None]) {
                let accepts = |value: &Cookie| {
                    cookie.is_some() && value.0.as_ref() == cookie && self.now < value.1
                };
                // When the device was proved; of a previous value that is too long ago.
                let proved = if accepts(&bound.current) {
                    Some(Some(bound.proved))
                } else if bound.previous.as_ref().is_some_and(accepts) {
                    Some(None)
                } else {
                    (self.now < bound.since + UNDER_WAY).then_some(Some(bound.since))
                };
                let presented = cookie.and_then(DeviceCookie::parse);
                let is_proven = found.check_device(presented.as_ref(), now);
                prop_assert_eq!(is_proven, proved.is_some(), "{} of {:?}", at, bound);
                prop_assert_eq!(found.is_device_proven(), is_proven);
                let minute = StepUp::device_proved_within(Duration::from_secs(60));
                let is_fresh = proved.flatten().is_some_and(|proved| self.now - proved <= 60);
                let is_met = found.meets(&minute, now);
                prop_assert_eq!(is_met, is_fresh && expected.by.is_none());
            }
        }
        Ok(())
    }
}

/// The sessions, behind two managers on one store.
struct World {
    time: ManualClock,
    faults: Faults,
    managers: [Manager<u64>; 2],
}

impl World {
    fn new(grace: u64, is_bytes: bool, fault: Option<DeviceFault>) -> Self {
        let time = ManualClock::new();
        let (store, faults) = Self::store(&time, is_bytes);
        let manager = || {
            let builder = Manager::builder(store.clone())
                .idle_timeout(Duration::from_secs(SESSION))
                .lifetime(Duration::from_secs(SESSION))
                .rotation_grace(Duration::from_secs(grace));
            match fault {
                Some(fault) => builder.device_fault(fault).build().unwrap(),
                None => builder.build().unwrap(),
            }
        };
        Self { time, faults, managers: [manager(), manager()] }
    }

    fn store(time: &ManualClock, is_bytes: bool) -> (AnyStore<Record<u64>>, Faults) {
        #[cfg(feature = "json")]
        if is_bytes {
            let bytes = MemoryStore::builder().clock(time.clock()).build();
            let (bytes, faults) = FaultyStore::new(bytes);
            let codec = kvolt_session::RecordJson::<u64>::new();
            return (AnyStore::new(kvolt_cache::Encoded::new(bytes, codec)), faults);
        }
        let _ = is_bytes;
        let (store, faults) = FaultyStore::new(MemoryStore::builder().clock(time.clock()).build());
        (AnyStore::new(store), faults)
    }

    /// Prepares the store for a call whose answer fares like this.
    fn prepare(&self, answer: Answer) {
        self.faults.reset();
        self.faults.only(&[Call::Replace]);
        match answer {
            Answer::LostByStore => self.faults.lose_next_answers(1),
            Answer::Failed => self.faults.fail_all(true),
            Answer::Arrives | Answer::Lost => {}
        }
    }
}

fn owner(at: usize) -> NewSession<u64> {
    NewSession::new(0).owner(format!("owner {at}"))
}

async fn run(
    acts: Vec<Act>,
    grace: u64,
    is_bytes: bool,
    fault: Option<DeviceFault>,
) -> TestCaseResult {
    let world = World::new(grace, is_bytes, fault);
    let lifetime = Duration::from_secs(LIFETIME);
    let mut model = Model { now: 0, grace, sessions: Vec::new(), used: HashSet::new() };
    for (step, act) in acts.into_iter().enumerate() {
        world.faults.reset();
        let manager = &world.managers[step % 2];
        let count = model.sessions.len();
        let (now, of) = (model.now, |at: usize| at.checked_rem(count));
        match act {
            Act::Advance(seconds) => {
                world.time.advance(Duration::from_secs(seconds));
                model.now += seconds;
            }
            Act::SignIn { later: true } => {
                let mut session = owner(count);
                manager.offer_device_later(&mut session);
                let token = manager.login(None::<&Token>, session).await.unwrap();
                let at = model.made(token, SESSION);
                model.sessions[at].offer_due = true;
            }
            Act::SignIn { later: false } => {
                let mut session = owner(count);
                let offer = manager.offer_device(&mut session).unwrap();
                let token = manager.create(session).await.unwrap();
                let at = model.made(token, SESSION);
                model.sessions[at].offers.push((offer, now));
            }
            Act::SignInOver(at) => {
                let Some(at) = of(at) else { continue };
                let (token, status) = model.token(at, 0);
                let mut session = owner(count);
                let offer = manager.offer_device(&mut session).unwrap();
                let made = manager.login(Some(&token), session).await.unwrap();
                if status == Status::Accepted {
                    model.sign_out(at);
                }
                let at = model.made(made, SESSION);
                model.sessions[at].offers.push((offer, now));
            }
            Act::TakeOffer(at) => {
                let Some(at) = of(at) else { continue };
                let lives = model.lives(at);
                let (token, _) = model.token(at, 0);
                let taken = manager.take_device_offer(&token).await.unwrap();
                let session = &mut model.sessions[at];
                let is_due = lives && session.offer_due && now - session.created < OFFER_LATER;
                prop_assert_eq!(taken.is_some(), is_due);
                if let Some(offer) = taken {
                    session.offer_due = false;
                    session.offers.push((offer, now));
                }
            }
            Act::Register { at, old, key, answer, steps } => {
                let Some(at) = of(at) else { continue };
                let (token, status) = model.token(at, steps);
                let session = &model.sessions[at];
                let offer = if old { session.offers.first() } else { session.offers.last() };
                let Some((offer, made)) = offer.cloned() else { continue };
                let key = match key {
                    Key::Own => session.key,
                    Key::Thief => 200,
                };
                let proof = DeviceKey::new(key).registration(&offer);
                world.prepare(answer);
                let mut outcome = manager.bind_device(&token, proof.as_bytes(), lifetime).await;
                if outcome.is_err() {
                    // As the layer does.
                    outcome = manager.bind_device(&token, proof.as_bytes(), lifetime).await;
                }
                world.faults.reset();
                let bound = session.bound.as_ref();
                let is_open = status == Status::Accepted && now - made < OFFER;
                let is_again =
                    bound.is_none_or(|bound| bound.key == key && bound.proved == bound.since);
                match outcome {
                    Err(error) => {
                        prop_assert!(error.is_unavailable() && answer == Answer::Failed);
                        prop_assert!(is_open && is_again);
                    }
                    Ok(DeviceOutcome::Bound(grant)) => {
                        prop_assert!(is_open && is_again && grant.cookie.is_some());
                        let session = &mut model.sessions[at];
                        session.offer_due = false;
                        session.key = key;
                        let bound = session.bound.get_or_insert_with(|| Bound {
                            id: grant.id.clone(),
                            key,
                            challenge: None,
                            challenged: now,
                            since: now,
                            proved: now,
                            current: (None, 0),
                            previous: None,
                        });
                        prop_assert_eq!(&bound.id, &grant.id);
                        if answer == Answer::LostByStore {
                            // The value of the first attempt was never sent.
                            model.granted(at, None, false);
                        }
                        model.granted(at, Some(&grant), answer != Answer::Lost);
                        let bound = model.sessions[at].bound.as_mut().unwrap();
                        let is_empty = |value: &Cookie| value.1 <= now;
                        bound.previous = bound.previous.take().filter(|value| !is_empty(value));
                    }
                    Ok(DeviceOutcome::AlreadyBound) => prop_assert!(is_open && !is_again),
                    Ok(DeviceOutcome::Refused) => prop_assert!(!is_open),
                }
            }
            Act::Refresh { at, signed, answer, steps, right_id } => {
                let Some(at) = of(at) else { continue };
                let (token, status) = model.token(at, steps);
                let session = &model.sessions[at];
                let bound = session.bound.clone();
                let id = match &bound {
                    Some(bound) if right_id => bound.id.clone(),
                    _ => "A".repeat(22),
                };
                let known = session.known.clone().unwrap_or_default();
                let current = bound.as_ref().and_then(|bound| bound.challenge.clone());
                let other = (at + 1) % count;
                let others = model.sessions[other].bound.as_ref();
                let others = others.and_then(|bound| bound.challenge.clone());
                let used = model.used.iter().min().cloned();
                let challenge = match signed {
                    Signed::Known | Signed::WithKey => known,
                    Signed::Used => used.unwrap_or_default(),
                    Signed::Forged => current.clone().unwrap_or_default(),
                    Signed::OfOther => others.unwrap_or_default(),
                    Signed::Nothing | Signed::Garbage => String::new(),
                };
                let key = DeviceKey::new(session.key);
                let proof = match signed {
                    Signed::Nothing => None,
                    Signed::Garbage => Some(String::from("e30.e30.e30")),
                    Signed::Forged => Some(DeviceKey::new(200).proof(&challenge)),
                    Signed::WithKey => Some(key.registration(&challenge)),
                    Signed::Known | Signed::Used | Signed::OfOther => Some(key.proof(&challenge)),
                };
                let is_owners = bound.as_ref().is_some_and(|bound| {
                    bound.key == if signed == Signed::Forged { 200 } else { session.key }
                });
                let is_plain = matches!(
                    signed,
                    Signed::Known | Signed::Used | Signed::OfOther | Signed::Forged
                );
                let is_good = is_owners && is_plain && current.as_ref() == Some(&challenge);
                world.prepare(answer);
                let proof = proof.as_deref().unwrap_or_default().as_bytes();
                let outcome = manager.prove_device(&token, id.as_bytes(), proof, lifetime).await;
                world.faults.reset();
                let known = status != Status::Ended && bound.is_some() && right_id;
                let is_fresh =
                    bound.as_ref().is_some_and(|bound| now - bound.challenged < CHALLENGE_LIFE);
                let is_granted = known && status == Status::Accepted && is_good && is_fresh;
                let arrives = answer != Answer::Lost;
                match outcome {
                    Err(error) => {
                        let has_written =
                            is_granted || (known && !is_fresh && status == Status::Accepted);
                        prop_assert!(error.is_unavailable() && has_written);
                        if answer == Answer::LostByStore && is_granted {
                            prop_assert!(model.used.insert(challenge));
                            model.sessions[at].bound.as_mut().unwrap().proved = now;
                            model.granted(at, None, false);
                        } else if answer == Answer::LostByStore {
                            let bound = model.sessions[at].bound.as_mut().unwrap();
                            (bound.challenge, bound.challenged) = (None, now);
                        }
                    }
                    Ok(DeviceOutcome::Bound(grant)) if grant.cookie.is_some() => {
                        prop_assert!(is_granted, "{:?} of {:?}", signed, bound);
                        prop_assert!(model.used.insert(challenge), "a challenge is good once");
                        model.sessions[at].bound.as_mut().unwrap().proved = now;
                        model.granted(at, Some(&grant), arrives);
                    }
                    Ok(DeviceOutcome::Bound(DeviceAnswer { id, challenge, .. })) => {
                        prop_assert!(known && !is_granted, "{:?} of {:?}", signed, bound);
                        let is_kept = is_fresh || status == Status::Replaced;
                        let session = &mut model.sessions[at];
                        let bound = session.bound.as_mut().unwrap();
                        prop_assert_eq!(&id, &bound.id);
                        if let Some(before) = &bound.challenge {
                            prop_assert_eq!(*before == challenge, is_kept);
                        }
                        if !is_kept {
                            bound.challenged = now;
                        }
                        bound.challenge = Some(challenge.clone());
                        if arrives && signed != Signed::Forged {
                            session.known = Some(challenge);
                        }
                    }
                    Ok(DeviceOutcome::Refused) => prop_assert!(!known, "{:?}", status),
                    Ok(other) => prop_assert!(false, "{:?}", other),
                }
            }
            Act::TwoTabs(at) => {
                let Some(at) = of(at).filter(|at| model.lives(*at)) else { continue };
                let session = &model.sessions[at];
                let Some(bound) = session.bound.clone() else { continue };
                let Some(known) = session.known.clone() else { continue };
                let is_good = bound.challenge.as_ref() == Some(&known)
                    && bound.key == session.key
                    && now - bound.challenged < CHALLENGE_LIFE;
                if !is_good {
                    continue;
                }
                let (token, _) = model.token(at, 0);
                let proof = DeviceKey::new(bound.key).proof(&known);
                let tab = |manager: &Manager<u64>| {
                    let manager = manager.clone();
                    let (token, id, proof) = (token.clone(), bound.id.clone(), proof.clone());
                    async move {
                        let (id, proof) = (id.as_bytes(), proof.as_bytes());
                        manager.prove_device(&token, id, proof, lifetime).await.unwrap()
                    }
                };
                // Both have read the session before one of them writes.
                world.faults.only(&[Call::Replace]);
                world.faults.hold_calls();
                let [one, other] = [&world.managers[0], &world.managers[1]];
                let release = async {
                    world.faults.until_waiting(2).await;
                    world.faults.release();
                };
                let (one, other, ()) = join3(tab(one), tab(other), release).await;
                let [DeviceOutcome::Bound(one), DeviceOutcome::Bound(other)] = [one, other] else {
                    panic!("one is granted, and one is challenged");
                };
                prop_assert_eq!(&one.challenge, &other.challenge);
                prop_assert!(one.cookie.is_some() != other.cookie.is_some());
                let grant = if one.cookie.is_some() { one } else { other };
                prop_assert!(model.used.insert(known));
                model.sessions[at].bound.as_mut().unwrap().proved = now;
                model.granted(at, Some(&grant), true);
            }
            Act::GetIn(at) => {
                let Some(at) = of(at) else { continue };
                get_in(&world, &mut model, at).await?;
            }
            Act::Update(at) => {
                let Some(at) = of(at) else { continue };
                let (token, status) = model.token(at, 0);
                let updated = manager.update(&token, |count| *count += 1).await.unwrap();
                prop_assert_eq!(updated.is_some(), status == Status::Accepted);
                model.sessions[at].count += u64::from(updated.is_some());
            }
            Act::Rotate(at) | Act::Reauthenticate(at) | Act::ChangeCredentials(at) => {
                let Some(at) = of(at).filter(|at| model.lives(*at)) else { continue };
                let is_rotation = matches!(act, Act::Rotate(_));
                if model.sessions[at].by.is_some() && !is_rotation {
                    continue;
                }
                let (token, _) = model.token(at, 0);
                let to = match act {
                    Act::Rotate(_) => manager.rotate(&token).await.unwrap(),
                    Act::Reauthenticate(_) => {
                        model.sessions[at].ends = now + SESSION;
                        manager.reauthenticate(&token, Level::Two).await.unwrap()
                    }
                    _ => manager.change_credentials(&token, None).await.unwrap().0,
                };
                model.rotated(at, rotated(to));
                if matches!(act, Act::ChangeCredentials(_)) {
                    if let Some(started) = model.sessions[at].started.take() {
                        model.sessions[started].ended = true;
                    }
                    model.sessions[at].tokens.iter_mut().for_each(|token| token.2 = false);
                }
            }
            Act::Impersonate(at) => {
                let Some(at) = of(at).filter(|at| model.lives(*at)) else { continue };
                if model.sessions[at].by.is_some() {
                    continue;
                }
                let (token, _) = model.token(at, 0);
                let made = manager.impersonate(&token, owner(count)).await.unwrap().unwrap();
                let left = model.sessions[at].ends - now;
                let started = model.made(made, IMPERSONATION.min(left));
                model.sessions[started].by = Some(at);
                if let Some(before) = model.sessions[at].started.replace(started) {
                    model.sessions[before].ended = true;
                }
                // One browser, with one key.
                let own = &model.sessions[at];
                let (key, known) = (own.key, own.known.clone());
                let mut bound = own.bound.clone();
                let cookies = own.cookies.clone();
                if let Some(bound) = &mut bound {
                    // Its own, which was not sent yet.
                    (bound.challenge, bound.challenged) = (None, now);
                }
                let session = &mut model.sessions[started];
                (session.key, session.known, session.bound) = (key, known, bound);
                session.cookies = cookies;
            }
            Act::EndImpersonation(at) => {
                let Some(at) = of(at).filter(|at| model.lives(*at)) else { continue };
                let Some(own) = model.sessions[at].by else { continue };
                let (token, _) = model.token(at, 0);
                let to = rotated(manager.end_impersonation(&token).await.unwrap());
                model.rotated(own, to);
                model.sessions[own].started = None;
                model.sessions[at].ended = true;
                let known = model.sessions[at].known.clone();
                if model.sessions[own].bound.is_some() {
                    model.sessions[own].known = known;
                }
            }
            Act::Logout(at) => {
                let Some(at) = of(at) else { continue };
                let (token, status) = model.token(at, 0);
                let ended = manager.logout(&token).await.unwrap();
                prop_assert_eq!(ended, status == Status::Accepted);
                if ended {
                    model.sign_out(at);
                }
            }
            Act::Revoke(at) => {
                let Some(at) = of(at) else { continue };
                manager.revoke(model.token(at, 0).0.id()).await.unwrap();
                if model.is_stored(at) {
                    model.end(at);
                }
            }
        }
        model.check(&world.managers).await?;
    }
    world.faults.reset();
    for at in 0..model.sessions.len() {
        get_in(&world, &mut model, at).await?;
    }
    model.check(&world.managers).await
}

/// Whatever happened before: the browser gets in with at most two refreshes.
async fn get_in(world: &World, model: &mut Model, at: usize) -> TestCaseResult {
    let is_owners =
        |session: &Expected| session.bound.as_ref().is_some_and(|bound| bound.key == session.key);
    if !model.lives(at) || !is_owners(&model.sessions[at]) {
        return Ok(());
    }
    let (token, _) = model.token(at, 0);
    let now = model.now;
    for is_last in [false, true] {
        let session = &mut model.sessions[at];
        let bound = session.bound.as_mut().unwrap();
        let known = session.known.clone();
        let proof = known.as_ref().map(|known| DeviceKey::new(session.key).proof(known));
        let proof = proof.as_deref().unwrap_or_default().as_bytes();
        let manager = &world.managers[(at + usize::from(is_last)) % 2];
        let lifetime = Duration::from_secs(LIFETIME);
        match manager.prove_device(&token, bound.id.as_bytes(), proof, lifetime).await.unwrap() {
            DeviceOutcome::Bound(grant) if grant.cookie.is_some() => {
                let is_first_use = known.is_some_and(|known| model.used.insert(known));
                prop_assert!(is_first_use, "a challenge is good once");
                bound.proved = now;
                model.granted(at, Some(&grant), true);
                return Ok(());
            }
            DeviceOutcome::Bound(DeviceAnswer { challenge, .. }) => {
                prop_assert!(!is_last, "the owner is not let in again");
                if now - bound.challenged >= CHALLENGE_LIFE {
                    bound.challenged = now;
                }
                bound.challenge = Some(challenge.clone());
                session.known = Some(challenge);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_a_bound_session_matches_the_model(
        acts in prop::collection::vec(act(), 1..80),
        grace in prop::sample::select(vec![0, 30]),
        is_bytes in any::<bool>(),
    ) {
        block_on(run(acts, grace, is_bytes, None))?;
    }
}

#[test]
fn broken_rules_are_noticed() {
    for fault in [DeviceFault::ReusableChallenge, DeviceFault::NewChallengeOnRefusal] {
        let config = ProptestConfig {
            cases: 200,
            failure_persistence: None,
            max_shrink_iters: 0,
            ..ProptestConfig::default()
        };
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let mut runner = TestRunner::new_with_rng(config, rng);
        let noticed = runner.run(&prop::collection::vec(act(), 1..80), |acts| {
            block_on(run(acts, 30, false, Some(fault)))
        });
        assert!(noticed.is_err(), "{fault:?}");
    }
}
