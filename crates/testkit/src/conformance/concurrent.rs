//! Laws under concurrency: threads that do what collides, all at once, again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kvolt_cache::{
    AtLimit, Expiry, InsertOutcome, Key, NewEntry, Owner, OwnerLimit, Predecessor, RemoveOutcome,
    ReplaceOutcome,
};

use super::Fixture;
use super::law_fixture::{self, LONG, inserted, owner};
use super::run_concurrently::{BlockingStore, THREADS, run_concurrently};

/// Reads that each round's readers make: enough that some are in flight at any moment.
const READS: usize = 20;

/// An owner and the keys of a round.
fn round_keys<F: Fixture>(caller: &BlockingStore<F>, round: usize, owner: &Owner) -> Vec<Key> {
    let key = |number| law_fixture::key(caller.store(), &format!("{round}, {number}"), Some(owner));
    (0..=THREADS).map(key).collect()
}

/// Of many insertions under one key, one makes the entry.
pub async fn of_concurrent_insertions_one_is_made<F: Fixture>(fixture: &F) {
    let caller = BlockingStore::new(fixture).await;
    for round in 0..fixture.rounds() {
        let key = law_fixture::key(caller.store(), &format!("{round}"), None);
        let answers = run_concurrently(&caller, THREADS, move |caller, number| {
            (caller.insert(key, &number.to_string(), None, None), caller.get(&key))
        })
        .await;
        let made: Vec<_> = (0..THREADS).filter(|number| answers[*number].0 == inserted()).collect();
        let [made] = made[..] else { panic!("{made:?} of {THREADS} were made: {answers:?}") };
        for (inserted, read) in answers {
            assert!(inserted != InsertOutcome::LimitReached, "there was no limit");
            let read = read.expect("each caller that was answered finds the entry");
            assert_eq!(read.value, made.to_string(), "nothing was overwritten");
        }
    }
}

/// Changes made by compare-and-swap all take effect, also while others slide.
pub async fn no_update_is_lost<F: Fixture>(fixture: &F) {
    let caller = BlockingStore::new(fixture).await;
    let key = law_fixture::key(caller.store(), "counter", None);
    assert_eq!(caller.insert(key, "0", None, None), inserted());
    let rounds = fixture.rounds();
    run_concurrently(&caller, THREADS, move |caller, number| {
        for _ in 0..rounds {
            caller.increment(&key).expect("no call removes it");
            if number == 0 {
                caller.use_entry(&key);
            }
        }
    })
    .await;
    let entry = caller.get(&key).expect("no call removes it");
    assert_eq!(entry.value, (THREADS * rounds).to_string(), "each increment counts");
}

/// Of many replacements that name one version, one takes effect.
pub async fn of_concurrent_replacements_of_one_version_one_takes_effect<F: Fixture>(fixture: &F) {
    let caller = BlockingStore::new(fixture).await;
    for round in 0..fixture.rounds() {
        let key = law_fixture::key(caller.store(), &format!("{round}"), None);
        assert_eq!(caller.insert(key, "first", None, None), inserted());
        let seen = caller.get(&key).expect("it was inserted").version;
        let answers = run_concurrently(&caller, THREADS, move |caller, number| {
            caller.replace(&key, seen, number.to_string())
        })
        .await;
        let replaced = |number: &usize| matches!(answers[*number], ReplaceOutcome::Replaced(_));
        let done: Vec<_> = (0..THREADS).filter(replaced).collect();
        let [done] = done[..] else { panic!("{done:?} took effect: {answers:?}") };
        let entry = caller.get(&key).expect("no call removes it");
        assert_eq!(entry.value, done.to_string());
    }
}

