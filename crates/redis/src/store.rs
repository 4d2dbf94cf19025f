//! The store: entries one by one.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kvolt_cache::{
    Access, AtLimit, Cursor, Entry, Error, Expiry, Insert, Key, NewEntry, OnExpired, Owner,
    OwnerLimit, Page, Rename, Renamed, Replace, Result, Store, Version,
};

use crate::builder::RedisStoreBuilder;
use crate::expired::{Events, Telling};
use crate::names::{self, Names};
use crate::reply::{self, Answer, Chain, Former, Found};
use crate::scan::Snapshots;
use crate::script::{self, Call};
use crate::server::Server;

/// A store of bytes on Redis or Valkey. Cheap to clone.
///
/// It has to be opened and used on a Tokio runtime.
#[derive(Clone)]
pub struct RedisStore {
    inner: Arc<Inner>,
    /// How the masters notify of what has expired.
    events: Option<Events>,
    /// Who is told of it, if anybody. The task has the store, and none of this.
    telling: Arc<OnceLock<Telling>>,
}

struct Inner {
    server: Server,
    names: Names,
    timeout: Duration,
    slide_after: f64,
    snapshots: Snapshots,
}

pub(crate) struct Limits {
    pub(crate) timeout: Duration,
    pub(crate) slide_after: f64,
}

impl RedisStore {
    /// Opens a store with the defaults: [`builder`](Self::builder) has what can be set.
    ///
    /// # Errors
    ///
    /// As [`RedisStoreBuilder::open`].
    pub async fn open(url: impl Into<String>) -> Result<Self> {
        Self::builder(url).open().await
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
    /// What is not a letter, a digit or one of `-._~` in a user name or a
    /// password is written as in any URL, such as `%40`.
    pub fn builder(url: impl Into<String>) -> RedisStoreBuilder {
        RedisStoreBuilder::new(url.into())
    }

    /// By how much a use may prolong an entry less than by its whole idle time:
    /// [`slide_after`](RedisStoreBuilder::slide_after) of it.
    pub fn slack(&self, idle: Duration) -> Duration {
        idle.mul_f64(self.inner.slide_after)
    }

    pub(crate) fn new(server: Server, names: Names, limits: Limits) -> Self {
        let Limits { timeout, slide_after } = limits;
        let snapshots = Snapshots::default();
        let inner = Arc::new(Inner { server, names, timeout, slide_after, snapshots });
        Self { inner, events: None, telling: Arc::default() }
    }

    pub(crate) fn with_events(self, events: Option<Events>) -> Self {
        Self { events, ..self }
    }

    pub(crate) const fn events(&self) -> Option<Events> {
        self.events
    }

    pub(crate) fn telling(&self) -> &OnceLock<Telling> {
        &self.telling
    }

    /// The same store, which does not keep alive what tells for it.
    pub(crate) fn without_telling(&self) -> Self {
        Self { telling: Arc::default(), ..self.clone() }
    }

    /// Whether former keys have to be told from entries once they have expired, as the scripts take it.
    pub(crate) fn marks(&self) -> &'static str {
        if self.telling.get().is_some() { "marks" } else { "" }
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
    pub(crate) async fn within<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let limit = self.inner.timeout;
        tokio::time::timeout(limit, work)
            .await
            .unwrap_or_else(|_| Err(Error::unavailable(format!("no answer within {limit:?}"))))
    }

    pub(crate) fn chain_names(&self, chain: &Chain) -> Vec<String> {
        chain.keys.iter().map(|key| self.names().key(key)).collect()
    }

    pub(crate) async fn find(&self, key: &Key, slides: bool) -> Result<Option<Found>> {
        self.find_by(Chain::of(key), slides).await
    }

