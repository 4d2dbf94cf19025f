//! Entries that can't be read: damaged ones, and those that a newer version has written.

use kvolt_cache::{InsertOutcome, Key, NewEntry, Owner, RemoveOutcome, Store, Target};

use super::Fixture;
use super::law_fixture::{LIVES, LawFixture, NO_VERSION, keys_of, owner, sorted};

/// How an entry becomes unreadable.
#[derive(Clone, Copy)]
enum Cause {
    Damaged,
    Newer,
}

/// A store with an owner's entries, of which some can't be read.
struct Damage<'a, F: Fixture> {
    lab: LawFixture<'a, F>,
    owner: Owner,
    /// The owner's entries that can be read, oldest first.
    readable: Vec<Key>,
    /// The owner's entries that can't.
    unreadable: Vec<Key>,
    /// An entry without an owner that can't be read.
    plain: Key,
}

impl<'a, F: Fixture> Damage<'a, F> {
    async fn new(fixture: &'a F, cause: Cause) -> Option<Self> {
        let lab = LawFixture::new(fixture).await;
        let owner = owner("owner");
        let (mut readable, mut unreadable) = (Vec::new(), Vec::new());
        for number in 0..5 {
            let key = lab.one_more(&owner, &format!("key {number}")).await;
            if number % 2 == 0 { readable.push(key) } else { unreadable.push(key) }
        }
        let plain = lab.key("plain", None);
        lab.insert(plain, "plain", LIVES).await;
        for key in unreadable.iter().chain([&plain]) {
            let done = match cause {
                Cause::Damaged => fixture.damage(&lab.store, key).await,
                Cause::Newer => fixture.write_newer(&lab.store, key).await,
            };
            if !done {
                lab.not_checked(match cause {
                    Cause::Damaged => "the fixture damages no entry",
                    Cause::Newer => "the fixture writes no newer entry",
                });
                return None;
            }
        }
        Some(Self { lab, owner, readable, unreadable, plain })
    }

    /// Reading says so, and nothing that reads or changes an entry touches it.
    async fn assert_refused(&self) {
        for key in self.unreadable.iter().chain([&self.plain]) {
            let error = self.lab.read(key).await.expect_err("it can't be read");
            assert!(error.is_corrupt(), "{error}");
            let value = String::from("changed");
            match self.lab.store.replace(Target::new(key), NO_VERSION, value, Some(LIVES)).await {
                Err(error) => assert!(error.is_corrupt(), "{error}"),
                // Its version differs from every version that was seen.
                Ok(replaced) => panic!("it can't be read: {replaced:?}"),
            }
            if let Err(error) = self.lab.store.touch(Target::new(key)).await {
                assert!(error.is_corrupt(), "{error}");
            }
            let entry = NewEntry::new(String::from("new"), LIVES);
            assert_eq!(self.lab.try_insert(*key, entry).await, InsertOutcome::Occupied);
            let removed = self.lab.remove_if(key, Some(NO_VERSION)).await;
            assert_ne!(removed, RemoveOutcome::Removed, "it has another version");
            let error = self.lab.read(key).await.expect_err("none of these changed it");
            assert!(error.is_corrupt(), "{error}");
        }
    }

    /// Lists and scans show what is readable, and name the rest.
    async fn assert_named(&self) {
        let listing = self.lab.store.list(&self.owner).await.expect("list works");
        assert_eq!(keys_of(&listing.entries), self.readable);
        assert_eq!(sorted(listing.unreadable), sorted(self.unreadable.clone()));
        let mut unreadable = self.unreadable.clone();
        unreadable.push(self.plain);
        for max_entries in [1, 3, 100] {
            let scanned = self.lab.scan_all(max_entries).await;
            assert_eq!(sorted(keys_of(&scanned.entries)), sorted(self.readable.clone()));
            assert_eq!(sorted(scanned.unreadable), sorted(unreadable.clone()));
        }
    }

    async fn assert_gone(&self, key: &Key) {
        assert!(self.lab.get(key).await.is_none(), "it was removed");
        assert_eq!(self.lab.touch(key).await, None, "it was removed");
        assert_eq!(self.lab.remove(key).await, RemoveOutcome::Absent, "it was removed");
    }

