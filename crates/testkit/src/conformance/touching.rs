//! Starting the idle time again.

use std::time::Duration;

use kvolt_cache::{Expiry, Freshness, ReplaceOutcome, Store, Target};

use super::Fixture;
use super::law_fixture::{LIVES, LONG, LawFixture, owner};

/// A touch starts the idle time again, as often as it comes.
pub async fn a_touch_starts_the_idle_time_again<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let idle = lab.ticks(40);
    let owner = owner("owner");
    let key = lab.key("key", Some(&owner));
    lab.insert_for(Some(&owner), key, "value", Expiry::idle(idle)).await;
    for hint in [None, Some(&owner), None] {
        lab.advance(idle.saturating_sub(lab.slack(idle) + lab.ticks(10))).await;
        assert!(lab.touch_at(Target::new(&key).owner(hint)).await.is_some(), "it was used in time");
    }
    let alive = idle.saturating_sub(lab.slack(idle) + lab.ticks(1));
    lab.advance(alive).await;
    assert!(lab.get(&key).await.is_some(), "there one tick before the deadline");
    assert_eq!(lab.list(&owner).await, [key], "in its owner's list, too");
    lab.advance(idle - alive).await;
    assert!(lab.get(&key).await.is_none(), "absent at the deadline");
    assert_eq!(lab.list(&owner).await, [], "from its owner's list, too");
}

/// A touch answers with the deadlines that the next read finds.
pub async fn a_touch_answers_with_the_deadlines<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let expiries = [
        Expiry::idle(lab.ticks(100)),
        Expiry::after(lab.ticks(100)),
        Expiry::idle_within(lab.ticks(100), lab.ticks(120)),
    ];
    for (number, expiry) in expiries.into_iter().enumerate() {
        let key = lab.key(&format!("key {number}"), None);
        lab.insert(key, "value", expiry).await;
        let before = lab.deadlines(&key).await;
        lab.advance(lab.ticks(30)).await;
        let touched = lab.touch(&key).await.expect("it has not ended");
        assert_eq!(lab.deadlines(&key).await, touched, "what it answered is so");
        assert_eq!(touched.absolute(), before.absolute(), "the absolute deadline never moves");
        assert_eq!(touched.idle_timeout(), expiry.idle_timeout());
        let used = touched.last_used().zip(before.last_used());
        assert_eq!(used.is_some(), expiry.idle_timeout().is_some());
        if let Some((used, made)) = used {
            let late = used.since(made) + lab.slack(lab.ticks(100));
            assert!(late >= lab.ticks(30), "the answer has the use in it: {late:?}");
        }
    }
}

/// A touch of what is not there, was removed or has ended makes nothing.
pub async fn touch_never_creates<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let owner = owner("owner");
    let expiry = Expiry::idle(lab.ticks(10));
    let [never, removed, ended] =
        ["never", "removed", "ended"].map(|name| lab.key(name, Some(&owner)));
    lab.insert_for(Some(&owner), removed, "value", LIVES).await;
    lab.insert_for(Some(&owner), ended, "value", expiry).await;
    let _ = lab.remove(&removed).await;
    lab.advance(lab.ticks(10)).await;
    for key in [never, removed, ended] {
        for hint in [None, Some(&owner)] {
            assert_eq!(lab.touch_at(Target::new(&key).owner(hint)).await, None, "it is absent");
        }
        lab.assert_absent(&key, Some(&owner)).await;
    }
}

/// A touch never moves a deadline back, and a replacement in between changes nothing about it.
pub async fn touch_never_moves_a_deadline_back<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let idle = lab.ticks(200);
    let key = lab.key("key", None);
    lab.insert(key, "0", Expiry::idle_within(idle, LONG)).await;
    let mut before = lab.deadlines(&key).await;
    for number in 0..10 {
        let touched = lab.touch(&key).await.expect("it has not ended");
        assert!(touched.last_used() >= before.last_used(), "{touched:?} after {before:?}");
        assert_eq!(touched.absolute(), before.absolute());
        before = touched;
        match number % 3 {
            0 => lab.advance(lab.ticks(1)).await,
            1 => lab.advance(lab.ticks(20)).await,
            _ => lab.replace_now(&key, "changed", None).await,
        }
        assert_eq!(lab.deadlines(&key).await, before, "nothing else moved it");
    }
}

/// A touch names no version, and leaves the one that there is as it is.
pub async fn a_touch_has_nothing_to_do_with_the_version<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let key = lab.key("key", None);
    lab.insert(key, "first", Expiry::idle(lab.ticks(100))).await;
    let seen = lab.version(&key).await;
    lab.advance(lab.ticks(50)).await;
    assert!(lab.touch(&key).await.is_some());
    assert_eq!(lab.version(&key).await, seen, "a touch is no change");
    let replaced = lab.replace(&key, seen, "second", None).await;
    assert!(matches!(replaced, ReplaceOutcome::Replaced(_)), "{replaced:?}");
    lab.advance(lab.ticks(49)).await;
    assert!(lab.touch(&key).await.is_some(), "a change in between is no obstacle");
    lab.advance(lab.ticks(50)).await;
    assert_eq!(lab.value(&key).await.as_deref(), Some("second"), "the touch took effect");
}

