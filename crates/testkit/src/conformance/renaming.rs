//! Moving an entry to a new key, without a grace.

use std::time::Duration;

use kvolt_cache::{AtLimit, Expiry, Owner, Rename, Renamed};

use super::Fixture;
use super::lab::{LIVES, LONG, Lab, grace, limit, to_owner, with_expiry, with_value};

/// Value, owner and deadlines go with the entry, and the former key is absent at once.
pub async fn rename_moves_the_entry_as_it_is<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let owner = Owner::from("owner");
    let (from, to) = (lab.key("from", Some(&owner)), lab.key("to", Some(&owner)));
    let expiry = Expiry::idle_within(lab.ticks(20), lab.ticks(30));
    lab.insert_for(Some(&owner), from, "value", expiry).await;
    let before = lab.peek(&from).await.expect("it was inserted");
    lab.advance(lab.ticks(10)).await;
    lab.rename_now(&from, to, Rename::new()).await;

    lab.assert_absent(&from, Some(&owner)).await;
    let after = lab.peek(&to).await.expect("it was moved");
    assert_eq!((after.key, after.value), (to, before.value));
    assert_eq!((after.owner, after.deadlines), (before.owner, before.deadlines));
    assert_ne!(after.version, before.version, "under another key it is another state");
    assert_eq!(lab.list(&owner).await, [to]);
    assert_eq!(lab.scan(1).await, [to]);
    lab.advance(lab.ticks(9)).await;
    assert!(lab.peek(&to).await.is_some(), "there one tick before the deadline");
    lab.advance(lab.ticks(1)).await;
    assert!(lab.peek(&to).await.is_none(), "a renaming prolongs nothing");
}

/// With an expiry, a renaming starts both deadlines anew.
pub async fn rename_with_an_expiry_starts_the_deadlines_anew<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let (from, to) = (lab.key("from", None), lab.key("to", None));
    lab.insert(from, "value", Expiry::idle_within(lab.ticks(20), lab.ticks(20))).await;
    lab.advance(lab.ticks(15)).await;
    let new = Expiry::idle_within(lab.ticks(40), lab.ticks(20));
    lab.rename_now(&from, to, with_expiry(new)).await;
    lab.advance(lab.ticks(19)).await;
    assert!(lab.slide(&to).await.is_some(), "there one tick before the deadline");
    lab.advance(lab.ticks(1)).await;
    assert!(lab.peek(&to).await.is_none(), "absent at the deadline");
}

/// A renaming that brings a new value names a version, as a replacement does.
pub async fn rename_with_a_value_takes_effect_only_on_the_version_it_names<F: Fixture>(
    fixture: &F,
) {
    let lab = Lab::new(fixture).await;
    let owner = Owner::from("owner");
    let (from, to) = (lab.key("from", Some(&owner)), lab.key("to", Some(&owner)));
    lab.insert_for(Some(&owner), from, "first", LIVES).await;
    let seen = lab.version(&from).await;
    lab.replace_now(&from, "second", None).await;

    let mut late = with_value(seen, "late");
    late.grace = LONG;
    assert_eq!(lab.rename(&from, to, late).await, Renamed::Conflict);
    assert_eq!(lab.value(&from).await.as_deref(), Some("second"), "nothing was done");
    assert!(lab.peek(&to).await.is_none(), "nothing was made");
    assert_eq!(lab.list(&owner).await, [from]);

    let current = lab.version(&from).await;
    lab.rename_now(&from, to, with_value(current, "third")).await;
    assert_eq!(lab.value(&to).await.as_deref(), Some("third"));
    assert_ne!(lab.version(&to).await, current, "it is another state");
}

/// A taken key is not taken over: nothing changes, whoever has it.
pub async fn rename_to_a_taken_key_changes_nothing<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let owner = Owner::from("owner");
    let from = lab.one_more(&owner, "from").await;
    let taken = lab.one_more(&owner, "taken").await;
    let mut rename = grace(LONG);
    rename.expiry = Some(Expiry::after(lab.ticks(1)));
    rename.limit = Some(limit(1, AtLimit::RemoveOldest));
    for to in [taken, from] {
        assert_eq!(lab.rename(&from, to, rename.clone()).await, Renamed::Occupied);
        lab.advance(lab.ticks(2)).await;
        assert_eq!(lab.value(&from).await.as_deref(), Some("from"));
        assert_eq!(lab.value(&taken).await.as_deref(), Some("taken"));
        assert_eq!(lab.list(&owner).await, [from, taken]);
    }
    assert!(lab.remove(&from).await);
    assert_eq!(lab.value(&taken).await.as_deref(), Some("taken"));
}

/// A key whose entry was removed or has expired is free to move to.
pub async fn rename_to_a_key_of_an_ended_entry_is_done<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let owner = Owner::from("owner");
    let (removed, expired) = (lab.key("removed", Some(&owner)), lab.key("expired", Some(&owner)));
    lab.insert_for(Some(&owner), removed, "removed", LIVES).await;
    lab.insert_for(Some(&owner), expired, "expired", Expiry::after(lab.ticks(5))).await;
    lab.remove(&removed).await;
    lab.advance(lab.ticks(5)).await;
    for (to, name) in [(removed, "one"), (expired, "other")] {
        let from = lab.one_more(&owner, name).await;
        lab.rename_now(&from, to, Rename::new()).await;
        assert_eq!(lab.value(&to).await.as_deref(), Some(name));
    }
    assert_eq!(lab.list(&owner).await, [removed, expired]);
}