/// Once a removal has returned, no read finds the entry, though others were sliding and
/// changing it when it came.
pub async fn a_read_in_flight_never_revives_a_removed_entry<F: Fixture>(fixture: &F) {
    let caller = BlockingStore::new(fixture).await;
    for round in 0..fixture.rounds() {
        let key = law_fixture::key(caller.store(), &format!("{round}"), None);
        caller.insert_used_long_ago(key, "0", None);
        let removed = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&removed);
        run_concurrently(&caller, THREADS, move |caller, number| {
            if number == 0 {
                caller.use_entry(&key);
                assert!(caller.remove(&key), "it exists, and no other call removes it");
                shared.store(true, Ordering::SeqCst);
                assert!(!caller.use_entry(&key), "it was removed");
                return;
            }
            for _ in 0..READS {
                let gone = shared.load(Ordering::SeqCst);
                let found = match number {
                    1 => caller.increment(&key).is_some(),
                    _ => caller.use_entry(&key),
                };
                assert!(!(gone && found), "found after the removal had returned");
            }
        })
        .await;
        assert!(caller.get(&key).is_none(), "something in flight revived it");
    }
}

/// Of many removals of one entry, one says that it was there.
pub async fn of_concurrent_removals_one_removes<F: Fixture>(fixture: &F) {
    let caller = BlockingStore::new(fixture).await;
    for round in 0..fixture.rounds() {
        let key = law_fixture::key(caller.store(), &format!("{round}"), None);
        assert_eq!(caller.insert(key, "value", None, None), inserted());
        let removed = run_concurrently(&caller, THREADS, move |caller, _| {
            let removed = caller.remove(&key);
            assert!(!caller.use_entry(&key), "a removal has returned");
            removed
        })
        .await;
        assert_eq!(removed.into_iter().filter(|removed| *removed).count(), 1);
    }
}

/// Nothing that was inserted before a removal by owner survives it, also while more is inserted.
pub async fn remove_owner_misses_nothing_while_others_are_inserted<F: Fixture>(fixture: &F) {
    let caller = BlockingStore::new(fixture).await;
    for round in 0..fixture.rounds() {
        let owner = owner(format!("owner {round}"));
        let names =
            |thread: usize| (0..READS).map(move |name| format!("{round}, {thread}, {name}"));
        let keys: Vec<Vec<Key>> = (1..THREADS)
            .map(|thread| {
                names(thread)
                    .map(|name| law_fixture::key(caller.store(), &name, Some(&owner)))
                    .collect()
            })
            .collect();
        let keys = Arc::new(keys);
        let progress: Arc<Vec<AtomicUsize>> =
            Arc::new((1..THREADS).map(|_| AtomicUsize::new(0)).collect());
        let (shared, all) = (owner.clone(), Arc::clone(&keys));
        run_concurrently(&caller, THREADS, move |caller, number| {
            if number > 0 {
                for key in &all[number - 1] {
                    assert_eq!(caller.insert(*key, "value", Some(&shared), None), inserted());
                    progress[number - 1].fetch_add(1, Ordering::SeqCst);
                }
                return;
            }
            let before: Vec<_> =
                progress.iter().map(|inserted| inserted.load(Ordering::SeqCst)).collect();
            caller.remove_owner(&shared, None);
            let listed = caller.list(&shared);
            for (keys, before) in all.iter().zip(before) {
                for key in &keys[..before] {
                    let survived = caller.use_entry(key);
                    assert!(!survived && !listed.contains(key), "inserted before, and still there");
                }
            }
        })
        .await;
        let listed = caller.list(&owner);
        for key in keys.iter().flatten() {
            let there = caller.get(key).is_some();
            assert_eq!(there, listed.contains(key), "the list has what is there");
        }
        let removed = caller.remove_owner(&owner, None);
        assert_eq!(law_fixture::sorted(removed), law_fixture::sorted(listed));
        let survived = |key: &&Key| caller.get(key).is_some();
        assert_eq!(keys.iter().flatten().find(survived), None);
    }
}

