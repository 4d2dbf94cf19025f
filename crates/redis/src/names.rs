//! Names of keys in the server.

use std::fmt::Write;

use kvolt_cache::{Key, Namespace, Owner};

/// The number of parts that keys are divided into. All names of a part are in one slot of a cluster.
pub(crate) const PARTS: u16 = 1_024;

/// The part of a key: bytes 8 and 9, which belong to the id of a session.
pub(crate) const fn part_of(key: &Key) -> u16 {
    let bytes = key.as_bytes();
    u16::from_be_bytes([bytes[8], bytes[9]]) % PARTS
}

/// The part of an owner's index, and in a cluster of the owner's entries.
pub(crate) fn part_of_owner(owner: &Owner) -> u16 {
    part_of(&Key::of(owner.as_str()))
}

/// Moves a key into the part of an owner.
pub(crate) fn placed(key: Key, owner: &Owner) -> Key {
    let [high, low] = part_of_owner(owner).to_be_bytes();
    let mut bytes = *key.as_bytes();
    bytes[8] = bytes[8] & 0xfc | high;
    bytes[9] = low;
    Key::from_bytes(bytes)
}

/// The cluster slot of a part: CRC-16 (XMODEM) of the hash tag.
pub(crate) fn slot_of(part: u16) -> u16 {
    let crc = part.to_string().bytes().fold(0u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    crc % 16_384
}

/// The names of a namespace.
///
/// The hash tag, the part's number in braces, comes before the owner, so that no owner's name can
/// alter it.
#[derive(Debug, Clone)]
pub(crate) struct Names(pub(crate) Namespace);

impl Names {
    /// The name of an entry.
    pub(crate) fn key(&self, key: &Key) -> String {
        let mut name = String::with_capacity(self.0.as_str().len() + 72);
        let _ = write!(name, "{}:{{{}}}:", self.0, part_of(key));
        self.push_member(key, &mut name);
        name
    }

    /// An entry as a member of an owner's index: the last component of its name. It is the id of a
    /// session's key, and the whole of any other key.
    pub(crate) fn member(&self, key: &Key) -> String {
        let mut member = String::with_capacity(64);
        self.push_member(key, &mut member);
        member
    }

    fn push_member(&self, key: &Key, text: &mut String) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let length = if key.is_in(&self.0) { Key::ID_LEN } else { Key::LEN };
        for byte in &key.as_bytes()[..length] {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }

    /// The name of an owner's index.
    pub(crate) fn index(&self, owner: &Owner) -> String {
        format!("{}.owners:{{{}}}:{owner}", self.0, part_of_owner(owner))
    }

    /// A name that is always absent.
    pub(crate) fn probe(&self, part: u16) -> String {
        format!("{}:{{{part}}}:probe", self.0)
    }

    /// The prefix of the names of entries, and of no others.
    pub(crate) fn entries(&self) -> String {
        format!("{}:{{", self.0)
    }

    /// The prefix of the names of indexes, and of no others.
    pub(crate) fn indexes(&self) -> String {
        format!("{}.owners:{{", self.0)
    }

    /// The key of the entry with this name.
    pub(crate) fn parse_key(&self, name: &[u8]) -> Option<Key> {
        let name = str::from_utf8(name).ok()?;
        let key = self.parse_member(name.rsplit_once(':')?.1)?;
        (self.key(&key) == name).then_some(key)
    }

    /// The names of the entries that are these members of an index.
    pub(crate) fn of_members(&self, members: &[String]) -> impl Iterator<Item = String> {
        members.iter().filter_map(|member| self.of_member(member))
    }

    fn of_member(&self, member: &str) -> Option<String> {
        let part = u16::from_str_radix(member.get(16..20)?, 16).ok()? % PARTS;
        Some(format!("{}:{{{part}}}:{member}", self.0))
    }

    /// The keys of these members of an index.
    pub(crate) fn parse_members(&self, members: &[String]) -> Vec<Key> {
        members.iter().filter_map(|member| self.parse_member(member)).collect()
    }

    /// The key of a member of an index.
    pub(crate) fn parse_member(&self, member: &str) -> Option<Key> {
        if member.len() == 64 {
            return member.parse().ok();
        }
        let whole: Key = format!("{member}{:040}", 0).parse().ok()?;
        Some(Key::from_id(whole.id(), &self.0))
    }

    /// The owner of the index with this name.
    pub(crate) fn parse_index(&self, name: &[u8]) -> Option<Owner> {
        let rest = str::from_utf8(name).ok()?.strip_prefix(&self.indexes())?;
        let owner = Owner::from_stored(rest.split_once("}:")?.1)?;
        (self.index(&owner).as_bytes() == name).then_some(owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names(Namespace::new("shop").unwrap())
    }

    #[test]
    fn names_are_parsed_back() {
        let names = names();
        let of_id = Key::from_id([0xab; 12], &names.0);
        assert_eq!(names.key(&of_id), "shop:{939}:abababababababababababab");
        for key in [of_id, Key::of("key")] {
            assert_eq!(names.parse_key(names.key(&key).as_bytes()), Some(key));
            let member = names.member(&key);
            assert_eq!(names.parse_member(&member), Some(key));
            assert_eq!(names.of_member(&member), Some(names.key(&key)));
        }
        for owner in ["", "ada", "{x}", "}:owner:", "é"].map(|name| Owner::new(name).unwrap()) {
            let name = names.index(&owner);
            assert_eq!(names.parse_index(name.as_bytes()), Some(owner.clone()));
            let (part, tag) = (part_of_owner(&owner), name.split(['{', '}']).nth(1));
            assert_eq!(tag, Some(part.to_string().as_str()), "the first braces are the part's");
            assert_eq!(names.parse_key(name.as_bytes()), None);
        }
        let whole = format!("shop:{{939}}:{of_id}");
        let misplaced = "shop:{1}:abababababababababababab";
        for other in [names.probe(7).as_str(), &whole, misplaced, "shop_admin:{939}:abab"] {
            assert_eq!(names.parse_key(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn placing_sets_ten_bits_of_a_key() {
        let (owner, key) = (Owner::new("ada").unwrap(), Key::of("key"));
        let there = placed(key, &owner);
        assert_eq!(part_of(&there), part_of_owner(&owner));
        let (before, after) = (key.as_bytes(), there.as_bytes());
        assert_eq!((&before[..8], &before[10..]), (&after[..8], &after[10..]));
        assert_eq!(before[8] & 0xfc, after[8] & 0xfc);
    }

    #[test]
    fn slots_follow_the_cluster_specification() {
        // From CLUSTER KEYSLOT.
        assert_eq!([0, 1, 12, 123, 1_023].map(slot_of), [13_907, 9_842, 8_373, 5_970, 14_911]);
    }
}
