//! A codec is the inverse of itself: what it would not read back as it was, it refuses to write.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![cfg(feature = "json")]

mod values;

use std::fmt::Debug;
use std::time::Duration;

use kvolt_cache::codec::Json;
use kvolt_cache::{
    Codec, Encoded, Expiry, Freshness, InsertOutcome, Key, MemoryStore, NewEntry, Store, Target,
};
use pollster::block_on;
use serde::Serialize;
use serde::de::DeserializeOwned;
use values::{Check, Outcome};

struct ByJson;

impl Check for ByJson {
    fn check<V>(&self, value: V, outcome: Outcome)
    where
        V: Serialize + DeserializeOwned + PartialEq + Debug + Clone + Send + Sync + 'static,
    {
        let key = Key::of("a name");
        match Json.encode(&key, &value) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                assert_eq!(outcome, Outcome::Kept, "{value:?} was written as {text}");
                let read: V = Json.decode(&key, &bytes).unwrap();
                assert_eq!(read, value, "written as {text}");
            }
            Err(error) => {
                assert_eq!(outcome, Outcome::Refused, "{value:?}: {error}");
                assert!(error.is_unencodable() && !error.is_misconfigured(), "{error}");
            }
        }
    }
}

#[test]
fn value_is_read_back_equal_or_refused() {
    values::check_all(&ByJson);
}

#[test]
fn each_bit_of_a_number_is_kept() {
    let key = Key::of("a name");
    let mut numbers = values::random_numbers(20_000);
    numbers.extend([0.0, -0.0, 5e-324, f64::MAX]);
    let bytes = Json.encode(&key, &numbers).unwrap();
    let read: Vec<f64> = Json.decode(&key, &bytes).unwrap();
    let bits = |numbers: &[f64]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&read), bits(&numbers));
    let narrow: Vec<f32> = numbers.iter().map(|number| *number as f32).collect();
    let narrow: Vec<f32> = narrow.into_iter().filter(|number| number.is_finite()).collect();
    let read: Vec<f32> = Json.decode(&key, &Json.encode(&key, &narrow).unwrap()).unwrap();
    assert!(read.iter().map(|read| read.to_bits()).eq(narrow.iter().map(|was| was.to_bits())));
}

#[test]
fn refused_value_leaves_the_entry_as_it_was() {
    let store: Encoded<f64, _, _> = Encoded::new(MemoryStore::<Vec<u8>>::new(), Json);
    let (key, expiry) = (Key::of("a name"), Expiry::after(Duration::from_secs(60)));
    let refused = block_on(store.insert(key, NewEntry::new(f64::NAN, expiry)));
    assert!(refused.unwrap_err().is_unencodable() && store.store().is_empty());
    let inserted = block_on(store.insert(key, NewEntry::new(1.5, expiry))).unwrap();
    assert!(matches!(inserted, InsertOutcome::Inserted { .. }));
    let get = || block_on(store.get(&key, Freshness::Strict)).unwrap().unwrap();
    let before = get();
    let replaced = store.replace(Target::new(&key), before.version, f64::INFINITY, Some(expiry));
    assert!(block_on(replaced).unwrap_err().is_unencodable());
    let after = get();
    assert_eq!((after.value, after.version), (1.5, before.version));
}

#[test]
fn errors_say_why_and_quote_no_text_of_the_value() {
    let refusal = |refused: kvolt_cache::Result<Vec<u8>>| refused.unwrap_err().to_string();
    let key = Key::of("a name");
    let text = refusal(Json.encode(&key, &f64::NAN));
    assert!(text.contains("invalid type: null, expected f64"), "{text}");
    let text = refusal(Json.encode(&key, &Some(f64::NAN)));
    assert!(text.contains("as another value"), "{text}");
    let text = refusal(Json.encode(&key, &std::collections::BTreeMap::from([((1, 2), 3)])));
    assert!(text.contains("key must be a string"), "{text}");
    let text = refusal(Json.encode(&key, &Number(String::from("hunter2 \" 3"))));
    assert!(text.contains("invalid type: string") && !text.contains("hunter2"), "{text}");
    let read: kvolt_cache::Result<u32> = Json.decode(&key, br#""hunter2 \" 3""#);
    let error = read.unwrap_err();
    assert!(error.is_corrupt() && error.key() == Some(key), "{error}");
    let text = format!("{error} {error:?}");
    assert!(text.contains("expected u32") && !text.contains("hunter2"), "{text}");
}

/// It is written as a text, and read as a number.
#[derive(serde::Serialize)]
struct Number(String);

impl<'de> serde::Deserialize<'de> for Number {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        u32::deserialize(from).map(|number| Self(number.to_string()))
    }
}
