//! Tests of the checker: for each rule, a history that breaks a promise, and similar
//! histories that do not.

use std::time::Duration;

use kvolt_histories::History;
use kvolt_histories::checker::{Kind, Loss, Report, Rules, check};
use kvolt_histories::history::{
    Answer, Call, FaultPeriod, IdNo, MayLose, Op, Outcome, OwnerNo, Reading, Seen, SessionNo,
    TokenNo, UpdateNo,
};

/// Builds a history; times are in milliseconds.
#[derive(Default)]
struct Story(History);

impl Story {
    fn op(mut self, (from, to): (u64, u64), server: u16, call: Call, outcome: Outcome) -> Self {
        let (invoked, returned) = (from * 1_000_000, to * 1_000_000);
        self.0.ops.push(Op { client: 0, server, invoked, returned, call, outcome });
        self
    }

    /// Adds an answered operation.
    fn done(self, from: u64, to: u64, call: Call, answer: Answer) -> Self {
        self.op((from, to), 0, call, Outcome::Done(answer))
    }

    /// Adds an answered operation at another server process.
    fn done_at(self, server: u16, from: u64, to: u64, call: Call, answer: Answer) -> Self {
        self.op((from, to), server, call, Outcome::Done(answer))
    }

    /// Adds a failed operation with unknown effect.
    fn failed(self, from: u64, to: u64, call: Call) -> Self {
        self.op((from, to), 0, call, Outcome::Failed(String::from("down")))
    }

    /// Session 0 of owner 0, created from 0 to 1 ms, with token 0.
    fn begin() -> Self {
        Self::default().done(0, 1, create(0), token(0))
    }

    fn failover(self, from: u64, to: u64) -> Self {
        self.fault(from, to, MayLose::Recent)
    }

    fn fault(mut self, from: u64, to: u64, may_lose: MayLose) -> Self {
        let (from, to) = (from * 1_000_000, to * 1_000_000);
        self.0.faults.push(FaultPeriod { name: String::from("fault"), from, to, may_lose });
        self
    }

    fn check(&self, rules: &Rules) -> Report {
        let mut history = self.0.clone();
        history.ops.sort_by_key(|op| op.invoked);
        check(&history, rules)
    }

    #[track_caller]
    fn breaks(&self, kind: Kind) {
        self.breaks_by(kind, &Rules::default());
    }

    #[track_caller]
    fn breaks_by(&self, kind: Kind, rules: &Rules) {
        let report = self.check(rules);
        assert!(report.kinds().contains(&kind), "{kind:?} was not detected: {report}");
        for violation in report.violations() {
            assert!(!violation.proof.is_empty(), "a violation without a proof: {violation}");
        }
    }

    #[track_caller]
    fn is_sound(&self) {
        self.is_sound_by(&Rules::default());
    }

    #[track_caller]
    fn is_sound_by(&self, rules: &Rules) {
        let report = self.check(rules);
        assert!(report.is_clean(), "{report}");
    }
}

fn create(session_no: u32) -> Call {
    Call::Create { session_no: SessionNo(session_no), owner: Some(OwnerNo(0)) }
}

fn login(old: u32, session_no: u32) -> Call {
    Call::Login { old: TokenNo(old), session_no: SessionNo(session_no), owner: Some(OwnerNo(0)) }
}

fn read(token: u32) -> Call {
    Call::Read { token: TokenNo(token), access: Reading::Slide }
}

fn strict(token: u32) -> Call {
    Call::Read { token: TokenNo(token), access: Reading::Strict }
}

fn update(token: u32, update: u32) -> Call {
    Call::Update { token: TokenNo(token), update: UpdateNo(update) }
}

fn rotate(token: u32, grace: bool) -> Call {
    Call::Rotate { token: TokenNo(token), grace }
}

fn logout(token: u32) -> Call {
    Call::Logout { token: TokenNo(token) }
}

fn end(id: u32) -> Call {
    Call::Revoke { owner: OwnerNo(0), id: IdNo(id) }
}

fn revoke_others(token: u32) -> Call {
    Call::RevokeOthers { token: TokenNo(token) }
}

const REVOKE_OWNER: Call = Call::RevokeOwner { owner: OwnerNo(0) };
const LIST: Call = Call::List { owner: OwnerNo(0) };
const ABSENT: Answer = Answer::Absent;
const ENDED: Answer = Answer::Ended(true);
const NOT_ENDED: Answer = Answer::Ended(false);

