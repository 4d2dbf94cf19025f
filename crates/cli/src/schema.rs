//! The SQL that creates the tables of a store.

use serde_json::json;

use crate::args::SchemaArgs;
use crate::failure::{Done, Failure, usage};
use crate::output::Output;
use crate::url::Kind;

pub(crate) fn schema(args: &SchemaArgs, output: &mut Output) -> Result<Done, Failure> {
    let kind = Kind::from(args.kind);
    let namespace = &args.namespace;
    let statements: kvolt::cache::Result<Vec<String>> = match kind {
        #[cfg(feature = "postgres")]
        Kind::Postgres => kvolt::PostgresStore::migrations(namespace),
        #[cfg(feature = "mysql")]
        Kind::MySql => kvolt::MySqlStore::migrations(namespace),
        #[cfg(feature = "sqlite")]
        Kind::Sqlite => kvolt::SqliteStore::migrations(namespace),
        kind => return Err(crate::store::not_built(kind)),
    };
    let statements = statements.map_err(|error| usage(error.to_string()))?;
    if output.is_json {
        output.json(&json!({ "kind": kind.name(), "statements": statements }))?;
        return Ok(Done::Fully);
    }
    for (number, statements) in (1..).zip(&statements) {
        let statements = statements.trim_end().trim_end_matches(';');
        output.line(&format!("-- Version {number}\n{statements};"))?;
        let columns = "(version, applied) VALUES";
        output.line(&format!("INSERT INTO {namespace}_sessions_meta {columns} ({number}, 0);"))?;
    }
    Ok(Done::Fully)
}
