//! Statements for PostgreSQL and SQLite.

use crate::OldSessionError;

/// A name for a statement, in quotes.
///
/// # Errors
///
/// Returns an error if the name has a character that ends the quotes.
pub(super) fn quoted(name: &str) -> kvolt_session::Result<String> {
    if name.is_empty() || name.contains(['"', '\0']) {
        let error = kvolt_cache::Error::misconfigured(format!("{name:?} is no name of a table"));
        return Err(kvolt_session::Error::store(error));
    }
    Ok(format!("\"{name}\""))
}

/// The statements on one table.
#[derive(Debug, Clone)]
pub(super) struct Statements {
    pub(super) read: String,
    pub(super) remove: String,
}

impl Statements {
    pub(super) fn new(table: &str, parameter: &str) -> Self {
        Self {
            read: format!("SELECT data FROM {table} WHERE id = {parameter}"),
            remove: format!("DELETE FROM {table} WHERE id = {parameter}"),
        }
    }
}

pub(super) fn failure(error: sqlx::Error) -> OldSessionError {
    OldSessionError::unavailable(error)
}
