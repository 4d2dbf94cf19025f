//! Laws under concurrency: threads that do what collides, all at once, again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kvolt_cache::{Access, AtLimit, Insert, Key, Owner, Rename, Renamed, Replace, Version};

use super::Fixture;
use super::lab::{self, LONG, grace, inserted, limit, to_owner};
use super::together::{Caller, THREADS, together};

/// Reads that each round's readers make: enough that some are in flight at any moment.
const READS: usize = 20;

/// An owner and the keys of a round.
fn round_keys<F: Fixture>(caller: &Caller<F>, round: usize, owner: &Owner) -> Vec<Key> {
    let key = |number| lab::key(caller.store(), &format!("{round}, {number}"), Some(owner));
    (0..=THREADS).map(key).collect()
}

/// Of many insertions under one key, one makes the entry.
pub async fn of_concurrent_insertions_one_is_made<F: Fixture>(fixture: &F) {
    let caller = Caller::new(fixture).await;
    for round in 0..fixture.rounds() {
        let key = lab::key(caller.store(), &format!("{round}"), None);
        let answers = together(&caller, THREADS, move |caller, number| {
            (caller.insert(key, &number.to_string(), None, None), caller.get(&key, Access::PEEK))
        })
        .await;
        let made: Vec<_> = (0..THREADS).filter(|number| answers[*number].0 == inserted()).collect();
        let [made] = made[..] else { panic!("{made:?} of {THREADS} were made: {answers:?}") };
        for (inserted, read) in answers {
            assert!(inserted != Insert::LimitReached, "there was no limit");
            let read = read.expect("whoever was answered finds the entry");
            assert_eq!(read.value, made.to_string(), "nothing was overwritten");
        }
    }
}

/// Changes made by compare-and-swap all take effect, also while others slide.
pub async fn no_update_is_lost<F: Fixture>(fixture: &F) {
    let caller = Caller::new(fixture).await;
    let key = lab::key(caller.store(), "counter", None);
    assert_eq!(caller.insert(key, "0", None, None), inserted());
    let rounds = fixture.rounds();
    together(&caller, THREADS, move |caller, number| {
        for _ in 0..rounds {
            caller.increment(&key).expect("nobody removes it");
            if number == 0 {
                caller.get(&key, Access::SLIDE);
            }
        }
    })
    .await;
    let entry = caller.get(&key, Access::PEEK).expect("nobody removes it");
    assert_eq!(entry.value, (THREADS * rounds).to_string(), "each increment counts");
}

/// Of many replacements that name one version, one takes effect.
pub async fn of_concurrent_replacements_of_one_version_one_takes_effect<F: Fixture>(fixture: &F) {
    let caller = Caller::new(fixture).await;
    for round in 0..fixture.rounds() {
        let key = lab::key(caller.store(), &format!("{round}"), None);
        assert_eq!(caller.insert(key, "first", None, None), inserted());
        let seen = caller.get(&key, Access::PEEK).expect("it was inserted").version;
        let answers = together(&caller, THREADS, move |caller, number| {
            caller.replace(&key, seen, number.to_string())
        })
        .await;
        let replaced = |number: &usize| matches!(answers[*number], Replace::Replaced(_));
        let done: Vec<_> = (0..THREADS).filter(replaced).collect();
        let [done] = done[..] else { panic!("{done:?} took effect: {answers:?}") };
        let entry = caller.get(&key, Access::PEEK).expect("nobody removes it");
        assert_eq!(entry.value, done.to_string());
    }
}

