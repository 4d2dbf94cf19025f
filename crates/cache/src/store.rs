use std::future::Future;
use std::sync::Arc;

use crate::{
    AfterRead, Changes, Cursor, Deadlines, Entry, EntryList, EntryPage, EntryRef, Expiry,
    Freshness, InsertOutcome, Key, Namespace, NewEntry, Owner, RemoveOutcome, ReplaceOutcome,
    Result, Target, Version,
};

/// Called with the key of each entry that has ended at a deadline; see [`Store::on_expired`].
///
/// It is called in the middle of cleaning: it must return at once.
pub type OnExpired = Arc<dyn Fn(&Key) + Send + Sync>;

/// How many entries a count by scanning reads at once.
const COUNTED_AT_ONCE: usize = 1_000;

/// Time-limited storage in which every operation is atomic.
///
/// A store maps a [`Key`] to one entry: a value with a version, possibly an
/// owner, and up to two deadlines. An entry past a deadline is absent at once,
/// whether or not its memory has been reclaimed.
///
/// # The laws
///
/// 1. Only [`insert`](Self::insert) creates an entry, and only where there is none.
///    Reading, touching and replacing never do. After a removal has returned,
///    no later call finds the entry, whatever was in flight.
/// 2. [`replace`](Self::replace) takes effect only on the version that it names; so do
///    [`remove`](Self::remove) and [`Predecessor`](crate::Predecessor) with a version.
/// 3. An entry is live until the tick before its deadline and absent from the
///    deadline on. The absolute deadline never moves, except by a replacement with new
///    deadlines. A deadline moved by use never moves back.
/// 4. After [`remove_owner`](Self::remove_owner) has returned, no entry of that
///    owner that was inserted before the call began is found, also while
///    others are being inserted. [`list`](Self::list) returns the live entries and no others.
///    An entry's owner never changes.
/// 5. `Err` means that the system failed, never "no such entry"; a call that
///    returned `Err` may or may not have taken effect.
/// 6. An entry that can't be read never hides another: it is named by its key in
///    [`list`](Self::list) and [`scan`](Self::scan), and removed by
///    [`remove`](Self::remove) without a version, [`remove_owner`](Self::remove_owner) and
///    [`clear`](Self::clear).
/// 7. No operation's cost grows with what it does not return, except for
///    [`scan`](Self::scan), [`clear`](Self::clear) and [`count`](Self::count).
///
/// `kvolt-testkit` has the suite that checks them; a store that has not passed
/// it is not a store.
///
/// # Cancellation
///
/// Dropping a future before it has finished leaves its operation done or not
/// done, never half done.
///
/// # Implementing it
///
/// Write `async fn` for each method. Each must be one round trip or one
/// transaction. How that goes on two kinds of system:
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
pub trait Store<V>: Send + Sync + 'static {
    /// The namespace that the store was opened with.
    ///
    /// Nothing that the store does reaches an entry of another namespace, on whatever server
    /// both are kept.
    fn namespace(&self) -> &Namespace;

    /// Reads a live entry. No deadline moves.
    ///
    /// Costs a remote store one plain command or statement.
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

    /// Starts the idle time of a live entry again, and returns its deadlines as they are then;
    /// `None` if there is no live entry.
    ///
    /// It never creates an entry, never moves a deadline back and does not depend on the version.
    /// A store on which this is a write may leave the deadline where it is until enough of the
    /// idle time has passed (a sixteenth, by default); its reads say so by
    /// [`slide_due`](Entry::slide_due).
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable
    /// ([`is_unavailable`](crate::Error::is_unavailable)), or if the entry exists but can't be
    /// read ([`is_corrupt`](crate::Error::is_corrupt)). The entry then has the deadlines it had.
    fn touch(&self, at: Target<'_>) -> impl Future<Output = Result<Option<Deadlines>>> + Send;

    /// Creates an entry where there is none, within the owner's limit and in the place of
    /// another, in one step.
    ///
    /// The only operation that creates. The entry that is
    /// [replaced](NewEntry::replaces) does not count towards the limit if it has the same owner.
    /// Where several refusals apply, any of them is right.
    ///
    /// Where one step does not reach both keys (on a cluster, if their owners differ), the new
    /// entry is inserted first and the other removed after it; if that fails, the new entry is
    /// removed again and the call is an error or [`InsertOutcome::Conflict`]. A crash in between leaves
    /// both.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable
    /// ([`is_unavailable`](crate::Error::is_unavailable)) or full
    /// ([`is_full`](crate::Error::is_full)), if the value is larger than it takes
    /// ([`is_too_large`](crate::Error::is_too_large)), or if the limit is not between 1 and
    /// [`OwnerLimit::MAX`](crate::OwnerLimit::MAX)
    /// ([`is_misconfigured`](crate::Error::is_misconfigured)).
    fn insert(
        &self,
        key: Key,
        entry: NewEntry<V>,
    ) -> impl Future<Output = Result<InsertOutcome>> + Send;

    /// Sets the value of a live entry if it still has the version `seen`.
    ///
    /// With `expiry`, both deadlines start again with it; without, they stay as they are.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable
    /// ([`is_unavailable`](crate::Error::is_unavailable)) or full
    /// ([`is_full`](crate::Error::is_full)), if the value is larger than it takes
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
    /// Without a version, an entry that can't be read is removed too, and counts as
    /// [removed](RemoveOutcome::Removed).
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

    /// The owner's live entries, oldest first, and the keys of those that can't be read.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable
    /// ([`is_unavailable`](crate::Error::is_unavailable)).
    fn list(&self, owner: &Owner) -> impl Future<Output = Result<EntryList<V>>> + Send;

    /// Removes all of the owner's entries except the one under `keep`, and returns the keys of
    /// those that were live or could not be read.
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

    /// About `max_entries` live entries at most, after those of the page before: for
    /// administration.
    ///
    /// An entry that lives during a whole scan is returned once. The cost of a whole scan grows
    /// with all that the server holds: not for the path of a request.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable
    /// ([`is_unavailable`](crate::Error::is_unavailable)), or if the cursor is not one of this
    /// store's ([`is_misconfigured`](crate::Error::is_misconfigured)).
    fn scan(
        &self,
        after: Option<&Cursor>,
        max_entries: usize,
    ) -> impl Future<Output = Result<EntryPage<V>>> + Send;

    /// Removes every entry of the namespace that was inserted before the call began.
    ///
    /// The cost grows with all that the server holds.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable
    /// ([`is_unavailable`](crate::Error::is_unavailable)).
    fn clear(&self) -> impl Future<Output = Result<()>> + Send;

    /// How many live entries the namespace has: for administration and metrics.
    ///
    /// It may be off by what changes meanwhile, and may count entries that have ended and are
    /// not yet reclaimed. The default scans; the cost may grow with all that the server holds.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable
    /// ([`is_unavailable`](crate::Error::is_unavailable)).
    fn count(&self) -> impl Future<Output = Result<u64>> + Send
    where
        V: Send,
    {
        async {
            let (mut count, mut after) = (0, None);
            loop {
                let page = self.scan(after.as_ref(), COUNTED_AT_ONCE).await?;
                count += page.listing.entries.len() as u64;
                match page.next {
                    Some(next) => after = Some(next),
                    None => return Ok(count),
                }
            }
        }
    }

    /// Registers a callback for the keys of entries that have ended at a deadline. It is called
    /// when their memory is reclaimed, which may be later. `false` if this store can't tell, or
    /// has a callback already.
    ///
    /// Each key is reported once, by one of the processes that share the store. A store and its
    /// clones have one callback.
    fn on_expired(&self, callback: OnExpired) -> bool {
        let _ = callback;
        false
    }

    /// The registry of tasks that wait for changes of entries, if the store has one.
    ///
    /// The store notifies it of each replacement and each removal that this process makes through
    /// the store or a clone of it, for whatever reason (by key, by owner, by a limit, in the place
    /// of another, by [`clear`](Self::clear)), before the call returns; also if the call fails and
    /// may have taken effect, for the keys that the store then knows. So a caller need not. A remote
    /// store that pushes also notifies it of the changes that other processes make, for as long as
    /// [`current_for`](Changes::current_for) says.
    fn changes(&self) -> Option<Arc<Changes>> {
        None
    }

    /// Shows a live entry to `visit` in its place, for a store that needs no I/O for it, and
    /// returns whether there was one.
    ///
    /// If the visitor answers [`AfterRead::Slide`], a store that can do so without I/O starts the
    /// idle time again, in the same step; one that can't shows
    /// [`slide_due`](EntryRef::slide_due), and the caller calls [`touch`](Self::touch). The
    /// visitor runs again if the entry was changed in the meantime: its last answer counts.
    ///
    /// `None` means that [`get`](Self::get) must be called. The right answer for a store
    /// that does I/O, and the default.
    fn get_ready(
        &self,
        key: &Key,
        freshness: Freshness,
        visit: &mut dyn FnMut(EntryRef<'_, V>) -> AfterRead,
    ) -> Option<Result<bool>> {
        let _ = (key, freshness, visit);
        None
    }

    /// The key under which an entry of this owner can be filed next to the owner's others: `key`
    /// with at most ten bits of its [id](Key::id) set, outside of its first eight bytes.
    ///
    /// The key itself, by default, where one step reaches every key. A store whose steps reach
    /// only part of the keys, such as a Redis Cluster, keeps an owner's entries in the part that
    /// the owner's name selects. Entries without an owner may be filed anywhere.
    fn place(&self, key: Key, owner: Option<&Owner>) -> Key {
        let _ = owner;
        key
    }
}
