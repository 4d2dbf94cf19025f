use std::collections::BTreeMap;

use kvolt_cache::codec::{Encrypted, EncryptionKey, EncryptionKeys};
use kvolt_cache::{Codec, Error, Key};
use kvolt_session::{Record, RecordJson};

type Data = BTreeMap<String, Vec<u32>>;

/// Reads any bytes as what a store holds for a session: plain, forgiving, and encrypted.
///
/// A record that is read is written with the same data, byte for byte, and read again the same;
/// any other bytes are an error that names the entry and shows only its format. A value that was
/// never sealed never opens.
///
/// # Panics
///
/// If that does not hold.
pub fn stored(bytes: &[u8]) {
    let key = Key::of("the entry");
    let plain = RecordJson::<Data>::new();
    match plain.decode(&key, bytes) {
        Ok(record) => read(&key, bytes, &record),
        Err(error) => {
            check(&key, &error);
            assert!(error.to_string().len() < 300, "{error}");
        }
    }

    let keys = EncryptionKeys::new(EncryptionKey::from_bytes(&[7; 32]));
    let sealed = Encrypted::new(plain, keys);
    let error = sealed.decode(&key, bytes).expect_err("it was never sealed");
    check(&key, &error);
}

fn read(key: &Key, bytes: &[u8], record: &Record<Data>) {
    let plain = RecordJson::<Data>::new();
    let written = plain.encode(key, record).expect("what was read can be written");
    assert_eq!(data(&written), data(bytes));
    let again = plain.decode(key, &written).expect("what was written is read");
    // All of the envelope shows in what is written.
    assert_eq!(plain.encode(key, &again).expect("it was written before"), written);

    let forgiving = RecordJson::<Data>::new().drop_unreadable().decode(key, bytes);
    let forgiving = forgiving.expect("the envelope is the same");
    match record.data() {
        Ok(data) => {
            assert_eq!(again.data().ok(), Some(data));
            assert_eq!(forgiving.data().ok(), Some(data));
        }
        Err(error) => check(key, error),
    }
}

/// The text after the first line.
fn data(bytes: &[u8]) -> Option<&[u8]> {
    bytes.splitn(2, |byte| *byte == b'\n').nth(1)
}

fn check(key: &Key, error: &Error) {
    assert!(error.is_corrupt() && error.key() == Some(*key));
}
