//! The cost of operations: commands, round trips and bytes, counted by the [`Fixture`].
//!
//! Each operation runs several times and the cheapest counts, so that a store's own work meanwhile
//! (reading the time, cleaning) does not matter.

use std::ops::Sub;

use kvolt_cache::{
    AfterRead, AtLimit, Expiry, Freshness, InsertOutcome, Key, NewEntry, Owner, OwnerLimit,
    Predecessor, RemoveOutcome, ReplaceOutcome, Store, Target,
};

use super::Fixture;
use super::law_fixture::{LIVES, LawFixture, inserted, owner};

/// The number of commands, round trips and bytes that a store has caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// Commands or statements. A script is one.
    pub commands: u64,
    /// Round trips: commands that are sent together, and their replies, are one.
    pub turns: u64,
    /// Bytes to the server.
    pub bytes_sent: u64,
    /// Bytes from the server.
    pub bytes_received: u64,
    /// Rows or elements that the server has read, if they can be counted.
    pub rows: Option<u64>,
}

impl Sub for Asked {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            commands: self.commands - earlier.commands,
            turns: self.turns - earlier.turns,
            bytes_sent: self.bytes_sent - earlier.bytes_sent,
            bytes_received: self.bytes_received - earlier.bytes_received,
            rows: self.rows.zip(earlier.rows).map(|(now, earlier)| now - earlier),
        }
    }
}

/// The largest cost of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Commands or statements.
    pub commands: u64,
    /// Round trips.
    pub turns: u64,
}

impl Cost {
    /// A number of commands in a number of round trips.
    pub const fn new(commands: u64, turns: u64) -> Self {
        Self { commands, turns }
    }
}

/// The largest cost of each operation, at any number of entries.
///
/// ```
/// use kvolt_testkit::conformance::{Cost, Costs};
///
/// let costs = Costs { remove_owner: Cost::new(2, 2), ..Costs::default() };
/// assert_eq!(costs.get, Cost::new(1, 1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as the operations of `Store` are")]
pub struct Costs {
    pub get: Cost,
    pub touch: Cost,
    /// Without a limit.
    pub insert: Cost,
    /// With a limit that is not reached.
    pub insert_below_limit: Cost,
    /// At the limit, where the oldest is removed.
    pub insert_at_limit: Cost,
    /// In the place of an entry of the same owner.
    pub insert_over_own: Cost,
    /// In the place of an entry without an owner.
    pub insert_over_other: Cost,
    pub replace: Cost,
    pub remove: Cost,
    pub list: Cost,
    pub remove_owner: Cost,
}

impl Default for Costs {
    fn default() -> Self {
        let one = Cost::new(1, 1);
        Self {
            get: one,
            touch: one,
            insert: one,
            insert_below_limit: one,
            insert_at_limit: one,
            insert_over_own: one,
            insert_over_other: one,
            replace: one,
            remove: one,
            list: one,
            remove_owner: one,
        }
    }
}

/// How often each operation is tried.
const TRIES: usize = 4;

/// By how many bytes two of the same kind may differ: a longer number, a longer name.
const ABOUT_THE_SAME: u64 = 256;

/// The largest number of bytes of as many keys as a limit allows, there and
/// back; their values are larger.
const KEYS_OF_A_LIMIT: u64 = 160 * OwnerLimit::MAX as u64;

/// A lab whose store's questions are counted.
struct Counted<'a, F: Fixture> {
    lab: LawFixture<'a, F>,
    fixture: &'a F,
    costs: Costs,
}

impl<'a, F: Fixture> Counted<'a, F> {
    async fn new(fixture: &'a F) -> Option<Self> {
        let lab = LawFixture::new(fixture).await;
        if fixture.asked(&lab.store).await.is_none() {
            lab.not_checked("the fixture does not count what the store asks");
            return None;
        }
        // Connections are made and statements prepared when they are first needed.
        let counted = Self { lab, fixture, costs: fixture.costs() };
        counted.each_operation("first").await;
        Some(counted)
    }

    async fn asked(&self) -> Asked {
        self.fixture.asked(&self.lab.store).await.expect("it was counted before")
    }

    /// The least of what several calls asked, by each measure.
    async fn least(&self, mut call: impl AsyncFnMut(usize)) -> Asked {
        let mut least = Asked {
            commands: u64::MAX,
            turns: u64::MAX,
            bytes_sent: u64::MAX,
            bytes_received: u64::MAX,
            rows: Some(u64::MAX),
        };
        for number in 0..TRIES {
            let before = self.asked().await;
            call(number).await;
            least = least.min(self.asked().await - before);
        }
        least
    }