/// Once a removal has returned, no read finds the entry, though others were sliding and
/// changing it when it came.
pub async fn a_read_in_flight_never_revives_a_removed_entry<F: Fixture>(fixture: &F) {
    let caller = Caller::new(fixture).await;
    for round in 0..fixture.rounds() {
        let key = lab::key(caller.store(), &format!("{round}"), None);
        assert_eq!(caller.insert(key, "0", None, None), inserted());
        let removed = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&removed);
        together(&caller, THREADS, move |caller, number| {
            if number == 0 {
                caller.get(&key, Access::SLIDE);
                assert!(caller.remove(&key), "there is one, and nobody else removes it");
                shared.store(true, Ordering::SeqCst);
                assert!(caller.get(&key, Access::SLIDE).is_none(), "it was removed");
                return;
            }
            for _ in 0..READS {
                let gone = shared.load(Ordering::SeqCst);
                let found = match number {
                    1 => caller.increment(&key).is_some(),
                    _ => caller.get(&key, Access::SLIDE).is_some(),
                };
                assert!(!(gone && found), "found after the removal had returned");
            }
        })
        .await;
        assert!(caller.get(&key, Access::PEEK).is_none(), "something in flight revived it");
    }
}

/// Of many removals of one entry, one says that it was there.
pub async fn of_concurrent_removals_one_removes<F: Fixture>(fixture: &F) {
    let caller = Caller::new(fixture).await;
    for round in 0..fixture.rounds() {
        let key = lab::key(caller.store(), &format!("{round}"), None);
        assert_eq!(caller.insert(key, "value", None, None), inserted());
        let removed = together(&caller, THREADS, move |caller, _| {
            let removed = caller.remove(&key);
            assert!(caller.get(&key, Access::SLIDE).is_none(), "a removal has returned");
            removed
        })
        .await;
        assert_eq!(removed.into_iter().filter(|removed| *removed).count(), 1);
    }
}

/// Nothing that was inserted before a removal by owner survives it, also while more is inserted.
pub async fn remove_owner_misses_nothing_while_others_are_inserted<F: Fixture>(fixture: &F) {
    let caller = Caller::new(fixture).await;
    for round in 0..fixture.rounds() {
        let owner = Owner::new(format!("owner {round}"));
        let names =
            |thread: usize| (0..READS).map(move |name| format!("{round}, {thread}, {name}"));
        let keys: Vec<Vec<Key>> = (1..THREADS)
            .map(|thread| {
                names(thread).map(|name| lab::key(caller.store(), &name, Some(&owner))).collect()
            })
            .collect();
        let keys = Arc::new(keys);
        let progress: Arc<Vec<AtomicUsize>> =
            Arc::new((1..THREADS).map(|_| AtomicUsize::new(0)).collect());
        let (shared, all) = (owner.clone(), Arc::clone(&keys));
        together(&caller, THREADS, move |caller, number| {
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
                    let survived = caller.get(key, Access::SLIDE).is_some();
                    assert!(!survived && !listed.contains(key), "inserted before, and still there");
                }
            }
        })
        .await;
        let listed = caller.list(&owner);
        for key in keys.iter().flatten() {
            let there = caller.get(key, Access::PEEK).is_some();
            assert_eq!(there, listed.contains(key), "the list has what is there");
        }
        let removed = caller.remove_owner(&owner, None);
        assert_eq!(lab::sorted(removed), lab::sorted(listed));
        let survived = |key: &&Key| caller.get(key, Access::PEEK).is_some();
        assert_eq!(keys.iter().flatten().find(survived), None);
    }
}

