//! Compare-and-swap.

use kvolt_cache::{Expiry, ReplaceOutcome};

use super::Fixture;
use super::law_fixture::{LIVES, LawFixture, owner};

/// Of two changes made from one version, the second is refused and nothing is lost.
pub async fn replace_takes_effect_only_on_the_version_that_it_names<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let key = lab.key("key", None);
    lab.insert(key, "first", LIVES).await;
    let seen = lab.version(&key).await;
    let replaced = lab.replace(&key, seen, "second", None).await;
    let ReplaceOutcome::Replaced(version) = replaced else {
        panic!("the version was current: {replaced:?}");
    };
    assert_eq!(lab.version(&key).await, version, "it returned the new version");
    let late = lab.replace(&key, seen, "late", Some(LIVES)).await;
    assert!(matches!(late, ReplaceOutcome::Conflict(_)), "the version was stale: {late:?}");
    assert_eq!(lab.value(&key).await.as_deref(), Some("second"));
    let third = lab.replace(&key, version, "third", None).await;
    assert!(matches!(third, ReplaceOutcome::Replaced(_)), "the version was current: {third:?}");
    assert_eq!(lab.value(&key).await.as_deref(), Some("third"));
}

/// A conflict brings the entry as it is now, from which the change can be made again.
pub async fn a_conflict_tells_how_the_entry_is_now<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let owner = owner("owner");
    let key = lab.key("key", Some(&owner));
    lab.insert_for(Some(&owner), key, "first", LIVES).await;
    let seen = lab.version(&key).await;
    lab.replace_now(&key, "second", None).await;
    let conflict = lab.replace(&key, seen, "late", None).await;
    let ReplaceOutcome::Conflict(entry) = conflict else {
        panic!("the version was stale: {conflict:?}");
    };
    assert_eq!((entry.key, entry.value.as_str()), (key, "second"));
    assert_eq!(entry.owner, Some(owner));
    let again = lab.replace(&key, entry.version, "again", None).await;
    assert!(matches!(again, ReplaceOutcome::Replaced(_)), "the version was current: {again:?}");
}

/// A replacement of what is not there, was removed or has expired makes nothing.
pub async fn replace_never_creates<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let (removed, expired) = (lab.key("removed", None), lab.key("expired", None));
    lab.insert(removed, "value", LIVES).await;
    lab.insert(expired, "value", Expiry::after(lab.ticks(10))).await;
    let versions = (lab.version(&removed).await, lab.version(&expired).await);
    let _ = lab.remove(&removed).await;
    lab.advance(lab.ticks(10)).await;
    for (key, seen) in [(removed, versions.0), (expired, versions.1)] {
        for expiry in [None, Some(LIVES)] {
            let replaced = lab.replace(&key, seen, "revived", expiry).await;
            assert!(matches!(replaced, ReplaceOutcome::Absent), "there is nothing: {replaced:?}");
        }
        lab.assert_absent(&key, None).await;
    }
}

/// Every replacement makes a version that was not there before, even with the
/// same value; reading makes none.
pub async fn every_replacement_changes_the_version_and_no_read_does<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let key = lab.key("key", None);
    lab.insert(key, "value", LIVES).await;
    let mut seen = Vec::new();
    for _ in 0..10 {
        let version = lab.version(&key).await;
        lab.advance(lab.ticks(1)).await;
        assert_eq!(lab.use_entry(&key).await.expect("it is there").version, version);
        assert_eq!(lab.version(&key).await, version);
        assert!(!seen.contains(&version), "{version:?} had been given before");
        seen.push(version);
        lab.replace_now(&key, "value", None).await;
    }
}

/// The version of an ended entry does not allow a change of the next entry under its key.
pub async fn a_version_of_an_ended_entry_does_not_fit_the_next_one<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let (removed, expired) = (lab.key("removed", None), lab.key("expired", None));
    lab.insert(removed, "first", LIVES).await;
    lab.insert(expired, "first", Expiry::after(lab.ticks(10))).await;
    let versions = (lab.version(&removed).await, lab.version(&expired).await);
    let _ = lab.remove(&removed).await;
    lab.advance(lab.ticks(10)).await;
    for (key, seen) in [(removed, versions.0), (expired, versions.1)] {
        lab.insert(key, "second", LIVES).await;
        let late = lab.replace(&key, seen, "late", None).await;
        assert!(matches!(late, ReplaceOutcome::Conflict(_)), "it was another entry: {late:?}");
        assert_eq!(lab.value(&key).await.as_deref(), Some("second"));
    }
}

