//! Making, reading and removing an entry.

use std::time::Duration;

use kvolt_cache::{
    Expiry, Freshness, InsertOutcome, NewEntry, Owner, OwnerLimit, RemoveOutcome, ReplaceOutcome,
    Store, Target,
};

use super::Fixture;
use super::law_fixture::{LIVES, LONG, LawFixture, NO_VERSION, inserted, owner};

/// A second insertion under a key is refused and leaves the entry as it was.
pub async fn insert_makes_an_entry_only_where_nothing_is<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let owner = owner("owner");
    let key = lab.key("key", Some(&owner));
    lab.insert_for(Some(&owner), key, "first", Expiry::idle_within(LONG, LONG)).await;
    let before = lab.get(&key).await.expect("it was inserted");

    lab.advance(lab.ticks(1)).await;
    let second =
        NewEntry::new(String::from("second"), Expiry::after(LONG * 2)).owner(owner.clone());
    assert_eq!(lab.try_insert(key, second).await, InsertOutcome::Occupied);

    let after = lab.get(&key).await.expect("it is still there");
    assert_eq!(after.value, "first");
    assert_eq!(after.version, before.version);
    assert_eq!(after.deadlines, before.deadlines);
    assert_eq!(lab.list(&owner).await, [key], "it is listed once");
}

/// Key, value, owner and deadlines are read as they were given.
pub async fn what_was_inserted_is_read_back_whole<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let owner = owner("an owner: 'é' \"\\\n{}*");
    let value = "a value: 'é' \"\\\n\0{}";
    let key = lab.key("key", Some(&owner));
    let (idle, lifetime) = (Duration::from_secs(600), Duration::from_secs(7_200));
    lab.insert_for(Some(&owner), key, value, Expiry::idle_within(idle, lifetime)).await;

    let entry = lab.get(&key).await.expect("it was inserted");
    assert_eq!(entry.key, key);
    assert_eq!(entry.value, value);
    assert_eq!(entry.owner, Some(owner));
    let made = entry.deadlines.last_used().expect("it has an idle time");
    let ends = entry.deadlines.expires_at().expect("it ends");
    assert_eq!(ends.since(made), idle, "the nearer deadline counts");
    let absolute = entry.deadlines.absolute().expect("it has a lifetime");
    let lived = absolute.since(made).abs_diff(lifetime);
    assert!(lived <= lab.ticks(1), "the lifetime is off by {lived:?}");

    let plain = lab.key("plain", None);
    lab.insert(plain, "", Expiry::after(lifetime)).await;
    let entry = lab.get(&plain).await.expect("it was inserted");
    assert_eq!((entry.value.as_str(), entry.owner), ("", None));
    assert_eq!(entry.deadlines.last_used(), None, "without an idle time, use is not recorded");
    assert_eq!(entry.deadlines.absolute(), entry.deadlines.expires_at());

    let idle_only = lab.key("idle only", None);
    lab.insert(idle_only, "", Expiry::idle(idle)).await;
    let entry = lab.get(&idle_only).await.expect("it was inserted");
    assert_eq!(entry.deadlines.absolute(), None);
}

/// A key that was never inserted is absent, which is not an error.
pub async fn an_absent_key_is_an_answer_and_not_an_error<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let owner = owner("owner");
    lab.assert_absent(&lab.key("key", Some(&owner)), Some(&owner)).await;
    assert!(lab.list(&owner).await.is_empty());
    assert!(lab.remove_owner(&owner, None).await.is_empty());
    assert!(lab.scan(1).await.is_empty());
}

/// Once a removal has returned, the entry is absent to every operation.
pub async fn a_removed_entry_is_absent_to_every_operation<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let owner = owner("owner");
    let key = lab.key("key", Some(&owner));
    lab.insert_for(Some(&owner), key, "value", LIVES).await;
    assert_eq!(lab.remove(&key).await, RemoveOutcome::Removed, "there was a live one");
    lab.assert_absent(&key, Some(&owner)).await;
}

