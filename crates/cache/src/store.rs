use std::future::Future;

use std::sync::Arc;

use crate::Expiry;
use crate::{
    Access, Changes, Cursor, Entry, EntryRef, Insert, Key, NewEntry, Owner, Page, Rename, Renamed,
    Replace, Result, Version,
};

/// Who is told that an entry has ended by itself; see [`Store::on_expired`].
///
/// It is called in the middle of cleaning: it must return at once.
pub type OnExpired = Arc<dyn Fn(&Key) + Send + Sync>;

/// How many entries a count by scanning asks for at once.
const COUNTED_AT_ONCE: usize = 1_000;

/// Time-limited storage in which every operation is atomic.
///
/// A store maps a [`Key`] to one entry: a value with a version, perhaps an
/// owner, and up to two deadlines. An entry past a deadline is absent at once,
/// whether or not its memory has been reclaimed.
///
/// # The laws
///
/// 1. Only [`insert`](Self::insert) makes an entry, and only where nothing is.
///    Reading, replacing and renaming never do. After a removal has returned,
///    no later call finds the entry, whatever was in flight.
/// 2. [`replace`](Self::replace) takes effect only on the version that it names.
/// 3. An entry is there until the tick before its deadline and absent from the
///    deadline on. The absolute deadline never moves. A deadline moved by a
///    read never moves back.
/// 4. After [`remove_owner`](Self::remove_owner) has returned, nothing of that
///    owner's that was inserted before the call began is found, also while
///    others are being inserted or renamed. [`list`](Self::list) returns what
///    is live and nothing else.
/// 5. `Err` means that the system failed, never "no such entry"; a call that
///    returned `Err` may or may not have taken effect.
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
/// Write `async fn` for each method. Each has to be one round trip or one
/// transaction. How that goes on two kinds of system:
///
/// | operation | Redis, a hash per entry and a sorted set per owner | SQL, a row per entry |
/// |---|---|---|
/// | `get` | a script: `HMGET`, compare the deadlines with `TIME`, `PEXPIREAT` when it slides enough; follow `to` once it is a former key | `SELECT`, with `UPDATE … RETURNING` only when it slides enough |
/// | `insert` | a script: `EXISTS`, `ZREMRANGEBYSCORE` of the ended ones, `ZCARD` for the limit, `HSET`, `PEXPIREAT`, `ZADD` | one transaction: lock the owner's row, count the live ones, `INSERT … ON CONFLICT DO NOTHING` |
/// | `replace` | a script: compare `v`, `HSET` | `UPDATE … WHERE version = ? AND` live |
/// | `rename` | a script over keys in one slot: `RENAME`, leave `to` with a `PEXPIRE` of the grace | one transaction: update the key, insert the former one with its successor |
/// | `remove` | a script: `DEL`, `ZREM` | `DELETE` |
/// | `list`, `remove_owner` | a script over the owner's sorted set | `… WHERE owner = ?`, with the owner's row locked |
/// | `scan` | `SCAN` on each node | by primary key, `WHERE key > ? ORDER BY key LIMIT ?` |
///
/// On a Redis Cluster the entries of an owner have to share a slot:
/// see [`places`](Self::places).
pub trait Store<V>: Send + Sync + 'static {
    /// Reads a live entry, and with [`Access::SLIDE`] prolongs its idle time in the same step.
    ///
    /// By a former key in its grace, it reads the successor, and moves no deadline:
    /// whoever still has a key that was replaced keeps nothing alive with it.
    ///
    /// A store on which moving a deadline is costly may leave it until enough
    /// has passed: after a slide the idle time left is at most the entry's idle
    /// time and at least that less the store's documented slack.
    ///
    /// # Errors
    ///
    /// Unavailable; corrupt, for an entry that is there but can't be decoded.
    fn get(
        &self,
        key: &Key,
        access: Access,
    ) -> impl Future<Output = Result<Option<Entry<V>>>> + Send;

    /// Makes an entry where nothing is, within the owner's limit, in one step.
    ///
    /// The only operation that makes a key exist.
    ///
    /// # Errors
    ///
    /// Unavailable; full; misconfigured, for an owner longer than
    /// [`Owner::LEN_MAX`]; too large, for a value that the store does not take.
    fn insert(&self, key: Key, entry: NewEntry<V>) -> impl Future<Output = Result<Insert>> + Send;

    /// Sets the value of a live entry if it still has the version `seen`.
    ///
    /// With `expiry`, both deadlines start anew with it; without, they stay as they are.
    ///
    /// # Errors
    ///
    /// Unavailable; full.
    fn replace(
        &self,
        key: &Key,
        seen: Version,
        value: V,
        expiry: Option<Expiry>,
    ) -> impl Future<Output = Result<Replace<V>>> + Send;

    /// Moves a live entry to a new key in one step, with what else `rename` changes.
    ///
    /// With a grace, the former key leads to the entry until the grace has
    /// passed or the entry ends: it can be read, replaced and removed through
    /// it, but not renamed again ([`Renamed::Superseded`]). It leads to that
    /// entry and never to another that takes its key later; when the entry is
    /// renamed again, it leads on for as long as both graces last.
    ///
    /// With a new owner, it is the youngest of that owner's. Where several
    /// refusals apply, any of them is right. Where one step does not
    /// [reach](Self::reaches) both keys, the new entry is made first and the
    /// former removed after it.
    ///
    /// # Errors
    ///
    /// Unavailable; full; misconfigured, as for [`insert`](Self::insert).
    fn rename(
        &self,
        from: &Key,
        to: Key,
        rename: Rename<V>,
    ) -> impl Future<Output = Result<Renamed>> + Send;

    /// Removes an entry; by a former key in its grace, the successor. `true` if there was a live one.
    ///
    /// # Errors
    ///
    /// Unavailable.
    fn remove(&self, key: &Key) -> impl Future<Output = Result<bool>> + Send;

    /// The owner's live entries, oldest first.
    ///
    /// # Errors
    ///
    /// Unavailable; corrupt.
    fn list(&self, owner: &Owner) -> impl Future<Output = Result<Vec<Entry<V>>>> + Send;

    /// Removes all of the owner's entries but the one under `keep`, and returns the keys of those that were live.
    ///
    /// `keep` may be a former key in its grace; then its successor stays.
    ///
    /// # Errors
    ///
    /// Unavailable.
    fn remove_owner(
        &self,
        owner: &Owner,
        keep: Option<&Key>,
    ) -> impl Future<Output = Result<Vec<Key>>> + Send;

    /// At most about `entries_max` live entries after `after`, for administration.
    ///
    /// An entry that lives during a whole scan is returned once. Costly: not for
    /// the path of a request.
    ///
    /// # Errors
    ///
    /// Unavailable; corrupt; misconfigured, for a cursor that is not this store's.
    fn scan(
        &self,
        after: Option<&Cursor>,
        entries_max: usize,
    ) -> impl Future<Output = Result<Page<V>>> + Send;

    /// Removes every entry that was inserted before the call began.
    ///
    /// # Errors
    ///
    /// Unavailable.
    fn clear(&self) -> impl Future<Output = Result<()>> + Send;

    /// How many live entries there are, for administration and metrics.
    ///
    /// It may be off by what changes meanwhile, and may count entries that have
    /// ended and whose memory was not yet given back. Unless a store has something
    /// better, it scans.
    ///
    /// # Errors
    ///
    /// Unavailable.
    fn count(&self) -> impl Future<Output = Result<u64>> + Send
    where
        V: Send,
    {
        async {
            let (mut count, mut after) = (0, None);
            loop {
                let page = self.scan(after.as_ref(), COUNTED_AT_ONCE).await?;
                count += page.entries.len() as u64;
                match page.next {
                    Some(next) => after = Some(next),
                    None => return Ok(count),
                }
            }
        }
    }

    /// Asks to be told the keys of entries that have ended at a deadline, when their
    /// memory is given back, which may be later. `false` if this store can't tell.
    ///
    /// Each is told once, by one of the processes that share the store. Only who
    /// asked first is told: of this store and its clones there is one who listens.
    fn on_expired(&self, told: OnExpired) -> bool {
        let _ = told;
        false
    }

    /// By what changes of entries can be waited for, where the store knows of some
    /// that were not made by who asks.
    fn changes(&self) -> Option<Arc<Changes>> {
        None
    }

    /// [`get`](Self::get) for a store that needs no I/O for it: looks at the
    /// entry in place and says whether there was one.
    ///
    /// `None` means that `get` has to be asked. The right answer for a store
    /// that does I/O, and the default.
    fn get_ready(
        &self,
        key: &Key,
        access: Access,
        visit: &mut dyn FnMut(EntryRef<'_, V>),
    ) -> Option<Result<bool>> {
        let _ = (key, access, visit);
        None
    }

    /// Whether an entry of this owner can live under this key, next to the owner's others.
    ///
    /// Always, and by default, where one step reaches every key. A store whose
    /// steps reach only part of the keys, such as a Redis Cluster, lays an
    /// owner's entries into the part that the owner's name selects, and says
    /// here whether `key` lies there. Whoever makes keys makes another until
    /// the store agrees, so a store should divide its keys into no more than
    /// 1,024 parts, by the last bytes of the key (the first are its hash).
    /// Entries without an owner may live anywhere.
    fn places(&self, key: &Key, owner: Option<&Owner>) -> bool {
        let _ = (key, owner);
        true
    }

    /// Whether one step reaches both keys, so that [`rename`](Self::rename) from one to the other is atomic.
    ///
    /// Always, and by default, where one step reaches every key; where keys
    /// are divided (see [`places`](Self::places)), for keys of one part.
    fn reaches(&self, from: &Key, to: &Key) -> bool {
        let _ = (from, to);
        true
    }
}
