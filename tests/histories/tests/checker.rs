//! The checker, tested: a history that breaks a promise for each rule, and sound ones that come close.

use std::time::Duration;

use kvolt_histories::History;
use kvolt_histories::checker::{Kind, Loss, Report, Rules, check};
use kvolt_histories::history::{
    Answer, Birth, Call, Fault, IdNo, MayLose, Op, Outcome, OwnerNo, Reading, Seen, TokenNo,
    UpdateNo,
};

/// A history, by milliseconds.
#[derive(Default)]
struct Story(History);

impl Story {
    fn op(mut self, (from, to): (u64, u64), server: u16, call: Call, outcome: Outcome) -> Self {
        let (invoked, returned) = (from * 1_000_000, to * 1_000_000);
        self.0.ops.push(Op { client: 0, server, invoked, returned, call, outcome });
        self
    }

    /// An operation that was answered.
    fn done(self, from: u64, to: u64, call: Call, answer: Answer) -> Self {
        self.op((from, to), 0, call, Outcome::Done(answer))
    }

    /// An operation at another server process.
    fn done_at(self, server: u16, from: u64, to: u64, call: Call, answer: Answer) -> Self {
        self.op((from, to), server, call, Outcome::Done(answer))
    }

    /// An operation that failed, and may have taken effect.
    fn failed(self, from: u64, to: u64, call: Call) -> Self {
        self.op((from, to), 0, call, Outcome::Failed(String::from("down")))
    }

    /// Session 0 of owner 0, made from 0 to 1 ms, with token 0.
    fn begin() -> Self {
        Self::default().done(0, 1, create(0), token(0))
    }

    fn failover(self, from: u64, to: u64) -> Self {
        self.fault(from, to, MayLose::Recent)
    }