/// A touch after new deadlines slides by those.
pub async fn a_touch_slides_by_the_newest_deadlines<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let [longer, shorter, fixed] = ["longer", "shorter", "fixed"].map(|name| lab.key(name, None));
    for key in [longer, shorter, fixed] {
        lab.insert(key, "value", Expiry::idle(lab.ticks(40))).await;
        lab.advance(lab.ticks(1)).await;
        lab.touch(&key).await;
    }
    lab.replace_now(&longer, "changed", Some(Expiry::idle(lab.ticks(80)))).await;
    lab.replace_now(&shorter, "changed", Some(Expiry::idle(lab.ticks(20)))).await;
    lab.replace_now(&fixed, "changed", Some(Expiry::after(lab.ticks(40)))).await;
    lab.advance(lab.ticks(10)).await;
    for (key, idle) in [(longer, Some(80)), (shorter, Some(20)), (fixed, None)] {
        let touched = lab.touch(&key).await.expect("it has not ended");
        assert_eq!(touched.idle_timeout(), idle.map(|idle| lab.ticks(idle)));
    }
    lab.advance(lab.ticks(20)).await;
    assert!(lab.get(&shorter).await.is_none(), "absent after its shorter idle time");
    lab.advance(lab.ticks(20)).await;
    assert!(lab.get(&fixed).await.is_none(), "absent after its lifetime");
    assert!(lab.get(&longer).await.is_some(), "there until its longer idle time has passed");
}

/// A read moves no deadline, however often it comes.
pub async fn a_get_moves_nothing<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let key = lab.key("key", None);
    lab.insert(key, "value", Expiry::idle(lab.ticks(20))).await;
    let before = lab.get(&key).await.expect("it was inserted");
    for freshness in [Freshness::Strict, Freshness::Bounded] {
        lab.advance(lab.ticks(5)).await;
        let after = lab.store.get(&key, freshness).await.expect("get works");
        let after = after.expect("it has not ended");
        assert_eq!((after.deadlines, after.version), (before.deadlines, before.version));
    }
    lab.advance(lab.ticks(10)).await;
    assert!(lab.get(&key).await.is_none(), "nothing used it");
}

/// A read says that a slide is due once a touch would move the deadline by more than the slack,
/// and no longer after that touch.
pub async fn a_read_says_when_a_slide_is_due<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let idle = lab.ticks(100);
    let [key, fixed] = ["key", "fixed"].map(|name| lab.key(name, None));
    lab.insert(key, "value", Expiry::idle(idle)).await;
    lab.insert(fixed, "value", Expiry::after(idle)).await;
    for freshness in [Freshness::Strict, Freshness::Bounded] {
        lab.advance(lab.slack(idle) + lab.ticks(10)).await;
        let entry = lab.store.get(&key, freshness).await.expect("get works");
        assert!(entry.expect("it has not ended").slide_due, "it was used long ago");
        let entry = lab.store.get(&fixed, freshness).await.expect("get works");
        assert!(!entry.expect("it has not ended").slide_due, "no use prolongs it");
        assert!(lab.touch(&key).await.is_some());
        if !lab.slack(idle).is_zero() || lab.ticks(1) == Duration::from_millis(1) {
            let entry = lab.store.get(&key, freshness).await.expect("get works");
            assert!(!entry.expect("it has not ended").slide_due, "it was used just now");
        }
    }
}

/// The time of the last use is moved by touches only, and never back.
pub async fn the_last_use_is_kept_and_only_touches_move_it<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let idle = lab.ticks(100);
    let key = lab.key("key", None);
    lab.insert(key, "value", Expiry::idle(idle)).await;
    let made = lab.last_used(&key).await;
    lab.advance(lab.ticks(10)).await;
    lab.replace_now(&key, "changed", None).await;
    assert_eq!(lab.last_used(&key).await, made, "a replacement is not use");
    lab.use_entry(&key).await;
    let used = lab.last_used(&key).await.since(made) + lab.slack(idle);
    assert!(used >= lab.ticks(10), "a touch is use, {used:?} after it was made");
    let before = lab.last_used(&key).await;
    lab.touch(&key).await;
    assert!(lab.last_used(&key).await >= before, "it never moves back");
}

/// No use prolongs an entry past its lifetime.
pub async fn nothing_but_a_new_expiry_moves_the_absolute_deadline<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let key = lab.key("key", None);
    lab.insert(key, "value", Expiry::idle_within(lab.ticks(40), lab.ticks(60))).await;
    let before = lab.deadlines(&key).await.absolute();
    lab.advance(lab.ticks(20)).await;
    assert!(lab.use_entry(&key).await.is_some());
    lab.advance(lab.ticks(10)).await;
    lab.replace_now(&key, "changed", None).await;
    lab.touch(&key).await;
    assert_eq!(lab.deadlines(&key).await.absolute(), before);
    lab.advance(lab.ticks(15)).await;
    assert!(lab.use_entry(&key).await.is_some());
    lab.advance(lab.ticks(14)).await;
    assert!(lab.touch(&key).await.is_some(), "there one tick before the deadline");
    lab.advance(lab.ticks(1)).await;
    assert_eq!(lab.touch(&key).await, None, "absent at the deadline");
}
