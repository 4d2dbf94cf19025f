//! Random numbers, and what is keyed with a session's own random seed.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{Error, Result};

/// Fills the bytes with randomness, or returns an error.
pub(crate) type Random = fn(&mut [u8]) -> Result<()>;

/// A session's secret for its form tokens and for the marks of its tokens. It is new at each
/// login, and stays the same over rotations.
pub(crate) type Seed = [u8; 16];

/// Reads the operating system's generator.
pub(crate) fn system_random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(Error::no_randomness)
}

/// HMAC-SHA-256 (RFC 2104) over fields that are each preceded by their length.
pub(crate) fn mac(seed: &Seed, fields: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(seed).expect("a key may have any length");
    for field in fields {
        mac.update(&(field.len() as u64).to_be_bytes());
        mac.update(field);
    }
    mac
}