/// The limit holds exactly under concurrent insertions, by refusal and by removal of the oldest.
pub async fn a_limit_holds_under_concurrent_insertions<F: Fixture>(fixture: &F) {
    let caller = Caller::new(fixture).await;
    for round in 0..fixture.rounds() {
        let at_limit =
            if round.is_multiple_of(2) { AtLimit::Refuse } else { AtLimit::RemoveOldest };
        let owner = Owner::new(format!("owner {round}"));
        let keys = round_keys(&caller, round, &owner);
        let shared = owner.clone();
        let answers = together(&caller, THREADS, move |caller, number| {
            let limit = Some(limit(2, at_limit));
            let answer = caller.insert(keys[number], "value", Some(&shared), limit);
            assert!(caller.list(&shared).len() <= 2, "never more than allowed, not for a moment");
            answer
        })
        .await;
        let made = |answer: &&Insert| matches!(answer, Insert::Inserted { .. });
        let removed: usize = answers
            .iter()
            .map(|answer| match answer {
                Insert::Inserted { removed } => removed.len(),
                _ => 0,
            })
            .sum();
        assert_eq!(caller.list(&owner).len(), 2, "as many as allowed: {answers:?}");
        assert_eq!(answers.iter().filter(made).count() - removed, 2, "{answers:?}");
        let expected = if at_limit == AtLimit::Refuse { 0 } else { THREADS - 2 };
        assert_eq!(removed, expected, "each that had to go is told once: {answers:?}");
    }
}

/// Of many renamings of one key, one moves the entry; the others make no second successor, and
/// take no grace from the one that did.
pub async fn of_concurrent_renamings_one_moves<F: Fixture>(fixture: &F) {
    let caller = Caller::new(fixture).await;
    for round in 0..fixture.rounds() {
        // All with a grace, all without, or half of them; with an owner and without.
        let has_grace = move |number: usize| match round % 3 {
            0 => true,
            1 => false,
            _ => number.is_multiple_of(2),
        };
        let owner = (round % 2 == 0).then(|| Owner::new(format!("owner {round}")));
        let key = |number| lab::key(caller.store(), &format!("{round}, {number}"), owner.as_ref());
        let keys: Vec<_> = (0..=THREADS).map(key).collect();
        let from = keys[THREADS];
        assert_eq!(caller.insert(from, "value", owner.as_ref(), None), inserted());
        let successors = keys.clone();
        let answers = together(&caller, THREADS, move |caller, number| {
            let rename = if has_grace(number) { grace(LONG) } else { Rename::new() };
            let answer = caller.rename(&from, successors[number], rename);
            let read = caller.get(&from, Access::SLIDE);
            if answer == lab::moved() {
                assert_eq!(read.is_some(), has_grace(number), "a renaming has returned");
            }
            answer
        })
        .await;
        let moved = |number: &usize| answers[*number] == lab::moved();
        let moved: Vec<_> = (0..THREADS).filter(moved).collect();
        let [moved] = moved[..] else { panic!("{moved:?} moved it: {answers:?}") };
        let other = if has_grace(moved) { Renamed::Superseded } else { Renamed::Absent };
        let refused = answers.iter().filter(|answer| **answer == other).count();
        assert_eq!(refused, THREADS - 1, "{moved} moved it: {answers:?}");
        let leads = caller.get(&from, Access::PEEK).map(|entry| entry.key);
        assert_eq!(leads, has_grace(moved).then_some(keys[moved]));
        if let Some(owner) = &owner {
            assert_eq!(caller.list(owner), [keys[moved]], "there is one successor");
        }
        for (number, key) in keys[..THREADS].iter().enumerate() {
            assert_eq!(caller.get(key, Access::PEEK).is_some(), number == moved);
        }
    }
}

/// Nothing escapes a removal by owner by being renamed at that moment, not even to where it
/// would be found again by its former key.
pub async fn a_renaming_never_escapes_remove_owner<F: Fixture>(fixture: &F) {
    let caller = Caller::new(fixture).await;
    for round in 0..fixture.rounds() {
        let owner = Owner::new(format!("owner {round}"));
        let keys = round_keys(&caller, round, &owner);
        let from = keys[THREADS];
        assert_eq!(caller.insert(from, "value", Some(&owner), None), inserted());
        let (shared, steps) = (owner.clone(), keys.clone());
        together(&caller, 3, move |caller, number| match number {
            0 => {
                let removed = caller.remove_owner(&shared, None);
                assert_eq!(removed.len(), 1, "it is there the whole time, under one key");
                for key in &steps {
                    assert!(caller.get(key, Access::SLIDE).is_none(), "it was removed");
                }
                assert!(caller.list(&shared).is_empty());
            }
            1 => {
                let mut from = from;
                for to in &steps[..THREADS] {
                    let renamed = caller.rename(&from, *to, grace(LONG));
                    assert!(
                        [lab::moved(), Renamed::Absent].contains(&renamed),
                        "nothing else is in the way: {renamed:?}"
                    );
                    from = *to;
                }
            }
            _ => {
                for _ in 0..READS {
                    caller.get(&from, Access::SLIDE);
                }
            }
        })
        .await;
        for key in &keys {
            assert!(caller.get(key, Access::PEEK).is_none(), "it was removed");
        }
        assert!(caller.list(&owner).is_empty());
    }
}