/// The first token of a new session, whose id has the same number.
fn token(token: u32) -> Answer {
    Answer::Token { token: TokenNo(token), id: IdNo(token) }
}

/// Another token of session 0.
fn next(token: u32) -> Answer {
    Answer::Token { token: TokenNo(token), id: IdNo(0) }
}

fn session(session_no: u32, id: u32, updates: &[u32]) -> Seen {
    Seen {
        id: IdNo(id),
        session_no: SessionNo(session_no),
        owner: Some(OwnerNo(0)),
        updates: updates.iter().copied().map(UpdateNo).collect(),
    }
}

fn seen(session_no: u32, id: u32, updates: &[u32]) -> Answer {
    Answer::Seen(session(session_no, id, updates))
}

fn listed(all: &[(u32, u32)]) -> Answer {
    Answer::Listed(all.iter().map(|&(session_no, id)| session(session_no, id, &[])).collect())
}

fn near(bound: u64) -> Rules {
    Rules { bound: Some(Duration::from_millis(bound)), ..Rules::default() }
}

fn lossy() -> Rules {
    Rules { lossy: true, ..Rules::default() }
}

#[test]
fn ended_session_read_later_is_detected() {
    let ends = [
        (logout(0), ENDED),
        (end(0), ENDED),
        (REVOKE_OWNER, Answer::EndedMany(1)),
        (login(0, 9), token(9)),
    ];
    for (ending, answer) in ends {
        let ended = || Story::begin().done(10, 11, ending.clone(), answer.clone());
        ended().done(12, 13, read(0), seen(0, 0, &[])).breaks(Kind::Resurrection);
        ended().done(12, 13, update(0, 1), seen(0, 0, &[1])).breaks(Kind::Resurrection);
        ended().done(12, 13, rotate(0, false), next(1)).breaks(Kind::Resurrection);
        ended().done(12, 13, logout(0), ENDED).breaks(Kind::Resurrection);
        ended().done(12, 13, LIST, listed(&[(0, 0)])).breaks(Kind::Resurrection);
        // A concurrent read may still find it.
        ended().done(10, 13, read(0), seen(0, 0, &[])).is_sound();
        ended().done(12, 13, read(0), ABSENT).is_sound();
    }
}

#[test]
fn session_with_unknown_end_may_exist() {
    for ending in [logout(0), end(0), REVOKE_OWNER, login(0, 9)] {
        let ended = || Story::begin().failed(10, 11, ending.clone());
        ended().done(12, 13, read(0), seen(0, 0, &[])).is_sound();
        ended().done(12, 13, read(0), ABSENT).is_sound();
        // A paused server may perform the call much later.
        ended().done(12, 13, read(0), seen(0, 0, &[])).done(900, 901, read(0), ABSENT).is_sound();
        // But an absence can't be followed by a presence.
        let back = ended().done(12, 13, read(0), ABSENT).done(14, 15, read(0), seen(0, 0, &[]));
        back.breaks(Kind::Resurrection);
        let back = ended().done(12, 13, LIST, listed(&[])).done(14, 15, read(0), seen(0, 0, &[]));
        back.breaks(Kind::Resurrection);
    }
}

#[test]
fn token_without_grace_is_rejected_at_once() {
    let rotated = || Story::begin().done(10, 11, rotate(0, false), next(1));
    rotated().done(12, 13, read(0), seen(0, 0, &[])).breaks(Kind::Resurrection);
    rotated().done(12, 13, read(0), ABSENT).done(14, 15, read(1), seen(0, 0, &[])).is_sound();
    rotated().done(12, 13, read(1), ABSENT).breaks(Kind::FalseAbsence);
    rotated().done(10, 12, read(0), seen(0, 0, &[])).is_sound();
}

