use std::fmt;

use zeroize::optimization_barrier;

/// The SHA-256 of a token, bound to its session and namespace. Compared in constant time.
#[derive(Clone, Copy)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct SecretDigest(
    #[cfg_attr(feature = "json", serde(with = "crate::base64url"))] pub(crate) [u8; 32],
);

impl SecretDigest {
    /// For a session that has no token yet. No token with this digest can be found.
    pub(crate) const NONE: Self = Self([0; 32]);
}

impl PartialEq for SecretDigest {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        let difference =
            self.0.iter().zip(&other.0).fold(0, |difference, (one, two)| difference | (one ^ two));
        // Without it, the compiler might stop at the first difference.
        optimization_barrier(&difference);
        difference == 0
    }
}

impl Eq for SecretDigest {}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest(..)")
    }
}
