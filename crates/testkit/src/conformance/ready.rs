//! Reads without I/O, and the placing of keys.

use kvolt_cache::{AfterRead, EntryRef, Expiry, Freshness, Key, Store, Target};

use super::Fixture;
use super::law_fixture::{LIVES, LawFixture, owner};

/// [`Store::get_ready`] shows the entry that [`Store::get`] returns, and returns whether it showed one.
pub async fn what_is_ready_agrees_with_what_is_read<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let owner = owner("owner");
    let key = lab.key("key", Some(&owner));
    lab.insert_for(Some(&owner), key, "value", LIVES).await;
    for asked in [&key, &lab.key("nothing", None)] {
        for (freshness, answer) in [
            (Freshness::Strict, AfterRead::Keep),
            (Freshness::Bounded, AfterRead::Keep),
            (Freshness::Bounded, AfterRead::Slide),
        ] {
            let mut seen = None;
            let mut visit = |entry: EntryRef<'_, String>| {
                seen = Some(entry.to_entry());
                answer
            };
            let Some(found) = lab.store.get_ready(asked, freshness, &mut visit) else {
                continue;
            };
            assert_eq!(found.expect("get_ready works"), seen.is_some(), "it says what it showed");
            let read = lab.get(asked).await;
            assert_eq!(seen.is_some(), read.is_some());
            if let (Some(seen), Some(read)) = (seen, read) {
                assert_eq!((seen.key, seen.version), (read.key, read.version));
                assert_eq!((seen.value, seen.owner), (read.value, read.owner));
                assert!(freshness == Freshness::Bounded || !seen.is_copy, "a copy is not strict");
            }
        }
    }
}

/// A visitor that returns `AfterRead::Keep` moves no deadline.
pub async fn a_look_moves_nothing<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let key = lab.key("key", None);
    lab.insert(key, "value", Expiry::idle(lab.ticks(20))).await;
    let before = lab.get(&key).await.expect("it was inserted");
    lab.advance(lab.ticks(10)).await;
    for freshness in [Freshness::Strict, Freshness::Bounded] {
        let _ = lab.store.get_ready(&key, freshness, &mut |_| AfterRead::Keep);
    }
    let after = lab.get(&key).await.expect("it has not ended");
    assert_eq!((after.deadlines, after.version), (before.deadlines, before.version));
    lab.advance(lab.ticks(10)).await;
    assert!(lab.get(&key).await.is_none(), "nothing used it");
}

/// A visitor's use starts the idle time again: in place, or by the touch that the entry asks for.
pub async fn a_use_starts_the_idle_time_again<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let idle = lab.ticks(40);
    let key = lab.key("key", None);
    lab.insert(key, "value", Expiry::idle(idle)).await;
    for _ in 0..3 {
        lab.advance(idle.saturating_sub(lab.slack(idle) + lab.ticks(10))).await;
        assert!(lab.use_entry(&key).await.is_some(), "it was used in time");
    }
    let alive = idle.saturating_sub(lab.slack(idle) + lab.ticks(1));
    lab.advance(alive).await;
    assert!(lab.get(&key).await.is_some(), "there one tick before the deadline");
    lab.advance(idle - alive).await;
    assert!(lab.get(&key).await.is_none(), "absent at the deadline");
}

/// A store that slides in place does so in the same call; another store shows that a slide is
/// due.
pub async fn a_use_in_place_needs_no_touch<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let idle = lab.ticks(100);
    let key = lab.key("key", None);
    lab.insert(key, "value", Expiry::idle(idle)).await;
    let made = lab.last_used(&key).await;
    lab.advance(lab.ticks(50)).await;
    let mut due = false;
    let mut visit = |entry: EntryRef<'_, String>| {
        assert!(entry.deadlines.last_used().is_some_and(|used| used <= entry.read_at));
        due = entry.slide_due;
        AfterRead::Slide
    };
    if !lab.shows_at_once(&key, &mut visit) {
        return;
    }
    let used = lab.last_used(&key).await.since(made);
    if due {
        let touched = lab.touch(&key).await.expect("it has not ended");
        let used = touched.last_used().expect("it has an idle time").since(made);
        assert!(used + lab.slack(idle) >= lab.ticks(50), "used {used:?} after it was made");
    } else {
        assert!(used + lab.slack(idle) >= lab.ticks(50), "used {used:?} after it was made");
    }
}

/// A visitor of an entry that has ended is not called.
pub async fn what_has_ended_is_shown_to_no_visitor<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let (ended, removed) = (lab.key("ended", None), lab.key("removed", None));
    lab.insert(ended, "value", Expiry::idle(lab.ticks(10))).await;
    lab.insert(removed, "value", LIVES).await;
    lab.use_entry(&removed).await;
    let _ = lab.remove(&removed).await;
    lab.advance(lab.ticks(10)).await;
    for key in [ended, removed] {
        for answer in [AfterRead::Slide, AfterRead::Keep] {
            let shown = lab.shows_at_once(&key, &mut |_| answer);
            assert!(!shown, "it has ended");
        }
        assert!(lab.get(&key).await.is_none(), "a visit revives nothing");
    }
}

/// A key is placed by setting at most ten bits outside of its first eight bytes, always in the
/// same way, and an owner's entries in the same place.
pub async fn a_place_is_a_few_bits_of_the_key<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let owners = [owner("one"), owner("other")];
    for owner in [None, Some(&owners[0]), Some(&owners[1])] {
        let mut changed = [0; Key::LEN];
        let mut placed = Vec::new();
        for number in 0..200 {
            let key = Key::from_id(Key::of([number]).id(), lab.store.namespace());
            let place = lab.store.place(key, owner);
            assert_eq!(lab.store.place(key, owner), place, "always in the same way");
            assert_eq!(lab.store.place(place, owner), place, "what is placed stays");
            assert!(place.is_in(lab.store.namespace()), "the namespace stays");
            for (changed, (from, to)) in
                changed.iter_mut().zip(key.as_bytes().iter().zip(place.as_bytes()))
            {
                *changed |= from ^ to;
            }
            placed.push(place);
        }
        let bits: u32 = changed.iter().map(|byte| byte.count_ones()).sum();
        assert!(bits <= 10, "{bits} bits were set");
        assert_eq!(changed[..8], [0; 8], "stores use the first eight bytes as the hash");
        if owner.is_some() {
            // The bits that are set say where; they are the same for each of the owner's.
            let place = |key: &Key| -> Vec<u8> {
                key.as_bytes().iter().zip(changed).map(|(byte, set)| byte & set).collect()
            };
            assert!(placed.iter().all(|key| place(key) == place(&placed[0])), "one place");
        }
        placed.sort_unstable();
        placed.dedup();
        assert_eq!(placed.len(), 200, "what differs still differs");
        let key = placed[0];
        lab.insert_for(owner, key, "value", LIVES).await;
        let at = Target::new(&key).owner(owner);
        assert!(lab.touch_at(at).await.is_some(), "it is found in its place");
        let _ = lab.remove(&key).await;
    }
}
