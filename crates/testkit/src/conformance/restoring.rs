//! Entries that are copied from another store.

use kvolt_cache::{
    Deadlines, Entry, Expiry, InsertOutcome, NewEntry, Owner, OwnerLimit, Predecessor, Store,
    Timestamp, Version,
};

use super::Fixture;
use super::law_fixture::{LIVES, LONG, LawFixture, inserted, owner, sorted};

/// The time by the store's clock.
async fn now<F: Fixture>(lab: &LawFixture<'_, F>) -> Timestamp {
    let key = lab.key("clock", None);
    lab.insert(key, "value", LIVES).await;
    let now = lab.get(&key).await.expect("it was inserted").read_at;
    let _ = lab.remove(&key).await;
    now
}

/// An entry as another store's scan gave it.
fn scanned<F: Fixture>(
    lab: &LawFixture<'_, F>,
    owner: Option<&Owner>,
    created: Timestamp,
    deadlines: Deadlines,
) -> NewEntry<String> {
    let (key, value) = (lab.key("elsewhere", owner), String::from("restored"));
    let version = Version::from_number(77);
    let entry = Entry::new(key, value, version, owner.cloned(), deadlines, created);
    NewEntry::restored(entry.created(created))
}

/// A restored entry has the deadlines, the last use and the creation that it had.
pub async fn a_restored_entry_keeps_its_times<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let owner = owner("owner");
    let now = now(&lab).await;
    let (created, used) = (now.saturating_sub(LONG * 3), now.saturating_sub(LONG));
    let idle = Some((LONG * 2, used.saturating_add(LONG * 2)));
    let absolute = Some(created.saturating_add(LONG * 5));
    let all = [
        Deadlines::new(idle, absolute),
        Deadlines::new(idle, None),
        Deadlines::new(None, absolute),
    ];
    for (number, deadlines) in all.into_iter().enumerate() {
        let key = lab.key(&format!("owned {number}"), Some(&owner));
        let created = created.saturating_add(lab.ticks(number as u32));
        let entry = scanned(&lab, Some(&owner), created, deadlines);
        assert_eq!(lab.try_insert(key, entry).await, inserted());
        let entry = lab.get(&key).await.expect("it has not ended");
        assert_eq!((entry.value.as_str(), &entry.owner), ("restored", &Some(owner.clone())));
        assert_eq!(entry.deadlines, deadlines);
        let listed = lab.listing(&owner).await;
        let listed = listed.iter().find(|entry| entry.key == key).expect("it is listed");
        assert_eq!((listed.created, listed.deadlines), (Some(created), deadlines));
        let plain = lab.key(&format!("plain {number}"), None);
        let entry = scanned(&lab, None, created, deadlines);
        assert_eq!(lab.try_insert(plain, entry).await, inserted());
        assert_eq!(lab.deadlines(&plain).await, deadlines);
    }
    let scanned = lab.scan_all(2).await.entries;
    assert_eq!(scanned.len(), 6);
    for entry in scanned.iter().filter(|entry| entry.owner.is_some()) {
        let since = entry.created.map(|made| made.since(created));
        assert!(since.is_some_and(|since| since <= lab.ticks(2)), "a scan has it, too: {since:?}");
    }
}

/// A restored entry lives on by the times that it has: it ends at them, and a use prolongs it.
pub async fn a_restored_entry_ends_at_its_deadline<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let now = now(&lab).await;
    let created = now.saturating_sub(LONG);
    let used = now.saturating_sub(lab.ticks(20));
    let in_ticks = |ticks| now.saturating_add(lab.ticks(ticks));
    let idle = Deadlines::new(Some((lab.ticks(60), used.saturating_add(lab.ticks(60)))), None);
    let absolute = Deadlines::new(None, Some(in_ticks(40)));
    let names = [("left", idle), ("used", idle), ("fixed", absolute)];
    let keys = names.map(|(name, _)| lab.key(name, None));
    for ((_, deadlines), key) in names.into_iter().zip(keys) {
        let entry = scanned(&lab, None, created, deadlines);
        assert_eq!(lab.try_insert(key, entry).await, inserted());
    }
    lab.advance(lab.ticks(20)).await;
    for key in keys {
        assert!(lab.get(&key).await.is_some(), "none has reached its deadline");
    }
    assert!(lab.touch(&keys[1]).await.is_some());
    assert!(lab.touch(&keys[2]).await.is_some());
    lab.advance(lab.ticks(20)).await;
    assert!(lab.get(&keys[0]).await.is_none(), "absent at its deadline");
    assert!(lab.get(&keys[1]).await.is_some(), "it was used");
    assert!(lab.get(&keys[2]).await.is_none(), "no use moves the absolute deadline");
}

