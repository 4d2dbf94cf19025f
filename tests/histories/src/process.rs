use std::fmt;
use std::time::Duration;

use kvolt_cache::{AnyStore, Store};
use kvolt_session::{Manager, Record, Result};

use crate::Ledger;

/// Sessions live longer than any run, so that none ends by itself.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3_600);

/// One server process of the application: it has its own connections to the store, and perhaps a near cache.
#[derive(Clone)]
pub struct Process {
    /// It rotates tokens without a grace.
    pub(crate) strict: Manager<Ledger>,
    /// It rotates tokens with one.
    pub(crate) graceful: Manager<Ledger>,
}

impl Process {
    /// A process on a store, and with this grace for the rotations that have one.
    ///
    /// # Errors
    ///
    /// Misconfigured, for a grace longer than an hour.
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