    fn entry(&self, owner: Option<&Owner>) -> NewEntry<String> {
        NewEntry::new("v".repeat(1_000), LIVES).maybe_owner(owner.cloned())
    }

    /// An entry that was used so long ago that the next use must move its deadline.
    async fn used_long_ago(&self, key: Key, owner: Option<&Owner>) {
        let probe = self.lab.key("probe", owner);
        assert_eq!(self.lab.try_insert(probe, self.entry(owner)).await, inserted());
        let mut entry = self.lab.get(&probe).await.expect("it was inserted");
        assert_eq!(self.lab.remove(&probe).await, RemoveOutcome::Removed);
        let idle = LIVES.idle_timeout().expect("it has one");
        let ends = entry.read_at.saturating_add(idle / 2);
        entry.deadlines = kvolt_cache::Deadlines::new(Some((idle, ends)), None);
        let restored = NewEntry::restored(entry);
        assert_eq!(self.lab.try_insert(key, restored).await, inserted());
    }

    async fn fill(&self, owner: &Owner, names: &str, entries: usize) -> Vec<Key> {
        let mut keys = Vec::new();
        for number in 0..entries {
            let key = self.lab.key(&format!("{names}, {number}"), Some(owner));
            assert_eq!(self.lab.try_insert(key, self.entry(Some(owner))).await, inserted());
            keys.push(key);
        }
        keys
    }

    /// The cost of each operation, by its name, with the largest allowed cost.
    async fn each_operation(&self, round: &str) -> Vec<(&'static str, Cost, Asked)> {
        let (lab, costs) = (&self.lab, &self.costs);
        let user = owner(format!("owner, {round}"));
        let key =
            |what: &str, number: usize| lab.key(&format!("{what}, {round}, {number}"), Some(&user));
        let mut all = Vec::new();
        let mut add = |name, cost, asked| all.push((name, cost, asked));

        add(
            "insert",
            costs.insert,
            self.least(async |number| {
                let answer = lab.try_insert(key("key", number), self.entry(Some(&user))).await;
                assert_eq!(answer, inserted());
            })
            .await,
        );
        add(
            "get",
            costs.get,
            self.least(async |number| {
                let found = lab.store.get(&key("key", number), Freshness::Strict).await;
                assert!(found.expect("get works").is_some());
            })
            .await,
        );
        add(
            "get of nothing",
            costs.get,
            self.least(async |number| {
                let found = lab.store.get(&key("nothing", number), Freshness::Strict).await;
                assert!(found.expect("get works").is_none());
            })
            .await,
        );
        for number in 0..TRIES {
            self.used_long_ago(key("used", number), Some(&user)).await;
        }
        add(
            "touch",
            costs.touch,
            self.least(async |number| {
                let touched = lab.touch_at(Target::new(&key("used", number)).owner(&user)).await;
                assert!(touched.is_some());
            })
            .await,
        );
        let mut seen = Vec::new();
        for number in 0..TRIES {
            seen.push(lab.version(&key("key", number)).await);
        }
        add(
            "replace",
            costs.replace,
            self.least(async |number| {
                let key = key("key", number);
                let at = Target::new(&key).owner(&user);
                let value = "w".repeat(1_000);
                let done = lab.store.replace(at, seen[number], value, Some(LIVES)).await;
                assert!(matches!(done, Ok(ReplaceOutcome::Replaced(_))), "{done:?}");
            })
            .await,
        );
        add(
            "list",
            costs.list,
            self.least(async |_| {
                assert_eq!(lab.list(&user).await.len(), 2 * TRIES);
            })
            .await,
        );
        add(
            "insert below the limit",
            costs.insert_below_limit,
            self.least(async |number| {
                let entry = self.entry(Some(&user)).limit(OwnerLimit::refuse(OwnerLimit::MAX));
                assert_eq!(lab.try_insert(key("below", number), entry).await, inserted());
            })
            .await,
        );
        add(
            "insert at the limit",
            costs.insert_at_limit,
            self.least(async |number| {
                let entry =
                    self.entry(Some(&user)).limit(OwnerLimit::remove_oldest(3 * TRIES as u32));
                let answer = lab.try_insert(key("at", number), entry).await;
                assert!(
                    matches!(answer, InsertOutcome::Inserted { removed } if removed.len() == 1)
                );
            })
            .await,
        );
        add(
            "insert over one's own",
            costs.insert_over_own,
            self.least(async |number| {
                let old = Predecessor::new(key("at", number)).owner(user.clone());
                let entry = self.entry(Some(&user)).replaces(old);
                assert_eq!(lab.try_insert(key("own", number), entry).await, inserted());
            })
            .await,
        );
        let anonymous = |number: usize| lab.key(&format!("none, {round}, {number}"), None);
        for number in 0..TRIES {
            assert_eq!(lab.try_insert(anonymous(number), self.entry(None)).await, inserted());
        }
        add(
            "insert over another's",
            costs.insert_over_other,
            self.least(async |number| {
                let entry = self.entry(Some(&user)).replaces(Predecessor::new(anonymous(number)));
                assert_eq!(lab.try_insert(key("other", number), entry).await, inserted());
            })
            .await,
        );
        add(
            "remove",
            costs.remove,
            self.least(async |number| {
                let key = key("own", number);
                let removed = lab.store.remove(Target::new(&key).owner(&user), None).await;
                assert_eq!(removed.ok(), Some(RemoveOutcome::Removed));
            })
            .await,
        );
        for number in 0..TRIES {
            let owner = owner(format!("owner, {round}, {number}"));
            self.fill(&owner, &format!("one of many, {round}, {number}"), 3).await;
        }
        add(
            "remove by owner",
            costs.remove_owner,
            self.least(async |number| {
                let owner = owner(format!("owner, {round}, {number}"));
                assert_eq!(lab.remove_owner(&owner, None).await.len(), 3);
            })
            .await,
        );
        all
    }
}

