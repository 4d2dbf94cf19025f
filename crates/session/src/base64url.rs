//! Bytes in base64url, which have exactly one spelling: for serde's `with`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

pub(crate) fn serialize<S: Serializer, const N: usize>(
    bytes: &[u8; N],
    to: S,
) -> Result<S::Ok, S::Error> {
    to.serialize_str(&URL_SAFE_NO_PAD.encode(bytes))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
    from: D,
) -> Result<[u8; N], D::Error> {
    // The decoder asks for two more bytes than the longest value has.
    let mut bytes = [0; 35];
    let len = URL_SAFE_NO_PAD.decode_slice(<&str>::deserialize(from)?, &mut bytes);
    let bytes = bytes.get(..len.unwrap_or(0)).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| D::Error::custom("wrong length or alphabet"))
}
