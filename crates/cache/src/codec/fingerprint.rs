//! Comparison of two values by the data that they serialize, for types without `PartialEq`.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::ser::{self, Serialize, Serializer};
use serde_json::Error;

type Result<T = u64> = std::result::Result<T, Error>;

/// The name of a struct, or of an enum.
type Name = &'static str;

/// A hash of the data that a value serializes.
///
/// The order of elements in sequences and maps does not count, because hash sets and hash maps
/// have a random one. Everything else counts: each bit of a number, the type of a number, `Some`,
/// and the variant of an enum. All NaN have the same fingerprint.
pub(super) fn fingerprint<V: Serialize + ?Sized>(value: &V) -> Result {
    value.serialize(Fingerprint)
}

struct Fingerprint;

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

macro_rules! scalars {
    ($($method:ident($value:ident: $type:ty) = $same:expr;)*) => {$(
        fn $method(self, $value: $type) -> Result {
            Ok(hash((stringify!($method), $same)))
        }
    )*};
}

impl Serializer for Fingerprint {
    type Ok = u64;
    type Error = Error;
    type SerializeSeq = Parts;
    type SerializeTuple = Parts;
    type SerializeTupleStruct = Parts;
    type SerializeTupleVariant = Parts;
    type SerializeMap = Parts;
    type SerializeStruct = Parts;
    type SerializeStructVariant = Parts;

    scalars! {
        serialize_bool(value: bool) = value;
        serialize_i8(value: i8) = value;
        serialize_i16(value: i16) = value;
        serialize_i32(value: i32) = value;
        serialize_i64(value: i64) = value;
        serialize_i128(value: i128) = value;
        serialize_u8(value: u8) = value;
        serialize_u16(value: u16) = value;
        serialize_u32(value: u32) = value;
        serialize_u64(value: u64) = value;
        serialize_u128(value: u128) = value;
        serialize_f32(value: f32) = (!value.is_nan()).then_some(value.to_bits());
        serialize_f64(value: f64) = (!value.is_nan()).then_some(value.to_bits());
        serialize_char(value: char) = value;
        serialize_str(value: &str) = value;
        serialize_bytes(value: &[u8]) = value;
        serialize_unit_struct(name: Name) = name;
    }

    fn serialize_none(self) -> Result {
        Ok(hash("none"))
    }

    fn serialize_some<V: Serialize + ?Sized>(self, value: &V) -> Result {
        Ok(hash(("some", fingerprint(value)?)))
    }

    fn serialize_unit(self) -> Result {
        Ok(hash("unit"))
    }

    fn serialize_unit_variant(self, _: Name, _: u32, variant: Name) -> Result {
        Ok(hash(("unit", variant)))
    }

    fn serialize_newtype_struct<V: Serialize + ?Sized>(self, _: Name, value: &V) -> Result {
        Ok(hash(("newtype", fingerprint(value)?)))
    }

    fn serialize_newtype_variant<V: Serialize + ?Sized>(
        self,
        _: Name,
        _: u32,
        variant: Name,
        value: &V,
    ) -> Result {
        Ok(hash(("newtype", variant, fingerprint(value)?)))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Parts> {
        Ok(Parts::of("sequence", ""))
    }

    fn serialize_tuple(self, _: usize) -> Result<Parts> {
        Ok(Parts::of("tuple", ""))
    }

    fn serialize_tuple_struct(self, _: Name, _: usize) -> Result<Parts> {
        Ok(Parts::of("tuple", ""))
    }

    fn serialize_tuple_variant(self, _: Name, _: u32, name: Name, _: usize) -> Result<Parts> {
        Ok(Parts::of("tuple", name))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Parts> {
        Ok(Parts::of("map", ""))
    }

    fn serialize_struct(self, _: Name, _: usize) -> Result<Parts> {
        Ok(Parts::of("struct", ""))
    }

    fn serialize_struct_variant(self, _: Name, _: u32, name: Name, _: usize) -> Result<Parts> {
        Ok(Parts::of("struct", name))
    }
}

/// The elements, entries or fields of a value.
struct Parts {
    kind: (Name, Name),
    count: usize,
    /// The sum of the fingerprints of all parts, which does not depend on their order.
    sum: u64,
    key: u64,
}

impl Parts {
    const fn of(kind: Name, variant: Name) -> Self {
        Self { kind: (kind, variant), count: 0, sum: 0, key: 0 }
    }

    fn add(&mut self, part: impl Hash) -> Result<()> {
        self.sum = self.sum.wrapping_add(hash(part));
        self.count += 1;
        Ok(())
    }
}

impl ser::SerializeMap for Parts {
    type Ok = u64;
    type Error = Error;

    fn serialize_key<V: Serialize + ?Sized>(&mut self, key: &V) -> Result<()> {
        self.key = fingerprint(key)?;
        Ok(())
    }

    fn serialize_value<V: Serialize + ?Sized>(&mut self, value: &V) -> Result<()> {
        self.add((self.key, fingerprint(value)?))
    }

    fn end(self) -> Result {
        Ok(hash((self.kind, self.count, self.sum)))
    }
}

macro_rules! parts {
    ($($trait:ident::$method:ident($this:ident, $($name:ident: $type:ty)?) by $place:expr;)*) => {$(
        impl ser::$trait for Parts {
            type Ok = u64;
            type Error = Error;

            fn $method<V>(&mut self, $($name: $type,)? value: &V) -> Result<()>
            where
                V: Serialize + ?Sized,
            {
                let $this = &*self;
                self.add(($place, fingerprint(value)?))
            }

            fn end(self) -> Result {
                ser::SerializeMap::end(self)
            }
        }
    )*};
}

parts! {
    SerializeSeq::serialize_element(_this,) by ();
    SerializeTuple::serialize_element(this,) by this.count;
    SerializeTupleStruct::serialize_field(this,) by this.count;
    SerializeTupleVariant::serialize_field(this,) by this.count;
    SerializeStruct::serialize_field(_this, name: Name) by name;
    SerializeStructVariant::serialize_field(_this, name: Name) by name;
}
