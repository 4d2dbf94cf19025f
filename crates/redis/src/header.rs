//! The format of an entry in the server: one string, a header of text and then the value.
//!
//! ```text
//! kv1 <version> <last use> <idle time> <end> <count> <lengths> <names>\n<value>
//! ```
//!
//! The first five fields have fixed offsets, because a slide overwrites the last use. They are the
//! format's mark, 16 hexadecimal digits, and three times 13 decimal digits (milliseconds), or 13 `-`
//! for none. Then come the names of the indexes that contain the entry: their number, one digit; the
//! length of each in bytes, three digits or `---` for none; and the names. The first is the owner.

use std::time::Duration;

use kvolt_cache::{Deadlines, Entry, Error, Key, Owner, Result, Timestamp, Version};

/// The latest moment and the longest time that a header has room for, in milliseconds.
const MAX: u64 = 9_999_999_999_999;

/// Milliseconds as a header can hold them.
pub(crate) fn clamp(millis: u64) -> u64 {
    millis.min(MAX)
}

/// The last fields of a header: the names of the indexes.
pub(crate) fn names(owner: Option<&Owner>) -> String {
    match owner {
        Some(owner) => format!("1 {:03} {owner}\n", owner.as_str().len()),
        None => String::from("0\n"),
    }
}

/// A parsed entry.
#[derive(Debug)]
pub(crate) struct Found {
    version: Version,
    times: Times,
    owner: Option<Owner>,
    value: Vec<u8>,
}

/// An entry's last use and deadlines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    used_and_idle: Option<(u64, u64)>,
    end: Option<u64>,
}

impl Times {
    /// Last use, idle time and end, with a space between them.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let mut fields = text.split(|byte| *byte == b' ').map(optional);
        let [used, idle, end] = [fields.next()??, fields.next()??, fields.next()??];
        let used_and_idle = match (used, idle) {
            (None, None) => None,
            both => Some(both.0.zip(both.1)?),
        };
        fields.next().is_none().then_some(Self { used_and_idle, end })
    }

    pub(crate) fn deadlines(self) -> Deadlines {
        let idle = self
            .used_and_idle
            .map(|(used, idle)| (Duration::from_millis(idle), Timestamp::from_millis(used + idle)));
        Deadlines::new(idle, self.end.map(Timestamp::from_millis))
    }

    /// The first moment at which the entry is absent.
    fn ends(self) -> u64 {
        let idle = self.used_and_idle.map_or(MAX, |(used, idle)| used + idle);
        self.end.unwrap_or(MAX).min(idle).min(MAX)
    }
}

impl Found {
    /// Parses an entry.
    ///
    /// # Errors
    ///
    /// Returns an error if it can't be read ([`Error::is_corrupt`]).
    pub(crate) fn parse(key: &Key, mut bytes: Vec<u8>) -> Result<Self> {
        let Some((version, times, owner, value)) = parse(&bytes) else {
            return Err(unreadable(key, &bytes));
        };
        bytes.drain(..value);
        Ok(Self { version, times, owner, value: bytes })
    }

    /// Whether its deadline has passed.
    pub(crate) fn has_ended(&self, now: Timestamp) -> bool {
        self.times.ends() <= now.as_millis()
    }

    /// The entry, read at `now` by the server's clock or slightly before. A slide is due once more
    /// than the fraction `slide_after` of the idle time has passed.
    pub(crate) fn entry(self, key: &Key, now: Timestamp, slide_after: f64) -> Entry<Vec<u8>> {
        let Self { version, times, owner, value } = self;
        let used = times.used_and_idle.map_or(0, |(used, _)| used);
        // The server's clock has reached the last use.
        let now = now.max(Timestamp::from_millis(used));
        let is_due = times.used_and_idle.is_some_and(|(used, idle)| {
            (now.as_millis() - used) as f64 > idle as f64 * slide_after
        });
        Entry::new(*key, value, version, owner, times.deadlines(), now).slide_due(is_due)
    }
}

/// Version, times, owner, and where the value begins.
fn parse(bytes: &[u8]) -> Option<(Version, Times, Option<Owner>, usize)> {
    let rest = bytes.strip_prefix(b"kv1 ")?;
    let (version, rest) = rest.split_at_checked(16)?;
    let version = u64::from_str_radix(str::from_utf8(version).ok()?, 16).ok()?;
    let (times, rest) = rest.strip_prefix(b" ")?.split_at_checked(41)?;
    let times = Times::parse(times)?;
    let (count, mut rest) = rest.strip_prefix(b" ")?.split_first()?;
    let count = char::from(*count).to_digit(10)?;
    let mut lengths = Vec::new();
    for _ in 0..count {
        let (length, after) = rest.strip_prefix(b" ")?.split_at_checked(3)?;
        lengths.push(optional(length)?);
        rest = after;
    }
    let mut owner = None;
    for (place, length) in lengths.into_iter().enumerate() {
        let Some(length) = length else { continue };
        let (name, after) =
            rest.strip_prefix(b" ")?.split_at_checked(usize::try_from(length).ok()?)?;
        if place == 0 {
            owner = Some(Owner::from_stored(str::from_utf8(name).ok()?)?);
        }
        rest = after;
    }
    let value = rest.strip_prefix(b"\n")?;
    Some((Version::from_number(version), times, owner, bytes.len() - value.len()))
}

