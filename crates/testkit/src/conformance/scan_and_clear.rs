//! Operations on all entries.

use kvolt_cache::{Cursor, Expiry, NewEntry, RemoveOutcome, Store};

use super::Fixture;
use super::law_fixture::{LIVES, LawFixture, inserted, keys_of, owner, sorted};

/// Nothing is left after a clear, and the store goes on.
pub async fn clear_removes_everything<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let owner = owner("owner");
    let owned = lab.one_more(&owner, "owned").await;
    let plain = lab.key("plain", None);
    lab.insert(plain, "plain", Expiry::after(lab.ticks(1_000))).await;
    lab.clear().await;
    lab.assert_absent(&owned, Some(&owner)).await;
    lab.assert_absent(&plain, None).await;
    assert!(lab.scan(10).await.is_empty());
    lab.insert_for(Some(&owner), owned, "again", LIVES).await;
    assert_eq!(lab.list(&owner).await, [owned]);
    assert_eq!(lab.scan(10).await, [owned]);
    lab.clear().await;
    lab.clear().await;
}

/// Page by page, each live entry comes once, whatever the size of a page.
pub async fn a_scan_has_each_live_entry_once<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let owner = owner("owner");
    let mut keys = Vec::new();
    for number in 0..50 {
        let name = format!("key {number}");
        match number % 3 {
            0 => {
                let key = lab.key(&name, Some(&owner));
                lab.insert_for(Some(&owner), key, &name, LIVES).await;
                keys.push(key);
            }
            1 => {
                let key = lab.key(&name, None);
                lab.insert(key, &name, LIVES).await;
                keys.push(key);
            }
            _ => lab.insert(lab.key(&name, None), &name, Expiry::after(lab.ticks(20))).await,
        }
    }
    let _ = lab.remove(&keys.remove(7)).await;
    lab.advance(lab.ticks(20)).await;
    let keys = sorted(keys);
    for max_entries in [1, 2, 7, 1_000] {
        assert_eq!(lab.scan(max_entries).await, keys, "with pages of {max_entries}");
    }
}

/// An entry that lives during a whole scan comes once, also while others come and go.
pub async fn a_scan_misses_nothing_while_others_come_and_go<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    let mut stay = Vec::new();
    let mut go = Vec::new();
    for number in 0..60 {
        let key = lab.key(&format!("key {number}"), None);
        lab.insert(key, "value", LIVES).await;
        if number % 2 == 0 { stay.push(key) } else { go.push(key) }
    }
    let mut seen = Vec::new();
    let mut after = None;
    for step in 0..100_000 {
        let page = lab.store.scan(after.as_ref(), 3).await.expect("scan works");
        seen.extend(keys_of(&page.listing.entries));
        if let Some(key) = go.pop() {
            let _ = lab.remove(&key).await;
            let come = lab.key(&format!("come {step}"), None);
            let entry = NewEntry::new(String::from("value"), LIVES);
            assert_eq!(lab.try_insert(come, entry).await, inserted());
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(after, None, "a scan comes to an end");
    seen.retain(|key| stay.contains(key));
    assert_eq!(sorted(seen), sorted(stay), "each that stayed, once");
}

/// A count has what lives; what has ended may be in it until it is cleaned away.
pub async fn a_count_has_each_live_entry_once<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    assert_eq!(lab.count().await, 0);
    let owner = owner("owner");
    for name in ["first", "second", "third"] {
        lab.one_more(&owner, name).await;
    }
    let removed = lab.one_more(&owner, "removed").await;
    assert_eq!(lab.remove(&removed).await, RemoveOutcome::Removed);
    let plain = lab.key("plain", None);
    lab.insert(plain, "plain", LIVES).await;
    lab.replace_now(&plain, "changed", None).await;
    assert_eq!(lab.count().await, 4);

    lab.insert(lab.key("ends", None), "ends", Expiry::after(lab.ticks(20))).await;
    assert_eq!(lab.count().await, 5);
    lab.advance(lab.ticks(20)).await;
    assert!((4..=5).contains(&lab.count().await), "those that live, and what was not cleaned");
    lab.clear().await;
    assert_eq!(lab.count().await, 0);
}

/// A cursor of another store is misconfigured, and not the end or the beginning of a scan.
pub async fn a_cursor_of_another_store_is_an_error<F: Fixture>(fixture: &F) {
    let lab = LawFixture::new(fixture).await;
    lab.insert(lab.key("key", None), "value", LIVES).await;
    for bytes in [&b""[..], b"?!", &[255; 77]] {
        let cursor = Cursor::from_bytes(bytes);
        let error =
            lab.store.scan(Some(&cursor), 10).await.expect_err("it is no cursor of its own");
        assert!(error.is_misconfigured(), "{error}");
    }
}