    pub(crate) async fn find_by(&self, mut chain: Chain, slides: bool) -> Result<Option<Found>> {
        let mut owner: Option<String> = None;
        loop {
            let mut keys = self.chain_names(&chain);
            keys.extend(owner.as_deref().map(|owner| self.names().owner(owner)));
            let call = Call::read(&script::GET, chain.part(), &keys)
                .arg(chain.keys.len())
                .arg(&chain.id)
                .arg(if slides { "slide" } else { "" })
                .arg(self.inner.slide_after)
                .arg(owner.as_deref().unwrap_or_default());
            let answer = self.server().call(&call).await?;
            match answer.status.as_str() {
                "entry" => return reply::found(answer.rest).map(Some),
                "absent" => return Ok(None),
                "walk" => {
                    if !chain.walk(answer, self.server().is_in_parts())? {
                        return Ok(None);
                    }
                }
                "owner" => owner = Some(owner_of(answer)?),
                _ => return Err(answer.strange()),
            }
        }
    }

    async fn replace_now(
        &self,
        key: &Key,
        seen: Version,
        value: &[u8],
        expiry: Option<Expiry>,
    ) -> Result<Replace<Vec<u8>>> {
        let version = fresh()?;
        let mut chain = Chain::of(key);
        let mut owner: Option<String> = None;
        loop {
            let mut keys = self.chain_names(&chain);
            keys.extend(owner.as_deref().map(|owner| self.names().owner(owner)));
            let call = Call::write(&script::REPLACE, chain.part(), &keys)
                .arg(chain.keys.len())
                .arg(&chain.id)
                .arg(seen.number())
                .arg(value)
                .arg(version)
                .arg(if expiry.is_some() { "anew" } else { "" })
                .arg(&times(expiry))
                .arg(owner.as_deref().unwrap_or_default());
            let answer = self.server().call(&call).await?;
            match answer.status.as_str() {
                "replaced" => return Ok(Replace::Replaced(Version::from_number(version))),
                "conflict" => {
                    return reply::found(answer.rest).map(|now| Replace::Conflict(now.entry));
                }
                "absent" => return Ok(Replace::Absent),
                // That it is that long ago can be believed of a server that is behind, too.
                "walk" => {
                    if !chain.walk(answer, self.server().is_in_parts())? {
                        return Ok(Replace::Absent);
                    }
                }
                "owner" => owner = Some(owner_of(answer)?),
                _ => return Err(answer.strange()),
            }
        }
    }

    async fn remove_now(&self, key: &Key) -> Result<bool> {
        let mut chain = Chain::of(key);
        loop {
            let keys = self.chain_names(&chain);
            let call = Call::write(&script::REMOVE, chain.part(), &keys)
                .arg(chain.keys.len())
                .arg(&chain.id);
            let answer = self.server().call(&call).await?;
            match answer.status.as_str() {
                "removed" => {
                    Box::pin(self.tidy(answer)).await;
                    return Ok(true);
                }
                "absent" => return Ok(false),
                "walk" => {
                    if !chain.walk(answer, self.server().is_in_parts())? {
                        return Ok(false);
                    }
                }
                _ => return Err(answer.strange()),
            }
        }
    }

    /// After a removal, takes what is left of the entry out of its owner's index, and its former
    /// keys away. Whatever becomes of this, it is removed, and both would go with time, too.
    pub(crate) async fn tidy(&self, removed: Answer) {
        let mut rest = removed.rest.into_iter();
        let (key, owner) = (rest.next().and_then(reply::key), rest.next().and_then(reply::text));
        let former = Former::parse(rest.next(), rest.next());
        let prune = async {
            if let Some((owner, key)) = owner.zip(key) {
                let _ = self.prune(&owner, &[key]).await;
            }
        };
        let forget = async {
            if let Some(former) = former {
                let _ = self.forget(&former).await;
            }
        };
        tokio::join!(prune, forget);
    }
}

impl Store<Vec<u8>> for RedisStore {
    async fn get(&self, key: &Key, access: Access) -> Result<Option<Entry<Vec<u8>>>> {
        let found = self.within(self.find(key, access.slides())).await?;
        Ok(found.map(|found| found.entry))
    }

    async fn insert(&self, key: Key, entry: NewEntry<Vec<u8>>) -> Result<Insert> {
        self.within(self.insert_now(&key, &entry)).await
    }