/// The limit holds exactly under concurrent insertions, by refusal and by removal of the oldest.
pub async fn a_limit_holds_under_concurrent_insertions<F: Fixture>(fixture: &F) {
    let caller = BlockingStore::new(fixture).await;
    for round in 0..fixture.rounds() {
        let at_limit =
            if round.is_multiple_of(2) { AtLimit::Refuse } else { AtLimit::RemoveOldest };
        let owner = owner(format!("owner {round}"));
        let keys = round_keys(&caller, round, &owner);
        let shared = owner.clone();
        let answers = run_concurrently(&caller, THREADS, move |caller, number| {
            let limit = Some(OwnerLimit::new(2, at_limit));
            let answer = caller.insert(keys[number], "value", Some(&shared), limit);
            assert!(caller.list(&shared).len() <= 2, "never more than allowed, not for a moment");
            answer
        })
        .await;
        let made = |answer: &&InsertOutcome| matches!(answer, InsertOutcome::Inserted { .. });
        let removed: usize = answers
            .iter()
            .map(|answer| match answer {
                InsertOutcome::Inserted { removed } => removed.len(),
                _ => 0,
            })
            .sum();
        assert_eq!(caller.list(&owner).len(), 2, "as many as allowed: {answers:?}");
        assert_eq!(answers.iter().filter(made).count() - removed, 2, "{answers:?}");
        let expected = if at_limit == AtLimit::Refuse { 0 } else { THREADS - 2 };
        assert_eq!(removed, expected, "each removed key is returned once: {answers:?}");
    }
}

/// Nothing escapes a removal by owner by being changed or used at that moment.
pub async fn a_change_never_escapes_remove_owner<F: Fixture>(fixture: &F) {
    let caller = BlockingStore::new(fixture).await;
    for round in 0..fixture.rounds() {
        let owner = owner(format!("owner {round}"));
        let keys = round_keys(&caller, round, &owner);
        for key in &keys {
            caller.insert_used_long_ago(*key, "0", Some(&owner));
        }
        let (shared, all) = (owner.clone(), keys.clone());
        run_concurrently(&caller, 3, move |caller, number| {
            if number == 0 {
                let removed = caller.remove_owner(&shared, None);
                assert_eq!(
                    law_fixture::sorted(removed),
                    law_fixture::sorted(all.clone()),
                    "each is there"
                );
                assert!(caller.list(&shared).is_empty());
            }
            for key in &all {
                match number {
                    0 => assert!(!caller.use_entry(key), "it was removed"),
                    1 => drop(caller.increment(key)),
                    _ => {
                        caller.touch(key);
                    }
                }
            }
        })
        .await;
        let survives = |key: &&Key| caller.get(key).is_some();
        assert_eq!(keys.iter().find(survives), None, "something in flight revived it");
        assert!(caller.list(&owner).is_empty());
    }
}

/// Of a removal and a replacement that name one version, one takes effect.
pub async fn of_a_removal_and_a_change_of_one_version_one_takes_effect<F: Fixture>(fixture: &F) {
    let caller = BlockingStore::new(fixture).await;
    for round in 0..fixture.rounds() {
        let owner = owner(format!("owner {round}"));
        let key = round_keys(&caller, round, &owner)[0];
        assert_eq!(caller.insert(key, "first", Some(&owner), None), inserted());
        let seen = caller.get(&key).expect("it was inserted").version;
        let answers = run_concurrently(&caller, THREADS, move |caller, number| {
            if number.is_multiple_of(2) {
                return caller.remove_if(&key, Some(seen)) == RemoveOutcome::Removed;
            }
            matches!(caller.replace(&key, seen, number.to_string()), ReplaceOutcome::Replaced(_))
        })
        .await;
        let done: Vec<_> = (0..THREADS).filter(|number| answers[*number]).collect();
        let [done] = done[..] else { panic!("{done:?} took effect") };
        let value = caller.get(&key).map(|entry| entry.value);
        let expected = (!done.is_multiple_of(2)).then(|| done.to_string());
        assert_eq!(value, expected, "what took effect is so");
        assert_eq!(caller.list(&owner).len(), usize::from(expected.is_some()));
        caller.remove(&key);
    }
}