impl Asked {
    /// The lesser of each measure.
    fn min(self, other: Self) -> Self {
        Self {
            commands: self.commands.min(other.commands),
            turns: self.turns.min(other.turns),
            bytes_sent: self.bytes_sent.min(other.bytes_sent),
            bytes_received: self.bytes_received.min(other.bytes_received),
            rows: self.rows.zip(other.rows).map(|(one, other)| one.min(other)),
        }
    }

    const fn bytes(&self) -> u64 {
        self.bytes_sent + self.bytes_received
    }

    /// Asserts that this costs what that costs, but for so many bytes, and for as many rows as a
    /// limit can hold.
    fn assert_like(self, that: Self, bytes: u64, what: &str) {
        assert_eq!(
            (self.commands, self.turns),
            (that.commands, that.turns),
            "{what}: {self:?}, and before {that:?}"
        );
        let more = self.bytes().saturating_sub(that.bytes());
        assert!(more <= bytes, "{what}: {more} bytes more, {self:?}, and before {that:?}");
        if let (Some(now), Some(before)) = (self.rows, that.rows) {
            let more = now.saturating_sub(before);
            assert!(more <= 4 * u64::from(OwnerLimit::MAX), "{what}: {more} rows more");
        }
    }
}

/// No operation takes more commands or round trips than the fixture states.
pub async fn each_operation_costs_what_is_stated<F: Fixture>(fixture: &F) {
    let Some(counted) = Counted::new(fixture).await else { return };
    let all = counted.each_operation("stated").await;
    for (name, cost, asked) in &all {
        let done = Cost::new(asked.commands, asked.turns);
        let is_within = done.commands <= cost.commands && done.turns <= cost.turns;
        assert!(is_within, "{name} took {done:?}, and may take {cost:?}");
    }
    let commands: u64 = all.iter().map(|(_, _, asked)| asked.commands).sum();
    assert!(commands > 0, "the fixture counts something");
}

/// An answer without I/O costs nothing.
pub async fn what_is_ready_asks_nothing<F: Fixture>(fixture: &F) {
    let Some(counted) = Counted::new(fixture).await else { return };
    let lab = &counted.lab;
    let key = lab.key("key", None);
    lab.insert(key, "value", LIVES).await;
    let _ = lab.store.get(&key, Freshness::Bounded).await.expect("get works");
    let asked = counted
        .least(async |_| {
            let _ = lab.store.get_ready(&key, Freshness::Bounded, &mut |_| AfterRead::Keep);
        })
        .await;
    assert_eq!((asked.commands, asked.turns), (0, 0), "{asked:?}");
}