/// A removal that names a version takes effect only on that version.
pub async fn remove_takes_effect_only_on_the_version_that_it_names<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let owner = owner("owner");
    let key = lab.key("key", Some(&owner));
    lab.insert_for(Some(&owner), key, "first", LIVES).await;
    let first = lab.version(&key).await;
    lab.replace_now(&key, "second", None).await;
    assert_eq!(lab.remove_if(&key, Some(first)).await, RemoveOutcome::Conflict);
    assert_eq!(lab.value(&key).await.as_deref(), Some("second"), "nothing was done");
    assert_eq!(lab.list(&owner).await, [key], "nothing was done");

    lab.touch(&key).await;
    let second = lab.version(&key).await;
    assert_eq!(lab.remove_if(&key, Some(second)).await, RemoveOutcome::Removed);
    lab.assert_absent(&key, Some(&owner)).await;

    lab.insert_for(Some(&owner), key, "third", LIVES).await;
    assert_eq!(
        lab.remove_if(&key, Some(second)).await,
        RemoveOutcome::Conflict,
        "it is another entry"
    );
    assert_eq!(lab.value(&key).await.as_deref(), Some("third"));
}

/// A key can be used again after a removal.
pub async fn a_key_is_free_again_once_its_entry_was_removed<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let (one, other) = (owner("one"), owner("other"));
    let key = lab.key("key", Some(&one));
    for owner in [None, Some(&one), Some(&other)] {
        if lab.store.place(key, owner) != key {
            continue;
        }
        lab.insert_for(owner, key, "value", LIVES).await;
        assert_eq!(lab.get(&key).await.expect("it was inserted").owner.as_ref(), owner);
        assert_eq!(lab.remove(&key).await, RemoveOutcome::Removed);
    }
    assert!(lab.list(&one).await.is_empty() && lab.list(&other).await.is_empty());
}

/// The owner hint changes no outcome: none, the right owner, or a wrong one.
pub async fn a_wrong_owner_hint_changes_no_outcome<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let (owner, other) = (owner("owner"), owner("other"));
    let others = lab.one_more(&other, "others").await;
    for (entry_owner, name) in [(Some(&owner), "owned"), (None, "plain")] {
        for hint in [None, Some(&owner), Some(&other)] {
            let key = lab.key(name, entry_owner);
            let at = Target::new(&key).owner(hint);
            lab.insert_for(entry_owner, key, name, LIVES).await;
            assert!(lab.touch_at(at).await.is_some(), "it is there, with the hint {hint:?}");
            let value = String::from("changed");
            let late = lab.store.replace(at, NO_VERSION, value.clone(), Some(LIVES)).await;
            assert!(
                matches!(late, Ok(ReplaceOutcome::Conflict(_))),
                "{late:?} with the hint {hint:?}"
            );
            let seen = lab.version(&key).await;
            let replaced = lab.store.replace(at, seen, value, Some(LIVES)).await;
            assert!(
                matches!(replaced, Ok(ReplaceOutcome::Replaced(_))),
                "{replaced:?} with the hint {hint:?}"
            );
            let entry = lab.get(&key).await.expect("it is there");
            assert_eq!(entry.owner.as_ref(), entry_owner, "an entry's owner never changes");
            let seen = (hint == Some(&owner)).then_some(entry.version);
            let removed = lab.store.remove(at, seen).await;
            assert_eq!(removed.ok(), Some(RemoveOutcome::Removed), "with the hint {hint:?}");
            lab.assert_absent(&key, Some(&owner)).await;
            assert_eq!(lab.list(&other).await, [others], "with the hint {hint:?}");
        }
    }
}

/// A time of zero ends at once, the longest one does not overflow, and nothing panics.
pub async fn the_shortest_and_the_longest_times_are_no_trouble<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let (none, all) = (Duration::ZERO, Duration::MAX);
    let ended = [Expiry::idle(none), Expiry::after(none), Expiry::idle_within(none, all)];
    for (number, expiry) in ended.into_iter().enumerate() {
        let key = lab.key(&format!("ended {number}"), None);
        lab.insert(key, "value", expiry).await;
        assert_eq!(lab.touch(&key).await, None, "{expiry:?} has passed");
        let living = lab.key(&format!("living {number}"), None);
        lab.insert(living, "value", LIVES).await;
        lab.replace_now(&living, "ended", Some(expiry)).await;
        assert!(lab.use_entry(&living).await.is_none(), "{expiry:?} has passed");
    }
    let endless = [Expiry::idle(all), Expiry::after(all), Expiry::idle_within(all, all)];
    for (number, expiry) in endless.into_iter().enumerate() {
        let key = lab.key(&format!("endless {number}"), None);
        lab.insert(key, "value", expiry).await;
        lab.advance(lab.ticks(1)).await;
        assert!(lab.touch(&key).await.is_some(), "{expiry:?} has not passed");
        lab.replace_now(&key, "again", Some(expiry)).await;
        assert!(lab.use_entry(&key).await.is_some(), "{expiry:?} has not passed");
    }
    assert_eq!(lab.scan(2).await.len(), 3, "what has ended is not there");
}

