//! A store that breaks the contract in one way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use kvolt_cache::{
    AfterRead, Clock, Cursor, Deadlines, Entry, EntryList, EntryPage, EntryRef, Error, Expiry,
    Freshness, InsertOutcome, Key, Namespace, NewEntry, OnExpired, Owner, OwnerLimit, Predecessor,
    RemoveOutcome, ReplaceOutcome, Result, Store, Target, Version,
};
use kvolt_testkit::conformance::Asked;
use kvolt_testkit::{ManualClock, ModelStore};

/// How a store breaks the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does not.
    None,
    /// A read prolongs.
    GetSlides,
    /// A read has the time of a clock that is behind.
    ReadAtIsEarly,
    /// Its clock is not that of its entries.
    ClockIsAnother,
    /// A slide is never due.
    SlideIsNeverDue,
    /// A slide is always due.
    SlideIsAlwaysDue,
    /// A touch reads, and then writes back whatever it read, as session libraries do.
    TouchIsAnUpsert,
    /// A touch of what is not there makes it.
    TouchCreates,
    /// A touch writes the expiry that it has read.
    TouchWritesOldDeadlines,
    /// A touch moves the deadline back.
    TouchMovesBack,
    /// A touch answers with the deadlines as they were before.
    TouchAnswersTooEarly,
    /// A touch works only on the version that was read last.
    TouchNamesAVersion,
    /// Insertion overwrites.
    InsertOverwrites,
    /// The limit is checked before the insertion, in a step of its own.
    LimitIsChecked,
    /// A limit that can't be held is taken for one that can.
    LimitIsClamped,
    /// The entry that an insertion replaces is removed whatever its version.
    ReplacesAnyVersion,
    /// With no entry to replace, there is a conflict, also where no version is named.
    ReplacesOnlyWhatIsThere,
    /// The entry to be replaced is removed before the insertion.
    ReplacedIsRemovedFirst,
    /// The entry to be replaced is removed after the insertion, and counts until then.
    ReplacedCounts,
    /// A predecessor makes room in the limit, also if it has another owner.
    ReplacedMakesRoom,
    /// The version of the entry to be replaced is compared, and then it is removed.
    ReplacesInSteps,
    /// The old entry is not removed.
    ReplacedStays,
    /// An entry from another store gets new times.
    TimesAreForgotten,
    /// An entry from another store is made now.
    CreationIsForgotten,
    /// An entry from another store that has ended is inserted.
    EndedIsRestored,
    /// A replacement of what is not there makes it.
    ReplaceCreates,
    /// A replacement compares, and then sets.
    CompareThenSet,
    /// Entries end a while after their deadline, when they are cleaned up.
    ExpiryIsLate,
    /// A removal takes no notice of the version.
    RemovesAnyVersion,
    /// A removal compares the version, and then removes.
    CompareThenRemove,
    /// An owner that is taken for another's is not found.
    OwnerHintDecides,
    /// Removing by owner removes the versions that a list had a moment before.
    RemoveOwnerLists,
    /// The youngest of an owner's entries is not removed.
    RemoveOwnerMisses,
    /// The key to keep is not compared.
    KeepsNothing,
    /// The owners' lists have no order.
    ListIsUnordered,
    /// A scan starts again when it goes on.
    ScanRepeats,
    /// A scan with an invalid cursor begins at the beginning.
    AnyCursorScans,
    /// A count stops where a page ends.
    CountsOnePage,
    /// A removal is reported as an end.
    RemovalIsReported,
    /// An end is reported by each of two that clean.
    EndIsReportedTwice,
    /// All namespaces are one.
    NamespacesAreOne,
    /// An owner is one in all namespaces.
    OwnersAreShared,
    /// A clear empties all namespaces.
    ClearCrosses,
    /// A count is of all namespaces.
    CountCrosses,
    /// An expired entry of another namespace is reported.
    EndsCross,
    /// A list with an unreadable entry fails.
    DamageHidesOthers,
    /// Lists leave unreadable entries out.
    DamageIsHidden,
    /// An unreadable entry is absent.
    DamageIsAbsence,
    /// An unreadable entry can't be removed.
    DamageStays,
    /// An unreadable entry is left by a removal by owner.
    DamageOutlivesItsOwner,
    /// An unreadable entry is overwritten.
    DamageIsOverwritten,
    /// A strict read is answered by what was read before.
    StrictIsOld,
    /// A read is answered by what another one has read a moment before.
    SharesOldAnswers,
    /// A visitor that returns `Keep` prolongs.
    LookSlides,
    /// A visitor's use is forgotten.
    UseIsForgotten,
    /// A visitor is shown what was read some time before.
    ShowsWhatWas,
    /// Each key has a place of its own.
    PlacesByKey,
    /// The place is a whole number in the key.
    PlacesWithManyBits,
    /// A touch asks twice.
    AsksTwice,
    /// An answer without I/O causes a command.
    ReadyAsks,
    /// The owner's values are fetched to hold a limit.
    LimitFetchesValues,
    /// The owner's keys are fetched at each insertion.
    InsertFetchesKeys,
    /// A list reads the owner's entries that are gone.
    ListFetchesWhatIsGone,
    /// A removal returns the value.
    RemoveFetchesValues,
}

