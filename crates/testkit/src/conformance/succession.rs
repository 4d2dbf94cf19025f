//! An insertion in the place of another entry, as at a login.

use kvolt_cache::{
    AtLimit, Expiry, InsertOutcome, NewEntry, Owner, OwnerLimit, Predecessor, Version,
};

use super::Fixture;
use super::law_fixture::{LIVES, LawFixture, inserted, owner};

/// An entry in the place of another.
fn over(key: kvolt_cache::Key, owner: Option<&Owner>, seen: Option<Version>) -> NewEntry<String> {
    let replaces = Predecessor::new(key).seen(seen);
    NewEntry::new(String::from("new"), LIVES).maybe_owner(owner.cloned()).replaces(replaces)
}

/// The new entry is live and the old one absent: of the same owner, of another, or of none.
pub async fn an_insertion_replaces_another_entry<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let (one, other) = (owner("one"), owner("other"));
    let owners = [None, Some(&one), Some(&other)];
    let mut number = 0;
    for from in owners {
        for to in owners {
            for (names_version, hint) in [(true, from), (false, from), (true, to), (false, None)] {
                number += 1;
                let old = lab.key(&format!("old {number}"), from);
                let new = lab.key(&format!("new {number}"), to);
                lab.insert_for(from, old, "old", LIVES).await;
                let seen = lab.version(&old).await;
                let mut entry = over(old, to, names_version.then_some(seen));
                entry.replaces.as_mut().expect("it has one").owner = hint.cloned();
                assert_eq!(lab.try_insert(new, entry).await, inserted(), "{from:?} to {to:?}");
                lab.assert_absent(&old, from).await;
                let entry = lab.get(&new).await.expect("it was inserted");
                assert_eq!((entry.value.as_str(), entry.owner.as_ref()), ("new", to));
                for owner in [&one, &other] {
                    let listed = lab.list(owner).await.contains(&new);
                    assert_eq!(listed, to == Some(owner), "it is its owner's alone");
                }
            }
        }
    }
    assert_eq!(lab.scan(10).await.len(), number, "nothing else is there");
}

/// With a version, an old entry that is absent or has another version is a conflict, and nothing
/// is done.
pub async fn an_insertion_over_another_version_does_nothing<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let (one, other) = (owner("one"), owner("other"));
    for (to, name) in [(Some(&one), "one"), (Some(&other), "other"), (None, "none")] {
        let changed = lab.one_more(&one, &format!("changed, {name}")).await;
        let removed = lab.one_more(&one, &format!("removed, {name}")).await;
        let ended = lab.key(&format!("ended, {name}"), Some(&one));
        lab.insert_for(Some(&one), ended, "ended", Expiry::after(lab.ticks(10))).await;
        let mut versions = Vec::new();
        for key in [changed, removed, ended] {
            versions.push((key, lab.version(&key).await));
        }
        lab.replace_now(&changed, "changed", None).await;
        let _ = lab.remove(&removed).await;
        lab.advance(lab.ticks(10)).await;
        let before = lab.list(&one).await;
        for (old, seen) in versions {
            let new = lab.key(&format!("new, {name}"), to);
            let mut entry = over(old, to, Some(seen));
            entry.limit = Some(OwnerLimit::remove_oldest(1));
            assert_eq!(lab.try_insert(new, entry).await, InsertOutcome::Conflict);
            lab.assert_absent(&new, to).await;
        }
        assert_eq!(lab.value(&changed).await.as_deref(), Some("changed"));
        assert_eq!(lab.list(&one).await, before, "a conflict removes nothing");
        let _ = lab.remove(&changed).await;
    }
}

/// Without a version, any entry under the old key is removed, and the key may be absent.
pub async fn an_insertion_over_nothing_is_an_insertion<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let owner = owner("owner");
    let [removed, ended, never] =
        ["removed", "ended", "never"].map(|name| lab.key(name, Some(&owner)));
    lab.insert_for(Some(&owner), removed, "value", LIVES).await;
    lab.insert_for(Some(&owner), ended, "value", Expiry::after(lab.ticks(10))).await;
    let _ = lab.remove(&removed).await;
    lab.advance(lab.ticks(10)).await;
    let mut keys = Vec::new();
    for (number, old) in [removed, ended, never].into_iter().enumerate() {
        let new = lab.key(&format!("new {number}"), Some(&owner));
        assert_eq!(lab.try_insert(new, over(old, Some(&owner), None)).await, inserted());
        keys.push(new);
        lab.advance(lab.ticks(1)).await;
    }
    assert_eq!(lab.list(&owner).await, keys);
}