/// A touch that was under way when the deadlines were set again leaves the new ones, and none of
/// many touches at once moves a deadline back.
pub async fn a_touch_in_flight_never_brings_old_deadlines_back<F: Fixture>(fixture: &F) {
    let caller = BlockingStore::new(fixture).await;
    for round in 0..fixture.rounds() {
        let key = law_fixture::key(caller.store(), &format!("{round}"), None);
        caller.insert_used_long_ago(key, "value", None);
        run_concurrently(&caller, THREADS, move |caller, number| {
            if number == 0 {
                let seen = caller.get(&key).expect("it is there").version;
                let new = Some(Expiry::idle_within(LONG / 2, LONG * 3));
                let replaced = caller.replace_with(&key, seen, String::from("changed"), new);
                assert!(matches!(replaced, ReplaceOutcome::Replaced(_)), "{replaced:?}");
            }
            let mut before = caller.get(&key).expect("it is there").deadlines;
            for _ in 0..READS {
                let touched = caller.touch(&key).expect("nothing removes it");
                let read = caller.get(&key).expect("nothing removes it").deadlines;
                for now in [touched, read] {
                    if number == 0 || before.absolute().is_some() {
                        assert_eq!(now.idle_timeout(), Some(LONG / 2), "the new deadlines stay");
                        assert!(now.absolute().is_some(), "the new deadlines stay");
                    }
                    // New deadlines start where they are set, which may be before a use.
                    let is_back = now.idle_timeout() == before.idle_timeout()
                        && now.last_used() < before.last_used();
                    assert!(!is_back, "{now:?} after {before:?}");
                    before = now;
                }
            }
        })
        .await;
        let after = caller.get(&key).expect("nothing removes it").deadlines;
        assert_eq!(after.idle_timeout(), Some(LONG / 2), "the new deadlines stay");
        assert!(after.absolute().is_some(), "the new deadlines stay");
    }
}

/// Once an entry has been absent at its deadline, nothing that was in flight then brings it back.
pub async fn nothing_in_flight_outlives_the_deadline<F: Fixture>(fixture: &F) {
    let caller = BlockingStore::new(fixture).await;
    for round in 0..fixture.rounds().div_ceil(5) {
        let key = law_fixture::key(caller.store(), &format!("{round}"), None);
        let expiry = Expiry::idle_within(LONG, caller.ticks(2));
        let entry = NewEntry::new(String::from("0"), expiry);
        assert_eq!(caller.insert_entry(key, entry), inserted());
        let ended = Arc::new(AtomicBool::new(false));
        run_concurrently(&caller, THREADS, move |caller, number| {
            if number == 0 {
                caller.advance(caller.ticks(2));
                let touched = caller.touch(&key);
                // Before the assertion, or the others would wait for a thread that has failed.
                ended.store(true, Ordering::SeqCst);
                assert!(touched.is_none(), "its deadline has come");
                return;
            }
            let mut was_absent = false;
            while !was_absent {
                was_absent = ended.load(Ordering::SeqCst);
                let found = match number {
                    1 => caller.touch(&key).is_some(),
                    2 => caller.use_entry(&key),
                    _ => caller.increment(&key).is_some(),
                };
                assert!(!(was_absent && found), "found after it had ended");
                was_absent |= !found;
            }
            assert!(!caller.use_entry(&key), "found after it had ended");
        })
        .await;
        assert!(caller.get(&key).is_none(), "something in flight revived it");
        assert_eq!(caller.insert(key, "again", None, None), inserted(), "its key is free");
    }
}

/// Owners of an old and a new entry, over all pairs: of one owner, of two, and without one.
fn owners(round: usize) -> (Option<Owner>, Option<Owner>) {
    let one = owner(format!("owner {round}"));
    let other = owner(format!("other {round}"));
    match round % 4 {
        0 => (Some(one.clone()), Some(one)),
        1 => (None, Some(one)),
        2 => (Some(other), Some(one)),
        _ => (None, None),
    }
}