#[test]
fn previous_token_works_only_in_its_grace() {
    let rotated = || Story::begin().done(10, 11, rotate(0, true), next(1));
    rotated().done(100, 101, read(0), seen(0, 0, &[])).is_sound();
    rotated().done(100, 101, read(0), ABSENT).breaks(Kind::FalseAbsence);
    rotated().done(600, 601, read(0), ABSENT).is_sound();
    rotated().done(600, 601, read(0), seen(0, 0, &[])).breaks(Kind::Resurrection);
    // A process that was disconnected may be ahead of the store's time.
    let hurt = || Story::begin().fault(5, 150, MayLose::Nothing);
    let hurt = hurt().done(10, 11, rotate(0, true), next(1)).done(100, 101, read(0), ABSENT);
    hurt.is_sound();
    // Nor once its successor is replaced or ended.
    let again = || rotated().done(20, 21, rotate(1, false), next(2));
    again().done(30, 31, read(0), ABSENT).is_sound();
    again().done(30, 31, read(0), seen(0, 0, &[])).breaks(Kind::Resurrection);
    let ended = rotated().done(20, 21, logout(1), ENDED).done(30, 31, read(0), seen(0, 0, &[]));
    ended.breaks(Kind::Resurrection);
}

#[test]
fn token_has_one_successor() {
    let twice = Story::begin().done(10, 20, rotate(0, true), next(1)).done(
        11,
        21,
        rotate(0, true),
        next(2),
    );
    twice.breaks(Kind::SecondSuccessor);
    let told = Story::begin().done(10, 11, rotate(0, true), next(1)).done(
        12,
        13,
        rotate(0, true),
        Answer::AlreadyRotated,
    );
    told.is_sound();
}

#[test]
fn login_ends_the_old_session_atomically() {
    let two_steps = Rules { login_takes_two_steps: true, ..Rules::default() };
    // The answer is unknown, but the new session was visible.
    let both = || {
        let seen_early = Story::begin().failed(10, 40, login(0, 9));
        let seen_early = seen_early.done(12, 13, LIST, listed(&[(0, 0), (9, 9)]));
        seen_early.done(14, 15, read(0), seen(0, 0, &[]))
    };
    both().breaks(Kind::Resurrection);
    both().is_sound_by(&two_steps);
    let one = Story::begin().failed(10, 40, login(0, 9)).done(12, 13, LIST, listed(&[(9, 9)]));
    one.done(14, 15, read(0), ABSENT).is_sound();
    // A login with a replaced token ends nothing.
    let replaced = Story::begin()
        .done(2, 3, rotate(0, false), next(1))
        .failed(10, 40, login(0, 9))
        .done(12, 13, LIST, listed(&[(0, 0), (9, 9)]))
        .done(14, 15, read(1), seen(0, 0, &[]));
    replaced.is_sound();
    // In two steps, the new session may be rolled back and created again.
    let taken_back = || {
        let shown = Story::begin().failed(10, 40, login(0, 9));
        let shown = shown.done(12, 13, LIST, listed(&[(0, 0), (9, 9)]));
        shown.done(14, 15, end(9), NOT_ENDED).done(16, 17, LIST, listed(&[(0, 0)]))
    };
    taken_back().breaks(Kind::FalseAbsence);
    taken_back().is_sound_by(&two_steps);
    taken_back().done(18, 19, LIST, listed(&[(0, 0), (9, 8)])).is_sound_by(&two_steps);
    let acknowledged = || {
        let shown = Story::begin().done(10, 40, login(0, 9), token(9));
        let shown = shown.done(12, 13, LIST, listed(&[(0, 0), (9, 8)]));
        shown.done(16, 17, LIST, listed(&[(0, 0)]))
    };
    acknowledged().is_sound_by(&two_steps);
    let lost = acknowledged().done(50, 51, read(9), ABSENT);
    lost.breaks_by(Kind::FalseAbsence, &two_steps);
    let left = acknowledged().done(50, 51, read(0), seen(0, 0, &[]));
    left.breaks_by(Kind::Resurrection, &two_steps);
}

#[test]
fn revoke_owner_ends_every_earlier_session() {
    let two = || Story::begin().done(0, 2, create(1), token(1));
    let all = || two().done(10, 20, REVOKE_OWNER, Answer::EndedMany(2));
    all().done(21, 22, LIST, listed(&[])).is_sound();
    all().done(21, 22, read(1), seen(1, 1, &[])).breaks(Kind::Resurrection);
    all().done(21, 22, LIST, listed(&[(1, 1)])).breaks(Kind::Resurrection);
    two().done(10, 20, REVOKE_OWNER, Answer::EndedMany(1)).breaks(Kind::WrongCount);
    two().done(10, 20, REVOKE_OWNER, Answer::EndedMany(3)).breaks(Kind::WrongCount);
    // Created concurrently: live or ended.
    let concurrent_ops = || all().done(9, 12, create(2), token(2));
    concurrent_ops().done(21, 22, read(2), seen(2, 2, &[])).is_sound();
    let counted =
        two().done(9, 12, create(2), token(2)).done(10, 20, REVOKE_OWNER, Answer::EndedMany(3));
    counted.done(21, 22, read(2), ABSENT).is_sound();
    // Created later: live.
    all()
        .done(21, 22, create(3), token(3))
        .done(23, 24, read(3), ABSENT)
        .breaks(Kind::FalseAbsence);
}