/// Digits, or as many `-` for none.
fn optional(field: &[u8]) -> Option<Option<u64>> {
    if field.iter().all(|byte| *byte == b'-') {
        return Some(None);
    }
    let digits = str::from_utf8(field).ok().filter(|_| field.iter().all(u8::is_ascii_digit))?;
    digits.parse().ok().map(Some)
}

/// The error that says why an entry that begins like this can't be read.
pub(crate) fn unreadable(key: &Key, beginning: &[u8]) -> Error {
    let mark = beginning.split(|byte| *byte == b' ').next().unwrap_or_default();
    let number = mark.strip_prefix(b"kv").filter(|digits| {
        mark != b"kv1" && !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
    });
    Error::corrupt(
        *key,
        match number.and_then(|_| str::from_utf8(mark).ok()) {
            Some(mark) => format!(
                "its format is `{mark}`, and this version of the program reads `kv1`: \
                 a newer version wrote it"
            ),
            None => {
                String::from("it is not an entry in the format `kv1`, or its header is damaged")
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: &str = "1764465600000 0000001800000 1764508800000";

    #[test]
    fn header_is_parsed_back() {
        let key = Key::of("key");
        let owner = Owner::new("ada\nlovelace").unwrap();
        for owner in [Some(owner), Some(Owner::new("").unwrap()), None] {
            let names = names(owner.as_ref());
            let text = format!("kv1 00000000000000ff {TIMES} {names}a value\n");
            let found = Found::parse(&key, text.into_bytes()).unwrap();
            assert!(!found.has_ended(Timestamp::from_millis(1_764_467_399_999)));
            assert!(found.has_ended(Timestamp::from_millis(1_764_467_400_000)));
            let now = Timestamp::from_millis(1_764_465_600_501);
            let entry = found.entry(&key, now, 0.000_278);
            assert_eq!((entry.value.as_slice(), entry.version.number()), (&b"a value\n"[..], 255));
            assert_eq!((entry.owner, entry.read_at, entry.slide_due), (owner, now, true));
            let end = Timestamp::from_millis(1_764_508_800_000);
            assert_eq!(entry.deadlines.absolute(), Some(end));
            assert_eq!(entry.deadlines.idle_timeout(), Some(Duration::from_secs(1_800)));
        }
        let none = "-".repeat(13);
        let text = format!("kv1 00000000000000ff {none} {none} {none} 0\n");
        let found = Found::parse(&key, text.into_bytes()).unwrap();
        assert!(!found.has_ended(Timestamp::from_millis(MAX - 1)));
        let entry = found.entry(&key, Timestamp::from_millis(1), 0.0);
        assert_eq!((entry.deadlines, entry.slide_due), (Deadlines::new(None, None), false));
    }

    #[test]
    fn last_use_corrects_an_estimate_that_is_behind() {
        let text = format!("kv1 00000000000000ff {TIMES} 0\n");
        let key = Key::of("key");
        let found = Found::parse(&key, text.into_bytes()).unwrap();
        let entry = found.entry(&key, Timestamp::from_millis(5), 0.0);
        assert_eq!(entry.read_at, Timestamp::from_millis(1_764_465_600_000));
        assert!(!entry.slide_due);
    }

    /// A later version may add a second index.
    #[test]
    fn further_indexes_are_skipped() {
        let key = Key::of("key");
        for (names, owner) in [("2 003 004 ada more\n", Some("ada")), ("2 --- 004 more\n", None)] {
            let text = format!("kv1 00000000000000ff {TIMES} {names}value");
            let found = Found::parse(&key, text.into_bytes()).unwrap();
            assert_eq!(found.owner.as_ref().map(Owner::as_str), owner);
            assert_eq!(found.value, b"value");
        }
    }

    #[test]
    fn damaged_header_is_corrupt() {
        let key = Key::of("key");
        let whole = format!("kv1 00000000000000ff {TIMES} 1 003 ada\n");
        for length in 0..whole.len() {
            let error = Found::parse(&key, whole.as_bytes()[..length].to_vec()).unwrap_err();
            assert!(error.is_corrupt(), "{length}");
        }
        for (from, to) in
            [("ff ", "fg "), ("1764", "17-4"), ("1 003", "1 004"), ("0000001", "-------")]
        {
            let text = whole.replacen(from, to, 1);
            assert!(Found::parse(&key, text.into_bytes()).unwrap_err().is_corrupt(), "{to}");
        }
        let newer = whole.replacen("kv1", "kv2", 1);
        let error = Found::parse(&key, newer.into_bytes()).unwrap_err();
        assert!(error.is_corrupt() && error.to_string().contains("`kv2`"), "{error}");
        assert!(!unreadable(&key, b"something").to_string().contains("newer"));
    }
}
