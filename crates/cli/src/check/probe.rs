//! Whether the store does what sessions need: an entry is written, read, changed and removed.

use std::time::Duration;

use kvolt::cache::{
    AnyStore, Clock, Expiry, Freshness, InsertOutcome, Key, NewEntry, Owner, RemoveOutcome,
    ReplaceOutcome, Result, Store, Target,
};

use super::Report;

/// Writes an entry that no token leads to, and which ends within a minute if it can't be removed.
pub(super) async fn run(store: &AnyStore<Vec<u8>>, report: &mut Report) {
    let before = Clock::boot().now();
    match steps(store).await {
        Ok(None) => {
            let millis = Clock::boot().now().since(before).as_millis();
            report.ok(
                "access",
                format!("an entry was written, read, changed and removed in {millis} ms"),
            );
        }
        Ok(Some(step)) => report.error(
            "access",
            format!("the store does not keep what it was given: {step}"),
            "find out which program changes the store's data",
        ),
        Err(error) => report.error(
            "access",
            error.to_string(),
            "grant the user the permissions that the store's README names",
        ),
    }
}

/// The step that had a wrong outcome.
async fn steps(store: &AnyStore<Vec<u8>>) -> Result<Option<&'static str>> {
    let unique =
        format!("kvolt check {} {}", std::process::id(), Clock::system().now().as_millis());
    let owner = Owner::new("kvolt check")?;
    let key = store.place(Key::of(unique), Some(&owner));
    let target = Target::new(&key).owner(Some(&owner));
    let expiry = Expiry::idle_within(Duration::from_secs(30), Duration::from_secs(60));
    let entry = NewEntry::new(b"1".to_vec(), expiry).owner(owner.clone());
    if !matches!(store.insert(key, entry).await?, InsertOutcome::Inserted { .. }) {
        return Ok(Some("inserting"));
    }
    let done = async {
        let Some(read) = store.get(&key, Freshness::Strict).await? else {
            return Ok(Some("reading"));
        };
        let replaced = store.replace(target, read.version, b"2".to_vec(), None).await?;
        if !matches!(replaced, ReplaceOutcome::Replaced(_)) {
            return Ok(Some("replacing"));
        }
        if store.touch(target).await?.is_none() {
            return Ok(Some("sliding"));
        }
        let listed = store.list(&owner).await?;
        let is_listed = listed.entries.iter().any(|entry| entry.key == key);
        Ok((!is_listed).then_some("listing"))
    }
    .await;
    let removed = store.remove(target, None).await?;
    let is_removed = removed == RemoveOutcome::Removed;
    done.map(|step| step.or((!is_removed).then_some("removing")))
}
