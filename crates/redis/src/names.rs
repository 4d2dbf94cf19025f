//! What things are called in the server.

use kvolt_cache::Key;

/// Into how many parts keys are divided. A part's names share a slot of a cluster.
pub(crate) const PARTS: u16 = 1_024;

/// The part in which a key lies: by its last bytes, as the first are its hash.
pub(crate) const fn part_of(key: &Key) -> u16 {
    let bytes = key.as_bytes();
    u16::from_be_bytes([bytes[30], bytes[31]]) % PARTS
}

/// The part in which an owner's index lies, and in a cluster his entries.
pub(crate) fn part_of_owner(owner: &str) -> u16 {
    part_of(&Key::of(owner))
}

/// The slot of a cluster in which a part's names lie: CRC-16 (XMODEM) of the hash tag.
pub(crate) fn slot_of(part: u16) -> u16 {
    let crc = part.to_string().bytes().fold(0u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    crc % 16_384
}

/// 64 lower-case hexadecimal digits.
pub(crate) fn hex(key: &Key) -> String {
    let mut text = String::with_capacity(64);
    push_hex(key, &mut text);
    text
}

fn push_hex(key: &Key, text: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in key.as_bytes() {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// The names under a prefix.
///
/// The hash tag, the part's number in braces, comes before everything that
/// others choose, so that no owner's name can alter it.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    prefix: String,
}

/// What a name is of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// An entry or a former key.
    Key(Key),
    /// An owner's index.
    Owner(String),
}

impl Names {
    pub(crate) const fn new(prefix: String) -> Self {
        Self { prefix }
    }

    /// An entry, or a former key.
    pub(crate) fn key(&self, key: &Key) -> String {
        let mut name = self.part(part_of(key), 64);
        push_hex(key, &mut name);
        name
    }

    /// An owner's index.
    pub(crate) fn owner(&self, owner: &str) -> String {
        let mut name = self.part(part_of_owner(owner), 6 + owner.len());
        name.push_str("owner:");
        name.push_str(owner);
        name
    }

    /// What says that a key is, or was, a former one.
    pub(crate) fn former(&self, key: &Key) -> String {
        self.about(key, "was:")
    }

    /// What says that somebody tells of a key that has expired.
    pub(crate) fn told(&self, key: &Key) -> String {
        self.about(key, "told:")
    }

    fn about(&self, key: &Key, what: &str) -> String {
        let mut name = self.part(part_of(key), what.len() + 64);
        name.push_str(what);
        push_hex(key, &mut name);
        name
    }

    /// What says that a clear is going on.
    pub(crate) fn mark(&self, part: u16) -> String {
        let mut name = self.part(part, 5);
        name.push_str("clear");
        name
    }

    /// What all names begin with.
    pub(crate) fn beginning(&self) -> String {
        format!("{}:{{", self.prefix)
    }

    /// What kind of thing a name is of; `None` for others' and for marks of all kinds.
    pub(crate) fn parse(&self, name: &[u8]) -> Option<Name> {
        let rest = name.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b":{")?;
        let end = rest.iter().position(|byte| *byte == b'}')?;
        let rest = str::from_utf8(rest[end..].strip_prefix(b"}:")?).ok()?;
        match rest.strip_prefix("owner:") {
            Some(owner) => Some(Name::Owner(String::from(owner))),
            None => rest.parse().ok().map(Name::Key),
        }
    }

    fn part(&self, part: u16, more: usize) -> String {
        let mut name = String::with_capacity(self.prefix.len() + 9 + more);
        name.push_str(&self.prefix);
        name.push_str(":{");
        name.push_str(&part.to_string());
        name.push_str("}:");
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_back_to_what_it_names() {
        let names = Names::new(String::from("a:b"));
        let key = Key::of("key");
        assert_eq!(names.parse(names.key(&key).as_bytes()), Some(Name::Key(key)));
        for owner in ["", "ada", "{x}", "}:owner:", "é"] {
            let name = names.owner(owner);
            assert_eq!(names.parse(name.as_bytes()), Some(Name::Owner(String::from(owner))));
            let (part, tag) = (part_of_owner(owner), name.split(['{', '}']).nth(1));
            assert_eq!(tag, Some(part.to_string().as_str()), "the first braces are the part's");
        }
        for other in [names.mark(7), names.former(&key), names.told(&key)] {
            assert_eq!(names.parse(other.as_bytes()), None);
        }
        assert_eq!(names.parse(Names::new(String::from("a")).key(&key).as_bytes()), None);
    }

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        // By CLUSTER KEYSLOT.
        assert_eq!([0, 1, 12, 123, 1_023].map(slot_of), [13_907, 9_842, 8_373, 5_970, 14_911]);
    }
}