/// Of many logins over one entry that name its version, one is done; the others are conflicts and
/// leave nothing behind.
pub async fn of_concurrent_logins_over_one_entry_one_is_done<F: Fixture>(fixture: &F) {
    let caller = BlockingStore::new(fixture).await;
    for round in 0..fixture.rounds() {
        let (from, to) = owners(round);
        let old = law_fixture::key(caller.store(), &format!("{round}, old"), from.as_ref());
        let name = |number| format!("{round}, {number}");
        let new: Vec<_> = (0..THREADS)
            .map(|number| law_fixture::key(caller.store(), &name(number), to.as_ref()))
            .collect();
        assert_eq!(caller.insert(old, "value", from.as_ref(), None), inserted());
        let seen = caller.get(&old).expect("it was inserted").version;
        let (keys, owner) = (new.clone(), to.clone());
        let answers = run_concurrently(&caller, THREADS, move |caller, number| {
            let replaces = Predecessor::new(old).owner(from.clone()).seen(seen);
            let answer = caller.log_in(keys[number], owner.as_ref(), None, replaces);
            if answer == inserted() {
                assert!(!caller.use_entry(&old), "the login has returned");
                assert!(caller.use_entry(&keys[number]), "the login has returned");
            }
            answer
        })
        .await;
        let done = answers.iter().filter(|answer| **answer == inserted()).count();
        let refused = answers.iter().filter(|answer| **answer == InsertOutcome::Conflict).count();
        assert_eq!((done, refused), (1, THREADS - 1), "{answers:?}");
        assert!(caller.get(&old).is_none(), "it was replaced");
        for (key, answer) in new.iter().zip(&answers) {
            assert_eq!(caller.get(key).is_some(), *answer == inserted(), "{answers:?}");
        }
        if let Some(owner) = &to {
            assert_eq!(caller.list(owner).len(), 1, "a refused login leaves nothing behind");
        }
    }
}

/// A login over an entry and a change of that entry: the change comes first and the login is a
/// conflict, or the login comes first and the change finds nothing.
pub async fn a_login_and_a_change_of_what_it_replaces_exclude_each_other<F: Fixture>(fixture: &F) {
    let caller = BlockingStore::new(fixture).await;
    for round in 0..fixture.rounds() {
        let (from, to) = owners(round);
        let old = law_fixture::key(caller.store(), &format!("{round}, old"), from.as_ref());
        let new = law_fixture::key(caller.store(), &format!("{round}, new"), to.as_ref());
        assert_eq!(caller.insert(old, "first", from.as_ref(), None), inserted());
        let seen = caller.get(&old).expect("it was inserted").version;
        let names_version = !round.is_multiple_of(3);
        let (hint, owner) = (from.clone(), to.clone());
        let answers = run_concurrently(&caller, 3, move |caller, number| match number {
            0 => {
                let replaces =
                    Predecessor::new(old).owner(hint.clone()).seen(names_version.then_some(seen));
                match caller.log_in(new, owner.as_ref(), None, replaces) {
                    InsertOutcome::Conflict => false,
                    answer => {
                        assert_eq!(answer, inserted());
                        true
                    }
                }
            }
            1 => match caller.replace(&old, seen, String::from("second")) {
                ReplaceOutcome::Conflict(now) => panic!("nothing else changes it: {now:?}"),
                answer => matches!(answer, ReplaceOutcome::Replaced(_)),
            },
            _ => {
                for _ in 0..READS {
                    caller.touch(&old);
                }
                false
            }
        })
        .await;
        let (logged_in, changed) = (answers[0], answers[1]);
        if names_version {
            assert!(logged_in != changed, "one of them takes effect: {answers:?}");
        } else {
            assert!(logged_in, "it replaces whatever is there");
        }
        let value = caller.get(&old).map(|entry| entry.value);
        assert_eq!(value.as_deref(), (!logged_in).then_some("second"), "{answers:?}");
        assert_eq!(caller.get(&new).is_some(), logged_in, "{answers:?}");
    }
}

/// A login over an entry and a logout of it: never do both entries live on, and with a version
/// the login is done only if it was the login that removed the entry.
pub async fn a_login_never_revives_what_was_logged_out<F: Fixture>(fixture: &F) {
    let caller = BlockingStore::new(fixture).await;
    for round in 0..fixture.rounds() {
        let (from, to) = owners(round);
        let old = law_fixture::key(caller.store(), &format!("{round}, old"), from.as_ref());
        let new = law_fixture::key(caller.store(), &format!("{round}, new"), to.as_ref());
        assert_eq!(caller.insert(old, "first", from.as_ref(), None), inserted());
        let seen = caller.get(&old).expect("it was inserted").version;
        let (hint, owner) = (from.clone(), to.clone());
        let answers = run_concurrently(&caller, 3, move |caller, number| match number {
            0 => {
                let replaces = Predecessor::new(old).owner(hint.clone()).seen(seen);
                caller.log_in(new, owner.as_ref(), None, replaces) == inserted()
            }
            1 => {
                let removed = caller.remove(&old);
                assert!(!caller.use_entry(&old), "a removal has returned");
                removed
            }
            _ => {
                for _ in 0..READS {
                    caller.touch(&old);
                }
                false
            }
        })
        .await;
        assert!(answers[0] != answers[1], "one of them removed it: {answers:?}");
        assert!(caller.get(&old).is_none(), "it was removed");
        assert_eq!(caller.get(&new).is_some(), answers[0], "{answers:?}");
        if let Some(owner) = &to {
            assert_eq!(caller.list(owner).len(), usize::from(answers[0]), "the list agrees");
        }
    }
}

