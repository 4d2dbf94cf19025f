//! The marker of an old session in the store.
//!
//! | state | meaning | becomes |
//! |---|---|---|
//! | (none) | not seen yet | `Moving`, if the old session exists |
//! | `Moving` | a server creates the new session | `Moved`, `Declined`, none after an error, or another server's `Moving` after a crash |
//! | `Declined` | the application wants no session for it | none, after a minute |
//! | `Moved` | the new session exists, and so does the old one | `Removing` or `SignedOut` |
//! | `Removing` | a server removes the old session, which existed | `Removed` or `SignedOut` |
//! | `Removed` | the old session was removed by a server of this application | `Spent` |
//! | `SignedOut` | the old session was removed by the other library: the new one must end | none, as `Spent` |
//! | `Spent` | the old cookie is never accepted again | none, when the old session would have expired |
//!
//! Each change is a compare-and-swap. Times are those of the store's clock.

use std::time::Duration;

use kvolt_cache::{Entry, Key, Timestamp};
use serde::{Deserialize, Serialize};

use crate::sealed::Sealed;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum Marker {
    /// With its own lifetime in milliseconds: its deadline then shows when the server that has made
    /// the claim has renewed it.
    Moving {
        lifetime: u64,
        claim: u64,
    },
    Declined,
    Moved {
        since: Timestamp,
        new: NewRef,
    },
    Removing {
        since: Timestamp,
        begun: Timestamp,
        new: NewRef,
    },
    Removed {
        since: Timestamp,
        new: NewRef,
    },
    SignedOut {
        session: String,
    },
    Spent,
    /// Under the new session's id: its token, sealed under the old session's. The store ends it with
    /// the handover.
    Token {
        sealed: Sealed,
    },
    /// Under the new session's id: the old session's, sealed under the new token. So the return of
    /// the new token alone completes the move.
    Pointer {
        old: Sealed,
    },
}

/// The new session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NewRef {
    pub(crate) session: String,
    /// When the old session expires: a missing one is no sign-out from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) old_end: Option<Timestamp>,
}

impl Marker {
    /// The key of an old session's marker.
    pub(crate) fn key(id: &str) -> Key {
        Key::of(format!("kvolt bridge old\0{id}"))
    }

    /// How long ago the server that creates the new session has shown that it is alive.
    pub(crate) fn moving_for(entry: &Entry<Self>) -> Option<Duration> {
        let Self::Moving { lifetime, .. } = entry.value else { return None };
        let made = entry.deadlines.absolute()?.saturating_sub(Duration::from_millis(lifetime));
        Some(entry.read_at.since(made))
    }

    /// The key of a new session's sealed token.
    pub(crate) fn token_key(session: impl std::fmt::Display) -> Key {
        Key::of(format!("kvolt bridge token\0{session}"))
    }

    /// The key of a new session's pointer.
    pub(crate) fn pointer_key(session: impl std::fmt::Display) -> Key {
        Key::of(format!("kvolt bridge new\0{session}"))
    }
}