#[derive(Clone)]
pub(crate) struct Broken {
    fault: Fault,
    namespace: Namespace,
    inner: ModelStore<String>,
    pub(crate) time: ManualClock,
    memory: Arc<Mutex<Memory>>,
    callback: Arc<OnceLock<OnExpired>>,
}

/// The owner and the expiry that an entry was inserted with, and how it was read last.
type Known = (Option<Owner>, Expiry, Option<Entry<String>>);

/// The memory of a broken store.
#[derive(Default)]
struct Memory {
    /// The entries that were inserted or read.
    entries: HashMap<Key, Known>,
    asked: Asked,
    callbacks: Vec<OnExpired>,
}

impl Broken {
    pub(crate) fn new(fault: Fault, time: &ManualClock) -> Self {
        let inner = ModelStore::new(time.clock());
        let (memory, callback) = (Arc::default(), Arc::default());
        let namespace = inner.namespace().clone();
        Self { fault, namespace, inner, time: time.clone(), memory, callback }
    }

    pub(crate) fn neighbour(&self) -> Self {
        let neighbour = self.inner.within("neighbour").expect("the name is valid");
        let namespace = neighbour.namespace().clone();
        let inner = if self.is(Fault::NamespacesAreOne) { self.inner.clone() } else { neighbour };
        Self { namespace, inner, callback: Arc::default(), ..self.clone() }
    }

    pub(crate) fn damage(&self, key: &Key) -> bool {
        self.inner.damage(key)
    }

