//! The store: entries one by one.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kvolt_cache::{
    Cursor, Deadlines, Entry, EntryList, EntryPage, Error, Expiry, Freshness, InsertOutcome, Key,
    Namespace, NewEntry, Owner, RemoveOutcome, ReplaceOutcome, Result, Store, Target, Timestamp,
    Version,
};
use redis::Value;

use crate::builder::RedisStoreBuilder;
use crate::errors::Fault;
use crate::header::{self, Found, Times};
use crate::names::{self, Names};
use crate::reply::{self, Answer};
use crate::scan::Snapshots;
use crate::script::{self, Call};
use crate::server::Server;

/// A store of bytes on Redis or Valkey. Cheap to clone.
///
/// It must be opened and used on a Tokio runtime.
#[derive(Clone)]
pub struct RedisStore {
    inner: Arc<Inner>,
}

struct Inner {
    server: Arc<Server>,
    names: Names,
    limits: Limits,
    snapshots: Snapshots,
}

#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) timeout: Duration,
    pub(crate) slide_after: f64,
}

/// How often a call is sent again because others change the same owner's entries. Each time, they
/// have got on.
const MAX_TRIES: usize = 200;

/// A part of the idle time after which no live entry is due to slide.
const NEVER_DUE: f64 = 1.0;

impl RedisStore {
    /// Opens a namespace on a server with the defaults: [`builder`](Self::builder) has the settings.
    ///
    /// # Errors
    ///
    /// Returns an error as [`RedisStoreBuilder::open`] does.
    pub async fn open(url: impl Into<String>, namespace: &str) -> Result<Self> {
        Self::builder(url, namespace).open().await
    }

    /// Sets up a store on the server, the Sentinel trio or the cluster of a URL.
    ///
    /// - `redis://[user:password@]host[:port][/database]`: one server; `rediss://` with TLS;
    /// - `unix:///path[?db=database]`: one server, by its socket;
    /// - `redis+sentinel://[user:password@]host[:port],…/master[/database]`: the
    ///   master that these sentinels watch under this name; `rediss+sentinel://` with TLS;
    /// - `redis+cluster://[user:password@]host[:port],…`: a cluster, by some of its nodes;
    ///   `rediss+cluster://` with TLS.
    ///
    /// In a user name or a password, every character other than a letter, a digit or one of `-._~`
    /// must be percent-encoded, such as `%40` for `@`.
    ///
    /// The namespace is the first word of every name in the server: 1 to 32 characters of `a` to
    /// `z`, `0` to `9` and `_`, a letter first. Stores of different namespaces share nothing. One
    /// namespace is one deployment of one application.
    pub fn builder(url: impl Into<String>, namespace: &str) -> RedisStoreBuilder {
        RedisStoreBuilder::new(url.into(), String::from(namespace))
    }

    /// The store of another namespace, on the same connections and with the same settings.
    ///
    /// # Errors
    ///
    /// Returns an error if the name is not valid ([`Error::is_misconfigured`]): see
    /// [`Namespace::new`]. The server is not asked, so a user who may not use that namespace's keys
    /// is refused at the first call.
    pub fn within(&self, namespace: &str) -> Result<Self> {
        let names = Names::new(Namespace::new(namespace)?);
        Ok(Self::new(Arc::clone(&self.inner.server), names, self.inner.limits))
    }

    /// By how much a use may prolong an entry less than by its whole idle time:
    /// [`slide_after`](RedisStoreBuilder::slide_after) of it.
    pub fn slack(&self, idle: Duration) -> Duration {
        idle.mul_f64(self.inner.limits.slide_after)
    }

    pub(crate) fn new(server: Arc<Server>, names: Names, limits: Limits) -> Self {
        let snapshots = Snapshots::default();
        Self { inner: Arc::new(Inner { server, names, limits, snapshots }) }
    }

    pub(crate) fn server(&self) -> &Server {
        &self.inner.server
    }

    pub(crate) fn names(&self) -> &Names {
        &self.inner.names
    }

    pub(crate) fn snapshots(&self) -> &Snapshots {
        &self.inner.snapshots
    }

