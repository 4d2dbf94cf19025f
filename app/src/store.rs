//! Which store sessions are kept in, by URL.

use std::fmt;
use std::str::FromStr;

use kvolt::cache::{AnyStore, MemoryStore};
use kvolt::session::Record;

use crate::users::User;

/// How many sessions this process holds at the most: some 400 megabytes.
const SESSIONS_MAX: usize = 1_000_000;

/// Where sessions are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreUrl {
    Memory,
}

impl StoreUrl {
    pub(crate) fn open(self) -> AnyStore<Record<User>> {
        match self {
            Self::Memory => AnyStore::new(MemoryStore::builder().entries_max(SESSIONS_MAX).build()),
        }
    }
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = url.split_once(':') else {
            return Err(String::from("a store is written as a URL; there is memory:"));
        };
        match (scheme, rest) {
            ("memory", "") => Ok(Self::Memory),
            ("memory", _) => Err(String::from("memory: takes nothing after the colon")),
            _ => Err(format!("there is no store for {scheme}: yet; there is memory:")),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_stores_that_exist() {
        assert_eq!("memory:".parse(), Ok(StoreUrl::Memory));
        for url in ["redis://localhost", "postgres://x", "", "memory", "memory:x"] {
            let error = url.parse::<StoreUrl>().unwrap_err();
            assert!(error.contains("memory:"), "{url}: {error}");
        }
    }
}