    pub(crate) fn asked(&self) -> Asked {
        self.memory().asked
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().expect("no thread panicked")
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// Counts a command and the bytes of the values that go and come with it.
    fn ask(&self, sent: usize, received: usize) {
        let asked = &mut self.memory().asked;
        asked.commands += 1;
        asked.turns += 1;
        asked.bytes_sent += 50 + sent as u64;
        asked.bytes_received += 50 + received as u64;
    }

    /// Lets another thread do something between two halves of what ought to be one step, if one
    /// wants to.
    fn gap(&self) {
        let before = self.asked().commands;
        for _ in 0..300 {
            std::thread::yield_now();
            if self.asked().commands > before {
                return;
            }
        }
    }

    fn report(&self, key: &Key) {
        if let Some(callback) = self.callback.get() {
            callback(key);
        }
    }

    fn late(&self, expiry: Expiry) -> Expiry {
        let late = |duration: Duration| duration.saturating_add(Duration::from_millis(1));
        match (expiry.idle_timeout(), expiry.lifetime()) {
            _ if !self.is(Fault::ExpiryIsLate) => expiry,
            (Some(idle), Some(lifetime)) => Expiry::idle_within(late(idle), late(lifetime)),
            (Some(idle), None) => Expiry::idle(late(idle)),
            (None, lifetime) => Expiry::after(late(lifetime.unwrap_or_default())),
        }
    }

    async fn peek(&self, key: &Key) -> Result<Option<Entry<String>>> {
        self.inner.get(key, Freshness::Strict).await
    }

    /// The stores of all namespaces.
    fn everywhere(&self) -> [ModelStore<String>; 2] {
        ["model", "neighbour"].map(|name| self.inner.within(name).expect("the name is valid"))
    }

    /// Inserts with the entry to be replaced removed in steps of their own.
    async fn log_in_by_steps(
        &self,
        key: Key,
        mut entry: NewEntry<String>,
        old: Predecessor,
    ) -> Result<InsertOutcome> {
        let at = Target::new(&old.key);
        if let Some(seen) = old.seen {
            let there = self.peek(&old.key).await?;
            if there.is_none_or(|there| there.version != seen) {
                return Ok(InsertOutcome::Conflict);
            }
            self.gap();
        }
        if self.is(Fault::ReplacedIsRemovedFirst) {
            let _ = self.inner.remove(at, None).await?;
            self.gap();
            return self.inner.insert(key, entry).await;
        }
        if self.is(Fault::ReplacesInSteps) {
            // It does not count.
            let there = self.peek(&old.key).await?;
            let is_own = there.is_some_and(|there| there.owner == entry.owner);
            entry.limit = entry.limit.map(|limit| match limit.max_entries() {
                most if is_own && most < OwnerLimit::MAX => {
                    OwnerLimit::new(most + 1, limit.at_limit())
                }
                _ => limit,
            });
        }
        let inserted = self.inner.insert(key, entry).await?;
        self.gap();
        if matches!(inserted, InsertOutcome::Inserted { .. }) && !self.is(Fault::ReplacedStays) {
            let _ = self.inner.remove(at, None).await?;
        }
        Ok(inserted)
    }

    async fn unreadable(&self, key: &Key) -> bool {
        self.peek(key).await.is_err()
    }
}

impl Store<String> for Broken {
    fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    fn clock(&self) -> Clock {
        if self.is(Fault::ClockIsAnother) {
            return ManualClock::new().clock();
        }
        self.inner.clock()
    }

    async fn get(&self, key: &Key, freshness: Freshness) -> Result<Option<Entry<String>>> {
        let is_shared = match self.fault {
            Fault::StrictIsOld => freshness == Freshness::Strict,
            Fault::SharesOldAnswers => freshness == Freshness::Bounded,
            _ => false,
        };
        if is_shared
            && let Some((_, _, read)) = self.memory().entries.get_mut(key)
            && let Some(read) = read.take()
        {
            return Ok(Some(read));
        }
        if self.is(Fault::GetSlides) {
            self.inner.touch(Target::new(key)).await?;
        }
        let found = match self.peek(key).await {
            Err(error) if error.is_corrupt() && self.is(Fault::DamageIsAbsence) => None,
            found => found?,
        };
        self.ask(0, found.as_ref().map_or(0, |entry| entry.value.len()));
        Ok(found.map(|mut entry| {
            if let Some((_, _, read)) = self.memory().entries.get_mut(key) {
                *read = Some(entry.clone());
            }
            match self.fault {
                Fault::ReadAtIsEarly => {
                    entry.read_at = entry.read_at.saturating_sub(Duration::from_secs(1));
                }
                Fault::SlideIsNeverDue => entry.slide_due = false,
                Fault::SlideIsAlwaysDue => entry.slide_due = true,
                _ => {}
            }
            entry
        }))
    }