#[test]
fn revoke_others_keeps_one_session() {
    let two = || Story::begin().done(0, 2, create(1), token(1));
    let others = || two().done(10, 20, revoke_others(0), Answer::EndedMany(1));
    others().done(21, 22, read(0), seen(0, 0, &[])).done(21, 22, read(1), ABSENT).is_sound();
    others().done(21, 22, read(0), ABSENT).breaks(Kind::FalseAbsence);
    others().done(21, 22, read(1), seen(1, 1, &[])).breaks(Kind::Resurrection);
    two().done(10, 20, revoke_others(0), Answer::EndedMany(0)).breaks(Kind::WrongCount);
    two().done(10, 20, revoke_others(0), Answer::EndedMany(2)).breaks(Kind::WrongCount);
    // Its token may have been rejected because of a concurrent rotation; the session stays
    // live in either case.
    for ended in [0, 1] {
        let rotated = || {
            two().done(9, 15, rotate(0, false), next(5)).done(
                10,
                20,
                revoke_others(0),
                Answer::EndedMany(ended),
            )
        };
        rotated().done(21, 22, read(5), seen(0, 0, &[])).is_sound();
        rotated().done(21, 22, read(5), ABSENT).breaks(Kind::FalseAbsence);
    }
}

#[test]
fn live_session_is_never_absent() {
    Story::begin().done(10, 11, read(0), ABSENT).breaks(Kind::FalseAbsence);
    Story::begin().done(10, 11, update(0, 1), ABSENT).breaks(Kind::FalseAbsence);
    Story::begin().done(10, 11, rotate(0, true), ABSENT).breaks(Kind::FalseAbsence);
    Story::begin().done(10, 11, logout(0), NOT_ENDED).breaks(Kind::FalseAbsence);
    Story::begin().done(10, 11, end(0), NOT_ENDED).breaks(Kind::FalseAbsence);
    Story::begin().done(10, 11, LIST, listed(&[])).breaks(Kind::FalseAbsence);
    // A failure proves nothing, nor does a concurrent list.
    Story::begin().failed(10, 11, read(0)).is_sound();
    Story::begin().done(0, 2, LIST, listed(&[])).is_sound();
    // A session with an unknown creation may appear late, but must then stay.
    let unknown = || Story::default().failed(0, 1, create(0)).done(10, 11, LIST, listed(&[]));
    unknown().done(20, 21, LIST, listed(&[(0, 0)])).is_sound();
    let gone = unknown().done(20, 21, LIST, listed(&[(0, 0)])).done(30, 31, LIST, listed(&[]));
    gone.breaks(Kind::FalseAbsence);
}

#[test]
fn acknowledged_update_is_in_later_reads() {
    let updated = || Story::begin().done(10, 11, update(0, 1), seen(0, 0, &[1]));
    updated().done(12, 13, read(0), seen(0, 0, &[1])).is_sound();
    updated().done(12, 13, read(0), seen(0, 0, &[])).breaks(Kind::LostUpdate);
    updated().done(12, 13, update(0, 2), seen(0, 0, &[2])).breaks(Kind::LostUpdate);
    updated().done(10, 13, read(0), seen(0, 0, &[])).is_sound();
    // An unknown update may appear at any time, but must then stay.
    let unknown = || Story::begin().failed(10, 11, update(0, 1));
    let late =
        || unknown().done(12, 13, read(0), seen(0, 0, &[])).done(90, 91, read(0), seen(0, 0, &[1]));
    late().is_sound();
    late().done(92, 93, read(0), seen(0, 0, &[])).breaks(Kind::LostUpdate);
    // Once a completed read returned it, all later reads must return it.
    let other = Story::begin().done(10, 50, update(0, 1), seen(0, 0, &[1])).done(
        12,
        13,
        read(0),
        seen(0, 0, &[1]),
    );
    other.done(14, 15, read(0), seen(0, 0, &[])).breaks(Kind::LostUpdate);
}