/// A refused insertion leaves the old entry as it was.
pub async fn a_refused_insertion_replaces_nothing<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let (one, other) = (owner("one"), owner("other"));
    let taken = lab.one_more(&other, "taken").await;
    let old = lab.one_more(&one, "old").await;
    let before = lab.get(&old).await.expect("it is there");
    for seen in [None, Some(before.version)] {
        let occupied = lab.try_insert(taken, over(old, Some(&other), seen)).await;
        assert_eq!(occupied, InsertOutcome::Occupied);
        let limited = over(old, Some(&other), seen).limit(OwnerLimit::refuse(1));
        let new = lab.key("new", Some(&other));
        assert_eq!(lab.try_insert(new, limited).await, InsertOutcome::LimitReached);
        lab.assert_absent(&new, Some(&other)).await;
        let after = lab.get(&old).await.expect("it is still there");
        assert_eq!((after.value, after.version), (before.value.clone(), before.version));
        assert_eq!(lab.list(&one).await, [old]);
        assert_eq!(lab.list(&other).await, [taken]);
        assert_eq!(lab.value(&taken).await.as_deref(), Some("taken"));
    }
}

/// An entry is never its own predecessor: while it is live it occupies its key, whether or not its
/// version is right, and once it is absent there is no version to replace.
pub async fn an_entry_does_not_replace_itself<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let user = owner("user");
    for (owner, name) in [(None, "free"), (Some(&user), "owned")] {
        let key = lab.key(name, owner);
        lab.insert_for(owner, key, "old", LIVES).await;
        let seen = lab.version(&key).await;
        for limit in [None, Some(OwnerLimit::remove_oldest(1))] {
            for seen in [None, Some(seen)] {
                let entry = over(key, owner, seen).limit(limit);
                assert_eq!(lab.try_insert(key, entry).await, InsertOutcome::Occupied);
                assert_eq!(lab.value(&key).await.as_deref(), Some("old"));
            }
        }
        let _ = lab.remove(&key).await;
        let outcome = lab.try_insert(key, over(key, owner, Some(seen))).await;
        assert_eq!(outcome, InsertOutcome::Conflict);
        assert!(lab.get(&key).await.is_none(), "a refused insertion makes nothing");
        assert_eq!(lab.try_insert(key, over(key, owner, None)).await, inserted());
    }
}

/// A predecessor of the same owner does not count towards the limit.
pub async fn a_limit_does_not_count_what_is_replaced<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let owner = owner("owner");
    let first = lab.one_more(&owner, "first").await;
    let mut old = lab.one_more(&owner, "second").await;
    for (number, at_limit) in [AtLimit::Refuse, AtLimit::RemoveOldest].into_iter().enumerate() {
        for names_version in [false, true] {
            let new = lab.key(&format!("new {number}, {names_version}"), Some(&owner));
            let seen = lab.version(&old).await;
            let entry = over(old, Some(&owner), names_version.then_some(seen))
                .limit(OwnerLimit::new(2, at_limit));
            assert_eq!(lab.try_insert(new, entry).await, inserted(), "there is room for it");
            lab.advance(lab.ticks(1)).await;
            assert_eq!(lab.list(&owner).await, [first, new]);
            old = new;
        }
    }
    // The oldest is the one that is replaced, and then one more must go.
    let seen = lab.version(&first).await;
    let third = lab.one_more(&owner, "third").await;
    let new = lab.key("newest", Some(&owner));
    let entry = over(first, Some(&owner), Some(seen)).limit(OwnerLimit::remove_oldest(2));
    let removed = InsertOutcome::Inserted { removed: vec![old] };
    assert_eq!(lab.try_insert(new, entry).await, removed, "what was replaced is not named");
    assert_eq!(lab.list(&owner).await, [third, new]);
}

/// A predecessor of another owner makes no room in the limit.
pub async fn a_limit_counts_only_its_owners_entries<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let (one, other) = (owner("one"), owner("other"));
    let ownerless = lab.key("ownerless", None);
    lab.insert(ownerless, "ownerless", LIVES).await;
    let others = lab.one_more(&other, "others").await;
    let mut mine = lab.one_more(&one, "mine").await;
    for old in [ownerless, others] {
        let new = lab.key("new", Some(&one));
        let refused = over(old, Some(&one), None).limit(OwnerLimit::refuse(1));
        assert_eq!(lab.try_insert(new, refused).await, InsertOutcome::LimitReached);
        assert!(lab.get(&old).await.is_some(), "a refused insertion replaces nothing");
        let name = if old == others { "over the other's" } else { "over the ownerless" };
        let new = lab.key(name, Some(&one));
        let entry = over(old, Some(&one), None).limit(OwnerLimit::remove_oldest(1));
        let removed = InsertOutcome::Inserted { removed: vec![mine] };
        assert_eq!(lab.try_insert(new, entry).await, removed, "one too many");
        lab.assert_absent(&old, Some(&other)).await;
        lab.advance(lab.ticks(1)).await;
        assert_eq!(lab.list(&one).await, [new]);
        mine = new;
    }
}