/// An owner with the longest name, an empty one, and one that is no account are kept apart and
/// as they are.
pub async fn each_name_that_an_owner_may_have_is_kept<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let longest = "é".repeat(Owner::MAX_LEN / 2) + "e";
    let owners = [
        owner(&longest),
        owner(&longest[..longest.len() - 1]),
        owner(""),
        owner("group"),
        Owner::reserved("group").expect("the name is valid"),
        Owner::reserved("").expect("the name is valid"),
    ];
    let mut keys = Vec::new();
    for (number, owner) in owners.iter().enumerate() {
        keys.push(lab.one_more(owner, &format!("key {number}")).await);
    }
    for (owner, key) in owners.iter().zip(&keys) {
        assert_eq!(lab.list(owner).await, [*key]);
        assert_eq!(lab.get(key).await.expect("it is there").owner.as_ref(), Some(owner));
    }
    for (owner, key) in owners.iter().zip(&keys) {
        assert_eq!(lab.remove_owner(owner, None).await, [*key]);
    }
}

/// A limit that is zero or larger than the largest is misconfigured, and nothing is done.
pub async fn a_limit_that_can_not_be_held_is_refused<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let owner = owner("owner");
    let first = lab.one_more(&owner, "first").await;
    let key = lab.key("key", Some(&owner));
    for number in [0, OwnerLimit::MAX + 1, u32::MAX] {
        for limit in [OwnerLimit::refuse(number), OwnerLimit::remove_oldest(number)] {
            let entry = NewEntry::new(String::from("value"), LIVES).limit(limit);
            let owned = entry.clone().owner(owner.clone());
            for entry in [entry, owned] {
                let refused = lab.store.insert(key, entry).await.expect_err("no such limit");
                assert!(refused.is_misconfigured(), "{refused}");
            }
        }
    }
    assert!(lab.get(&key).await.is_none(), "nothing was made");
    assert_eq!(lab.list(&owner).await, [first], "nothing was removed");
    for number in [2, OwnerLimit::MAX] {
        let entry = NewEntry::new(String::from("value"), LIVES)
            .owner(owner.clone())
            .limit(OwnerLimit::refuse(number));
        assert_eq!(lab.try_insert(key, entry).await, inserted(), "{number} is a limit");
        assert_eq!(lab.remove(&key).await, RemoveOutcome::Removed);
    }
}

/// A read says when it was made, by the store's clock: no earlier, and at most a moment later.
pub async fn a_read_has_the_time_of_the_store<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let key = lab.key("key", None);
    let lifetime = lab.ticks(1_000);
    lab.insert(key, "value", Expiry::after(lifetime)).await;
    for passed in [0, 7] {
        lab.advance(lab.ticks(passed)).await;
        for freshness in [Freshness::Strict, Freshness::Bounded] {
            let entry = lab.store.get(&key, freshness).await.expect("get works");
            let entry = entry.expect("it has not ended");
            if entry.is_copy {
                continue;
            }
            let ends = entry.deadlines.absolute().expect("it has a lifetime");
            let left = ends.since(entry.read_at);
            assert!(left <= lifetime - lab.ticks(passed), "{left:?} left after {passed} ticks");
            let late = lifetime - lab.ticks(passed) - left;
            assert!(late <= lab.ticks(20), "the time is {late:?} too late");
        }
    }
}

/// Moving the store's clock, if a test can move it, moves the store: its entries end.
pub async fn a_store_follows_its_clock<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let key = lab.key("key", None);
    lab.insert(key, "value", Expiry::idle(lab.ticks(10))).await;
    if lab.store.clock().advance(lab.ticks(9)).is_err() {
        // A server's time.
        return;
    }
    assert!(lab.get(&key).await.is_some(), "it ends after ten ticks");
    lab.store.clock().advance(lab.ticks(1)).expect("it could be moved before");
    assert!(lab.get(&key).await.is_none(), "the clock is another one than that of the entries");
}
