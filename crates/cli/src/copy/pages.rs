//! The entries of a store, page by page, read ahead.

use kvolt::cache::{AnyStore, Entry, Error, Key, Result, Store};
use tokio::sync::mpsc::{Receiver, channel};

use crate::store::copy_mark;

/// A key, and its entry unless that can't be read.
pub(super) type Found = (Key, Option<Entry<Vec<u8>>>);

/// The pages of a store, without the mark of a copy. Two are read ahead.
pub(super) struct Pages(Receiver<Result<Option<Vec<Found>>>>);

impl Pages {
    pub(super) fn of(store: AnyStore<Vec<u8>>, size: usize) -> Self {
        let (sender, receiver) = channel(2);
        tokio::spawn(async move {
            let mut after = None;
            loop {
                let page = store.scan(after.as_ref(), size).await;
                after = page.as_ref().ok().and_then(|page| page.next.clone());
                let is_last = after.is_none();
                let page = page.map(|page| {
                    let entries = page.listing.entries.into_iter();
                    let entries = entries.map(|entry| (entry.key, Some(entry)));
                    let unreadable = page.listing.unreadable.into_iter().map(|key| (key, None));
                    let mut found: Vec<Found> = entries.chain(unreadable).collect();
                    found.retain(|(key, _)| *key != copy_mark());
                    found.sort_unstable_by_key(|(key, _)| *key.as_bytes());
                    Some(found)
                });
                let has_failed = page.is_err();
                // The receiver is gone if the pass has failed.
                if sender.send(page).await.is_err() || has_failed {
                    return;
                }
                if is_last {
                    let _ = sender.send(Ok(None)).await;
                    return;
                }
            }
        });
        Self(receiver)
    }

    /// The next page, in the order of the keys; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Found>>> {
        let page = self.0.recv().await;
        page.unwrap_or_else(|| Err(Error::unavailable("the runtime is shutting down")))
    }
}
