//! Removing everything.

use std::time::Duration;

use kvolt_cache::{Key, Result};
use tokio::time::Instant;

use crate::RedisStore;
use crate::names::{Name, PARTS, part_of_owner};
use crate::scan::Pass;
use crate::script::{self, Call};

/// How long the marks of a clear stand. They are renewed while it is going on.
const MARKED: Duration = Duration::from_secs(600);

impl RedisStore {
    /// A pass over all keys finds what is there the whole time. What is renamed meanwhile could hide
    /// from it behind it, so nothing that was made before the marks were set can be renamed.
    pub(crate) async fn clear_now(&self) -> Result<()> {
        self.mark(false).await?;
        let mut marked = Instant::now();
        let mut owners: Vec<String> = Vec::new();
        let mut pass = Pass::default();
        while let Some(page) = pass.next(self).await? {
            let mut keys = Vec::new();
            for name in page.names {
                match name {
                    Name::Key(key) => keys.push(key),
                    Name::Owner(owner) => owners.push(owner),
                }
            }
            self.remove_keys(&keys).await?;
            if marked.elapsed() > MARKED / 10 {
                self.mark(true).await?;
                marked = Instant::now();
            }
        }
        // What was inserted meanwhile stays in its owner's index.
        for owner in owners {
            self.within(self.prune_all(&owner)).await?;
        }
        Ok(())
    }

    async fn mark(&self, again: bool) -> Result<()> {
        let parts: Vec<u16> = (0..PARTS).collect();
        let in_one_step = if self.server().is_in_parts() { 1 } else { parts.len() };
        for parts in parts.chunks(in_one_step) {
            let keys: Vec<String> = parts.iter().map(|part| self.names().mark(*part)).collect();
            let call = Call::write(&script::MARK, parts[0], &keys)
                .arg(MARKED.as_millis().to_string())
                .arg(if again { "again" } else { "" });
            self.within(self.server().call(&call)).await?;
        }
        Ok(())
    }

    async fn remove_keys(&self, keys: &[Key]) -> Result<()> {
        for (part, keys) in self.by_part(keys) {
            let names: Vec<String> = keys.iter().map(|key| self.names().key(key)).collect();
            if !names.is_empty() {
                let call = Call::write(&script::UNLINK, part, &names);
                self.within(self.server().call(&call)).await?;
            }
        }
        Ok(())
    }

    async fn prune_all(&self, owner: &str) -> Result<()> {
        let keys = [self.names().owner(owner)];
        let call = Call::read(&script::PRUNE, part_of_owner(owner), &keys).arg(owner).arg("all");
        let answer = self.server().call(&call).await?;
        if answer.status == "members" {
            self.prune(owner, &answer.keys()?).await?;
        }
        Ok(())
    }
}
