//! When entries end.

use std::sync::{Arc, Mutex};

use kvolt_cache::{
    Expiry, Freshness, InsertOutcome, NewEntry, Predecessor, RemoveOutcome, ReplaceOutcome, Store,
};

use super::Fixture;
use super::law_fixture::{LIVES, LawFixture, owner, sorted};

/// An unused entry is live one tick before its deadline and absent at it, without any cleaning.
pub async fn an_entry_is_there_until_its_deadline_and_absent_from_it_on<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
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
            let there = lab.get(key).await.is_some();
            assert_eq!(there, now < *ends, "{name}, which ends at {ends}, at tick {now}");
        }
    }
}

/// An expired entry is absent to every operation.
pub async fn an_expired_entry_is_absent_to_every_operation<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let owner = owner("owner");
    let key = lab.key("key", Some(&owner));
    lab.insert_for(Some(&owner), key, "value", Expiry::idle(lab.ticks(5))).await;
    lab.advance(lab.ticks(5)).await;
    lab.assert_absent(&key, Some(&owner)).await;
}

/// Each operation by itself finds nothing of an expired entry, also as the first to come.
pub async fn the_first_to_look_at_an_expired_entry_finds_nothing<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let owner = owner("owner");
    let mut keys = Vec::new();
    for name in ["touched", "removed", "replaced", "used", "read", "inserted over", "removed if"] {
        let key = lab.key(name, Some(&owner));
        lab.insert_for(Some(&owner), key, name, Expiry::after(lab.ticks(20))).await;
        keys.push(key);
    }
    let versions = [lab.version(&keys[2]).await, lab.version(&keys[6]).await];
    lab.advance(lab.ticks(20)).await;
    assert_eq!(lab.touch(&keys[0]).await, None, "a touch never revives");
    assert_eq!(lab.remove(&keys[1]).await, RemoveOutcome::Absent, "it was not live");
    let replaced = lab.replace(&keys[2], versions[0], "revived", Some(LIVES)).await;
    assert!(matches!(replaced, ReplaceOutcome::Absent), "{replaced:?}");
    assert!(lab.use_entry(&keys[3]).await.is_none(), "a use never revives");
    let bounded = lab.store.get(&keys[4], Freshness::Bounded).await.expect("get works");
    assert!(bounded.is_none(), "a copy ends with its entry");
    let new = lab.key("new", Some(&owner));
    let over = NewEntry::new(String::from("value"), LIVES)
        .owner(owner.clone())
        .replaces(Predecessor::new(keys[5]).owner(owner.clone()).seen(versions[0]));
    assert_eq!(lab.try_insert(new, over).await, InsertOutcome::Conflict, "it was not live");
    assert_eq!(lab.remove_if(&keys[6], Some(versions[1])).await, RemoveOutcome::Absent);
    assert!(lab.list(&owner).await.is_empty());
    assert!(lab.remove_owner(&owner, None).await.is_empty(), "only live ones are named");
    assert!(lab.scan(1).await.is_empty());
}

/// A key can be used again once its entry has expired, for any owner.
pub async fn a_key_is_free_again_once_its_entry_has_expired<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let owner = owner("owner");
    let key = lab.key("key", Some(&owner));
    lab.insert_for(Some(&owner), key, "first", Expiry::after(lab.ticks(5))).await;
    lab.advance(lab.ticks(5)).await;
    lab.insert(key, "second", LIVES).await;
    assert_eq!(lab.value(&key).await.as_deref(), Some("second"));
    assert!(lab.list(&owner).await.is_empty(), "the second has no owner");
    lab.advance(lab.ticks(20)).await;
    assert!(lab.get(&key).await.is_some(), "the first one's deadline does not end the second");

    let again = lab.key("again", Some(&owner));
    lab.insert_for(Some(&owner), again, "first", Expiry::after(lab.ticks(5))).await;
    lab.advance(lab.ticks(5)).await;
    lab.insert_for(Some(&owner), again, "second", LIVES).await;
    assert_eq!(lab.list(&owner).await, [again], "it is listed once");
}

/// The callback is called for each entry that has ended at a deadline, once, and for nothing else
/// that is gone. Not checked for a store without such reports.
pub async fn each_entry_that_expires_is_reported_once<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let reported = Arc::new(Mutex::new(Vec::new()));
    let reporting = Arc::clone(&reported);
    let can_tell = lab.store.on_expired(Arc::new(move |key| {
        reporting.lock().expect("no thread panicked").push(*key);
    }));
    if !can_tell {
        return lab.not_checked("the store can't tell what has ended");
    }
    assert!(!lab.store.on_expired(Arc::new(|_| ())), "a store has one callback");
    let reported = || sorted(reported.lock().expect("no thread panicked").clone());
    let (owner, revoked) = (owner("owner"), owner("revoked"));
    let after = |ticks| Expiry::after(lab.ticks(ticks));

    let (plain, owned) = (lab.key("plain", None), lab.key("owned", Some(&owner)));
    lab.insert(plain, "plain", after(30)).await;
    lab.insert_for(Some(&owner), owned, "owned", Expiry::idle(lab.ticks(30))).await;
    let lives = lab.key("lives", Some(&owner));
    lab.insert_for(Some(&owner), lives, "lives", LIVES).await;
    let prolonged = lab.key("prolonged", None);
    lab.insert(prolonged, "prolonged", after(30)).await;
    lab.replace_now(&prolonged, "prolonged", Some(LIVES)).await;
    let removed = lab.key("removed", None);
    lab.insert(removed, "removed", after(30)).await;
    assert_eq!(lab.remove(&removed).await, RemoveOutcome::Removed);
    let replaced = lab.key("replaced", Some(&owner));
    lab.insert_for(Some(&owner), replaced, "replaced", after(30)).await;
    let over = NewEntry::new(String::from("over"), LIVES).replaces(Predecessor::new(replaced));
    assert!(matches!(
        lab.try_insert(lab.key("over", None), over).await,
        InsertOutcome::Inserted { .. }
    ));
    lab.insert_for(Some(&revoked), lab.key("revoked", Some(&revoked)), "revoked", after(30)).await;
    assert_eq!(lab.remove_owner(&revoked, None).await.len(), 1);
    assert!(reported().is_empty(), "none has reached its deadline");

    lab.advance(lab.ticks(30)).await;
    let ended = sorted(vec![plain, owned]);
    lab.clean_until(|| reported().len() >= ended.len()).await;
    assert_eq!(reported(), ended);
    lab.advance(lab.ticks(30)).await;
    lab.clean_until(|| true).await;
    assert_eq!(reported(), ended, "once, and nothing else");
    assert!(lab.get(&lives).await.is_some() && lab.get(&prolonged).await.is_some());
}
