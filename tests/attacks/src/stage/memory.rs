use kvolt_cache::{Codec, ManualClock, MemoryStore, Store};
use kvolt_session::{Record, RecordJson};
use tokio::runtime::Handle;

use super::{Raw, Server, Stage};
use crate::user::User;

/// Maximum size of the memory store, which has no limit per session.
const MAX_BYTES: usize = 8 << 20;

pub(super) fn open() -> Stage {
    stage(ManualClock::new(), String::from("memory"))
}

/// Opens a separate store: a memory store has one namespace.
fn stage(clock: ManualClock, namespace: String) -> Stage {
    let weigh =
        |record: &Record<User>| record.data().map_or(0, |user| user.name.len() + user.note.len());
    let store = MemoryStore::builder().max_bytes(MAX_BYTES, weigh).clock(clock.clock()).build();
    let its_clock = clock.clone();
    Stage {
        one: Server::in_memory(store.clone(), clock.clock()),
        other: Server::in_memory(store.clone(), clock.clock()),
        namespace,
        clock: Some(clock),
        bound: None,
        raw: Box::new(Memory(store)),
        neighbour: Box::new(move |namespace| {
            let stage = stage(its_clock.clone(), namespace);
            Box::pin(async { stage })
        }),
    }
}

struct Memory(MemoryStore<Record<User>>);

impl Raw for Memory {
    fn count(&self) -> usize {
        self.0.len()
    }

    /// The keys, and the values as another store would encode them.
    fn dump(&self) -> Vec<u8> {
        let page = Handle::current().block_on(self.0.scan(None, usize::MAX));
        let mut dump = Vec::new();
        for entry in page.expect("it can be scanned").listing.entries {
            let value = RecordJson::new().encode(&entry.key, &entry.value);
            dump.extend(format!("{} {:?} ", entry.key, entry.owner).into_bytes());
            dump.extend(value.expect("it can be encoded"));
            dump.push(b'\n');
        }
        dump
    }
}