    async fn replace(
        &self,
        key: &Key,
        seen: Version,
        value: Vec<u8>,
        expiry: Option<Expiry>,
    ) -> Result<Replace<Vec<u8>>> {
        self.within(self.replace_now(key, seen, &value, expiry)).await
    }

    async fn rename(&self, from: &Key, to: Key, rename: Rename<Vec<u8>>) -> Result<Renamed> {
        self.within(self.rename_now(from, &to, &rename)).await
    }

    async fn remove(&self, key: &Key) -> Result<bool> {
        self.within(self.remove_now(key)).await
    }

    async fn list(&self, owner: &Owner) -> Result<Vec<Entry<Vec<u8>>>> {
        self.within(self.list_now(owner)).await
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        self.within(self.remove_owner_now(owner, keep)).await
    }

    async fn scan(&self, after: Option<&Cursor>, entries_max: usize) -> Result<Page<Vec<u8>>> {
        self.scan_now(after, entries_max).await
    }

    async fn clear(&self) -> Result<()> {
        self.clear_now().await
    }

    /// As [`scan`](Store::scan), without the values. Above 100,000 entries, some may be counted
    /// twice while the server changes the size of its table.
    async fn count(&self) -> Result<u64> {
        self.count_now().await
    }

    /// By the server's own notifications: `false` unless every master has `notify-keyspace-events` with
    /// `E` or `K` and `x`, and if somebody has asked before.
    ///
    /// See the crate's documentation for what is told and what may not be.
    fn on_expired(&self, told: OnExpired) -> bool {
        self.tell_expired(told)
    }

    fn places(&self, key: &Key, owner: Option<&Owner>) -> bool {
        match owner {
            Some(owner) if self.server().is_in_parts() => {
                names::part_of(key) == names::part_of_owner(owner.as_str())
            }
            _ => true,
        }
    }

    fn reaches(&self, from: &Key, to: &Key) -> bool {
        !self.server().is_in_parts() || names::part_of(from) == names::part_of(to)
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("names", &self.inner.names)
            .field("is_cluster", &self.server().is_in_parts())
            .field("timeout", &self.inner.timeout)
            .finish_non_exhaustive()
    }
}

/// A number that no state has had before: random, so that neither a clock that is set back nor a
/// failover makes one a second time.
pub(crate) fn fresh() -> Result<u64> {
    getrandom::u64().map_err(|source| {
        Error::unavailable("the operating system's random generator does not work")
            .with_source(source)
    })
}

/// Idle time and lifetime in milliseconds, as the scripts take them.
pub(crate) fn times(expiry: Option<Expiry>) -> [String; 2] {
    let [idle, lifetime] = match expiry {
        Some(expiry) => [expiry.idle_timeout(), expiry.lifetime()],
        None => [None, None],
    };
    [idle, lifetime].map(|time| time.map(millis).unwrap_or_default())
}

/// Whole milliseconds, rounded up, within what a script can count.
pub(crate) fn millis(duration: Duration) -> String {
    const MAX: u128 = 1 << 52;
    duration.as_nanos().div_ceil(1_000_000).min(MAX).to_string()
}

/// Limit and what happens at it, as the scripts take them.
pub(crate) fn limits(limit: Option<OwnerLimit>) -> [String; 2] {
    let Some(OwnerLimit { entries_max, at_limit }) = limit else {
        return [String::new(), String::new()];
    };
    let at_limit = match at_limit {
        AtLimit::Refuse => "refuse",
        AtLimit::RemoveOldest => "oldest",
    };
    [entries_max.to_string(), String::from(at_limit)]
}

/// The owner that an answer asks for the index of.
pub(crate) fn owner_of(answer: Answer) -> Result<String> {
    let strange = answer.strange();
    answer.rest.into_iter().next().and_then(reply::text).ok_or(strange)
}

pub(crate) fn check_owner(owner: Option<&Owner>) -> Result<()> {
    match owner {
        Some(owner) if owner.as_str().len() > Owner::LEN_MAX => {
            let max = Owner::LEN_MAX;
            Err(Error::misconfigured(format!("an owner's name has {max} bytes at the most")))
        }
        _ => Ok(()),
    }
}