    /// Each can be removed by its key, with its owner named and without.
    async fn assert_removed_by_key(mut self) {
        for hint in [None, Some(self.owner.clone())] {
            let key = self.unreadable.pop().expect("there are two");
            let at = Target::new(&key).owner(hint.as_ref());
            let removed = self.lab.store.remove(at, None).await.expect("remove works");
            assert_eq!(removed, RemoveOutcome::Removed, "it counts as removed");
            self.assert_gone(&key).await;
            self.assert_named().await;
        }
        assert_eq!(self.lab.remove(&self.plain).await, RemoveOutcome::Removed);
        assert_eq!(self.lab.scan(10).await, sorted(self.readable.clone()));
        let key = self.lab.one_more(&self.owner, "key 1").await;
        assert!(self.lab.get(&key).await.is_some(), "its key is free again");
    }

    /// A removal by owner removes and names all of them, but the one to keep.
    async fn assert_removed_by_owner(&self) {
        let (keep, gone) = (self.unreadable[0], self.unreadable[1]);
        let removed = self.lab.remove_owner(&self.owner, Some(&keep)).await;
        let mut expected = self.readable.clone();
        expected.push(gone);
        assert_eq!(removed, sorted(expected));
        self.assert_gone(&gone).await;
        let error = self.lab.read(&keep).await.expect_err("it was kept");
        assert!(error.is_corrupt(), "{error}");
        assert_eq!(self.lab.remove_owner(&self.owner, None).await, [keep]);
        assert!(self.lab.list(&self.owner).await.is_empty());
        self.assert_gone(&keep).await;
    }

    async fn assert_cleared(&self) {
        self.lab.clear().await;
        assert!(self.lab.scan(10).await.is_empty());
        assert_eq!(self.lab.count().await, 0);
        for key in self.unreadable.iter().chain([&self.plain]) {
            self.assert_gone(key).await;
        }
    }
}

/// Reading or changing a damaged entry is an error, and leaves it in place.
pub async fn a_damaged_entry_is_an_error_and_stays<F: Fixture>(fixture: &F) {
    let Some(damage) = Damage::new(fixture, Cause::Damaged).await else { return };
    damage.assert_refused().await;
    damage.assert_named().await;
}

/// A damaged entry hides no other: lists and scans show those, and name it.
pub async fn a_damaged_entry_hides_no_other<F: Fixture>(fixture: &F) {
    let Some(damage) = Damage::new(fixture, Cause::Damaged).await else { return };
    damage.assert_named().await;
}

/// A damaged entry can be removed by its key.
pub async fn a_damaged_entry_can_be_removed<F: Fixture>(fixture: &F) {
    let Some(damage) = Damage::new(fixture, Cause::Damaged).await else { return };
    damage.assert_removed_by_key().await;
}

/// A removal by owner and a clear remove damaged entries, too.
pub async fn a_damaged_entry_goes_with_its_owner<F: Fixture>(fixture: &F) {
    let Some(damage) = Damage::new(fixture, Cause::Damaged).await else { return };
    damage.assert_removed_by_owner().await;
    let Some(damage) = Damage::new(fixture, Cause::Damaged).await else { return };
    damage.assert_cleared().await;
}

/// Reading or changing an entry in a newer format is an error, and leaves it in place.
pub async fn a_newer_entry_is_an_error_and_stays<F: Fixture>(fixture: &F) {
    let Some(damage) = Damage::new(fixture, Cause::Newer).await else { return };
    damage.assert_refused().await;
    damage.assert_named().await;
}

/// An entry in a newer format can be removed by its key, with its owner, and with everything.
pub async fn a_newer_entry_can_be_removed<F: Fixture>(fixture: &F) {
    let Some(damage) = Damage::new(fixture, Cause::Newer).await else { return };
    damage.assert_removed_by_key().await;
    let Some(damage) = Damage::new(fixture, Cause::Newer).await else { return };
    damage.assert_removed_by_owner().await;
    let Some(damage) = Damage::new(fixture, Cause::Newer).await else { return };
    damage.assert_cleared().await;
}
