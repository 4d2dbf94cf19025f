//! When entries end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kvolt_cache::{Access, Expiry, Owner, Renamed, Replace, Store};

use super::Fixture;
use super::lab::{LIVES, LONG, Lab, grace, sorted};

/// An unused entry is there one tick before its deadline and absent at it, without any cleaning.
pub async fn an_entry_is_there_until_its_deadline_and_absent_from_it_on<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let (ten, twenty) = (lab.ticks(10), lab.ticks(20));
    let expiries = [
        ("idle", Expiry::idle(ten), 10),
        ("after", Expiry::after(ten), 10),
        ("idle first", Expiry::idle_within(ten, twenty), 10),
        ("lifetime first", Expiry::idle_within(twenty, ten), 10),
        ("one tick", Expiry::after(lab.ticks(1)), 1),
        ("later", Expiry::idle(twenty), 20),
    ];
    let mut entries = Vec::new();
    for (name, expiry, ends) in expiries {
        let key = lab.key(name, None);
        lab.insert(key, name, expiry).await;
        entries.push((name, key, ends));
    }
    let mut now = 0;
    for next in [0, 1, 9, 10, 11, 19, 20, 21] {
        lab.advance(lab.ticks(next - now)).await;
        now = next;
        for (name, key, ends) in &entries {
            let there = lab.peek(key).await.is_some();
            assert_eq!(there, now < *ends, "{name}, which ends at {ends}, at tick {now}");
        }
    }
}

/// An expired entry is absent to every operation.
pub async fn an_expired_entry_is_absent_to_every_operation<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let owner = Owner::from("owner");
    let key = lab.key("key", Some(&owner));
    lab.insert_for(Some(&owner), key, "value", Expiry::idle(lab.ticks(5))).await;
    lab.advance(lab.ticks(5)).await;
    lab.assert_absent(&key, Some(&owner)).await;
}

/// Each operation by itself finds nothing of an expired entry, also as the first to look.
pub async fn the_first_to_look_at_an_expired_entry_finds_nothing<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let owner = Owner::from("owner");
    let mut keys = Vec::new();
    for name in ["slid", "removed", "renamed", "listed"] {
        let key = lab.key(name, Some(&owner));
        lab.insert_for(Some(&owner), key, name, Expiry::after(lab.ticks(20))).await;
        keys.push(key);
    }
    let version = lab.version(&keys[0]).await;
    lab.advance(lab.ticks(20)).await;
    assert!(lab.slide(&keys[0]).await.is_none(), "a slide never revives");
    assert!(!lab.remove(&keys[1]).await, "it was not live");
    let to = lab.key("to", Some(&owner));
    let renamed = lab.rename(&keys[2], to, grace(LONG)).await;
    assert_eq!(renamed, Renamed::Absent);
    let replaced = lab.replace(&keys[0], version, "revived", Some(LIVES)).await;
    assert!(matches!(replaced, Replace::Absent), "{replaced:?}");
    assert!(lab.list(&owner).await.is_empty());
    assert!(lab.remove_owner(&owner, None).await.is_empty(), "only live ones are told");
    assert!(lab.scan(1).await.is_empty());
}

/// A key can be used again once its entry has expired, for any owner.
pub async fn a_key_is_free_again_once_its_entry_has_expired<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let owner = Owner::from("owner");
    let key = lab.key("key", Some(&owner));
    lab.insert_for(Some(&owner), key, "first", Expiry::after(lab.ticks(5))).await;
    lab.advance(lab.ticks(5)).await;
    lab.insert(key, "second", LIVES).await;
    assert_eq!(lab.value(&key).await.as_deref(), Some("second"));
    assert!(lab.list(&owner).await.is_empty(), "the second is nobody's");
    lab.advance(lab.ticks(20)).await;
    assert!(lab.peek(&key).await.is_some(), "the first one's deadline does not end the second");

    let again = lab.key("again", Some(&owner));
    lab.insert_for(Some(&owner), again, "first", Expiry::after(lab.ticks(5))).await;
    lab.advance(lab.ticks(5)).await;
    lab.insert_for(Some(&owner), again, "second", LIVES).await;
    assert_eq!(lab.list(&owner).await, [again], "it is listed once");
}

/// A read that counts as use starts the idle time anew, as often as it comes.
pub async fn a_slide_starts_the_idle_time_anew<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let idle = lab.ticks(40);
    let key = lab.key("key", None);
    lab.insert(key, "value", Expiry::idle(idle)).await;
    for _ in 0..3 {
        lab.advance(idle.saturating_sub(lab.slack(idle) + lab.ticks(10))).await;
        assert!(lab.slide(&key).await.is_some(), "it was used in time");
    }
    let alive = idle.saturating_sub(lab.slack(idle) + lab.ticks(1));
    lab.advance(alive).await;
    assert!(lab.peek(&key).await.is_some(), "there one tick before the deadline");
    lab.advance(idle - alive).await;
    assert!(lab.peek(&key).await.is_none(), "absent at the deadline");
}