#[test]
fn ledgers_are_prefixes_of_each_other() {
    let apart = Story::begin().done(10, 20, update(0, 1), seen(0, 0, &[1])).done(
        10,
        20,
        update(0, 2),
        seen(0, 0, &[2]),
    );
    apart.breaks(Kind::LostUpdate);
    let together = Story::begin().done(10, 20, update(0, 1), seen(0, 0, &[1])).done(
        10,
        20,
        update(0, 2),
        seen(0, 0, &[1, 2]),
    );
    together.is_sound();
}

#[test]
fn update_takes_effect_once_in_order() {
    let twice = Story::begin().done(10, 11, update(0, 1), seen(0, 0, &[1, 1]));
    twice.breaks(Kind::DoubleUpdate);
    let reversed = Story::begin()
        .failed(10, 11, update(0, 3))
        .done(12, 13, update(0, 1), seen(0, 0, &[1]))
        .done(20, 21, update(0, 2), seen(0, 0, &[2, 1, 2]));
    reversed.breaks(Kind::UpdateOrder);
    let refused = Story::begin()
        .done(9, 10, rotate(0, false), next(1))
        .done(11, 12, update(0, 1), ABSENT)
        .done(20, 21, read(1), seen(0, 0, &[1]));
    refused.breaks(Kind::StrangeUpdate);
    let foreign = Story::begin().done(0, 1, create(1), token(1)).failed(10, 11, update(1, 1)).done(
        20,
        21,
        read(0),
        seen(0, 0, &[1]),
    );
    foreign.breaks(Kind::StrangeUpdate);
    let early = Story::begin().done(5, 6, read(0), seen(0, 0, &[1])).failed(10, 11, update(0, 1));
    early.breaks(Kind::StrangeUpdate);
    let own = Story::begin().done(10, 11, update(0, 1), seen(0, 0, &[]));
    own.breaks(Kind::LostUpdate);
}

#[test]
fn token_leads_to_one_session() {
    let two = || Story::begin().done(0, 1, create(1), token(1));
    two().done(10, 11, read(0), seen(1, 1, &[])).breaks(Kind::WrongSession);
    two().done(10, 11, read(0), seen(7, 0, &[])).breaks(Kind::WrongSession);
    // An id belongs to one session and survives a rotation.
    two().done(10, 11, read(0), seen(0, 1, &[])).breaks(Kind::WrongSession);
    two().done(10, 11, rotate(0, false), token(5)).breaks(Kind::WrongSession);
    let mut anothers = session(0, 0, &[]);
    anothers.owner = Some(OwnerNo(4));
    two().done(10, 11, read(0), Answer::Seen(anothers)).breaks(Kind::WrongSession);
    let list = Call::List { owner: OwnerNo(5) };
    two().done(10, 11, list, listed(&[(0, 0)])).breaks(Kind::WrongSession);
    two().done(10, 11, LIST, listed(&[(0, 0), (1, 1), (0, 0)])).breaks(Kind::ListedTwice);
    // If a creation fails, its token is unknown, but a list may contain its id.
    let unknown = Story::default().failed(0, 1, create(0)).done(10, 11, LIST, listed(&[(0, 3)]));
    unknown.done(20, 21, end(3), ENDED).done(30, 31, LIST, listed(&[])).is_sound();
}

#[test]
fn session_is_ended_by_one_removal() {
    let twice = Story::begin().done(10, 20, logout(0), ENDED).done(10, 20, logout(0), ENDED);
    twice.breaks(Kind::EndedTwice);
    let once = Story::begin().done(10, 20, logout(0), ENDED).done(10, 20, logout(0), NOT_ENDED);
    once.is_sound();
}

