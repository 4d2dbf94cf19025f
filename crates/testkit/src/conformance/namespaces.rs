//! Two namespaces on one server.

use std::sync::{Arc, Mutex};

use kvolt_cache::{
    Expiry, Freshness, InsertOutcome, Key, NewEntry, Owner, OwnerLimit, Predecessor, RemoveOutcome,
    ReplaceOutcome, Store, Target,
};

use super::Fixture;
use super::law_fixture::{LIVES, LawFixture, inserted, keys_of, owner, sorted};

/// Two stores of two namespaces on one server, with an owner of one name in both.
struct Neighbours<'a, F: Fixture> {
    here: LawFixture<'a, F>,
    there: LawFixture<'a, F>,
    owner: Owner,
}

impl<'a, F: Fixture> Neighbours<'a, F> {
    async fn new(fixture: &'a F) -> Option<Self> {
        let here = LawFixture::new(fixture).await;
        let Some(store) = fixture.neighbour(&here.store).await else {
            here.not_checked("the fixture has no second namespace");
            return None;
        };
        let there = LawFixture::with(fixture, store);
        assert_ne!(here.store.namespace(), there.store.namespace(), "they are two namespaces");
        Some(Self { here, there, owner: owner("owner") })
    }

    /// The key that an id or a name has in a store's namespace.
    fn key(&self, lab: &LawFixture<'_, F>, name: &str, owner: Option<&Owner>) -> Key {
        lab.store.place(Key::from_id(Key::of(name).id(), lab.store.namespace()), owner)
    }
}

/// The keys that are made of one id in two namespaces are two keys, and one store's key is
/// nothing in the other.
pub async fn a_key_of_another_namespace_is_absent<F: Fixture>(fixture: &F) {
    let Some(both) = Neighbours::new(fixture).await else { return };
    let (here, there, owner) = (&both.here, &both.there, &both.owner);
    // Plain caches have the same keys in each namespace.
    let name = here.store.place(Key::of("name"), Some(owner));
    let id = both.key(here, "id", Some(owner));
    assert_ne!(id, both.key(there, "id", Some(owner)), "the namespace is part of the key");
    for key in [name, id] {
        here.insert_for(Some(owner), key, "here", LIVES).await;
        let seen = here.version(&key).await;
        there.assert_absent(&key, Some(owner)).await;
        let replaced = there.replace(&key, seen, "changed", None).await;
        assert!(matches!(replaced, ReplaceOutcome::Absent), "{replaced:?}");
        assert_eq!(there.remove_if(&key, Some(seen)).await, RemoveOutcome::Absent);
        let at = Target::new(&key).owner(owner);
        assert_eq!(
            there.store.remove(at, None).await.expect("remove works"),
            RemoveOutcome::Absent
        );
        let over = NewEntry::new(String::from("over"), LIVES)
            .replaces(Predecessor::new(key).owner(owner.clone()).seen(seen));
        let new = there.key("new", None);
        assert_eq!(there.try_insert(new, over).await, InsertOutcome::Conflict, "it is another's");
        let over = NewEntry::new(String::from("over"), LIVES)
            .replaces(Predecessor::new(key).owner(owner.clone()));
        assert_eq!(there.try_insert(new, over).await, inserted(), "there is nothing to remove");
        let _ = there.remove(&new).await;
        let entry = here.get(&key).await.expect("nothing reaches it from there");
        assert_eq!((entry.value.as_str(), entry.version), ("here", seen));
        let bounded = there.store.get(&key, Freshness::Bounded).await.expect("get works");
        assert!(bounded.is_none(), "no copy crosses, either");
    }
}

/// One key may be used in both, each with an entry of its own.
pub async fn a_key_is_free_in_another_namespace<F: Fixture>(fixture: &F) {
    let Some(both) = Neighbours::new(fixture).await else { return };
    let (here, there, owner) = (&both.here, &both.there, &both.owner);
    let key = here.store.place(Key::of("name"), Some(owner));
    here.insert_for(Some(owner), key, "here", LIVES).await;
    there.insert_for(Some(owner), key, "there", LIVES).await;
    here.replace_now(&key, "changed", None).await;
    assert_eq!(there.value(&key).await.as_deref(), Some("there"));
    assert_eq!(there.remove(&key).await, RemoveOutcome::Removed);
    assert_eq!(here.value(&key).await.as_deref(), Some("changed"));
    assert_eq!(here.list(owner).await, [key]);
    assert!(there.list(owner).await.is_empty());
}