/// At a limit of 64 as at one of 3, an insertion costs the same commands and round trips, and no
/// more bytes than keys have: the values of existing entries are not fetched. So it does for an
/// account and for a group of anonymous visitors, whether it is refused or removes the oldest.
pub async fn an_insertion_costs_the_same_at_any_limit<F: Fixture>(fixture: &F) {
    let Some(counted) = Counted::new(fixture).await else { return };
    let group = Owner::reserved("group").expect("the name is valid");
    for (account, at_limit) in [
        (owner("refused"), AtLimit::Refuse),
        (owner("removed"), AtLimit::RemoveOldest),
        (group, AtLimit::Refuse),
    ] {
        let mut costs = Vec::new();
        for max_entries in [3, OwnerLimit::MAX] {
            let there = counted.lab.list(&account).await.len();
            let names = format!("{account:?}, {max_entries}");
            counted.fill(&account, &names, max_entries as usize - there).await;
            let limit = OwnerLimit::new(max_entries, at_limit);
            let asked = counted
                .least(async |number| {
                    let name = format!("{names}, another {number}");
                    let key = counted.lab.key(&name, Some(&account));
                    let entry = counted.entry(Some(&account)).limit(limit);
                    let answer = counted.lab.try_insert(key, entry).await;
                    let is_refused = answer == InsertOutcome::LimitReached;
                    assert_eq!(is_refused, at_limit == AtLimit::Refuse, "{answer:?}");
                })
                .await;
            costs.push(asked);
        }
        let what = format!("an insertion at the limit, {at_limit:?}");
        costs[1].assert_like(costs[0], KEYS_OF_A_LIMIT, &what);
    }
}

/// An owner with a thousand entries costs what one with ten does: to insert another, to use, to
/// change and to remove one.
pub async fn no_cost_grows_with_the_owners_entries<F: Fixture>(fixture: &F) {
    let Some(counted) = Counted::new(fixture).await else { return };
    let lab = &counted.lab;
    let owner = owner("owner");
    let mut costs: Vec<Vec<Asked>> = Vec::new();
    for entries in [10, 990] {
        let keys = counted.fill(&owner, &format!("of {entries}"), entries).await;
        let insert = counted
            .least(async |number| {
                let key = lab.key(&format!("one more, {entries}, {number}"), Some(&owner));
                let entry = counted.entry(Some(&owner));
                assert_eq!(lab.try_insert(key, entry).await, inserted());
            })
            .await;
        let refused = counted
            .least(async |number| {
                let key = lab.key(&format!("too many, {entries}, {number}"), Some(&owner));
                let entry = counted.entry(Some(&owner)).limit(OwnerLimit::refuse(10));
                assert_eq!(lab.try_insert(key, entry).await, InsertOutcome::LimitReached);
            })
            .await;
        let get = counted
            .least(async |number| {
                let found = lab.store.get(&keys[number], Freshness::Strict).await;
                assert!(found.expect("get works").is_some());
            })
            .await;
        let touch = counted
            .least(async |number| {
                assert!(lab.touch_at(Target::new(&keys[number]).owner(&owner)).await.is_some());
            })
            .await;
        let mut seen = Vec::new();
        for key in &keys[..TRIES] {
            seen.push(lab.version(key).await);
        }
        let replace = counted
            .least(async |number| {
                let at = Target::new(&keys[number]).owner(&owner);
                let value = "w".repeat(1_000);
                let done = lab.store.replace(at, seen[number], value, Some(LIVES)).await;
                assert!(matches!(done, Ok(ReplaceOutcome::Replaced(_))), "{done:?}");
            })
            .await;
        let over = counted
            .least(async |number| {
                let old = Predecessor::new(keys[TRIES + number]).owner(owner.clone());
                let key = lab.key(&format!("over, {entries}, {number}"), Some(&owner));
                let entry = counted.entry(Some(&owner)).replaces(old);
                assert_eq!(lab.try_insert(key, entry).await, inserted());
            })
            .await;
        let remove = counted
            .least(async |number| {
                let removed =
                    lab.store.remove(Target::new(&keys[number]).owner(&owner), None).await;
                assert_eq!(removed.ok(), Some(RemoveOutcome::Removed));
            })
            .await;
        costs.push(vec![insert, refused, get, touch, replace, over, remove]);
    }
    let names = ["insert", "refused", "get", "touch", "replace", "insert over", "remove"];
    for ((name, few), many) in names.iter().zip(&costs[0]).zip(&costs[1]) {
        // A refusal may have read as many keys as the largest limit has.
        let bytes = if *name == "refused" { KEYS_OF_A_LIMIT } else { ABOUT_THE_SAME };
        many.assert_like(*few, bytes, name);
    }
}

