use std::collections::BTreeMap;
use std::time::Duration;

use kvolt_cache::codec::{Encrypted, EncryptionKey, EncryptionKeys};
use kvolt_cache::{Access, Coded, Entry, Expiry, Key, MemoryStore, NewEntry, Store};
use kvolt_session::{Record, RecordJson};
use pollster::block_on;

type Data = BTreeMap<String, Vec<u32>>;

/// Reads any bytes as what a store holds for a session: plain, forgiving, and encrypted.
///
/// Whatever is read is written and read again the same; whatever is not is an
/// error that names the entry; and what nobody sealed never opens.
pub fn stored(bytes: &[u8]) {
    let key = Key::of("the entry");
    let store = MemoryStore::new();
    let entry = NewEntry::new(bytes.to_vec(), Expiry::after(Duration::from_secs(60)));
    assert!(block_on(store.insert(key, entry)).is_ok());
    let keys = EncryptionKeys::new(EncryptionKey::from_bytes(&[7; 32]));

    let plain = Coded::new(store.clone(), RecordJson::<Data>::new());
    let read = block_on(plain.get(&key, Access::PEEK)).map(unwrap);
    if let Ok(record) = &read {
        let again = Key::of("another");
        let written = NewEntry::new(record.clone(), Expiry::after(Duration::from_secs(60)));
        if block_on(plain.insert(again, written)).is_ok() {
            let same = block_on(plain.get(&again, Access::PEEK)).map(unwrap);
            let same = same.expect("what was written is read");
            assert_eq!(same.data(), record.data());
            // All the rest of it shows in what is written.
            let third = Key::of("a third");
            let written = NewEntry::new(same, Expiry::after(Duration::from_secs(60)));
            assert!(block_on(plain.insert(third, written)).is_ok());
            let bytes = |key| {
                block_on(store.get(key, Access::PEEK)).map(|entry| entry.map(|entry| entry.value))
            };
            assert_eq!(bytes(&again).ok(), bytes(&third).ok());
        }
    }

    let forgiving = Coded::new(store.clone(), RecordJson::<Data>::new().drop_unreadable());
    let forgiven = block_on(forgiving.get(&key, Access::PEEK));
    assert!(forgiven.is_ok() || read.is_err(), "who forgives reads at least as much");

    let sealed = Coded::new(store, Encrypted::new(RecordJson::<Data>::new(), keys));
    let opened: Result<_, kvolt_cache::Error> = block_on(sealed.get(&key, Access::PEEK));
    let error = opened.expect_err("nobody sealed it");
    assert!(error.is_corrupt() && error.key() == Some(key));
    if let Err(error) = read {
        assert!(error.is_corrupt() && error.key() == Some(key));
    }
}

fn unwrap(entry: Option<Entry<Record<Data>>>) -> Record<Data> {
    entry.expect("it was inserted").value
}