/// An owner's list, limit and removal are those of one namespace.
pub async fn an_owner_is_another_in_another_namespace<F: Fixture>(fixture: &F) {
    let Some(both) = Neighbours::new(fixture).await else { return };
    let (here, there, owner) = (&both.here, &both.there, &both.owner);
    let mine = here.one_more(owner, "mine").await;
    let theirs = there.one_more(owner, "theirs").await;
    assert_eq!(here.list(owner).await, [mine]);
    assert_eq!(there.list(owner).await, [theirs]);

    let (name, limit) = (String::from("value"), OwnerLimit::remove_oldest(2));
    let second = here.key("second", Some(owner));
    let entry = NewEntry::new(name.clone(), LIVES).owner(owner.clone()).limit(limit);
    assert_eq!(here.try_insert(second, entry).await, inserted(), "the other's don't count");
    let third = there.key("third", Some(owner));
    let entry = NewEntry::new(name, LIVES).owner(owner.clone()).limit(OwnerLimit::refuse(2));
    assert_eq!(there.try_insert(third, entry).await, inserted(), "the other's don't count");

    assert_eq!(here.remove_owner(owner, Some(&theirs)).await, sorted(vec![mine, second]));
    assert!(here.list(owner).await.is_empty());
    assert_eq!(sorted(there.list(owner).await), sorted(vec![theirs, third]));
    assert!(there.get(&theirs).await.is_some());
}

/// A scan, a count and a clear are those of one namespace.
pub async fn scans_counts_and_clears_stay_in_their_namespace<F: Fixture>(fixture: &F) {
    let Some(both) = Neighbours::new(fixture).await else { return };
    let (here, there, owner) = (&both.here, &both.there, &both.owner);
    let mut expected = [Vec::new(), Vec::new()];
    for (lab, keys) in [here, there].into_iter().zip(&mut expected) {
        for number in 0..6 {
            let owner = (number % 2 == 0).then_some(owner);
            let name = format!("key {number}");
            let key = match number % 3 {
                0 => lab.store.place(Key::of(&name), owner),
                _ => both.key(lab, &name, owner),
            };
            lab.insert_for(owner, key, &name, LIVES).await;
            keys.push(key);
        }
    }
    let _ = here.remove(&expected[0].remove(5)).await;
    for (lab, keys) in [here, there].into_iter().zip(&expected) {
        for max_entries in [1, 100] {
            assert_eq!(lab.scan(max_entries).await, sorted(keys.clone()));
        }
        assert_eq!(lab.count().await, keys.len() as u64);
    }
    here.clear().await;
    assert_eq!((here.count().await, there.count().await), (0, 6));
    assert!(here.scan(10).await.is_empty());
    assert_eq!(there.scan(10).await, sorted(expected[1].clone()));
    assert_eq!(keys_of(&there.listing(owner).await).len(), 3);
}

/// An expired entry is reported to the callback of its own namespace.
pub async fn an_end_is_reported_in_its_namespace<F: Fixture>(fixture: &F) {
    let Some(both) = Neighbours::new(fixture).await else { return };
    let reported = [Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new()))];
    for (lab, keys) in [&both.here, &both.there].into_iter().zip(&reported) {
        let keys = Arc::clone(keys);
        let can_tell = lab.store.on_expired(Arc::new(move |key| {
            keys.lock().expect("no thread panicked").push(*key);
        }));
        if !can_tell {
            return lab.not_checked("the store can't tell what has ended");
        }
    }
    let reported = |number: usize| reported[number].lock().expect("no thread panicked").clone();
    let keys = [&both.here, &both.there].map(|lab| both.key(lab, "ends", Some(&both.owner)));
    let expiry = Expiry::after(both.here.ticks(10));
    both.here.insert_for(Some(&both.owner), keys[0], "value", expiry).await;
    both.there.insert_for(Some(&both.owner), keys[1], "value", expiry).await;
    both.here.advance(both.here.ticks(20)).await;
    both.here.clean_until(|| !reported(0).is_empty()).await;
    both.there.clean_until(|| !reported(1).is_empty()).await;
    assert_eq!((reported(0), reported(1)), (vec![keys[0]], vec![keys[1]]));
}
