use kvolt_cache::{Codec, ManualClock, MemoryStore, Store};
use kvolt_session::{Record, RecordJson};
use tokio::runtime::Handle;

use super::{Raw, Server, Stage};
use crate::user::User;

/// What the store in memory holds at the most. Its sessions have no size of their own.
const BYTES_MAX: usize = 8 << 20;

pub(super) fn open() -> Stage {
    let clock = ManualClock::new();
    let weigh = |record: &Record<User>| record.data().name.len() + record.data().note.len();
    let store = MemoryStore::builder().bytes_max(BYTES_MAX, weigh).clock(clock.clock()).build();
    Stage {
        one: Server::in_memory(store.clone(), clock.clock()),
        other: Server::in_memory(store.clone(), clock.clock()),
        clock: Some(clock),
        bound: None,
        raw: Box::new(Memory(store)),
    }
}

struct Memory(MemoryStore<Record<User>>);

impl Raw for Memory {
    fn count(&self) -> usize {
        self.0.len()
    }

    /// The keys, and the values as another store would be given them.
    fn dump(&self) -> Vec<u8> {
        let page = Handle::current().block_on(self.0.scan(None, usize::MAX));
        let mut dump = Vec::new();
        for entry in page.expect("it can be scanned").entries {
            let value = RecordJson::new().encode(&entry.key, &entry.value);
            dump.extend(format!("{} {:?} ", entry.key, entry.owner).into_bytes());
            dump.extend(value.expect("it can be encoded"));
            dump.push(b'\n');
        }
        dump
    }
}