/// A login over an entry of the same owner is one step to readers: its owner has one entry at
/// each moment, and a caller that finds the old one absent finds the new one.
pub async fn a_login_is_one_step_to_readers<F: Fixture>(fixture: &F) {
    let caller = BlockingStore::new(fixture).await;
    for round in 0..fixture.rounds() {
        let owner = owner(format!("owner {round}"));
        let keys = round_keys(&caller, round, &owner);
        assert_eq!(caller.insert(keys[0], "value", Some(&owner), None), inserted());
        let (steps, shared) = (keys.clone(), owner.clone());
        run_concurrently(&caller, 3, move |caller, number| match number {
            0 => {
                for pair in steps.windows(2) {
                    let seen = caller.get(&pair[0]).expect("nothing else removes it").version;
                    let replaces = Predecessor::new(pair[0]).owner(shared.clone()).seen(seen);
                    let limit = Some(OwnerLimit::refuse(1));
                    let answer = caller.log_in(pair[1], Some(&shared), limit, replaces);
                    assert_eq!(answer, inserted(), "what it replaces does not count");
                }
            }
            1 => {
                for _ in 0..READS {
                    let listed = caller.list(&shared);
                    assert_eq!(listed.len(), 1, "it is there, once: {listed:?}");
                }
            }
            _ => {
                for pair in steps.windows(2) {
                    while caller.get(&pair[0]).is_some() {}
                    let next = steps.iter().skip_while(|key| **key != pair[1]);
                    let there = next.filter(|key| caller.get(key).is_some()).count();
                    assert!(there > 0, "the login that removed the old one made the new one");
                }
            }
        })
        .await;
        assert_eq!(caller.list(&owner), keys[keys.len() - 1..]);
    }
}

/// The limit holds while many log in over entries of their own, of others and of none.
pub async fn a_limit_holds_under_concurrent_logins<F: Fixture>(fixture: &F) {
    let caller = BlockingStore::new(fixture).await;
    for round in 0..fixture.rounds() {
        let at_limit =
            if round.is_multiple_of(2) { AtLimit::Refuse } else { AtLimit::RemoveOldest };
        let owner = owner(format!("owner {round}"));
        let keys = round_keys(&caller, round, &owner);
        let anonymous: Vec<_> = (0..THREADS)
            .map(|number| {
                law_fixture::key(caller.store(), &format!("{round}, {number}, none"), None)
            })
            .collect();
        for key in &anonymous {
            assert_eq!(caller.insert(*key, "value", None, None), inserted());
        }
        let own = keys[THREADS];
        assert_eq!(caller.insert(own, "value", Some(&owner), None), inserted());
        let (shared, all, olds) = (owner.clone(), keys.clone(), anonymous.clone());
        let answers = run_concurrently(&caller, THREADS, move |caller, number| {
            // The first logs in over the entry that the owner has, the others over anonymous ones.
            let old = if number == 0 { own } else { olds[number] };
            let limit = Some(OwnerLimit::new(2, at_limit));
            let answer = caller.log_in(all[number], Some(&shared), limit, Predecessor::new(old));
            assert!(caller.list(&shared).len() <= 2, "never more than allowed, not for a moment");
            if matches!(answer, InsertOutcome::Inserted { .. }) {
                assert!(caller.get(&old).is_none(), "the login has returned");
            } else {
                assert_eq!(answer, InsertOutcome::LimitReached);
                assert!(number == 0 || caller.get(&old).is_some(), "a refusal removes nothing");
            }
            answer
        })
        .await;
        let listed = caller.list(&owner);
        assert_eq!(listed.len(), 2, "as many as allowed: {answers:?}");
        for (number, answer) in answers.iter().enumerate() {
            let refused = *answer == InsertOutcome::LimitReached;
            assert!(!refused || at_limit == AtLimit::Refuse, "{answers:?}");
            assert!(!refused || !listed.contains(&keys[number]), "{answers:?}");
        }
        for key in anonymous.iter().chain(&keys) {
            let is_owned = listed.contains(key);
            let entry = caller.get(key);
            let owned = entry.is_some_and(|entry| entry.owner.is_some());
            assert_eq!(owned, is_owned, "the list has what is there");
        }
    }
}