    /// The work, or an error once the time is up.
    pub(crate) async fn in_time<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let limit = self.inner.limits.timeout;
        tokio::time::timeout(limit, work)
            .await
            .unwrap_or_else(|_| Err(Error::unavailable(format!("no answer within {limit:?}"))))
    }

    pub(crate) fn entry(&self, key: &Key, found: Found, now: Timestamp) -> Entry<Vec<u8>> {
        found.entry(key, now, self.inner.limits.slide_after)
    }

    /// The name of an owner's index, or of the entry itself where no one command reaches both.
    pub(crate) fn index_beside(&self, key: &Key, owner: &[u8]) -> String {
        let owner = str::from_utf8(owner).ok().and_then(Owner::from_stored);
        let reaches = |owner: &Owner| {
            !self.server().is_in_parts() || names::part_of_owner(owner) == names::part_of(key)
        };
        match owner.filter(reaches) {
            Some(owner) => self.names().index(&owner),
            None => self.names().key(key),
        }
    }

    pub(crate) async fn get_now(&self, key: &Key) -> Result<Option<Entry<Vec<u8>>>> {
        let call = Call::plain("GETEX", names::part_of(key), &self.names().key(key));
        let (answer, now) = match self.server().call(&call).await {
            Err(fault) if fault.is_wrong_type() => return Err(header::unreadable(key, b"")),
            answer => answer.map_err(Fault::into_error)?,
        };
        let found = match answer {
            Value::Nil => return Ok(None),
            Value::BulkString(bytes) => Found::parse(key, bytes)?,
            _ => return Err(reply::strange()),
        };
        // It was live, unless something took its expiry from it: the server decides. It is also asked
        // where the estimate of its time has just passed the deadline.
        if found.has_ended(now)
            && Box::pin(self.touch_now(Target::new(key), NEVER_DUE)).await?.is_none()
        {
            return Ok(None);
        }
        Ok(Some(self.entry(key, found, now)))
    }

    async fn touch_now(&self, at: Target<'_>, slide_after: f64) -> Result<Option<Deadlines>> {
        let answer = self
            .run_at(at, |keys, owner| {
                let part = names::part_of(at.key);
                Call::script(&script::TOUCH, part, keys).arg(slide_after).arg(owner)
            })
            .await?;
        match answer.status.as_str() {
            "absent" => Ok(None),
            "live" => {
                let times = Times::parse(&answer.value()?).ok_or_else(reply::strange)?;
                Ok(Some(times.deadlines()))
            }
            _ => Err(reply::strange()),
        }
    }

    async fn replace_now(
        &self,
        at: Target<'_>,
        seen: Version,
        value: &[u8],
        expiry: Option<Expiry>,
    ) -> Result<ReplaceOutcome<Vec<u8>>> {
        let version = fresh()?;
        let answer = self
            .run_at(at, |keys, owner| {
                let call = Call::script(&script::REPLACE, names::part_of(at.key), keys)
                    .writes()
                    .arg(hex(seen.number()))
                    .arg(hex(version))
                    .arg(value);
                match expiry {
                    Some(expiry) => call.arg(&times(expiry)).arg(owner),
                    None => call,
                }
            })
            .await?;
        match answer.status.as_str() {
            "replaced" => Ok(ReplaceOutcome::Replaced(Version::from_number(version))),
            "absent" => Ok(ReplaceOutcome::Absent),
            "conflict" => {
                let now = answer.now;
                let found = Found::parse(at.key, answer.value()?)?;
                Ok(ReplaceOutcome::Conflict(self.entry(at.key, found, now)))
            }
            _ => Err(reply::strange()),
        }
    }

    pub(crate) async fn remove_now(
        &self,
        at: Target<'_>,
        seen: Option<Version>,
    ) -> Result<RemoveOutcome> {
        let seen = seen.map(|seen| hex(seen.number())).unwrap_or_default();
        let answer = self
            .run_at(at, |keys, owner| {
                let part = names::part_of(at.key);
                Call::script(&script::REMOVE, part, keys).writes().arg(&seen).arg(owner)
            })
            .await?;
        match answer.status.as_str() {
            "removed" => Ok(RemoveOutcome::Removed),
            "conflict" => Ok(RemoveOutcome::Conflict),
            "absent" => Ok(RemoveOutcome::Absent),
            _ => Err(reply::strange()),
        }
    }

    /// Calls a script on an entry and its owner's index; a second time, if the owner is another than
    /// the caller knows.
    async fn run_at(
        &self,
        at: Target<'_>,
        call: impl Fn(&[String], &[u8]) -> Call,
    ) -> Result<Answer> {
        let mut owner = at.owner.map(|owner| owner.as_str().as_bytes().to_vec());
        for _ in 0..MAX_TRIES {
            let mut keys = vec![self.names().key(at.key)];
            keys.extend(owner.as_ref().map(|owner| self.index_beside(at.key, owner)));
            let call = call(&keys, owner.as_deref().unwrap_or_default());
            let answer = self.server().run(&call).await?;
            match answer.status.as_str() {
                "owner" => owner = Some(answer.value()?),
                "damaged" => return Err(header::unreadable(at.key, &answer.value()?)),
                _ => return Ok(answer),
            }
        }
        Err(overtaken())
    }
}