/// The cost of a list grows with its result only: not with the entries of others, nor with those that
/// were removed or have ended.
pub async fn a_list_costs_what_it_returns<F: Fixture>(fixture: &F) {
    let Some(counted) = Counted::new(fixture).await else { return };
    let lab = &counted.lab;
    let (mine, others) = (owner("owner"), owner("other"));
    counted.fill(&mine, "mine", 3).await;
    let cost = async || counted.least(async |_| assert_eq!(lab.list(&mine).await.len(), 3)).await;
    let alone = cost().await;
    counted.fill(&others, "others", 200).await;
    cost().await.assert_like(alone, ABOUT_THE_SAME, "a list beside others'");
    for number in 0..100 {
        let key = lab.key(&format!("ended {number}"), Some(&mine));
        let mut entry = counted.entry(Some(&mine));
        entry.expiry = Expiry::after(lab.ticks(5));
        assert_eq!(lab.try_insert(key, entry).await, inserted());
        let key = lab.key(&format!("removed {number}"), Some(&mine));
        assert_eq!(lab.try_insert(key, counted.entry(Some(&mine))).await, inserted());
        assert_eq!(lab.remove(&key).await, RemoveOutcome::Removed);
    }
    lab.advance(lab.ticks(5)).await;
    cost().await.assert_like(alone, ABOUT_THE_SAME, "a list of an owner with ended entries");
}

/// A value goes to the server when it is written, and comes from it when it is read, and at no
/// other time: once, or twice for an insertion at the limit.
pub async fn only_reads_and_writes_carry_values<F: Fixture>(fixture: &F) {
    /// More than all that is sent beside the value.
    const WITHOUT: u64 = 6_000;
    let Some(counted) = Counted::new(fixture).await else { return };
    let lab = &counted.lab;
    let owner = owner("owner");
    let value = "v".repeat(20_000);
    let key = |name: &str, number: usize| lab.key(&format!("{name} {number}"), Some(&owner));
    let entry = || NewEntry::new(value.clone(), LIVES).owner(owner.clone());
    let carries = |asked: Asked, sent: u64, received: u64, what: &str| {
        // As many values, and nearly another: what a codec makes of one may be longer.
        let most = |values: u64| match values {
            0 => WITHOUT,
            values => (values + 1) * value.len() as u64 - WITHOUT,
        };
        assert!(asked.bytes_sent <= most(sent), "{what} sends too much: {asked:?}");
        assert!(asked.bytes_received <= most(received), "{what} gets too much: {asked:?}");
    };
    let asked = counted
        .least(async |number| {
            assert_eq!(lab.try_insert(key("key", number), entry()).await, inserted());
        })
        .await;
    carries(asked, 1, 0, "an insertion");
    let asked = counted
        .least(async |number| {
            let entry = entry().limit(OwnerLimit::remove_oldest(TRIES as u32));
            let answer = lab.try_insert(key("limited", number), entry).await;
            assert!(matches!(answer, InsertOutcome::Inserted { removed } if removed.len() == 1));
        })
        .await;
    carries(asked, 2, 0, "an insertion at the limit");
    let asked = counted
        .least(async |number| {
            let over = Predecessor::new(key("limited", number)).owner(owner.clone());
            let answer = lab.try_insert(key("over", number), entry().replaces(over)).await;
            assert_eq!(answer, inserted());
        })
        .await;
    carries(asked, 1, 0, "an insertion over another entry");
    let asked = counted
        .least(async |number| {
            let found = lab.store.get(&key("over", number), Freshness::Strict).await;
            assert!(found.expect("get works").is_some());
        })
        .await;
    carries(asked, 0, 1, "a read");
    let asked = counted
        .least(async |number| assert!(lab.touch(&key("over", number)).await.is_some()))
        .await;
    carries(asked, 0, 0, "a touch");
    let mut seen = Vec::new();
    for number in 0..TRIES {
        seen.push(lab.version(&key("over", number)).await);
    }
    let asked = counted
        .least(async |number| {
            let replaced = lab.replace(&key("over", number), seen[number], &value, None).await;
            assert!(matches!(replaced, ReplaceOutcome::Replaced(_)), "{replaced:?}");
        })
        .await;
    carries(asked, 1, 0, "a replacement");
    let asked = counted
        .least(async |number| {
            assert_eq!(lab.remove(&key("over", number)).await, RemoveOutcome::Removed);
        })
        .await;
    carries(asked, 0, 0, "a removal");
    assert_eq!(lab.try_insert(key("last", 0), entry()).await, inserted());
    let before = counted.asked().await;
    assert_eq!(lab.remove_owner(&owner, None).await.len(), 1);
    carries(counted.asked().await - before, 0, 0, "a removal by owner");
}
