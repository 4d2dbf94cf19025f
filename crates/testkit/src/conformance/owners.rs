//! Listing, removing and limiting by owner.

use kvolt_cache::{
    AtLimit, Expiry, InsertOutcome, NewEntry, OwnerLimit, Predecessor, RemoveOutcome,
};

use super::Fixture;
use super::law_fixture::{LIVES, LawFixture, inserted, owner, sorted};

/// A list has all of the owner's entries and no others, the oldest first.
pub async fn a_list_has_the_oldest_first<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let (one, other) = (owner("one"), owner("other"));
    let mut keys = Vec::new();
    for number in 0..20 {
        keys.push(lab.one_more(&one, &format!("one {number}")).await);
        lab.one_more(&other, &format!("other {number}")).await;
    }
    lab.touch(&keys[3]).await;
    assert_eq!(lab.list(&one).await, keys);
    assert_eq!(lab.list(&other).await.len(), 20);
    assert!(lab.list(&owner("on")).await.is_empty(), "a prefix is another name");
    assert!(lab.list(&owner("One")).await.is_empty(), "so is another case");
    assert!(lab.list(&owner("one ")).await.is_empty(), "so is one with a blank");
}

/// A removed or expired entry is in no list.
pub async fn a_list_never_has_an_ended_entry<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let owner = owner("owner");
    let expired = lab.key("expired", Some(&owner));
    lab.insert_for(Some(&owner), expired, "expired", Expiry::after(lab.ticks(10))).await;
    lab.advance(lab.ticks(1)).await;
    let removed = lab.one_more(&owner, "removed").await;
    let stays = lab.one_more(&owner, "stays").await;
    assert_eq!(lab.list(&owner).await, [expired, removed, stays]);
    let _ = lab.remove(&removed).await;
    assert_eq!(lab.list(&owner).await, [expired, stays]);
    lab.advance(lab.ticks(7)).await;
    assert_eq!(lab.list(&owner).await, [stays], "its deadline has come");
}

/// A removal by owner removes all of the owner's entries and no others, and returns the live keys.
pub async fn remove_owner_removes_all_of_the_owner_and_nothing_else<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let (one, other) = (owner("one"), owner("other"));
    let expired = lab.key("expired", Some(&one));
    lab.insert_for(Some(&one), expired, "expired", Expiry::after(lab.ticks(10))).await;
    let first = lab.one_more(&one, "first").await;
    let removed = lab.one_more(&one, "removed").await;
    let second = lab.one_more(&one, "second").await;
    let others = lab.one_more(&other, "others").await;
    let ownerless = lab.key("ownerless", None);
    lab.insert(ownerless, "ownerless", LIVES).await;
    let _ = lab.remove(&removed).await;
    lab.advance(lab.ticks(10)).await;

    assert_eq!(lab.remove_owner(&one, None).await, sorted(vec![first, second]));
    for key in [&first, &second, &removed, &expired] {
        lab.assert_absent(key, Some(&one)).await;
    }
    assert!(lab.get(&others).await.is_some() && lab.get(&ownerless).await.is_some());
    assert!(lab.remove_owner(&one, None).await.is_empty(), "there is nothing more");
    let again = lab.one_more(&one, "again").await;
    assert_eq!(lab.list(&one).await, [again], "the owner may have new ones");
}

/// The entry to keep stays as it is.
pub async fn remove_owner_keeps_the_one_that_is_named<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let owner = owner("owner");
    let first = lab.one_more(&owner, "first").await;
    let kept = lab.one_more(&owner, "kept").await;
    let third = lab.one_more(&owner, "third").await;
    assert_eq!(lab.remove_owner(&owner, Some(&kept)).await, sorted(vec![first, third]));
    assert_eq!(lab.value(&kept).await.as_deref(), Some("kept"));
    assert_eq!(lab.list(&owner).await, [kept]);
}

/// A key to keep that is not a live entry of this owner's keeps nothing.
pub async fn remove_owner_keeps_nothing_for_a_key_that_is_not_the_owners<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let (one, other) = (owner("one"), owner("other"));
    let others = lab.one_more(&other, "others").await;
    let removed = lab.one_more(&one, "removed").await;
    let _ = lab.remove(&removed).await;
    lab.remove_owner(&one, None).await;
    for keep in [others, removed, lab.key("nothing", Some(&one))] {
        let key = lab.one_more(&one, "key").await;
        assert_eq!(lab.remove_owner(&one, Some(&keep)).await, [key]);
        assert!(lab.get(&key).await.is_none());
    }
    assert!(lab.get(&others).await.is_some());
}

