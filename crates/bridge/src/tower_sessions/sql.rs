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
    // PostgreSQL's classes 42 (no such table, no right to it) and 3F (no such schema). SQLite has one
    // code for a statement that it can't prepare.
    let is_rejected = error
        .as_database_error()
        .and_then(|error| error.code())
        .is_some_and(|code| code.starts_with("42") || code.starts_with("3F") || code == "1");
    match is_rejected {
        true => OldSessionError::misconfigured(error),
        false => OldSessionError::unavailable(error),
    }
}