impl Store<Vec<u8>> for RedisStore {
    fn namespace(&self) -> &Namespace {
        self.names().namespace()
    }

    async fn get(&self, key: &Key, _: Freshness) -> Result<Option<Entry<Vec<u8>>>> {
        self.in_time(self.get_now(key)).await
    }

    async fn touch(&self, at: Target<'_>) -> Result<Option<Deadlines>> {
        self.in_time(self.touch_now(at, self.inner.limits.slide_after)).await
    }

    async fn insert(&self, key: Key, entry: NewEntry<Vec<u8>>) -> Result<InsertOutcome> {
        self.insert_or_refuse(key, entry).await
    }

    async fn replace(
        &self,
        at: Target<'_>,
        seen: Version,
        value: Vec<u8>,
        expiry: Option<Expiry>,
    ) -> Result<ReplaceOutcome<Vec<u8>>> {
        self.in_time(self.replace_now(at, seen, &value, expiry)).await
    }

    async fn remove(&self, at: Target<'_>, seen: Option<Version>) -> Result<RemoveOutcome> {
        self.in_time(self.remove_now(at, seen)).await
    }

    async fn list(&self, owner: &Owner) -> Result<EntryList<Vec<u8>>> {
        self.in_time(self.list_now(owner)).await
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        self.in_time(self.remove_owner_now(owner, keep)).await
    }

    async fn scan(&self, after: Option<&Cursor>, max_entries: usize) -> Result<EntryPage<Vec<u8>>> {
        self.scan_now(after, max_entries).await
    }

    async fn clear(&self) -> Result<()> {
        self.clear_now().await
    }

    /// Counts names, and reads nothing. Above 100,000 entries, some may be counted twice while the
    /// server changes the size of its table.
    async fn count(&self) -> Result<u64> {
        self.count_now().await
    }

    fn place(&self, key: Key, owner: Option<&Owner>) -> Key {
        match owner {
            Some(owner) if self.server().is_in_parts() => names::placed(key, owner),
            _ => key,
        }
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("namespace", self.names().namespace())
            .field("is_cluster", &self.server().is_in_parts())
            .field("timeout", &self.inner.limits.timeout)
            .finish_non_exhaustive()
    }
}

/// The error for a call that others overtook too often.
pub(crate) fn overtaken() -> Error {
    Error::unavailable("other calls keep changing the same owner's entries")
}

/// How often a call may be [overtaken].
pub(crate) fn tries() -> impl Iterator<Item = usize> {
    0..MAX_TRIES
}

/// A number that no state has had before: random, so that neither a clock that is set back nor a
/// failover makes one a second time.
pub(crate) fn fresh() -> Result<u64> {
    getrandom::u64().map_err(|source| {
        Error::unavailable("the operating system's random generator does not work")
            .with_source(source)
    })
}

/// A version as a header has it.
pub(crate) fn hex(version: u64) -> String {
    format!("{version:016x}")
}

/// Last use, idle time and end of what is used now, as the scripts take them.
pub(crate) fn times(expiry: Expiry) -> [String; 3] {
    let idle = expiry.idle_timeout().map(millis);
    let end = expiry.lifetime().map(|lifetime| format!("+{}", millis(lifetime)));
    let used = idle.map(|_| String::from("+0"));
    [used, idle.map(|idle| idle.to_string()), end].map(Option::unwrap_or_default)
}

/// Whole milliseconds, rounded up, within what a header can hold.
pub(crate) fn millis(duration: Duration) -> u64 {
    header::clamp(u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
}