/// An entry that has ended by the store's clock is not inserted, and nothing is changed.
pub async fn a_restored_entry_that_has_ended_is_not_inserted<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let owner = owner("owner");
    let now = now(&lab).await;
    let created = now.saturating_sub(LONG);
    let old = lab.one_more(&owner, "old").await;
    let past = now.saturating_sub(lab.ticks(1));
    let ended = [
        Deadlines::new(Some((LONG, past)), None),
        Deadlines::new(None, Some(past)),
        Deadlines::new(Some((LONG, now.saturating_add(LONG))), Some(past)),
    ];
    for deadlines in ended {
        let key = lab.key("key", Some(&owner));
        let entry = scanned(&lab, Some(&owner), created, deadlines)
            .limit(OwnerLimit::remove_oldest(1))
            .replaces(Predecessor::new(old).owner(owner.clone()));
        assert_eq!(lab.try_insert(key, entry).await, InsertOutcome::Expired, "{deadlines:?}");
        assert!(lab.get(&key).await.is_none());
        assert_eq!(lab.list(&owner).await, [old], "nothing was removed");
    }
}

/// Of an owner's entries the one that was created first is the oldest, in whatever order they
/// were inserted, for lists and for limits.
pub async fn restored_entries_are_listed_by_their_creation<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let owner = owner("owner");
    let now = now(&lab).await;
    let mut keys = Vec::new();
    for ago in [2, 5, 3] {
        let created = now.saturating_sub(LONG * ago);
        let deadlines = Deadlines::new(None, Some(now.saturating_add(LONG)));
        let key = lab.key(&format!("{ago} ago"), Some(&owner));
        let entry = scanned(&lab, Some(&owner), created, deadlines);
        assert_eq!(lab.try_insert(key, entry).await, inserted());
        keys.push(key);
    }
    let [second, fifth, third] = keys[..] else { unreachable!("there are three") };
    let newest = lab.one_more(&owner, "newest").await;
    assert_eq!(lab.list(&owner).await, [fifth, third, second, newest]);
    let last = lab.key("last", Some(&owner));
    let entry = NewEntry::new(String::from("value"), LIVES)
        .owner(owner.clone())
        .limit(OwnerLimit::remove_oldest(3));
    let InsertOutcome::Inserted { removed } = lab.try_insert(last, entry).await else {
        panic!("there is room once the oldest are gone");
    };
    assert_eq!(sorted(removed), sorted(vec![fifth, third]), "the oldest by their creation");
    assert_eq!(lab.list(&owner).await, [second, newest, last]);
}

/// The entries of a scan can be inserted into an empty store, and keep their data and times.
pub async fn a_scan_can_be_restored_elsewhere<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let owner = owner("owner");
    for name in ["first", "second", "third"] {
        lab.one_more(&owner, name).await;
    }
    let used = lab.one_more(&owner, "used").await;
    lab.insert(lab.key("plain", None), "plain", Expiry::idle_within(LONG, LONG * 2)).await;
    lab.advance(lab.ticks(5)).await;
    lab.touch(&used).await;
    let scanned = lab.scan_all(2).await.entries;
    let listed = lab.list(&owner).await;
    lab.clear().await;
    for entry in scanned.iter().rev() {
        let restored = NewEntry::restored(entry.clone());
        let key = lab.store.place(entry.key, entry.owner.as_ref());
        assert_eq!(lab.try_insert(key, restored).await, inserted());
    }
    assert_eq!(lab.list(&owner).await, listed, "in the same order");
    for before in scanned {
        let after = lab.get(&before.key).await.expect("it was restored");
        assert_eq!((after.value, after.owner), (before.value, before.owner));
        assert_eq!(after.deadlines, before.deadlines);
        assert_ne!(after.version, before.version, "it is another state");
    }
}