    async fn touch(&self, at: Target<'_>) -> Result<Option<Deadlines>> {
        self.ask(0, 0);
        if self.is(Fault::AsksTwice) {
            self.ask(0, 0);
        }
        let known = self.memory().entries.get(at.key).cloned();
        if self.is(Fault::OwnerHintDecides)
            && let (Some(hint), Some((owner, ..))) = (at.owner, &known)
            && owner.as_ref() != Some(hint)
        {
            return Ok(None);
        }
        let before = self.peek(at.key).await?;
        let (Some(entry), Some((owner, expiry, read))) = (before, known.clone()) else {
            if let (Some((owner, expiry, _)), Fault::TouchCreates) = (known, self.fault) {
                let again = NewEntry::new(String::from("again"), expiry).maybe_owner(owner);
                let _ = self.inner.insert(*at.key, again).await?;
            }
            return self.inner.touch(at).await;
        };
        match self.fault {
            Fault::TouchIsAnUpsert => {
                self.gap();
                let again = NewEntry::new(entry.value, expiry).maybe_owner(owner);
                let _ = self.inner.insert(*at.key, again).await?;
            }
            Fault::TouchWritesOldDeadlines => {
                self.gap();
                if let Some(now) = self.peek(at.key).await? {
                    let _ = self.inner.replace(at, now.version, now.value, Some(expiry)).await?;
                }
            }
            Fault::TouchMovesBack => {
                let used = entry.deadlines.last_used();
                let Some((timeout, used)) = entry.deadlines.idle_timeout().zip(used) else {
                    return self.inner.touch(at).await;
                };
                let before = used.saturating_sub(Duration::from_millis(1));
                let idle = Some((timeout, before.saturating_add(timeout)));
                let mut now = entry.clone();
                now.deadlines = Deadlines::new(idle, entry.deadlines.absolute());
                let _ = self.inner.remove(at, None).await?;
                let _ = self.inner.insert(*at.key, NewEntry::restored(now.clone())).await?;
                return Ok(Some(now.deadlines));
            }
            Fault::TouchAnswersTooEarly => {
                let touched = self.inner.touch(at).await?;
                return Ok(touched.map(|_| entry.deadlines));
            }
            Fault::TouchNamesAVersion if read.is_some_and(|read| read.version != entry.version) => {
                return Ok(None);
            }
            _ => {}
        }
        self.inner.touch(at).await
    }

    async fn insert(&self, key: Key, mut entry: NewEntry<String>) -> Result<InsertOutcome> {
        let limit = match entry.limit {
            Some(limit) if self.is(Fault::LimitIsClamped) => {
                let most = limit.max_entries().clamp(1, OwnerLimit::MAX);
                Some(OwnerLimit::new(most, limit.at_limit()))
            }
            limit => limit,
        };
        entry.limit = limit;
        if let Some(limit) = limit {
            limit.check()?;
        }
        entry.expiry = self.late(entry.expiry);
        let known = (entry.owner.clone(), entry.expiry, None);
        self.memory().entries.insert(key, known);
        let mut received = 0;
        if let Some(owner) = &entry.owner {
            let listed = self.inner.list(owner).await?.entries;
            match self.fault {
                Fault::LimitFetchesValues if entry.limit.is_some() => {
                    received = listed.iter().map(|entry| entry.value.len()).sum();
                }
                Fault::InsertFetchesKeys => received = listed.len() * Key::LEN,
                _ => {}
            }
        }
        self.ask(entry.value.len(), received);
        let at = Target::new(&key);
        match self.fault {
            Fault::InsertOverwrites => {
                let _ = self.inner.remove(at, None).await?;
            }
            Fault::TimesAreForgotten => entry.times = None,
            Fault::CreationIsForgotten => {
                if let Some(times) = &mut entry.times {
                    times.created = None;
                }
            }
            Fault::EndedIsRestored => {
                let inserted = self.inner.insert(key, entry.clone()).await?;
                if inserted != InsertOutcome::Expired {
                    return Ok(inserted);
                }
                entry.times = None;
            }
            Fault::LimitIsChecked => {
                if let (Some(owner), Some(limit)) = (&entry.owner, entry.limit.take()) {
                    let counted = self.inner.list(owner).await?.entries.len();
                    self.gap();
                    if counted < limit.max_entries() as usize {
                        return self.inner.insert(key, entry).await;
                    }
                    entry.limit = Some(limit);
                }
            }
            Fault::ReplacesAnyVersion => {
                if let Some(replaces) = &mut entry.replaces {
                    replaces.seen = None;
                }
            }
            Fault::ReplacesOnlyWhatIsThere => {
                if let Some(replaces) = &mut entry.replaces {
                    let there = self.peek(&replaces.key).await?;
                    replaces.seen = there.map(|there| there.version).or(replaces.seen);
                    replaces.seen = replaces.seen.or(Some(Version::from_number(u64::MAX)));
                }
            }
            Fault::ReplacedMakesRoom => {
                if let (Some(_), Some(limit)) = (&entry.replaces, entry.limit) {
                    let most = (limit.max_entries() + 1).min(OwnerLimit::MAX);
                    entry.limit = Some(OwnerLimit::new(most, limit.at_limit()));
                }
            }
            Fault::ReplacedIsRemovedFirst
            | Fault::ReplacedCounts
            | Fault::ReplacesInSteps
            | Fault::ReplacedStays => {
                if let Some(old) = entry.replaces.take() {
                    return self.log_in_by_steps(key, entry, old).await;
                }
            }
            Fault::DamageIsOverwritten if self.unreadable(&key).await => {
                let _ = self.inner.remove(at, None).await?;
            }
            _ => {}
        }
        self.inner.insert(key, entry).await
    }

