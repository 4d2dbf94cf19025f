//! Values of types that serde's users have, and what becomes of each in JSON.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU8;
use std::ops::Bound;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

/// The fate of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is read back equal.
    Kept,
    /// It is refused when it is written.
    Refused,
}

use Outcome::{Kept, Refused};

/// The results of a codec.
pub(crate) trait Check {
    fn check<V>(&self, value: V, outcome: Outcome)
    where
        V: Serialize + DeserializeOwned + PartialEq + Debug + Clone + Send + Sync + 'static;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Colour {
    Red,
    Green,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum External {
    Unit,
    Newtype(f64),
    Tuple(u8, Option<f64>),
    Struct { name: String, inner: Option<Box<External>> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Internal {
    Unit,
    Struct { count: u64, ratio: f64 },
    Map(BTreeMap<u32, u32>),
    Names(BTreeMap<String, u32>),
    Wide { number: u128 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "content")]
enum Adjacent {
    Unit,
    Map(BTreeMap<u32, u32>),
    Maybe(Option<()>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Small(u8),
    Large(u64),
    Ratio(f64),
    Map(BTreeMap<u32, u8>),
    Text(String),
    Maybe(Option<f64>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Newtype<V>(V);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Measured {
    x: f64,
    y: f32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Skipped {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SkippedWithDefault {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    colour: Option<Colour>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SkippedWithAnother {
    #[serde(default = "five", skip_serializing_if = "is_zero")]
    visits: u32,
}

fn five() -> u32 {
    5
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct WriteOnly {
    #[serde(skip_deserializing)]
    visits: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Flat<V: Ord> {
    name: String,
    #[serde(flatten)]
    rest: BTreeMap<V, f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct FlatWide {
    #[serde(flatten)]
    inner: Wide,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Wide {
    number: i128,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Nested(Vec<Nested>);

/// A missing number, as NaN in the program and as null in JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Missing(#[serde(deserialize_with = "null_as_nan")] f64);

impl PartialEq for Missing {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.0.is_nan() && other.0.is_nan()
    }
}

fn null_as_nan<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

#[derive(Debug, Clone, PartialEq)]
struct Octets(Vec<u8>);

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Vec::deserialize(from).map(Self)
    }
}

/// It is written in another order than it is read in.
#[derive(Debug, Clone, PartialEq)]
struct Swapped(u8, u8);

impl Serialize for Swapped {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (self.1, self.0).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Swapped {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        <(u8, u8)>::deserialize(from).map(|(one, other)| Self(one, other))
    }
}

/// Pairs that are written as a map, where JSON keeps one of each name.
#[derive(Debug, Clone, PartialEq)]
struct Pairs(Vec<(String, u8)>);

impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self(BTreeMap::deserialize(from)?.into_iter().collect()))
    }
}

/// It can't be written at all.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it is locked"))
    }
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn map<K: Ord, V>(key: K, value: V) -> BTreeMap<K, V> {
    BTreeMap::from([(key, value)])
}

/// Each value with what becomes of it.
pub(crate) fn check_all(with: &impl Check) {
    numbers(with);
    nothing(with);
    texts_and_bytes(with);
    maps_and_sets(with);
    enums(with);
    skipped(with);
    others(with);
}

fn numbers(with: &impl Check) {
    for bad in [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        with.check(bad, Refused);
        with.check(Some(bad), Refused);
        with.check(Measured { x: bad, y: 0.0 }, Refused);
        with.check(map(text("x"), bad), Refused);
        with.check(vec![0.0, bad], Refused);
    }
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        with.check(bad, Refused);
        with.check(Some(bad), Refused);
    }
    for good in [
        0.0,
        -0.0,
        0.1 + 0.2,
        5e-324,
        -2.2e-308,
        f64::MIN_POSITIVE,
        f64::EPSILON,
        f64::MAX,
        f64::MIN,
        117.633_311_394_000_17,
        10_587.436_593_658_975,
        9_007_199_254_740_993.0,
    ] {
        with.check(good, Kept);
        with.check(Some(good), Kept);
        with.check(Untagged::Ratio(good), Kept);
        with.check(Flat { name: text("a"), rest: map(text("b"), good) }, Kept);
    }
    with.check([f32::MAX, f32::MIN_POSITIVE, 1e-45, -0.0, 0.1, 16_777_217.0], Kept);
    with.check(Missing(f64::NAN), Kept);
    with.check(Missing(-f64::NAN), Kept);
    with.check((u64::MAX, i64::MIN, u128::MAX, i128::MIN, i128::MAX), Kept);
    with.check((u8::MAX, i8::MIN, u16::MAX, i16::MIN, u32::MAX, i32::MIN), Kept);
    with.check(NonZeroU8::MIN, Kept);
    with.check(Wide { number: i128::MIN }, Kept);
    // Serde's buffer has no numbers of 128 bits.
    with.check(FlatWide { inner: Wide { number: i128::MIN } }, Refused);
    with.check(Internal::Wide { number: u128::MAX }, Refused);
}

fn nothing(with: &impl Check) {
    with.check((), Kept);
    with.check(Unit, Kept);
    with.check(Newtype(Unit), Kept);
    with.check(None::<u8>, Kept);
    with.check(None::<()>, Kept);
    with.check(Some(()), Refused);
    with.check(Some(Unit), Refused);
    with.check(Some(Some(1_u8)), Kept);
    with.check(None::<Option<u8>>, Kept);
    with.check(Some(None::<u8>), Refused);
    with.check(Some(Newtype(None::<u8>)), Refused);
    with.check(vec![Some(Some(None::<u8>)), None], Refused);
    with.check(map(text("a"), Some(None::<u8>)), Refused);
    with.check(vec![(), ()], Kept);
    with.check(Value::Null, Kept);
    with.check(Some(Value::Null), Refused);
    with.check((None::<u8>, Some(2_u8)), Kept);
}

fn texts_and_bytes(with: &impl Check) {
    for good in ["", "\0", "\n", "\r\n\t\"\\/", "\u{2028}\u{feff}", "größe 🦀", "{}\n{}"] {
        with.check(text(good), Kept);
        with.check(map(text(good), 1), Kept);
        with.check(Untagged::Text(text(good)), Kept);
        with.check(Cow::<'static, str>::Owned(text(good)), Kept);
    }
    with.check(['\0', '"', '\u{d7ff}', char::MAX], Kept);
    for bytes in [vec![], (0..=255).collect::<Vec<u8>>()] {
        with.check(bytes.clone().into_boxed_slice(), Kept);
        with.check(Octets(bytes), Kept);
    }
    with.check([7_u8; 32], Kept);
    with.check(PathBuf::from("/a b"), Kept);
    with.check(IpAddr::V6(Ipv6Addr::LOCALHOST), Kept);
}

fn maps_and_sets(with: &impl Check) {
    let names = || (0..200).map(|number| format!("name {number}"));
    with.check(names().collect::<HashSet<_>>(), Kept);
    with.check(names().zip(0..).collect::<HashMap<_, u32>>(), Kept);
    let inner: HashSet<u32> = (0..100).collect();
    with.check((0..100_u64).map(|key| (key, inner.clone())).collect::<HashMap<_, _>>(), Kept);
    with.check(vec![inner.clone(), HashSet::new(), inner], Kept);
    with.check(BTreeMap::from([(-1_i64, 1), (i64::MIN, 2), (i64::MAX, 3)]), Kept);
    with.check(BTreeMap::from([(u128::MAX, 1), (0, 2)]), Kept);
    with.check(BTreeMap::from([(true, 1), (false, 2)]), Kept);
    with.check(BTreeMap::from([('a', 1), ('\n', 2)]), Kept);
    with.check(BTreeMap::from([(Colour::Red, 1), (Colour::Green, 2)]), Kept);
    with.check(map(Newtypes(1), 2), Kept);
    with.check(map((1, 2), 3), Refused);
    with.check(map(vec![1], 3), Refused);
    with.check(map((), 3), Refused);
    with.check(map(None::<u8>, 3), Refused);
    with.check(BTreeMap::<(u8, u8), u8>::new(), Kept);
    with.check(BTreeSet::from([(1, 2), (2, 1)]), Kept);
    with.check((Vec::<f64>::new(), HashMap::<String, ()>::new(), HashSet::<u8>::new()), Kept);
    with.check(VecDeque::from([3, 1, 2]), Kept);
    let pairs = |names: [&str; 2]| Pairs(names.map(|name| (text(name), 1)).to_vec());
    with.check(pairs(["a", "b"]), Kept);
    with.check(pairs(["a", "a"]), Refused);
    with.check(Swapped(1, 1), Kept);
    with.check(Swapped(1, 2), Refused);
    with.check(Flat { name: text("a"), rest: map(text("b"), 1.5) }, Kept);
    // The map takes the name of the field.
    with.check(Flat { name: text("a"), rest: map(text("name"), 1.5) }, Refused);
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Newtypes(u32);

fn enums(with: &impl Check) {
    let inner = Some(Box::new(External::Newtype(0.1)));
    for good in [
        External::Unit,
        External::Newtype(-0.0),
        External::Tuple(1, Some(2.5)),
        External::Tuple(1, None),
        External::Struct { name: text("a"), inner },
        External::Struct { name: text(""), inner: None },
    ] {
        with.check(good, Kept);
    }
    with.check(External::Newtype(f64::NAN), Refused);
    with.check(External::Tuple(1, Some(f64::NAN)), Refused);
    let inner = Some(Box::new(External::Newtype(f64::INFINITY)));
    with.check(External::Struct { name: text("a"), inner }, Refused);
    with.check(Ok::<u8, String>(1), Kept);
    with.check(Err::<u8, String>(text("a")), Kept);
    with.check(Bound::Excluded(3), Kept);

    with.check(Internal::Unit, Kept);
    with.check(Internal::Struct { count: u64::MAX, ratio: 0.1 }, Kept);
    with.check(Internal::Names(map(text("a"), 1)), Kept);
    with.check(Internal::Names(map(text("type"), 1)), Refused);
    // Serde's buffer keeps names as texts.
    with.check(Internal::Map(map(1, 2)), Refused);
    with.check(Untagged::Map(map(1, 2)), Refused);
    with.check(Adjacent::Unit, Kept);
    with.check(Adjacent::Map(map(1, 2)), Kept);
    with.check(Adjacent::Maybe(Some(())), Refused);

    with.check(Untagged::Small(5), Kept);
    with.check(Untagged::Large(500), Kept);
    with.check(Untagged::Large(5), Refused);
    with.check(Untagged::Text(text("5")), Kept);
    with.check(Untagged::Maybe(None), Kept);
    with.check(Untagged::Maybe(Some(1.5)), Refused);
    with.check(Untagged::Ratio(f64::NAN), Refused);
}

fn skipped(with: &impl Check) {
    with.check(Skipped { tags: vec![text("a")] }, Kept);
    with.check(Skipped { tags: vec![] }, Refused);
    with.check(SkippedWithDefault { tags: vec![], colour: None }, Kept);
    with.check(SkippedWithDefault { tags: vec![text("a")], colour: Some(Colour::Red) }, Kept);
    with.check(SkippedWithAnother { visits: 0 }, Refused);
    with.check(SkippedWithAnother { visits: 5 }, Kept);
    with.check(SkippedWithAnother { visits: 6 }, Kept);
    with.check(WriteOnly { visits: 0 }, Kept);
    with.check(WriteOnly { visits: 1 }, Refused);
}

fn others(with: &impl Check) {
    with.check(UNIX_EPOCH + Duration::new(1_767_225_600, 123_456_789), Kept);
    with.check(UNIX_EPOCH, Kept);
    with.check(UNIX_EPOCH - Duration::from_secs(1), Refused);
    with.check(Duration::MAX, Kept);
    with.check(json!({ "a": [1, -1, 0.1, u64::MAX, null, { "b": true }], "": "" }), Kept);
    with.check(Unwritable, Refused);
    let nested = |depth| (0..depth).fold(Nested(vec![]), |inner, _| Nested(vec![inner]));
    with.check(nested(100), Kept);
    // Deeper than serde_json reads.
    with.check(nested(200), Refused);
}

/// As many random numbers as asked for: of any size, and between 0 and 1,000.
pub(crate) fn random_numbers(count: usize) -> Vec<f64> {
    let mut state = 1_u64;
    let mut next = || {
        // SplitMix64, by Guy Steele and others.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let mut numbers = Vec::with_capacity(count);
    while numbers.len() < count {
        let bits = next();
        let number = match numbers.len() % 2 {
            0 => f64::from_bits(bits),
            // 53 bits, the most that a number has.
            _ => (bits >> 11) as f64 / (1_u64 << 53) as f64 * 1_000.0,
        };
        if number.is_finite() {
            numbers.push(number);
        }
    }
    numbers
}
