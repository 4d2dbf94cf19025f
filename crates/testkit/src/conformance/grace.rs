//! Former keys, in their grace and after it.

use kvolt_cache::{Access, Expiry, Insert, Key, NewEntry, Owner, Rename, Renamed, Replace, Store};

use super::Fixture;
use super::lab::{LIVES, LONG, Lab, grace};

/// An owner's entry that was renamed, and its former key in a grace.
async fn renamed<F: Fixture>(
    lab: &Lab<'_, F>,
    owner: &Owner,
    name: &str,
    rename: Rename<String>,
) -> (Key, Key) {
    let former = lab.key(&format!("{name}, former"), Some(owner));
    let key = lab.key(name, Some(owner));
    lab.insert_for(Some(owner), former, name, LIVES).await;
    lab.rename_now(&former, key, rename).await;
    (former, key)
}

/// In its grace, a former key reads and replaces the successor.
pub async fn a_former_key_leads_to_the_successor<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let owner = Owner::from("owner");
    let (former, key) = renamed(&lab, &owner, "value", grace(LONG)).await;
    let read = lab.peek(&former).await.expect("the grace lasts");
    assert_eq!((read.key, read.value.as_str()), (key, "value"), "it tells the successor's key");
    assert_eq!(read.version, lab.version(&key).await);

    lab.replace_now(&former, "changed", None).await;
    assert_eq!(lab.value(&key).await.as_deref(), Some("changed"));
    let stale = lab.replace(&former, read.version, "late", None).await;
    assert!(matches!(&stale, Replace::Conflict(now) if now.key == key), "{stale:?}");
}

/// Whoever still has a former key keeps nothing alive with it: a slide by it moves no deadline,
/// however many renamings ago it was the key.
pub async fn a_read_by_a_former_key_keeps_nothing_alive<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let owner = Owner::from("owner");
    let mut rename = grace(LONG);
    rename.expiry = Some(Expiry::idle(lab.ticks(40)));
    let (first, second) = renamed(&lab, &owner, "value", rename).await;
    let third = lab.key("third", Some(&owner));
    lab.rename_now(&second, third, grace(LONG)).await;
    let deadlines = lab.peek(&third).await.expect("it was renamed").deadlines;
    for passed in [25, 14] {
        lab.advance(lab.ticks(passed)).await;
        for former in [&first, &second] {
            let _ = lab.store.get_ready(former, Access::SLIDE, &mut |_| ());
            let read = lab.slide(former).await.expect("there until the deadline");
            assert_eq!((read.key, read.deadlines), (third, deadlines), "a slide by a former key");
        }
        assert_eq!(lab.peek(&third).await.map(|entry| entry.deadlines), Some(deadlines));
    }
    lab.advance(lab.ticks(1)).await;
    for key in [&first, &second, &third] {
        assert!(lab.slide(key).await.is_none(), "nobody used it");
    }
}

/// Removing by a former key removes the successor.
pub async fn a_removal_by_the_former_key_ends_the_successor<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let owner = Owner::from("owner");
    let (former, key) = renamed(&lab, &owner, "value", grace(LONG)).await;
    assert!(lab.remove(&former).await, "there was a live one");
    lab.assert_absent(&key, Some(&owner)).await;
    lab.assert_absent(&former, Some(&owner)).await;
}

/// There is one entry, under one key, however many lead to it.
pub async fn a_former_key_is_no_second_entry<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let owner = Owner::from("owner");
    let (former, key) = renamed(&lab, &owner, "value", grace(LONG)).await;
    lab.slide(&former).await;
    assert_eq!(lab.list(&owner).await, [key]);
    assert_eq!(lab.scan(10).await, [key]);
    assert_eq!(lab.remove_owner(&owner, None).await, [key]);
}

/// A former key never makes a second successor.
pub async fn a_former_key_is_superseded_and_can_not_be_renamed_again<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let owner = Owner::from("owner");
    let (former, key) = renamed(&lab, &owner, "value", grace(lab.ticks(20))).await;
    let second = lab.key("second", Some(&owner));
    assert_eq!(lab.rename(&former, second, grace(LONG)).await, Renamed::Superseded);
    assert!(lab.peek(&second).await.is_none());
    assert_eq!(lab.list(&owner).await, [key]);
    lab.advance(lab.ticks(20)).await;
    assert_eq!(lab.rename(&former, second, grace(LONG)).await, Renamed::Absent);
    assert!(lab.peek(&second).await.is_none());
    assert_eq!(lab.value(&key).await.as_deref(), Some("value"), "the successor is untouched");
}

/// A former key is taken for as long as its grace lasts, and free after it.
pub async fn a_former_key_is_taken_until_its_grace_has_passed<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let owner = Owner::from("owner");
    let (former, key) = renamed(&lab, &owner, "value", grace(lab.ticks(20))).await;
    let other = lab.one_more(&owner, "other").await;
    let entry = NewEntry::new(String::from("new"), LIVES).owner(owner.clone());
    assert_eq!(lab.try_insert(former, entry).await, Insert::Occupied);
    assert_eq!(lab.rename(&other, former, Rename::new()).await, Renamed::Occupied);
    assert_eq!(lab.value(&former).await.as_deref(), Some("value"));
    assert_eq!(lab.list(&owner).await, [key, other]);
    lab.advance(lab.ticks(20)).await;
    lab.insert_for(Some(&owner), former, "new", LIVES).await;
    assert_eq!(lab.value(&former).await.as_deref(), Some("new"));
    assert_eq!(lab.value(&key).await.as_deref(), Some("value"));
}

