use serde::{Deserialize, Serialize};

/// The data of a session: which it is, and every update that it has had, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// The number of the session.
    pub birth: u32,
    /// The numbers of the updates.
    pub updates: Vec<u32>,
}