/// Nothing escapes a removal by its key by being renamed at that moment.
pub async fn a_renaming_never_undoes_a_removal<F: Fixture>(fixture: &F) {
    let caller = Caller::new(fixture).await;
    for round in 0..fixture.rounds() {
        let owner = Owner::new(format!("owner {round}"));
        let keys = round_keys(&caller, round, &owner);
        let (from, to) = (keys[0], keys[1]);
        assert_eq!(caller.insert(from, "value", Some(&owner), None), inserted());
        let answers = together(&caller, 3, move |caller, number| match number {
            0 => {
                let removed = caller.remove(&from);
                assert!(caller.get(&from, Access::SLIDE).is_none(), "it was removed");
                assert!(caller.get(&to, Access::SLIDE).is_none(), "it was removed");
                removed
            }
            1 => matches!(caller.rename(&from, to, grace(LONG)), Renamed::Moved { .. }),
            _ => (0..READS).all(|_| caller.get(&from, Access::SLIDE).is_none_or(|_| true)),
        })
        .await;
        assert!(answers[0], "it is there the whole time, under the key or its successor");
        assert!(caller.list(&owner).is_empty(), "it was removed");
    }
}

/// An entry that is renamed with a grace can be read by its former key at every moment, and is in
/// the owner's list at every moment.
pub async fn a_renaming_is_one_step_to_readers<F: Fixture>(fixture: &F) {
    let caller = Caller::new(fixture).await;
    for round in 0..fixture.rounds() {
        let (owner, other) = (Owner::from("owner"), Owner::from("owner"));
        let keys = round_keys(&caller, round, &owner);
        assert_eq!(caller.insert(keys[0], "value", Some(&owner), None), inserted());
        let steps = keys.clone();
        together(&caller, 3, move |caller, number| match number {
            0 => {
                for pair in steps.windows(2) {
                    let mut rename = to_owner(&other);
                    rename.grace = LONG;
                    assert_eq!(caller.rename(&pair[0], pair[1], rename), lab::moved());
                }
            }
            1 => {
                for _ in 0..READS {
                    let read = caller.get(&steps[0], Access::SLIDE);
                    assert!(read.is_some_and(|entry| entry.value == "value"), "it is there");
                }
            }
            _ => {
                for _ in 0..READS {
                    let listed = caller.list(&owner);
                    assert_eq!(listed.len(), 1, "it is there, once: {listed:?}");
                }
            }
        })
        .await;
        assert!(caller.remove(&keys[0]), "the first key leads to it");
    }
}