#[test]
fn near_cache_lags_at_most_its_bound() {
    let ended = || Story::begin().done_at(1, 10, 11, logout(0), ENDED);
    ended().done(50, 51, read(0), seen(0, 0, &[])).is_sound_by(&near(100));
    ended().done(150, 151, read(0), seen(0, 0, &[])).breaks_by(Kind::Resurrection, &near(100));
    // Not on the server that ended it, not for strict reads, and not for changes.
    let here = Story::begin().done(10, 11, logout(0), ENDED).done(50, 51, read(0), seen(0, 0, &[]));
    here.breaks_by(Kind::Resurrection, &near(100));
    ended().done(50, 51, strict(0), seen(0, 0, &[])).breaks_by(Kind::Resurrection, &near(100));
    ended().done(50, 51, update(0, 1), seen(0, 0, &[1])).breaks_by(Kind::Resurrection, &near(100));
    ended().done(50, 51, LIST, listed(&[(0, 0)])).breaks_by(Kind::Resurrection, &near(100));
    let updated = || Story::begin().done_at(1, 10, 11, update(0, 1), seen(0, 0, &[1]));
    updated().done(50, 51, read(0), seen(0, 0, &[])).is_sound_by(&near(100));
    updated().done(150, 151, read(0), seen(0, 0, &[])).breaks_by(Kind::LostUpdate, &near(100));
    updated().done_at(1, 50, 51, read(0), seen(0, 0, &[])).breaks_by(Kind::LostUpdate, &near(100));
    // Near caches do not store absences.
    Story::begin().done(50, 51, read(0), ABSENT).breaks_by(Kind::FalseAbsence, &near(100));
}

#[test]
fn failover_losses_are_counted_separately() {
    let created = Story::begin().failover(100, 2_000).done(3_000, 3_001, read(0), ABSENT);
    created.is_sound_by(&lossy());
    assert_eq!(created.check(&lossy()).lost(Loss::Creates), 1);
    created.breaks(Kind::FalseAbsence);
    let ended = Story::begin().done(10, 11, logout(0), ENDED).failover(100, 2_000).done(
        3_000,
        3_001,
        read(0),
        seen(0, 0, &[]),
    );
    assert_eq!(ended.check(&lossy()).lost(Loss::Removals), 1);
    let updated = Story::begin()
        .done(10, 11, update(0, 1), seen(0, 0, &[1]))
        .failover(100, 2_000)
        .done(3_000, 3_001, read(0), seen(0, 0, &[]));
    assert_eq!(updated.check(&lossy()).lost(Loss::Updates), 1);
    // Only recent changes may be lost in a failover, and a duplicate update is not a loss.
    let long = Story::begin().failover(60_000, 61_000).done(62_000, 62_001, read(0), ABSENT);
    long.breaks_by(Kind::FalseAbsence, &lossy());
    let twice = Story::begin().failover(5, 50).done(60, 61, update(0, 1), seen(0, 0, &[1, 1]));
    twice.breaks_by(Kind::DoubleUpdate, &lossy());
    // Without a failover nothing may be lost.
    Story::begin().done(10, 11, read(0), ABSENT).breaks_by(Kind::FalseAbsence, &lossy());
}

#[test]
fn unwritten_visible_changes_are_counted_separately() {
    let crash = |story: Story| story.fault(20, 40, MayLose::Unacknowledged);
    let rules = Rules::default();
    // A creation, an update and an end that were visible, and that failed in the crash.
    let created = || {
        let created = Story::default().failed(10, 21, create(0));
        created.done(15, 16, LIST, listed(&[(0, 0)])).done(50, 51, LIST, listed(&[]))
    };
    created().breaks(Kind::FalseAbsence);
    assert_eq!(crash(created()).check(&rules).lost(Loss::Unacknowledged), 1);
    let updated = || {
        let updated = Story::begin().failed(10, 21, update(0, 1));
        updated.done(15, 16, read(0), seen(0, 0, &[1])).done(50, 51, update(0, 2), seen(0, 0, &[2]))
    };
    updated().breaks(Kind::LostUpdate);
    crash(updated()).is_sound();
    let ended = || {
        let ended = Story::begin().failed(10, 21, logout(0));
        ended.done(15, 16, read(0), ABSENT).done(50, 51, read(0), seen(0, 0, &[]))
    };
    ended().breaks(Kind::Resurrection);
    crash(ended()).is_sound();
    // Acknowledged changes, and changes visible long before, must stay.
    let told = Story::begin().done(10, 11, update(0, 1), seen(0, 0, &[1]));
    crash(told.done(50, 51, read(0), seen(0, 0, &[]))).breaks(Kind::LostUpdate);
    crash(Story::begin().done(50, 51, read(0), ABSENT)).breaks(Kind::FalseAbsence);
    let early = Story::begin()
        .failed(10, 21, update(0, 1))
        .done(15, 16, read(0), seen(0, 0, &[1]))
        .fault(2_000, 2_100, MayLose::Unacknowledged)
        .done(3_000, 3_001, read(0), seen(0, 0, &[]));
    early.breaks(Kind::LostUpdate);
}
