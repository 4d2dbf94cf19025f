//! Removing all entries, and counting them.

use std::collections::{BTreeMap, HashSet};

use kvolt_cache::{Key, Result};

use crate::RedisStore;
use crate::errors::Fault;
use crate::names;
use crate::pass::{Pass, all_at_once};
use crate::script::Call;

/// How many keys are remembered, so that what `SCAN` returns twice is counted once: 5 MB. What comes
/// after that may be counted twice where the server is changing the size of its table.
const MAX_REMEMBERED: usize = 100_000;

impl RedisStore {
    /// A pass finds every name that is there the whole time, and an entry keeps its name for life.
    pub(crate) async fn clear_now(&self) -> Result<()> {
        let mut pass = Pass::new(self.names().entries());
        while let Some(page) = pass.next(self).await? {
            let mut parts = BTreeMap::<u16, Vec<Key>>::new();
            for key in page.names.iter().filter_map(|name| self.names().parse_key(name)) {
                let part = if self.server().is_in_parts() { names::part_of(&key) } else { 0 };
                parts.entry(part).or_default().push(key);
            }
            let removals = parts.into_iter().map(|(part, keys)| self.clone().unlink(part, keys));
            self.in_time(all_at_once(removals)).await?;
        }
        // The indexes would go with time. What was inserted meanwhile stays in them.
        let mut pass = Pass::new(self.names().indexes());
        while let Some(page) = pass.next(self).await? {
            let owners = page.names.iter().filter_map(|name| self.names().parse_index(name));
            let prunings = owners.map(|owner| {
                let store = self.clone();
                async move { store.prune(&owner).await }
            });
            self.in_time(all_at_once(prunings)).await?;
        }
        Ok(())
    }

    async fn unlink(self, part: u16, keys: Vec<Key>) -> Result<()> {
        let mut names = keys.iter().map(|key| self.names().key(key));
        let Some(first) = names.next() else { return Ok(()) };
        let call = names.fold(Call::plain("UNLINK", part, &first), Call::arg).writes();
        self.server().call(&call).await.map(drop).map_err(Fault::into_error)
    }

    /// By the names alone: nothing else has such a name.
    pub(crate) async fn count_now(&self) -> Result<u64> {
        let mut pass = Pass::new(self.names().entries());
        let (mut count, mut begun) = (0, 0);
        let mut seen = HashSet::new();
        while let Some(page) = pass.next(self).await? {
            if page.begun > begun {
                // From the beginning, as slots have moved.
                (count, begun) = (0, page.begun);
                seen.clear();
            }
            for key in page.names.iter().filter_map(|name| self.names().parse_key(name)) {
                let is_new = if seen.len() < MAX_REMEMBERED {
                    seen.insert(key)
                } else {
                    !seen.contains(&key)
                };
                count += u64::from(is_new);
            }
        }
        Ok(count)
    }
}
