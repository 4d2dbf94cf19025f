use serde::{Deserialize, Serialize};

/// The data of a session: its number, and all its updates in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Number of the session.
    pub session_no: u32,
    /// Numbers of the updates.
    pub updates: Vec<u32>,
}