/// Looking is not living: a peek moves no deadline.
pub async fn a_peek_moves_nothing<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let key = lab.key("key", None);
    lab.insert(key, "value", Expiry::idle(lab.ticks(20))).await;
    let before = lab.peek(&key).await.expect("it was inserted");
    lab.advance(lab.ticks(10)).await;
    let after = lab.peek(&key).await.expect("it has not ended");
    assert_eq!(after.deadlines, before.deadlines);
    assert_eq!(after.version, before.version);
    let _ = lab.store.get_ready(&key, Access::PEEK, &mut |_| ());
    lab.advance(lab.ticks(10)).await;
    assert!(lab.peek(&key).await.is_none(), "nobody used it");
}

/// No use prolongs an entry past its lifetime.
pub async fn nothing_but_a_new_expiry_moves_the_absolute_deadline<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let key = lab.key("key", None);
    let renamed = lab.key("renamed", None);
    lab.insert(key, "value", Expiry::idle_within(lab.ticks(40), lab.ticks(60))).await;
    let before = lab.peek(&key).await.expect("it was inserted").deadlines.absolute();
    lab.advance(lab.ticks(20)).await;
    assert!(lab.slide(&key).await.is_some());
    lab.advance(lab.ticks(10)).await;
    lab.replace_now(&key, "changed", None).await;
    lab.rename_now(&key, renamed, grace(LONG)).await;
    lab.slide(&key).await;
    let after = lab.slide(&renamed).await.expect("it has not ended").deadlines;
    assert_eq!(after.absolute(), before);
    lab.advance(lab.ticks(15)).await;
    assert!(lab.slide(&renamed).await.is_some());
    lab.advance(lab.ticks(14)).await;
    assert!(lab.slide(&renamed).await.is_some(), "there one tick before the deadline");
    lab.advance(lab.ticks(1)).await;
    assert!(lab.slide(&renamed).await.is_none(), "absent at the deadline");
}

/// The time of the last use is moved by slides only, and never back.
pub async fn the_last_use_is_told_and_only_slides_move_it<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let idle = lab.ticks(100);
    let key = lab.key("key", None);
    lab.insert(key, "value", Expiry::idle(idle)).await;
    let made = lab.last_used(&key).await;
    lab.advance(lab.ticks(10)).await;
    lab.replace_now(&key, "changed", None).await;
    assert_eq!(lab.last_used(&key).await, made, "a replacement is not use");
    let renamed = lab.key("renamed", None);
    lab.rename_now(&key, renamed, grace(Duration::ZERO)).await;
    assert_eq!(lab.last_used(&renamed).await, made, "a renaming is not use");
    lab.slide(&renamed).await;
    let used = lab.last_used(&renamed).await.since(made) + lab.slack(idle);
    assert!(used >= lab.ticks(10), "a slide is use, {used:?} after it was made");
    let before = lab.last_used(&renamed).await;
    lab.slide(&renamed).await;
    assert!(lab.last_used(&renamed).await >= before, "it never moves back");
}

/// Who asks for it is told of each entry that has ended at a deadline, once and by its last key,
/// and of nothing else that is gone. A store that can't tell is not held to it.
pub async fn what_has_ended_is_told_once_and_nothing_else_is<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    let listens = lab.store.on_expired(Arc::new(move |key| {
        telling.lock().expect("nobody panicked").push(*key);
    }));
    if !listens {
        return;
    }
    let told = || sorted(told.lock().expect("nobody panicked").clone());
    let (owner, revoked) = (Owner::from("owner"), Owner::from("revoked"));
    let after = |ticks| Expiry::after(lab.ticks(ticks));

    let (plain, owned) = (lab.key("plain", None), lab.key("owned", Some(&owner)));
    lab.insert(plain, "plain", after(30)).await;
    lab.insert_for(Some(&owner), owned, "owned", Expiry::idle(lab.ticks(30))).await;
    let (former, renamed) = (lab.key("former", Some(&owner)), lab.key("renamed", Some(&owner)));
    lab.insert_for(Some(&owner), former, "renamed", after(30)).await;
    lab.rename_now(&former, renamed, grace(LONG)).await;

    let (former, lives) = (lab.key("left", Some(&owner)), lab.key("lives", Some(&owner)));
    lab.insert_for(Some(&owner), former, "lives", LIVES).await;
    lab.rename_now(&former, lives, grace(lab.ticks(5))).await;
    let prolonged = lab.key("prolonged", None);
    lab.insert(prolonged, "prolonged", after(30)).await;
    lab.replace_now(&prolonged, "prolonged", Some(LIVES)).await;
    let removed = lab.key("removed", None);
    lab.insert(removed, "removed", after(30)).await;
    assert!(lab.remove(&removed).await);
    lab.insert_for(Some(&revoked), lab.key("revoked", Some(&revoked)), "revoked", after(30)).await;
    assert_eq!(lab.remove_owner(&revoked, None).await.len(), 1);
    assert!(told().is_empty(), "none has reached its deadline");

    lab.advance(lab.ticks(30)).await;
    let ended = sorted(vec![plain, owned, renamed]);
    lab.clean_until(|| told().len() >= ended.len()).await;
    assert_eq!(told(), ended);
    lab.advance(lab.ticks(30)).await;
    lab.clean_until(|| true).await;
    assert_eq!(told(), ended, "once, and nothing else");
    assert!(lab.peek(&lives).await.is_some() && lab.peek(&prolonged).await.is_some());
}