/// A change alone is not use and prolongs nothing.
pub async fn a_replacement_keeps_the_deadlines<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let (idle, after) = (lab.key("idle", None), lab.key("after", None));
    lab.insert(idle, "value", Expiry::idle(lab.ticks(20))).await;
    lab.insert(after, "value", Expiry::after(lab.ticks(20))).await;
    lab.advance(lab.ticks(10)).await;
    for key in [idle, after] {
        let before = lab.get(&key).await.expect("it has not ended").deadlines;
        lab.replace_now(&key, "changed", None).await;
        assert_eq!(lab.get(&key).await.expect("it has not ended").deadlines, before);
    }
    lab.advance(lab.ticks(9)).await;
    assert!(lab.get(&idle).await.is_some() && lab.get(&after).await.is_some());
    lab.advance(lab.ticks(1)).await;
    assert!(lab.get(&idle).await.is_none() && lab.get(&after).await.is_none());
}

/// With an expiry, a replacement starts both deadlines again: later, earlier, or of the other kind.
pub async fn a_replacement_with_an_expiry_starts_the_deadlines_anew<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let ends_in = |ticks| Expiry::idle_within(lab.ticks(ticks), lab.ticks(ticks));
    let (longer, shorter) = (lab.key("longer", None), lab.key("shorter", None));
    let (other, refused) = (lab.key("other", None), lab.key("refused", None));
    for key in [longer, shorter, other, refused] {
        lab.insert(key, "value", ends_in(20)).await;
    }
    let stale = lab.version(&refused).await;
    lab.replace_now(&refused, "changed", None).await;
    lab.advance(lab.ticks(10)).await;
    lab.replace_now(&longer, "changed", Some(ends_in(20))).await;
    lab.replace_now(&shorter, "changed", Some(ends_in(5))).await;
    lab.replace_now(&other, "changed", Some(Expiry::idle(lab.ticks(30)))).await;
    let _ = lab.replace(&refused, stale, "late", Some(LIVES)).await;

    lab.advance(lab.ticks(4)).await;
    assert!(lab.get(&shorter).await.is_some(), "there one tick before the deadline");
    lab.advance(lab.ticks(1)).await;
    assert!(lab.get(&shorter).await.is_none(), "absent at the nearer deadline");
    lab.advance(lab.ticks(5)).await;
    assert!(lab.get(&refused).await.is_none(), "a refused replacement prolongs nothing");
    lab.advance(lab.ticks(9)).await;
    assert!(lab.use_entry(&longer).await.is_some(), "there one tick before the deadline");
    let absolute = lab.get(&other).await.expect("it has not ended").deadlines.absolute();
    assert_eq!(absolute, None, "the lifetime is gone with the old expiry");
    lab.advance(lab.ticks(1)).await;
    assert!(lab.get(&longer).await.is_none(), "the new lifetime is a lifetime");
    lab.advance(lab.ticks(9)).await;
    assert!(lab.get(&other).await.is_some(), "there one tick before the deadline");
    lab.advance(lab.ticks(1)).await;
    assert!(lab.get(&other).await.is_none(), "absent at the deadline");
}

/// A change leaves the entry with its owner, at its place in the list.
pub async fn a_replacement_keeps_the_owner<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let owner = owner("owner");
    let first = lab.one_more(&owner, "first").await;
    let second = lab.one_more(&owner, "second").await;
    lab.replace_now(&first, "changed", None).await;
    lab.replace_now(&first, "changed again", Some(LIVES)).await;
    assert_eq!(lab.list(&owner).await, [first, second]);
    assert_eq!(lab.remove_owner(&owner, Some(&second)).await, [first]);
}