    async fn replace(
        &self,
        at: Target<'_>,
        seen: Version,
        value: String,
        expiry: Option<Expiry>,
    ) -> Result<ReplaceOutcome<String>> {
        self.ask(value.len(), 0);
        let expiry = expiry.map(|expiry| self.late(expiry));
        if self.is(Fault::CompareThenSet)
            && let Some(now) = self.peek(at.key).await?
            && now.version == seen
        {
            loop {
                self.gap();
                let Some(now) = self.peek(at.key).await? else {
                    return Ok(ReplaceOutcome::Absent);
                };
                let set = self.inner.replace(at, now.version, value.clone(), expiry).await?;
                if matches!(set, ReplaceOutcome::Replaced(_)) {
                    return Ok(set);
                }
            }
        }
        let replaced = self.inner.replace(at, seen, value.clone(), expiry).await?;
        if self.is(Fault::ReplaceCreates) && matches!(replaced, ReplaceOutcome::Absent) {
            let entry = NewEntry::new(value, expiry.unwrap_or(Expiry::after(Duration::MAX)));
            let _ = self.inner.insert(*at.key, entry).await?;
            return Ok(ReplaceOutcome::Replaced(Version::from_number(1)));
        }
        Ok(replaced)
    }

    async fn remove(&self, at: Target<'_>, mut seen: Option<Version>) -> Result<RemoveOutcome> {
        let value =
            if self.is(Fault::RemoveFetchesValues) { self.peek(at.key).await? } else { None };
        self.ask(0, value.map_or(0, |entry| entry.value.len()));
        match self.fault {
            Fault::RemovalIsReported => self.report(at.key),
            Fault::RemovesAnyVersion => seen = None,
            Fault::DamageStays if self.unreadable(at.key).await => {
                return Ok(RemoveOutcome::Absent);
            }
            Fault::CompareThenRemove => {
                if let Some(seen) = seen.take()
                    && let Some(now) = self.peek(at.key).await?
                {
                    if now.version != seen {
                        return Ok(RemoveOutcome::Conflict);
                    }
                    self.gap();
                }
            }
            _ => {}
        }
        self.inner.remove(at, seen).await
    }

    async fn list(&self, owner: &Owner) -> Result<EntryList<String>> {
        let mut listing = self.inner.list(owner).await?;
        let mut received: usize = listing.entries.iter().map(|entry| entry.value.len()).sum();
        if self.is(Fault::ListFetchesWhatIsGone) {
            let memory = self.memory();
            let known = memory.entries.values().filter(|(known, ..)| known.as_ref() == Some(owner));
            received += known.count() * Key::LEN;
        }
        self.ask(0, received);
        match self.fault {
            Fault::ListIsUnordered => listing.entries.sort_by_key(|entry| entry.key),
            Fault::DamageIsHidden => listing.unreadable.clear(),
            Fault::DamageHidesOthers => {
                if let Some(key) = listing.unreadable.first() {
                    return Err(Error::corrupt(*key, "it can't be read"));
                }
            }
            Fault::OwnersAreShared => {
                listing = EntryList::new(Vec::new(), Vec::new());
                for store in self.everywhere() {
                    listing.entries.extend(store.list(owner).await?.entries);
                }
            }
            _ => {}
        }
        Ok(listing)
    }

