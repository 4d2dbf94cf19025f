//! Two processes on one server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kvolt_cache::{
    InsertOutcome, NewEntry, Predecessor, RemoveOutcome, ReplaceOutcome, Store, Target,
};

use super::Fixture;
use super::law_fixture::{self, LIVES, LawFixture, inserted, owner, sorted};
use super::run_concurrently::{BlockingStore, THREADS, run_concurrently};

/// A change by one process is visible to the other: to a strict read and to every change.
pub async fn what_one_process_has_done_the_other_finds<F: Fixture>(fixture: &F) {
    let here = LawFixture::new(fixture).await;
    let Some(peer) = fixture.peer(&here.store).await else {
        return here.not_checked("the fixture has no second process");
    };
    let there = LawFixture::with(fixture, peer);
    assert_eq!(here.store.namespace(), there.store.namespace(), "it is the same store");
    let owner = owner("owner");
    let [key, other, new] = ["key", "other", "new"].map(|name| here.key(name, Some(&owner)));
    assert_eq!(there.key("key", Some(&owner)), key, "both place it alike");
    for (lab, key) in [(&here, key), (&there, other)] {
        lab.insert_for(Some(&owner), key, "first", LIVES).await;
        lab.advance(lab.ticks(1)).await;
    }
    for lab in [&here, &there] {
        // Both have it in their copies, if they keep any.
        assert!(lab.use_entry(&key).await.is_some() && lab.use_entry(&other).await.is_some());
        assert_eq!(lab.list(&owner).await, [key, other]);
        assert_eq!(lab.scan(10).await, sorted(vec![key, other]));
    }

    here.replace_now(&key, "second", None).await;
    let entry = there.get(&key).await.expect("it is there");
    assert_eq!((entry.value.as_str(), entry.version), ("second", here.version(&key).await));
    let late = NewEntry::new(String::from("late"), LIVES);
    assert_eq!(there.try_insert(key, late).await, InsertOutcome::Occupied);
    there.replace_now(&key, "third", None).await;
    assert_eq!(here.value(&key).await.as_deref(), Some("third"));

    assert_eq!(there.remove(&key).await, RemoveOutcome::Removed);
    here.assert_absent(&key, Some(&owner)).await;
    let over = NewEntry::new(String::from("new"), LIVES)
        .owner(owner.clone())
        .replaces(Predecessor::new(other).owner(owner.clone()).seen(here.version(&other).await));
    assert_eq!(here.try_insert(new, over).await, inserted());
    there.assert_absent(&other, Some(&owner)).await;
    assert_eq!(there.remove_owner(&owner, None).await, [new]);
    here.assert_absent(&new, Some(&owner)).await;
    assert_eq!(here.touch_at(Target::new(&new).owner(&owner)).await, None);
}

/// An answer that is not said to be a copy's is no older than the question, also where others of
/// the same process ask at the same moment and may share an answer.
pub async fn an_answer_that_is_no_copy_is_current<F: Fixture>(fixture: &F) {
    let caller = BlockingStore::new(fixture).await;
    let Some(peer) = caller.peer().await else { return };
    for round in 0..fixture.rounds() {
        let key = law_fixture::key(caller.store(), &format!("{round}"), None);
        assert_eq!(caller.insert(key, "0", None, None), inserted());
        let (done, peer) = (Arc::new(AtomicUsize::new(0)), peer.clone());
        run_concurrently(&caller, THREADS, move |caller, number| {
            if number == 0 {
                let mut seen = caller.get(&key).expect("it was inserted").version;
                for value in 1..=CHANGES {
                    let ReplaceOutcome::Replaced(version) =
                        caller.replace(&key, seen, value.to_string())
                    else {
                        panic!("nothing else changes it");
                    };
                    done.store(value, Ordering::SeqCst);
                    seen = version;
                }
                return;
            }
            while done.load(Ordering::SeqCst) < CHANGES {
                let before = done.load(Ordering::SeqCst);
                let entry = peer.get_bounded(&key).expect("nothing removes it");
                let value: usize = entry.value.parse().expect("the value is a number");
                assert!(entry.is_copy || value >= before, "{value}, and {before} was done before");
            }
        })
        .await;
    }
}

/// How many changes one process makes while the other reads.
const CHANGES: usize = 20;