/// A removal by owner ends the entry that a login replaces, or the login's own: if the login was
/// done before it, nothing is left; if after it, only the new entry.
pub async fn a_login_never_saves_an_entry_from_remove_owner<F: Fixture>(fixture: &F) {
    let caller = BlockingStore::new(fixture).await;
    for round in 0..fixture.rounds() {
        let owner = owner(format!("owner {round}"));
        let keys = round_keys(&caller, round, &owner);
        assert_eq!(caller.insert(keys[0], "value", Some(&owner), None), inserted());
        let (steps, shared) = (keys.clone(), owner.clone());
        let progress = Arc::new(AtomicUsize::new(0));
        let removed = run_concurrently(&caller, 2, move |caller, number| {
            if number == 0 {
                for (step, pair) in steps.windows(2).enumerate() {
                    let replaces = Predecessor::new(pair[0]).owner(shared.clone());
                    let answer = caller.log_in(pair[1], Some(&shared), None, replaces);
                    assert_eq!(answer, inserted(), "nothing need be there");
                    progress.store(step + 1, Ordering::SeqCst);
                }
                return 0;
            }
            let before = progress.load(Ordering::SeqCst);
            let removed = caller.remove_owner(&shared, None);
            for key in &steps[..=before] {
                assert!(!caller.use_entry(key), "inserted before, and still there");
            }
            removed.len()
        })
        .await;
        assert!(removed[1] <= 1, "the owner has one at a time");
        let listed = caller.list(&owner);
        for key in &keys {
            assert_eq!(caller.get(key).is_some(), listed.contains(key), "the list agrees");
        }
        assert!(listed.len() <= 1, "the owner has one at a time: {listed:?}");
        caller.remove_owner(&owner, None);
    }
}

/// A clear ends what was inserted before it, also while more is inserted, changed and logged in
/// over.
pub async fn clear_misses_nothing_while_others_are_inserted<F: Fixture>(fixture: &F) {
    for round in 0..fixture.rounds().div_ceil(5) {
        let caller = BlockingStore::new(fixture).await;
        let owner = owner("owner");
        let keys = round_keys(&caller, round, &owner);
        let (before, changed) = (keys[0], keys[1]);
        for key in [before, changed] {
            assert_eq!(caller.insert(key, "0", Some(&owner), None), inserted());
        }
        let (steps, shared) = (keys.clone(), owner.clone());
        run_concurrently(&caller, 4, move |caller, number| match number {
            0 => {
                caller.clear();
                assert!(!caller.use_entry(&before), "it was removed");
                assert!(!caller.use_entry(&changed), "it was removed");
            }
            1 => {
                for _ in 0..READS {
                    caller.increment(&changed);
                }
            }
            2 => {
                let replaces = Predecessor::new(before).owner(shared.clone());
                let answer = caller.log_in(steps[2], Some(&shared), None, replaces);
                assert_eq!(answer, inserted(), "nothing need be there");
            }
            _ => {
                for key in &steps[3..] {
                    assert_eq!(caller.insert(*key, "", Some(&shared), None), inserted());
                }
            }
        })
        .await;
        let there: Vec<Key> =
            keys.iter().filter(|key| caller.get(key).is_some()).copied().collect();
        assert!(!there.contains(&before) && !there.contains(&changed), "they were removed");
        assert_eq!(
            law_fixture::sorted(caller.list(&owner)),
            law_fixture::sorted(there),
            "the list has what is there"
        );
    }
}
