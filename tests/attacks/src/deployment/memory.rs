use kvolt_cache::{Codec, ManualClock, MemoryStore, Store};
use kvolt_session::{Record, RecordJson};
use tokio::runtime::Handle;

use super::{Deployment, RawStore, Server};
use crate::user::User;

/// The maximum size of the store in memory. Its sessions have no limit of their own.
const MAX_BYTES: usize = 8 << 20;

pub(super) fn open() -> Deployment {
    deployment(ManualClock::new(), String::from("memory"))
}

/// A separate store: in memory, each has one namespace.
fn deployment(clock: ManualClock, namespace: String) -> Deployment {
    let weigh =
        |record: &Record<User>| record.data().map_or(0, |user| user.name.len() + user.note.len());
    let store = MemoryStore::builder().max_bytes(MAX_BYTES, weigh).clock(clock.clock()).build();
    let its_clock = clock.clone();
    Deployment {
        one: Server::in_memory(store.clone()),
        other: Server::in_memory(store.clone()),
        namespace,
        clock: Some(clock),
        bound: None,
        raw: Box::new(Memory(store)),
        neighbour: Box::new(move |namespace| {
            let deployment = deployment(its_clock.clone(), namespace);
            Box::pin(async { deployment })
        }),
    }
}

struct Memory(MemoryStore<Record<User>>);

impl RawStore for Memory {
    fn count(&self) -> usize {
        self.0.len()
    }

    /// The keys, and the values encoded as for another store.
    fn dump(&self) -> Vec<u8> {
        let page = Handle::current().block_on(self.0.scan(None, usize::MAX));
        let mut dump = Vec::new();
        for entry in page.expect("it can be scanned").listing.entries {
            let value = RecordJson::new().encode(&entry.key, &entry.value);
            dump.extend(format!("{} {:?} ", entry.key, entry.owner).into_bytes());
            dump.extend(value.expect("the value can be encoded"));
            dump.push(b'\n');
        }
        dump
    }
}
