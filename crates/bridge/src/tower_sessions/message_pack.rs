//! MessagePack, as far as JSON's values need it.

use serde_json::{Map, Number, Value};

/// How deep arrays and maps may contain each other.
const MAX_DEPTH: u32 = 64;

/// A MessagePack value whose bytes are those of JSON, or a byte string.
#[derive(Debug, PartialEq)]
pub(super) enum Packed {
    Json(Value),
    Bytes(Vec<u8>),
    Array(Vec<Self>),
}

/// Reads exactly one value. Arrays down to `levels` may contain byte strings.
pub(super) fn read(bytes: &[u8], levels: u32) -> Option<Packed> {
    let mut reader = Reader(bytes);
    let value = reader.packed(levels)?;
    reader.0.is_empty().then_some(value)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn packed(&mut self, levels: u32) -> Option<Packed> {
        let before = self.0;
        let [kind] = self.array()?;
        let len = match kind {
            0xc4 => self.len::<1>()?,
            0xc5 => self.len::<2>()?,
            0xc6 => self.len::<4>()?,
            0x90..=0x9f if levels > 0 => {
                let items = (0..kind & 0xf).map(|_| self.packed(levels - 1));
                return items.collect::<Option<_>>().map(Packed::Array);
            }
            _ => {
                self.0 = before;
                return self.value(MAX_DEPTH).map(Packed::Json);
            }
        };
        self.take(len).map(|bytes| Packed::Bytes(bytes.to_vec()))
    }

    fn value(&mut self, depth: u32) -> Option<Value> {
        let [kind] = self.array()?;
        Some(match kind {
            0x00..=0x7f => Value::from(kind),
            0x80..=0x8f => self.map(usize::from(kind & 0xf), depth)?,
            0x90..=0x9f => self.list(usize::from(kind & 0xf), depth)?,
            0xa0..=0xbf => Value::from(self.text(usize::from(kind & 0x1f))?),
            0xc0 => Value::Null,
            0xc2 => Value::from(false),
            0xc3 => Value::from(true),
            0xca => Value::Number(Number::from_f64(f64::from(f32::from_be_bytes(self.array()?)))?),
            0xcb => Value::Number(Number::from_f64(f64::from_be_bytes(self.array()?))?),
            0xcc => Value::from(u8::from_be_bytes(self.array()?)),
            0xcd => Value::from(u16::from_be_bytes(self.array()?)),
            0xce => Value::from(u32::from_be_bytes(self.array()?)),
            0xcf => Value::from(u64::from_be_bytes(self.array()?)),
            0xd0 => Value::from(i8::from_be_bytes(self.array()?)),
            0xd1 => Value::from(i16::from_be_bytes(self.array()?)),
            0xd2 => Value::from(i32::from_be_bytes(self.array()?)),
            0xd3 => Value::from(i64::from_be_bytes(self.array()?)),
            0xd9 => {
                let len = self.len::<1>()?;
                Value::from(self.text(len)?)
            }
            0xda => {
                let len = self.len::<2>()?;
                Value::from(self.text(len)?)
            }
            0xdb => {
                let len = self.len::<4>()?;
                Value::from(self.text(len)?)
            }
            0xdc => {
                let len = self.len::<2>()?;
                self.list(len, depth)?
            }
            0xdd => {
                let len = self.len::<4>()?;
                self.list(len, depth)?
            }
            0xde => {
                let len = self.len::<2>()?;
                self.map(len, depth)?
            }
            0xdf => {
                let len = self.len::<4>()?;
                self.map(len, depth)?
            }
            0xe0..=0xff => Value::from(kind as i8),
            // Byte strings and extensions: JSON has none.
            _ => return None,
        })
    }

    // Reserves nothing: a length may be larger than what follows.
    fn list(&mut self, len: usize, depth: u32) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        (0..len).map(|_| self.value(depth)).collect::<Option<Vec<_>>>().map(Value::Array)
    }

    fn map(&mut self, len: usize, depth: u32) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        let mut map = Map::new();
        for _ in 0..len {
            let Value::String(name) = self.value(0)? else { return None };
            map.insert(name, self.value(depth)?);
        }
        Some(Value::Object(map))
    }

    fn text(&mut self, len: usize) -> Option<&'a str> {
        str::from_utf8(self.take(len)?).ok()
    }

    fn len<const N: usize>(&mut self) -> Option<usize> {
        let bytes = self.array::<N>()?;
        Some(bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_of_each_format_are_read() {
        // As the MessagePack specification writes them.
        let cases: [(&[u8], Value); 20] = [
            (b"\x05", json!(5)),
            (b"\xff", json!(-1)),
            (b"\xc0", json!(null)),
            (b"\xc3", json!(true)),
            (b"\xca\x3f\x80\0\0", json!(1.0)),
            (b"\xcb\x3f\xf8\0\0\0\0\0\0", json!(1.5)),
            (b"\xcc\xff", json!(255)),
            (b"\xcd\x01\0", json!(256)),
            (b"\xce\0\x01\0\0", json!(65_536)),
            (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", json!(u64::MAX)),
            (b"\xd0\x80", json!(-128)),
            (b"\xd1\xff\0", json!(-256)),
            (b"\xd3\x80\0\0\0\0\0\0\0", json!(i64::MIN)),
            (b"\xa2ab", json!("ab")),
            (b"\xd9\x01a", json!("a")),
            (b"\xda\0\x01a", json!("a")),
            (b"\x92\x01\xa1a", json!([1, "a"])),
            (b"\xdc\0\x01\x01", json!([1])),
            (b"\x81\xa1a\x01", json!({ "a": 1 })),
            (b"\xde\0\x01\xa1a\x80", json!({ "a": {} })),
        ];
        for (bytes, value) in cases {
            assert_eq!(read(bytes, 0), Some(Packed::Json(value)), "{bytes:x?}");
            // No part of it is one.
            assert_eq!(read(&bytes[..bytes.len() - 1], 0), None, "{bytes:x?}");
        }
    }

    #[test]
    fn other_bytes_are_rejected() {
        let deep = vec![0x91; 100_000];
        let bad: [&[u8]; 9] = [
            b"",
            b"\xc1",
            b"\x01\x01",
            b"\xa1\xff",
            b"\x81\x01\x01",
            b"\xdd\xff\xff\xff\xff",
            b"\xdf\xff\xff\xff\xff",
            b"\xcb\x7f\xf8\0\0\0\0\0\0",
            &deep,
        ];
        for bytes in bad {
            assert_eq!(read(bytes, 1), None);
        }
    }
}
