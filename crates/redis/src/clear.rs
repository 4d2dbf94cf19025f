//! Removing all entries of a namespace.

use std::collections::BTreeMap;

use kvolt_cache::{Key, Result};

use crate::RedisStore;
use crate::concurrent::join_all;
use crate::names;
use crate::pass::Pass;
use crate::script::Call;

impl RedisStore {
    /// Every entry keeps its name for life, so a pass finds all that were inserted before it.
    pub(crate) async fn clear_now(&self) -> Result<()> {
        let mut pass = Pass::new(self.inner.names.entries());
        while let Some(keys) = pass.next_keys(self).await? {
            let mut parts = BTreeMap::<u16, Vec<Key>>::new();
            for key in keys {
                let part = if self.inner.servers.is_cluster() { names::part_of(&key) } else { 0 };
                parts.entry(part).or_default().push(key);
            }
            let removals = parts.into_iter().map(|(part, keys)| self.clone().unlink(part, keys));
            self.in_time(join_all(removals)).await?;
        }
        // Without this, indexes stay until they expire. Members added meanwhile are kept.
        let mut pass = Pass::new(self.inner.names.indexes());
        while let Some(names) = pass.next(self).await? {
            let owners = names.iter().filter_map(|name| self.inner.names.parse_index(name));
            let prunings = owners.map(|owner| {
                let store = self.clone();
                async move { store.prune(&owner).await }
            });
            self.in_time(join_all(prunings)).await?;
        }
        Ok(())
    }

    async fn unlink(self, part: u16, keys: Vec<Key>) -> Result<()> {
        let mut names = keys.iter().map(|key| self.inner.names.key(key));
        let Some(first) = names.next() else { return Ok(()) };
        let call = names.fold(Call::plain("UNLINK", part, &first), Call::arg).writes();
        self.inner.servers.call(&call).await?;
        Ok(())
    }
}