    fn fault(mut self, from: u64, to: u64, may_lose: MayLose) -> Self {
        let (from, to) = (from * 1_000_000, to * 1_000_000);
        self.0.faults.push(Fault { what: String::from("fault"), from, to, may_lose });
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
        assert!(report.kinds().contains(&kind), "{kind:?} was not found: {report}");
        for violation in report.violations() {
            assert!(!violation.proof.is_empty(), "without a proof: {violation}");
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

fn create(birth: u32) -> Call {
    Call::Create { birth: Birth(birth), owner: Some(OwnerNo(0)) }
}

fn login(old: u32, birth: u32) -> Call {
    Call::Login { old: TokenNo(old), birth: Birth(birth), owner: Some(OwnerNo(0)) }
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
    Call::Destroy { token: TokenNo(token) }
}

fn end(id: u32) -> Call {
    Call::End { owner: OwnerNo(0), id: IdNo(id) }
}

fn revoke_others(token: u32) -> Call {
    Call::EndOthers { token: TokenNo(token) }
}

const END_ALL: Call = Call::EndAll { owner: OwnerNo(0) };
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

fn session(birth: u32, id: u32, updates: &[u32]) -> Seen {
    Seen {
        id: IdNo(id),
        birth: Birth(birth),
        owner: Some(OwnerNo(0)),
        updates: updates.iter().copied().map(UpdateNo).collect(),
    }
}

fn seen(birth: u32, id: u32, updates: &[u32]) -> Answer {
    Answer::Seen(session(birth, id, updates))
}

fn listed(all: &[(u32, u32)]) -> Answer {
    Answer::Listed(all.iter().map(|&(birth, id)| session(birth, id, &[])).collect())
}

fn near(bound: u64) -> Rules {
    Rules { bound: Some(Duration::from_millis(bound)), ..Rules::default() }
}

fn lossy() -> Rules {
    Rules { lossy: true, ..Rules::default() }
}

#[test]
fn a_session_that_is_read_after_it_was_ended_is_found() {
    let ends = [
        (logout(0), ENDED),
        (end(0), ENDED),
        (END_ALL, Answer::EndedMany(1)),
        (login(0, 9), token(9)),
    ];
    for (ending, answer) in ends {
        let ended = || Story::begin().done(10, 11, ending.clone(), answer.clone());
        ended().done(12, 13, read(0), seen(0, 0, &[])).breaks(Kind::Resurrection);
        ended().done(12, 13, update(0, 1), seen(0, 0, &[1])).breaks(Kind::Resurrection);
        ended().done(12, 13, rotate(0, false), next(1)).breaks(Kind::Resurrection);
        ended().done(12, 13, logout(0), ENDED).breaks(Kind::Resurrection);
        ended().done(12, 13, LIST, listed(&[(0, 0)])).breaks(Kind::Resurrection);
        // A read that began before may still see it.
        ended().done(10, 13, read(0), seen(0, 0, &[])).is_sound();
        ended().done(12, 13, read(0), ABSENT).is_sound();
    }
}

#[test]
fn a_session_whose_end_is_not_known_may_be_there_or_not() {
    for ending in [logout(0), end(0), END_ALL, login(0, 9)] {
        let ended = || Story::begin().failed(10, 11, ending.clone());
        ended().done(12, 13, read(0), seen(0, 0, &[])).is_sound();
        ended().done(12, 13, read(0), ABSENT).is_sound();
        // A server that was paused does it long after.
        ended().done(12, 13, read(0), seen(0, 0, &[])).done(900, 901, read(0), ABSENT).is_sound();
        // But not back and forth.
        let back = ended().done(12, 13, read(0), ABSENT).done(14, 15, read(0), seen(0, 0, &[]));
        back.breaks(Kind::Resurrection);
        let back = ended().done(12, 13, LIST, listed(&[])).done(14, 15, read(0), seen(0, 0, &[]));
        back.breaks(Kind::Resurrection);
    }
}

#[test]
fn a_token_that_was_replaced_without_grace_is_refused_at_once() {
    let rotated = || Story::begin().done(10, 11, rotate(0, false), next(1));
    rotated().done(12, 13, read(0), seen(0, 0, &[])).breaks(Kind::Resurrection);
    rotated().done(12, 13, read(0), ABSENT).done(14, 15, read(1), seen(0, 0, &[])).is_sound();
    rotated().done(12, 13, read(1), ABSENT).breaks(Kind::FalseAbsence);
    rotated().done(10, 12, read(0), seen(0, 0, &[])).is_sound();
}

#[test]
fn a_token_leads_on_within_its_grace_and_not_after_it() {
    let rotated = || Story::begin().done(10, 11, rotate(0, true), next(1));
    rotated().done(100, 101, read(0), seen(0, 0, &[])).is_sound();
    rotated().done(100, 101, read(0), ABSENT).breaks(Kind::FalseAbsence);
    rotated().done(600, 601, read(0), ABSENT).is_sound();
    rotated().done(600, 601, read(0), seen(0, 0, &[])).breaks(Kind::Resurrection);
    // A process that was cut off may take the time for later than it is.
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
fn a_token_has_one_successor() {
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
fn a_login_ends_what_it_replaces_in_the_same_step() {
    let two_steps = Rules { login_takes_two_steps: true, ..Rules::default() };
    // Its answer is not known, but what it made was seen.
    let both = || {
        let seen_early = Story::begin().failed(10, 40, login(0, 9));
        let seen_early = seen_early.done(12, 13, LIST, listed(&[(0, 0), (9, 9)]));
        seen_early.done(14, 15, read(0), seen(0, 0, &[]))
    };
    both().breaks(Kind::Resurrection);
    both().is_sound_by(&two_steps);
    let one = Story::begin().failed(10, 40, login(0, 9)).done(12, 13, LIST, listed(&[(9, 9)]));
    one.done(14, 15, read(0), ABSENT).is_sound();
    // A token that was replaced has nothing to log in over.
    let replaced = Story::begin()
        .done(2, 3, rotate(0, false), next(1))
        .failed(10, 40, login(0, 9))
        .done(12, 13, LIST, listed(&[(0, 0), (9, 9)]))
        .done(14, 15, read(1), seen(0, 0, &[]));
    replaced.is_sound();
    // In two steps, what was made may be taken back, and made again.
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
fn everyone_who_was_in_is_out_after_all_were_ended() {
    let two = || Story::begin().done(0, 2, create(1), token(1));
    let all = || two().done(10, 20, END_ALL, Answer::EndedMany(2));
    all().done(21, 22, LIST, listed(&[])).is_sound();
    all().done(21, 22, read(1), seen(1, 1, &[])).breaks(Kind::Resurrection);
    all().done(21, 22, LIST, listed(&[(1, 1)])).breaks(Kind::Resurrection);
    two().done(10, 20, END_ALL, Answer::EndedMany(1)).breaks(Kind::WrongCount);
    two().done(10, 20, END_ALL, Answer::EndedMany(3)).breaks(Kind::WrongCount);
    // Made beside it: in or out.
    let beside = || all().done(9, 12, create(2), token(2));
    beside().done(21, 22, read(2), seen(2, 2, &[])).is_sound();
    let counted =
        two().done(9, 12, create(2), token(2)).done(10, 20, END_ALL, Answer::EndedMany(3));
    counted.done(21, 22, read(2), ABSENT).is_sound();
    // Made after it: in.
    all()
        .done(21, 22, create(3), token(3))
        .done(23, 24, read(3), ABSENT)
        .breaks(Kind::FalseAbsence);
}

#[test]
fn the_others_are_out_and_the_one_stays() {
    let two = || Story::begin().done(0, 2, create(1), token(1));
    let others = || two().done(10, 20, revoke_others(0), Answer::EndedMany(1));
    others().done(21, 22, read(0), seen(0, 0, &[])).done(21, 22, read(1), ABSENT).is_sound();
    others().done(21, 22, read(0), ABSENT).breaks(Kind::FalseAbsence);
    others().done(21, 22, read(1), seen(1, 1, &[])).breaks(Kind::Resurrection);
    two().done(10, 20, revoke_others(0), Answer::EndedMany(0)).breaks(Kind::WrongCount);
    two().done(10, 20, revoke_others(0), Answer::EndedMany(2)).breaks(Kind::WrongCount);
    // Rotated in between, its token may have been refused; the session stays in either case.
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
fn a_session_that_nobody_ended_is_there() {
    Story::begin().done(10, 11, read(0), ABSENT).breaks(Kind::FalseAbsence);
    Story::begin().done(10, 11, update(0, 1), ABSENT).breaks(Kind::FalseAbsence);
    Story::begin().done(10, 11, rotate(0, true), ABSENT).breaks(Kind::FalseAbsence);
    Story::begin().done(10, 11, logout(0), NOT_ENDED).breaks(Kind::FalseAbsence);
    Story::begin().done(10, 11, end(0), NOT_ENDED).breaks(Kind::FalseAbsence);
    Story::begin().done(10, 11, LIST, listed(&[])).breaks(Kind::FalseAbsence);
    // A failure says nothing; nor does a list that began before.
    Story::begin().failed(10, 11, read(0)).is_sound();
    Story::begin().done(0, 2, LIST, listed(&[])).is_sound();
    // One whose making is not known may come late, and not go again.
    let unknown = || Story::default().failed(0, 1, create(0)).done(10, 11, LIST, listed(&[]));
    unknown().done(20, 21, LIST, listed(&[(0, 0)])).is_sound();
    let gone = unknown().done(20, 21, LIST, listed(&[(0, 0)])).done(30, 31, LIST, listed(&[]));
    gone.breaks(Kind::FalseAbsence);
}

#[test]
fn an_acknowledged_update_shows_in_every_later_read() {
    let updated = || Story::begin().done(10, 11, update(0, 1), seen(0, 0, &[1]));
    updated().done(12, 13, read(0), seen(0, 0, &[1])).is_sound();
    updated().done(12, 13, read(0), seen(0, 0, &[])).breaks(Kind::LostUpdate);
    updated().done(12, 13, update(0, 2), seen(0, 0, &[2])).breaks(Kind::LostUpdate);
    updated().done(10, 13, read(0), seen(0, 0, &[])).is_sound();
    // One that is not known may show at any time, and then stays.
    let unknown = || Story::begin().failed(10, 11, update(0, 1));
    let late =
        || unknown().done(12, 13, read(0), seen(0, 0, &[])).done(90, 91, read(0), seen(0, 0, &[1]));
    late().is_sound();
    late().done(92, 93, read(0), seen(0, 0, &[])).breaks(Kind::LostUpdate);
    // A session that a completed read has shown exists for all later reads.
    let other = Story::begin().done(10, 50, update(0, 1), seen(0, 0, &[1])).done(
        12,
        13,
        read(0),
        seen(0, 0, &[1]),
    );
    other.done(14, 15, read(0), seen(0, 0, &[])).breaks(Kind::LostUpdate);
}

#[test]
fn of_two_ledgers_of_a_session_one_begins_the_other() {
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
fn an_update_takes_effect_once_in_order_and_where_it_was_made() {
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
fn a_token_leads_to_no_other_session() {
    let two = || Story::begin().done(0, 1, create(1), token(1));
    two().done(10, 11, read(0), seen(1, 1, &[])).breaks(Kind::WrongSession);
    two().done(10, 11, read(0), seen(7, 0, &[])).breaks(Kind::WrongSession);
    // An id is one session's, and stays when the token changes.
    two().done(10, 11, read(0), seen(0, 1, &[])).breaks(Kind::WrongSession);
    two().done(10, 11, rotate(0, false), token(5)).breaks(Kind::WrongSession);
    let mut anothers = session(0, 0, &[]);
    anothers.owner = Some(OwnerNo(4));
    two().done(10, 11, read(0), Answer::Seen(anothers)).breaks(Kind::WrongSession);
    let list = Call::List { owner: OwnerNo(5) };
    two().done(10, 11, list, listed(&[(0, 0)])).breaks(Kind::WrongSession);
    two().done(10, 11, LIST, listed(&[(0, 0), (1, 1), (0, 0)])).breaks(Kind::ListedTwice);
    // The token of a session whose creation failed is unknown, but the list may have it.
    let unknown = Story::default().failed(0, 1, create(0)).done(10, 11, LIST, listed(&[(0, 3)]));
    unknown.done(20, 21, end(3), ENDED).done(30, 31, LIST, listed(&[])).is_sound();
}

#[test]
fn one_removal_ends_a_session() {
    let twice = Story::begin().done(10, 20, logout(0), ENDED).done(10, 20, logout(0), ENDED);
    twice.breaks(Kind::EndedTwice);
    let once = Story::begin().done(10, 20, logout(0), ENDED).done(10, 20, logout(0), NOT_ENDED);
    once.is_sound();
}

#[test]
fn a_copy_may_be_behind_by_the_bound_and_no_more() {
    let ended = || Story::begin().done_at(1, 10, 11, logout(0), ENDED);
    ended().done(50, 51, read(0), seen(0, 0, &[])).is_sound_by(&near(100));
    ended().done(150, 151, read(0), seen(0, 0, &[])).breaks_by(Kind::Resurrection, &near(100));
    // Not where it was ended, not strictly, and not for what changes something.
    let here = Story::begin().done(10, 11, logout(0), ENDED).done(50, 51, read(0), seen(0, 0, &[]));
    here.breaks_by(Kind::Resurrection, &near(100));
    ended().done(50, 51, strict(0), seen(0, 0, &[])).breaks_by(Kind::Resurrection, &near(100));
    ended().done(50, 51, update(0, 1), seen(0, 0, &[1])).breaks_by(Kind::Resurrection, &near(100));
    ended().done(50, 51, LIST, listed(&[(0, 0)])).breaks_by(Kind::Resurrection, &near(100));
    let updated = || Story::begin().done_at(1, 10, 11, update(0, 1), seen(0, 0, &[1]));
    updated().done(50, 51, read(0), seen(0, 0, &[])).is_sound_by(&near(100));
    updated().done(150, 151, read(0), seen(0, 0, &[])).breaks_by(Kind::LostUpdate, &near(100));
    updated().done_at(1, 50, 51, read(0), seen(0, 0, &[])).breaks_by(Kind::LostUpdate, &near(100));
    // A copy has no absence.
    Story::begin().done(50, 51, read(0), ABSENT).breaks_by(Kind::FalseAbsence, &near(100));
}

#[test]
fn what_a_failover_may_lose_is_counted_and_nothing_else() {
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
    // Long before a failover is not shortly before it, and an update that shows twice is no loss.
    let long = Story::begin().failover(60_000, 61_000).done(62_000, 62_001, read(0), ABSENT);
    long.breaks_by(Kind::FalseAbsence, &lossy());
    let twice = Story::begin().failover(5, 50).done(60, 61, update(0, 1), seen(0, 0, &[1, 1]));
    twice.breaks_by(Kind::DoubleUpdate, &lossy());
    // Without a failover nothing is lost.
    Story::begin().done(10, 11, read(0), ABSENT).breaks_by(Kind::FalseAbsence, &lossy());
}

#[test]
fn what_was_seen_before_it_was_written_is_no_loss_of_what_was_acknowledged() {
    let crash = |story: Story| story.fault(20, 40, MayLose::Unacknowledged);
    let rules = Rules::default();
    // A creation, an update and an end that others saw, and that failed in the crash.
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
    // Changes that were acknowledged, or seen long before, must stay.
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