/// At the limit, one more is refused and nothing is changed.
pub async fn a_limit_refuses_one_more<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let owner = owner("owner");
    let entry = |at_most| {
        NewEntry::new(String::from("value"), LIVES)
            .owner(owner.clone())
            .limit(OwnerLimit::new(at_most, AtLimit::Refuse))
    };
    let keys = ["first", "second", "third"].map(|name| lab.key(name, Some(&owner)));
    for key in &keys[..2] {
        assert_eq!(lab.try_insert(*key, entry(2)).await, inserted());
        lab.advance(lab.ticks(1)).await;
    }
    assert_eq!(lab.try_insert(keys[2], entry(2)).await, InsertOutcome::LimitReached);
    assert_eq!(lab.list(&owner).await, keys[..2]);
    assert!(lab.get(&keys[2]).await.is_none());

    assert_eq!(lab.remove(&keys[0]).await, RemoveOutcome::Removed);
    assert_eq!(lab.try_insert(keys[2], entry(2)).await, inserted(), "a removed one doesn't count");
    assert_eq!(lab.list(&owner).await, keys[1..]);
}

/// At the limit, exactly as many of the oldest are removed as necessary, in the same step.
pub async fn a_limit_removes_the_oldest<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let owner = owner("owner");
    let entry = |at_most| {
        NewEntry::new(String::from("value"), LIVES)
            .owner(owner.clone())
            .limit(OwnerLimit::new(at_most, AtLimit::RemoveOldest))
    };
    let mut keys = Vec::new();
    for name in ["first", "second", "third", "fourth"] {
        keys.push(lab.one_more(&owner, name).await);
    }
    lab.touch(&keys[0]).await;
    let fifth = lab.key("fifth", Some(&owner));
    let InsertOutcome::Inserted { removed } = lab.try_insert(fifth, entry(3)).await else {
        panic!("there is room once the oldest are gone");
    };
    assert_eq!(sorted(removed), sorted(keys[..2].to_vec()), "the oldest, not the least used");
    for key in &keys[..2] {
        lab.assert_absent(key, Some(&owner)).await;
    }
    assert_eq!(lab.list(&owner).await, [keys[2], keys[3], fifth]);

    assert_eq!(lab.try_insert(fifth, entry(1)).await, InsertOutcome::Occupied);
    assert_eq!(lab.list(&owner).await.len(), 3, "a refused insertion removes nothing");
    let sixth = lab.key("sixth", Some(&owner));
    assert_eq!(lab.try_insert(sixth, entry(4)).await, inserted(), "there is room");
}

/// Entries that have ended, of another owner, or without an owner do not count.
pub async fn a_limit_counts_only_what_is_live_and_the_owners<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let (owner, other) = (owner("owner"), owner("other"));
    lab.one_more(&other, "others").await;
    let expired = lab.key("expired", Some(&owner));
    lab.insert_for(Some(&owner), expired, "expired", Expiry::after(lab.ticks(10))).await;
    let left = lab.one_more(&owner, "left").await;
    let over = NewEntry::new(String::from("value"), LIVES)
        .owner(other.clone())
        .replaces(Predecessor::new(left).owner(owner.clone()));
    assert_eq!(lab.try_insert(lab.key("gone", Some(&other)), over).await, inserted());
    lab.advance(lab.ticks(10)).await;
    for at_limit in [AtLimit::Refuse, AtLimit::RemoveOldest] {
        let key = lab.key("key", Some(&owner));
        let entry = NewEntry::new(String::from("value"), LIVES)
            .owner(owner.clone())
            .limit(OwnerLimit::new(1, at_limit));
        assert_eq!(lab.try_insert(key, entry).await, inserted());
        assert_eq!(lab.remove(&key).await, RemoveOutcome::Removed);
        let ownerless =
            NewEntry::new(String::from("value"), LIVES).limit(OwnerLimit::new(1, at_limit));
        let key = lab.key(&format!("ownerless, {at_limit:?}"), None);
        assert_eq!(lab.try_insert(key, ownerless).await, inserted(), "no owner, no limit");
    }
    assert_eq!(lab.list(&other).await.len(), 2);
}
