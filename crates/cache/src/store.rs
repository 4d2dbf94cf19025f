use std::future::Future;
use std::sync::Arc;

use crate::{
    AfterRead, Changes, Clock, Cursor, Deadlines, Entry, EntryList, EntryPage, EntryRef, Expiry,
    Freshness, InsertOutcome, Key, Namespace, NewEntry, Owner, RemoveOutcome, ReplaceOutcome,
    Result, Target, Version,
};

/// A callback for the key of each entry that has ended at a deadline: see [`Store::on_expired`].
///
/// It must return quickly, because the store calls it while it reclaims memory.
pub type OnExpired = Arc<dyn Fn(&Key) + Send + Sync>;

/// Time-limited storage in which every operation is atomic.
///
/// A store maps a [`Key`] to one entry: a value with a version, an optional owner, and up to two
/// deadlines. An entry past a deadline is absent at once, also before its memory is reclaimed.
///
/// # Laws
///
/// 1. Only [`insert`](Self::insert) creates an entry, and only under a key that has no live entry.
///    After a removal has returned, no later call finds the entry, whatever was in flight.
/// 2. [`replace`](Self::replace) takes effect only on the version that the caller names. The same
///    holds for [`remove`](Self::remove) and [`Predecessor`](crate::Predecessor) with a version.
/// 3. An entry is live until the tick before its deadline and absent from the deadline on. Only a
///    replacement with a new expiry moves the absolute deadline. No use moves the idle deadline
///    back.
/// 4. After [`remove_owner`](Self::remove_owner) has returned, no call finds an entry of that
///    owner that was inserted before the removal began, also while other entries are being
///    inserted. [`list`](Self::list) returns exactly the live entries. An entry's owner never
///    changes.
/// 5. `Err` means that the system failed, never that the entry does not exist. A call that returned
///    `Err` may or may not have taken effect.
/// 6. An entry that can't be read never hides another. [`list`](Self::list) and
///    [`scan`](Self::scan) return its key; [`remove`](Self::remove) without a version,
///    [`remove_owner`](Self::remove_owner) and [`clear`](Self::clear) remove it.
/// 7. The cost of an operation does not grow with entries that it does not return, except for
///    [`scan`](Self::scan), [`clear`](Self::clear) and [`count`](Self::count).
///
/// The test suite of `kvolt-testkit` checks these laws on any store.
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::{
///     Expiry, Freshness, InsertOutcome, Key, MemoryStore, NewEntry, RemoveOutcome, Result, Store,
/// };
///
/// async fn insert_and_remove(store: &impl Store<String>) -> Result<()> {
///     let key = Key::of("greeting");
///     let entry = NewEntry::new(String::from("hello"), Expiry::idle(Duration::from_secs(60)));
///     let inserted = store.insert(key, entry.clone()).await?;
///     assert!(matches!(inserted, InsertOutcome::Inserted { .. }));
///     assert_eq!(store.insert(key, entry).await?, InsertOutcome::Occupied);
///
///     assert_eq!(store.remove((&key).into(), None).await?, RemoveOutcome::Removed);
///     assert!(store.get(&key, Freshness::Strict).await?.is_none());
///     Ok(())
/// }
///
/// # pollster::block_on(async {
/// insert_and_remove(&MemoryStore::new()).await?;
/// # Ok::<(), kvolt_cache::Error>(()) }).unwrap();
/// ```
///
/// # Cancellation
///
/// Dropping a future before it has finished leaves its operation done or not done, never half done.
///
/// # Implementing it
///
/// Write `async fn` for each method. Each must be one round trip or one transaction. For two kinds
/// of system:
///
/// | operation | Redis, a string per entry and a sorted set per owner | SQL, a row per entry |
/// |---|---|---|
/// | `get` | `GETEX` without options | `SELECT` |
/// | `touch` | a script: compare the deadlines with `TIME`, `PEXPIREAT`, `SETRANGE` | `UPDATE … WHERE key = ? AND idle_deadline = ?` |
/// | `insert` | a script: `EXISTS`, `ZREMRANGEBYSCORE`, `ZCARD` for the limit, `SET`, `ZADD` | `INSERT … ON CONFLICT DO NOTHING`; with a limit, one transaction that locks the owner first |
/// | `replace` | a script: compare the version, `SET … KEEPTTL` | `UPDATE … WHERE version = ? AND` live |
/// | `remove` | a script: compare the version if there is one, `DEL`, `ZREM` | `DELETE` |
/// | `list`, `remove_owner` | a script over the owner's sorted set | `… WHERE owner = ?` |
/// | `scan` | `SCAN` on each node | by primary key, `WHERE key > ? ORDER BY key LIMIT ?` |
///
/// On a Redis Cluster the entries of an owner must share a slot: see [`place`](Self::place).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a store of `{V}`",
    label = "not a `Store<{V}>`",
    note = "a store of bytes needs a codec: wrap it in `Encoded`, for instance \
            `Encoded::new(store, Json)`, or `Encoded::new(store, RecordJson::new())` for sessions"
)]
pub trait Store<V>: Send + Sync + 'static {
    /// The namespace that the store was opened with.
    ///
    /// No operation of the store reaches an entry of another namespace, also if one server holds
    /// both.
    fn namespace(&self) -> &Namespace;

    /// The clock by which programs on this store read the time: a session's manager, a near cache.
    ///
    /// A store that is given a clock returns it, so that one clock moves the store and the programs
    /// on it. A store around another returns the clock of that one. A store whose server has its own
    /// clock returns [`Clock::system`], which a test [can't move](Clock::advance).
    fn clock(&self) -> Clock;

    /// Reads a live entry; `None` if there is none. Moves no deadline.
    ///
    /// Costs one plain command or statement on a remote store.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable
    /// ([`is_unavailable`](crate::Error::is_unavailable)), or if the entry exists but can't be
    /// read ([`is_corrupt`](crate::Error::is_corrupt)), for instance because a newer version of
    /// the program wrote it.
    fn get(
        &self,
        key: &Key,
        freshness: Freshness,
    ) -> impl Future<Output = Result<Option<Entry<V>>>> + Send;

    /// Starts the idle time of a live entry again, and returns its new deadlines; `None` if there
    /// is no live entry.
    ///
    /// It never creates an entry, never moves a deadline back and does not depend on the version.
    /// A store to which this is a write may leave the deadline where it is until enough of the
    /// idle time has passed (by default a sixteenth); its reads then show a
    /// [slide as due](Entry::slide_due). Costs one command or statement on a remote store.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable
    /// ([`is_unavailable`](crate::Error::is_unavailable)), or if the entry exists but can't be
    /// read ([`is_corrupt`](crate::Error::is_corrupt)). The deadlines are then unchanged.
    fn touch(&self, at: Target<'_>) -> impl Future<Output = Result<Option<Deadlines>>> + Send;

    /// Creates an entry under a key that has none, and removes its
    /// [predecessor](NewEntry::replaces) and the entries beyond the owner's
    /// [limit](NewEntry::limit), in one step.
    ///
    /// The only operation that creates. A predecessor of the same owner does not count towards the
    /// limit. If several refusals apply, the store may return any of them. Costs one command or
    /// transaction on a remote store.
    ///
    /// On a cluster, if the two owners differ, one step does not reach both keys. Then the store
    /// inserts the new entry first and removes the predecessor second. If the removal fails, the
    /// store removes the new entry again and returns an error or [`InsertOutcome::Conflict`]. A
    /// crash in between leaves both.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable
    /// ([`is_unavailable`](crate::Error::is_unavailable)) or full
    /// ([`is_full`](crate::Error::is_full)), if the value is too large
    /// ([`is_too_large`](crate::Error::is_too_large)), or if the limit is not between 1 and
    /// [`OwnerLimit::MAX`](crate::OwnerLimit::MAX)
    /// ([`is_misconfigured`](crate::Error::is_misconfigured)).
    fn insert(
        &self,
        key: Key,
        entry: NewEntry<V>,
    ) -> impl Future<Output = Result<InsertOutcome>> + Send;

    /// Replaces the value of a live entry if it still has the version `seen`.
    ///
    /// With `expiry`, both deadlines start again; without, they stay as they are. Costs one command
    /// or statement on a remote store.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable
    /// ([`is_unavailable`](crate::Error::is_unavailable)) or full
    /// ([`is_full`](crate::Error::is_full)), if the value is too large
    /// ([`is_too_large`](crate::Error::is_too_large)), or if the entry exists but can't be read
    /// ([`is_corrupt`](crate::Error::is_corrupt)).
    fn replace(
        &self,
        at: Target<'_>,
        seen: Version,
        value: V,
        expiry: Option<Expiry>,
    ) -> impl Future<Output = Result<ReplaceOutcome<V>>> + Send;

    /// Removes an entry; with `seen`, only if it still has that version.
    ///
    /// Without a version, it also removes an entry that can't be read, and returns
    /// [`RemoveOutcome::Removed`]. Costs one command or statement on a remote store.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable
    /// ([`is_unavailable`](crate::Error::is_unavailable)).
    fn remove(
        &self,
        at: Target<'_>,
        seen: Option<Version>,
    ) -> impl Future<Output = Result<RemoveOutcome>> + Send;

    /// Returns the owner's live entries, oldest first, and the keys of those that can't be read.
    ///
    /// Costs one command or statement on a remote store, and grows with the owner's entries.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable
    /// ([`is_unavailable`](crate::Error::is_unavailable)).
    fn list(&self, owner: &Owner) -> impl Future<Output = Result<EntryList<V>>> + Send;

    /// Removes the owner's entries except the one under `keep`, and returns the keys of those that
    /// were live or could not be read.
    ///
    /// Costs one command or transaction on a remote store, and grows with the owner's entries.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable
    /// ([`is_unavailable`](crate::Error::is_unavailable)).
    fn remove_owner(
        &self,
        owner: &Owner,
        keep: Option<&Key>,
    ) -> impl Future<Output = Result<Vec<Key>>> + Send;

    /// Returns a page of about `max_entries` live entries, after those of the page before. For
    /// administration.
    ///
    /// A scan of all pages returns each entry once that lives during the whole scan. Its cost grows
    /// with everything that the server holds, so it does not belong in the path of a request.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable
    /// ([`is_unavailable`](crate::Error::is_unavailable)), or if the cursor comes from
    /// another kind of store ([`is_misconfigured`](crate::Error::is_misconfigured)).
    fn scan(
        &self,
        after: Option<&Cursor>,
        max_entries: usize,
    ) -> impl Future<Output = Result<EntryPage<V>>> + Send;

    /// Removes every entry of the namespace that was inserted before the call began.
    ///
    /// The cost grows with everything that the server holds.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable
    /// ([`is_unavailable`](crate::Error::is_unavailable)).
    fn clear(&self) -> impl Future<Output = Result<()>> + Send;

    /// Returns the number of live entries in the namespace. For administration and metrics.
    ///
    /// The number is approximate: entries may change meanwhile, and it may include expired entries
    /// that are not reclaimed yet. The cost may grow with everything that the server holds.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable
    /// ([`is_unavailable`](crate::Error::is_unavailable)).
    fn count(&self) -> impl Future<Output = Result<u64>> + Send;

    /// Registers a callback for the keys of entries that have ended at a deadline. Returns `false`
    /// if this store has no such report (the default), or has a callback already.
    ///
    /// The store calls it when it reclaims the entry, which may be some time after the deadline.
    /// Each key is reported once, by one of the processes that share the store. A store and its
    /// clones have one callback.
    fn on_expired(&self, callback: OnExpired) -> bool {
        let _ = callback;
        false
    }

    /// The registry of tasks that wait for changes of entries, if the store has one. Defaults to
    /// none.
    ///
    /// The store notifies it of each replacement and each removal that this process makes through
    /// the store or a clone of it, before the call returns: by key, by owner, by a limit, of a
    /// predecessor, or by [`clear`](Self::clear). If the call fails and may have taken effect, the
    /// store notifies it of the keys that it knows. A store with a [`ChangeFeed`](crate::ChangeFeed)
    /// behind a near cache also notifies it of changes by other processes, as long as the feed is
    /// [current](Changes::current_for).
    fn changes(&self) -> Option<Arc<Changes>> {
        None
    }

    /// Shows a live entry to `visit` in the store's memory, and returns whether there was one.
    /// `None`, the default, means that the answer needs I/O: call [`get`](Self::get).
    ///
    /// If the visitor returns [`AfterRead::Slide`], a store that can do so without I/O starts the
    /// idle time again in the same step. Another store shows [`slide_due`](EntryRef::slide_due),
    /// and the caller calls [`touch`](Self::touch). The visitor runs again if the entry was changed
    /// meanwhile: its last answer counts.
    ///
    /// # Errors
    ///
    /// Returns an error as [`get`](Self::get) does.
    fn get_ready(
        &self,
        key: &Key,
        freshness: Freshness,
        visit: &mut dyn FnMut(EntryRef<'_, V>) -> AfterRead,
    ) -> Option<Result<bool>> {
        let _ = (key, freshness, visit);
        None
    }

    /// Changes a new key so that one step can reach it together with the owner's other entries.
    ///
    /// On a Redis Cluster, a step reaches one slot, and the owner's name selects the slot: there,
    /// this sets ten bits of the key's [id](Key::id), outside of its first eight bytes. Other
    /// stores return the key as it is (the default). An entry without an owner may have any key.
    fn place(&self, key: Key, owner: Option<&Owner>) -> Key {
        let _ = owner;
        key
    }
}