/// Updates and renamings at once: none of the updates is lost, whichever key they come by.
pub async fn no_update_is_lost_to_a_renaming<F: Fixture>(fixture: &F) {
    let caller = Caller::new(fixture).await;
    for round in 0..fixture.rounds() {
        let owner = Owner::new(format!("owner {round}"));
        let keys = round_keys(&caller, round, &owner);
        assert_eq!(caller.insert(keys[0], "0", Some(&owner), None), inserted());
        let steps = keys.clone();
        let counted = together(&caller, THREADS, move |caller, number| match number {
            0 => {
                let pairs = steps.windows(2);
                let renamed =
                    |pair: &&[Key]| caller.rename(&pair[0], pair[1], grace(LONG)) == lab::moved();
                assert_eq!(pairs.filter(renamed).count(), THREADS, "nothing is in the way");
                0
            }
            1 => increments(caller, &steps[THREADS]),
            _ => (0..READS).filter(|_| caller.increment(&steps[0]).is_some()).count(),
        })
        .await;
        let last = caller.get(&keys[THREADS], Access::PEEK).expect("it was renamed to there");
        assert_eq!(last.value, counted.iter().sum::<usize>().to_string(), "each one counts");
        assert_eq!(counted[2], READS, "the first key leads to it the whole time");
        assert!(caller.remove(&keys[THREADS]));
    }
}

/// Increments by the last key of a chain, as soon as it is there.
fn increments<F: Fixture>(caller: &Caller<F>, key: &Key) -> usize {
    (0..READS).filter(|_| caller.increment(key).is_some()).count()
}

/// A renaming that brings a value loses no update: it names a version, too.
pub async fn a_renaming_with_a_value_loses_no_update<F: Fixture>(fixture: &F) {
    let caller = Caller::new(fixture).await;
    for round in 0..fixture.rounds() {
        let owner = Owner::new(format!("owner {round}"));
        let keys = round_keys(&caller, round, &owner);
        let (from, to) = (keys[0], keys[1]);
        assert_eq!(caller.insert(from, "0", Some(&owner), None), inserted());
        let counted = together(&caller, 3, move |caller, number| {
            if number > 0 {
                return (0..READS).filter(|_| caller.increment(&from).is_some()).count();
            }
            loop {
                let entry = caller.get(&from, Access::PEEK).expect("nobody removes it");
                let mut rename = incremented(&entry.value, entry.version);
                rename.grace = LONG;
                match caller.rename(&from, to, rename) {
                    Renamed::Conflict => {}
                    renamed => {
                        assert_eq!(renamed, lab::moved());
                        return 1;
                    }
                }
            }
        })
        .await;
        let last = caller.get(&to, Access::PEEK).expect("it was renamed to there");
        assert_eq!(last.value, counted.iter().sum::<usize>().to_string(), "each one counts");
    }
}

fn incremented(value: &str, seen: Version) -> Rename<String> {
    let number: usize = value.parse().expect("the value is a number");
    lab::with_value(seen, &(number + 1).to_string())
}

/// A clear ends what was inserted before it, also while more is inserted and renamed.
pub async fn clear_misses_nothing_while_others_are_inserted<F: Fixture>(fixture: &F) {
    for round in 0..fixture.rounds().div_ceil(5) {
        let caller = Caller::new(fixture).await;
        let owner = Owner::from("owner");
        let keys = round_keys(&caller, round, &owner);
        let (before, moved) = (keys[0], keys[1]);
        assert_eq!(caller.insert(before, "value", Some(&owner), None), inserted());
        let steps = keys.clone();
        together(&caller, 3, move |caller, number| match number {
            0 => {
                caller.clear();
                assert!(caller.get(&before, Access::SLIDE).is_none(), "it was removed");
                assert!(caller.get(&moved, Access::SLIDE).is_none(), "it was removed");
            }
            1 => drop(caller.rename(&before, moved, grace(LONG))),
            _ => drop(
                steps[2..]
                    .iter()
                    .map(|key| caller.insert(*key, "", Some(&owner), None))
                    .collect::<Vec<_>>(),
            ),
        })
        .await;
        let owner = Owner::from("owner");
        let listed = caller.list(&owner);
        let there = |key: &&Key| caller.get(key, Access::PEEK).is_some_and(|now| now.key == **key);
        let there: Vec<Key> = keys.iter().filter(there).copied().collect();
        assert_eq!(lab::sorted(listed), lab::sorted(there), "the list has what is there");
    }
}
