//! The settings that the stores of all namespaces on the same connections share.

use std::time::Duration;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) timeout: Duration,
    pub(crate) slide_after: f64,
    /// Whether the store may change the schema.
    pub(crate) migrate: bool,
    pub(crate) clean_every: Option<Duration>,
    pub(crate) max_cleaned_rows: u32,
}
