//! Counting entries.

use std::collections::HashSet;

use kvolt_cache::{Key, Result};
use redis::Value;

use crate::RedisStore;
use crate::errors::Fault;
use crate::names::Name;
use crate::scan::Pass;

/// How many keys are remembered, so that what `SCAN` returns twice is counted once: 5 MB. What comes
/// after that may be counted twice where the server is changing the size of its table.
const REMEMBERED_MAX: usize = 100_000;

impl RedisStore {
    /// Goes through the names, and asks of each whether it is an entry's, a page at a time and
    /// without the values.
    pub(crate) async fn count_now(&self) -> Result<u64> {
        let mut pass = Pass::default();
        let (mut count, mut begun) = (0, 0);
        let mut seen = HashSet::new();
        while let Some(page) = pass.next(self).await? {
            if page.begun > begun {
                // From the beginning, as slots have moved.
                (count, begun) = (0, page.begun);
                seen.clear();
            }
            let is_new = |key: &Key| {
                if seen.len() < REMEMBERED_MAX { seen.insert(*key) } else { !seen.contains(key) }
            };
            let keys = page.names.into_iter().filter_map(|name| match name {
                Name::Key(key) => Some(key),
                Name::Owner(_) => None,
            });
            let mut commands = redis::pipe();
            for key in keys.filter(is_new) {
                // Only an entry has a version.
                commands.cmd("HMGET").arg(self.names().key(&key)).arg("ver");
            }
            if commands.is_empty() {
                continue;
            }
            let answers = async { page.node.send_all(&commands).await.map_err(Fault::into_error) };
            for answer in self.within(answers).await? {
                match answer {
                    Ok(Value::Array(version)) if version.iter().all(|it| *it != Value::Nil) => {
                        count += 1;
                    }
                    Ok(_) => {}
                    // On its way to another master, where it is counted.
                    Err(fault) if fault.redirect().is_some() => {}
                    Err(fault) => return Err(fault.into_error()),
                }
            }
        }
        Ok(count)
    }
}