/// A former key is there one tick before the end of its grace and absent at it.
pub async fn a_grace_ends_exactly<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let owner = Owner::from("owner");
    let (former, key) = renamed(&lab, &owner, "value", grace(lab.ticks(20))).await;
    lab.advance(lab.ticks(10)).await;
    assert!(lab.slide(&former).await.is_some());
    lab.advance(lab.ticks(9)).await;
    assert!(lab.slide(&former).await.is_some(), "there one tick before the end");
    lab.advance(lab.ticks(1)).await;
    lab.assert_absent(&former, Some(&owner)).await;
    assert!(lab.peek(&key).await.is_some(), "the successor lives on");
}

/// Whatever ends the successor ends the former key with it.
pub async fn a_grace_never_outlives_the_successor<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let owner = Owner::from("owner");
    let (removed, key) = renamed(&lab, &owner, "removed", grace(LONG)).await;
    assert!(lab.remove(&key).await);
    lab.assert_absent(&removed, Some(&owner)).await;

    let (revoked, key) = renamed(&lab, &owner, "revoked", grace(LONG)).await;
    assert_eq!(lab.remove_owner(&owner, None).await, [key]);
    lab.assert_absent(&revoked, Some(&owner)).await;

    let mut rename = grace(LONG);
    rename.expiry = Some(Expiry::after(lab.ticks(10)));
    let (expired, _) = renamed(&lab, &owner, "expired", rename).await;
    lab.advance(lab.ticks(10)).await;
    lab.assert_absent(&expired, Some(&owner)).await;

    let (cleared, _) = renamed(&lab, &owner, "cleared", grace(LONG)).await;
    lab.clear().await;
    lab.assert_absent(&cleared, Some(&owner)).await;
}

/// Once the successor has ended, the former key leads nowhere, even when another entry is made
/// under the successor's key or its own.
pub async fn a_former_key_never_leads_to_another_entry<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let owner = Owner::from("owner");
    let (former, key) = renamed(&lab, &owner, "value", grace(LONG)).await;
    assert!(lab.remove(&key).await);
    lab.insert_for(Some(&owner), key, "another", LIVES).await;
    lab.assert_absent(&former, Some(&owner)).await;
    assert_eq!(lab.value(&key).await.as_deref(), Some("another"));

    let (former, key) = renamed(&lab, &owner, "again", grace(LONG)).await;
    assert!(lab.remove(&key).await);
    lab.insert_for(Some(&owner), former, "reused", LIVES).await;
    lab.insert_for(Some(&owner), key, "another", LIVES).await;
    assert!(lab.remove(&former).await);
    assert!(lab.peek(&former).await.is_none(), "removing the second entry ends the key");
    assert_eq!(lab.value(&key).await.as_deref(), Some("another"));

    let (former, key) = renamed(&lab, &owner, "away", grace(LONG)).await;
    assert_eq!(lab.remove_owner(&owner, None).await.len(), 3);
    let stranger = lab.key("stranger", Some(&owner));
    lab.insert_for(Some(&owner), stranger, "stranger", LIVES).await;
    lab.rename_now(&stranger, key, Rename::new()).await;
    lab.assert_absent(&former, Some(&owner)).await;
}

/// A key that was renamed twice leads to the last successor, and ends with it.
pub async fn a_chain_of_former_keys_leads_to_the_last_successor<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let owner = Owner::from("owner");
    let (first, second) = renamed(&lab, &owner, "value", grace(lab.ticks(30))).await;
    lab.advance(lab.ticks(10)).await;
    let third = lab.key("third", Some(&owner));
    lab.rename_now(&second, third, grace(lab.ticks(30))).await;
    for key in [&first, &second] {
        assert_eq!(lab.peek(key).await.expect("the grace lasts").key, third);
        let fourth = lab.key("fourth", Some(&owner));
        assert_eq!(lab.rename(key, fourth, grace(LONG)).await, Renamed::Superseded);
    }
    lab.advance(lab.ticks(19)).await;
    assert!(lab.peek(&first).await.is_some(), "there one tick before the end of its grace");
    lab.advance(lab.ticks(1)).await;
    assert!(lab.peek(&first).await.is_none(), "its own grace has passed");
    assert!(lab.peek(&second).await.is_some(), "the later one's has not");
    assert!(lab.remove(&second).await);
    for key in [&first, &second, &third] {
        lab.assert_absent(key, Some(&owner)).await;
    }
}

/// Renaming an entry does not revive a former key whose grace has passed.
pub async fn a_grace_that_has_passed_stays_passed<F: Fixture>(fixture: &F) {
    let lab = Lab::new(fixture).await;
    let owner = Owner::from("owner");
    let (first, second) = renamed(&lab, &owner, "value", grace(lab.ticks(5))).await;
    lab.advance(lab.ticks(5)).await;
    let third = lab.key("third", Some(&owner));
    lab.rename_now(&second, third, grace(LONG)).await;
    lab.assert_absent(&first, Some(&owner)).await;
    assert_eq!(lab.peek(&second).await.expect("its grace lasts").key, third);
}
