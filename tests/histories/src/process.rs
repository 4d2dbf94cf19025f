use std::fmt;
use std::time::Duration;

use kvolt_cache::{AnyStore, Store};
use kvolt_session::{Manager, Record, Result};

use crate::Ledger;

/// Longer than any run, so that no session expires.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3_600);

/// A server process of the application, with its own connections to the store and an
/// optional near cache.
#[derive(Clone)]
pub struct Process {
    /// Rotates tokens without a grace period.
    pub(crate) strict: Manager<Ledger>,
    /// Rotates tokens with a grace period.
    pub(crate) graceful: Manager<Ledger>,
}

impl Process {
    /// Creates a process on a store, with this grace period for graceful rotations.
    ///
    /// # Errors
    ///
    /// Returns an error if the grace period is longer than an hour
    /// ([`kvolt_session::Error::is_misconfigured`]).
    pub fn new(store: impl Store<Record<Ledger>>, grace: Duration) -> Result<Self> {
        let store = AnyStore::new(store);
        let manager = |grace| {
            let manager = Manager::builder(store.clone()).idle_timeout(IDLE_TIMEOUT);
            manager.rotation_grace(grace).build()
        };
        Ok(Self { strict: manager(Duration::ZERO)?, graceful: manager(grace)? })
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").finish_non_exhaustive()
    }
}