    async fn remove_owner(&self, owner: &Owner, keep: Option<&Key>) -> Result<Vec<Key>> {
        self.ask(0, 0);
        let listing = self.inner.list(owner).await?;
        let mut entries = listing.entries;
        match self.fault {
            Fault::RemoveOwnerLists | Fault::RemoveOwnerMisses | Fault::DamageOutlivesItsOwner => {}
            Fault::KeepsNothing => return self.inner.remove_owner(owner, None).await,
            _ => return self.inner.remove_owner(owner, keep).await,
        }
        self.gap();
        if self.is(Fault::RemoveOwnerMisses) {
            entries.pop();
        }
        let mut keys = Vec::new();
        for entry in entries.iter().filter(|entry| Some(&entry.key) != keep) {
            let seen = Some(entry.version);
            if self.inner.remove(Target::new(&entry.key), seen).await? == RemoveOutcome::Removed {
                keys.push(entry.key);
            }
        }
        Ok(keys)
    }

    async fn scan(&self, after: Option<&Cursor>, max_entries: usize) -> Result<EntryPage<String>> {
        let page = match self.inner.scan(after, max_entries).await {
            Err(_) if self.is(Fault::AnyCursorScans) => {
                return self.inner.scan(None, max_entries).await;
            }
            page => page?,
        };
        if self.is(Fault::ScanRepeats)
            && let Some(cursor) = after
        {
            let last = cursor.as_bytes().try_into().map(Key::from_bytes).expect("a model store's");
            let mut listing = page.listing;
            listing.entries.extend(self.peek(&last).await?);
            return Ok(EntryPage::new(listing, page.next));
        }
        Ok(page)
    }

    async fn clear(&self) -> Result<()> {
        if self.is(Fault::ClearCrosses) {
            for store in self.everywhere() {
                store.clear().await?;
            }
        }
        self.inner.clear().await
    }

    async fn count(&self) -> Result<u64> {
        match self.fault {
            Fault::CountsOnePage => {
                Ok(self.inner.scan(None, 3).await?.listing.entries.len() as u64)
            }
            Fault::CountCrosses => {
                let [one, other] = self.everywhere();
                Ok(one.count().await? + other.count().await?)
            }
            _ => self.inner.count().await,
        }
    }

    fn on_expired(&self, callback: OnExpired) -> bool {
        let twice = self.is(Fault::EndIsReportedTwice);
        if self.is(Fault::EndsCross) {
            self.memory().callbacks.push(Arc::clone(&callback));
            let memory = Arc::clone(&self.memory);
            return self.inner.on_expired(Arc::new(move |key| {
                let callbacks = memory.lock().expect("no thread panicked").callbacks.clone();
                callbacks.iter().for_each(|callback| callback(key));
            }));
        }
        let _ = self.callback.set(Arc::clone(&callback));
        self.inner.on_expired(Arc::new(move |key| {
            callback(key);
            if twice {
                callback(key);
            }
        }))
    }

    fn get_ready(
        &self,
        key: &Key,
        freshness: Freshness,
        visit: &mut dyn FnMut(EntryRef<'_, String>) -> AfterRead,
    ) -> Option<Result<bool>> {
        match self.fault {
            Fault::LookSlides => self.inner.get_ready(key, freshness, &mut |entry| {
                let _ = visit(entry);
                AfterRead::Slide
            }),
            Fault::UseIsForgotten => self.inner.get_ready(key, freshness, &mut |entry| {
                let _ = visit(entry);
                AfterRead::Keep
            }),
            Fault::ReadyAsks => {
                self.ask(0, 0);
                self.inner.get_ready(key, freshness, visit)
            }
            Fault::ShowsWhatWas => {
                let read = self.memory().entries.get(key).and_then(|(_, _, read)| read.clone())?;
                let _ = visit(read.slide_due(false).as_ref());
                Some(Ok(true))
            }
            // As on a store that does I/O.
            _ => None,
        }
    }

    fn place(&self, key: Key, owner: Option<&Owner>) -> Key {
        let mut bytes = *key.as_bytes();
        match self.fault {
            Fault::PlacesByKey if bytes[8] & 7 == 0 => bytes[8] |= bytes[0] & 7,
            Fault::PlacesWithManyBits => {
                let name = owner.map_or("", Owner::as_str);
                bytes[8..12].copy_from_slice(&Key::of(name).as_bytes()[..4]);
            }
            _ => {}
        }
        Key::from_bytes(bytes)
    }
}