/// A renaming of what is not there, was removed or has expired makes nothing.
pub async fn rename_of_nothing_makes_nothing<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let owner = Owner::from("owner");
    let to = lab.key("to", Some(&owner));
    let removed = lab.one_more(&owner, "removed").await;
    let expired = lab.key("expired", Some(&owner));
    lab.insert_for(Some(&owner), expired, "expired", Expiry::after(lab.ticks(10))).await;
    let versions = (lab.version(&removed).await, lab.version(&expired).await);
    lab.remove(&removed).await;
    lab.advance(lab.ticks(10)).await;
    for (from, seen) in [(removed, versions.0), (expired, versions.1)] {
        let mut rename = with_value(seen, "revived");
        rename.owner = Some(owner.clone());
        rename.expiry = Some(LIVES);
        rename.grace = LONG;
        assert_eq!(lab.rename(&from, to, rename).await, Renamed::Absent);
        lab.assert_absent(&from, Some(&owner)).await;
        lab.assert_absent(&to, Some(&owner)).await;
    }
    assert!(lab.list(&owner).await.is_empty());
}

/// A new owner has the entry in its list, and the former one has it no longer.
pub async fn rename_to_another_owner_moves_it_in_the_index<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let (one, other) = (Owner::from("one"), Owner::from("other"));
    let nobody = lab.key("nobody", None);
    lab.insert(nobody, "value", LIVES).await;
    let first = lab.key("first", Some(&one));
    lab.rename_now(&nobody, first, to_owner(&one)).await;
    assert_eq!(lab.list(&one).await, [first]);

    let second = lab.key("second", Some(&other));
    lab.rename_now(&first, second, to_owner(&other)).await;
    assert!(lab.list(&one).await.is_empty());
    assert_eq!(lab.list(&other).await, [second]);
    assert_eq!(lab.peek(&second).await.expect("it was moved").owner, Some(other.clone()));

    assert!(lab.remove_owner(&one, None).await.is_empty(), "it is not the former owner's");
    assert!(lab.peek(&second).await.is_some());
    assert_eq!(lab.remove_owner(&other, None).await, [second]);
    assert!(lab.peek(&second).await.is_none());
}

/// Without a new owner, the entry keeps its place in the owner's list.
pub async fn rename_keeps_the_age<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let owner = Owner::from("owner");
    let first = lab.one_more(&owner, "first").await;
    let second = lab.one_more(&owner, "second").await;
    let renamed = lab.key("renamed", Some(&owner));
    lab.rename_now(&first, renamed, grace(Duration::ZERO)).await;
    assert_eq!(lab.list(&owner).await, [renamed, second]);
    let again = lab.key("again", Some(&owner));
    lab.rename_now(&renamed, again, to_owner(&owner)).await;
    assert_eq!(lab.list(&owner).await, [again, second], "naming the same owner changes nothing");
}

/// The limit counts the new owner's other entries, and not the one that is renamed.
pub async fn rename_holds_the_limit_without_counting_itself<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let owner = Owner::from("owner");
    let oldest = lab.one_more(&owner, "oldest").await;
    let moving = lab.one_more(&owner, "moving").await;
    let mut at_two = Rename::new();
    at_two.limit = Some(limit(2, AtLimit::Refuse));
    let moved = lab.key("moved", Some(&owner));
    lab.rename_now(&moving, moved, at_two.clone()).await;

    let nobody = lab.key("nobody", None);
    lab.insert(nobody, "value", LIVES).await;
    at_two.owner = Some(owner.clone());
    at_two.grace = LONG;
    let third = lab.key("third", Some(&owner));
    assert_eq!(lab.rename(&nobody, third, at_two.clone()).await, Renamed::LimitReached);
    assert_eq!(lab.list(&owner).await, [oldest, moved], "nothing was changed");
    assert_eq!(lab.peek(&nobody).await.expect("nothing was changed").owner, None);
    assert!(lab.peek(&third).await.is_none());

    at_two.limit = Some(limit(2, AtLimit::RemoveOldest));
    let renamed = lab.rename(&nobody, third, at_two).await;
    assert_eq!(renamed, Renamed::Moved { removed: vec![oldest] });
    assert!(lab.peek(&oldest).await.is_none());
    assert_eq!(lab.list(&owner).await, [moved, third]);

    let mut at_one = Rename::new();
    at_one.limit = Some(limit(1, AtLimit::RemoveOldest));
    let last = lab.key("last", Some(&owner));
    let renamed = lab.rename(&moved, last, at_one).await;
    assert_eq!(renamed, Renamed::Moved { removed: vec![third] }, "the others have to go");
    assert_eq!(lab.list(&owner).await, [last]);
}
