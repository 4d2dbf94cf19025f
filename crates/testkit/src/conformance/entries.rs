//! Making, reading and removing an entry.

use std::time::Duration;

use kvolt_cache::{Access, Expiry, Insert, NewEntry, Owner, Store};

use super::Fixture;
use super::lab::{LIVES, LONG, Lab, grace, inserted};

/// A second insertion under a key is refused and leaves the entry as it was.
pub async fn insert_makes_an_entry_only_where_nothing_is<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let owner = Owner::from("owner");
    let key = lab.key("key", Some(&owner));
    lab.insert_for(Some(&owner), key, "first", Expiry::idle_within(LONG, LONG)).await;
    let before = lab.peek(&key).await.expect("it was inserted");

    lab.advance(lab.ticks(1)).await;
    let second =
        NewEntry::new(String::from("second"), Expiry::after(LONG * 2)).owner(owner.clone());
    assert_eq!(lab.try_insert(key, second).await, Insert::Occupied);

    let after = lab.peek(&key).await.expect("it is still there");
    assert_eq!(after.value, "first");
    assert_eq!(after.version, before.version);
    assert_eq!(after.deadlines, before.deadlines);
    assert_eq!(lab.list(&owner).await, [key], "it is listed once");
}

/// Key, value, owner and deadlines are read as they were given.
pub async fn what_was_inserted_is_read_back_whole<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let owner = Owner::from("an owner: 'é' \"\\\n{}*");
    let value = "a value: 'é' \"\\\n\0{}";
    let key = lab.key("key", Some(&owner));
    let (idle, lifetime) = (Duration::from_secs(600), Duration::from_secs(7_200));
    lab.insert_for(Some(&owner), key, value, Expiry::idle_within(idle, lifetime)).await;

    let entry = lab.peek(&key).await.expect("it was inserted");
    assert_eq!(entry.key, key);
    assert_eq!(entry.value, value);
    assert_eq!(entry.owner, Some(owner));
    let made = entry.deadlines.last_used().expect("it has an idle time");
    let ends = entry.deadlines.expires_at().expect("it ends");
    assert_eq!(ends.since(made), idle, "the nearer deadline is told");
    let absolute = entry.deadlines.absolute().expect("it has a lifetime");
    let lived = absolute.since(made).abs_diff(lifetime);
    assert!(lived <= lab.ticks(1), "the lifetime is off by {lived:?}");

    let plain = lab.key("plain", None);
    lab.insert(plain, "", Expiry::after(lifetime)).await;
    let entry = lab.peek(&plain).await.expect("it was inserted");
    assert_eq!((entry.value.as_str(), entry.owner), ("", None));
    assert_eq!(entry.deadlines.last_used(), None, "without an idle time, use is not recorded");
    assert_eq!(entry.deadlines.absolute(), entry.deadlines.expires_at());

    let idle_only = lab.key("idle only", None);
    lab.insert(idle_only, "", Expiry::idle(idle)).await;
    let entry = lab.peek(&idle_only).await.expect("it was inserted");
    assert_eq!(entry.deadlines.absolute(), None);
}

/// What was never there is absent, and that is not an error.
pub async fn an_absent_key_is_an_answer_and_not_an_error<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let owner = Owner::from("owner");
    lab.assert_absent(&lab.key("key", Some(&owner)), Some(&owner)).await;
    assert!(lab.list(&owner).await.is_empty());
    assert!(lab.remove_owner(&owner, None).await.is_empty());
    assert!(lab.scan(1).await.is_empty());
}

/// Once a removal has returned, the entry is absent to every operation.
pub async fn a_removed_entry_is_absent_to_every_operation<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let owner = Owner::from("owner");
    let key = lab.key("key", Some(&owner));
    lab.insert_for(Some(&owner), key, "value", LIVES).await;
    assert!(lab.remove(&key).await, "there was a live one");
    lab.assert_absent(&key, Some(&owner)).await;
}

/// A key can be used again after a removal.
pub async fn a_key_is_free_again_once_its_entry_was_removed<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let (one, other) = (Owner::from("one"), Owner::from("other"));
    let key = lab.key("key", None);
    for owner in [None, Some(&one), Some(&other)] {
        if !lab.store.places(&key, owner) {
            continue;
        }
        lab.insert_for(owner, key, "value", LIVES).await;
        assert_eq!(lab.peek(&key).await.expect("it was inserted").owner.as_ref(), owner);
        assert!(lab.remove(&key).await);
    }
    assert!(lab.list(&one).await.is_empty() && lab.list(&other).await.is_empty());
}

/// What [`Store::get_ready`] answers is what [`Store::get`] answers.
pub async fn what_is_ready_agrees_with_what_is_read<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let owner = Owner::from("owner");
    let key = lab.key("key", Some(&owner));
    let former = lab.key("former", Some(&owner));
    lab.insert_for(Some(&owner), former, "value", LIVES).await;
    lab.rename_now(&former, key, grace(LONG)).await;
    for asked in [&key, &former, &lab.key("nothing", None)] {
        for access in [Access::PEEK, Access::SLIDE] {
            let mut seen = None;
            let mut visit = |entry: kvolt_cache::EntryRef<'_, String>| {
                assert!(seen.replace(entry.to_entry()).is_none(), "it is shown once");
            };
            let Some(found) = lab.store.get_ready(asked, access, &mut visit) else {
                continue;
            };
            assert_eq!(found.expect("get_ready works"), seen.is_some(), "it says what it showed");
            let read = lab.peek(asked).await;
            assert_eq!(seen.is_some(), read.is_some());
            if let (Some(seen), Some(read)) = (seen, read) {
                assert_eq!((seen.key, seen.version), (read.key, read.version));
                assert_eq!((seen.value, seen.owner), (read.value, read.owner));
            }
        }
    }
}

/// A time of zero ends at once, the longest one does not overflow, and nothing panics.
pub async fn the_shortest_and_the_longest_times_are_no_trouble<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let (none, all) = (Duration::ZERO, Duration::MAX);
    let ended = [Expiry::idle(none), Expiry::after(none), Expiry::idle_within(none, all)];
    for (number, expiry) in ended.into_iter().enumerate() {
        let key = lab.key(&format!("ended {number}"), None);
        lab.insert(key, "value", expiry).await;
        assert!(lab.slide(&key).await.is_none(), "{expiry:?} has passed");
        let living = lab.key(&format!("living {number}"), None);
        lab.insert(living, "value", LIVES).await;
        lab.replace_now(&living, "ended", Some(expiry)).await;
        assert!(lab.slide(&living).await.is_none(), "{expiry:?} has passed");
    }
    let endless = [Expiry::idle(all), Expiry::after(all), Expiry::idle_within(all, all)];
    for (number, expiry) in endless.into_iter().enumerate() {
        let key = lab.key(&format!("endless {number}"), None);
        lab.insert(key, "value", expiry).await;
        lab.advance(lab.ticks(1)).await;
        assert!(lab.slide(&key).await.is_some(), "{expiry:?} has not passed");
        lab.replace_now(&key, "again", Some(expiry)).await;
        let mut rename = grace(all);
        rename.expiry = Some(expiry);
        lab.rename_now(&key, lab.key(&format!("renamed {number}"), None), rename).await;
        assert!(lab.slide(&key).await.is_some(), "{expiry:?} has not passed, nor has the grace");
    }
    assert_eq!(lab.scan(2).await.len(), 3, "what has ended is not there");
}

/// An owner of the greatest length is kept; a longer one is refused as misconfigured, by
/// insertion and by renaming, with nothing changed.
pub async fn an_owner_that_is_too_long_is_refused<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let longest = Owner::new("é".repeat(Owner::LEN_MAX / 2) + "e");
    let too_long = Owner::new("e".repeat(Owner::LEN_MAX + 1));
    let key = lab.one_more(&longest, "longest").await;
    assert_eq!(lab.list(&longest).await, [key]);

    let other = lab.key("other", None);
    let entry = NewEntry::new(String::from("value"), LIVES).owner(too_long.clone());
    let refused = lab.store.insert(other, entry).await.expect_err("the owner is too long");
    assert!(refused.is_misconfigured(), "{refused}");
    assert!(lab.peek(&other).await.is_none());

    let mut rename = grace(LONG);
    rename.owner = Some(too_long);
    let refused = lab.store.rename(&key, other, rename).await.expect_err("the owner is too long");
    assert!(refused.is_misconfigured(), "{refused}");
    assert!(lab.peek(&other).await.is_none());
    assert_eq!(lab.list(&longest).await, [key]);

    let plain = NewEntry::new(String::from("value"), LIVES);
    assert_eq!(lab.try_insert(other, plain).await, inserted(), "the key is still free");
}
