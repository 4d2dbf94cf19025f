//! The text of every statement on the path of a call.
//!
//! The arguments are numbered (`$1`). [`Driver`](crate::dialect::Driver) explains the braces.

use kvolt_cache::Namespace;

use crate::dialect::{Dialect, Statement};

/// The columns of deadlines, as [`Times`](crate::row::Times) reads them.
const TIMES: &str = "idle, idle_deadline, absolute_deadline, {now}";

/// The columns of an entry without its deadlines.
const ENTRY: &str = "{key}, version, value, owner, created";

/// The columns of a removed row, as [`Removed`](crate::row::Removed) reads them.
const REMOVED: &str = "{key}, created, expires, {now}";

/// The values of an insertion. [`Statements::insert`] explains the arguments.
const INSERTED: &str = "$1, $2, $3, $4, COALESCE($7, {created}), \
    $5, COALESCE($8, {now} + $5), COALESCE($9, {now} + $6)";

/// The number of arguments of an insertion.
pub(crate) const COLUMNS: usize = 9;

/// The condition for the owner's live rows. The clock is read once, so that an index applies.
const LIVE: &str = "owner = $1 AND expires > (SELECT {now})";

/// How long after its deadline an expired row may become live again, in milliseconds: by a use that
/// began before the deadline and is committed after it. It is longer than any statement takes.
const MAX_LATE: &str = "60000";

/// The statements of one store.
#[derive(Debug)]
pub(crate) struct Statements {
    /// The live entry under `$1`.
    pub(crate) get: Statement,
    /// Starts the idle time under `$1` again if that is due, and returns the deadlines.
    pub(crate) touch: Statement,
    /// The deadlines of the live entry under `$1`.
    pub(crate) deadlines: Statement,
    /// Inserts under `$1`, if no live row has that key: the version `$2`, the value `$3`, the owner
    /// `$4`, the idle time `$5`, the lifetime `$6`. The creation `$7` and the deadlines `$8` and `$9`
    /// take precedence if they are not null.
    pub(crate) insert: Statement,
    /// Inserts if no row has that key, and removes the row under `$10`; with a version `$11`, only if
    /// that row is live and has the version. `None` if the database needs two statements.
    pub(crate) insert_replacing: Option<Statement>,
    /// Sets the value under `$1` with the version `$2`.
    pub(crate) replace: Statement,
    /// Removes the live entry under `$1`; with a version `$2`, only if it has that.
    pub(crate) remove: Statement,
    /// Removes the row under `$1` with the version `$2`, live or not.
    pub(crate) remove_row: Statement,
    /// Removes the row under `$1`, live or not; with a version `$2`, only if it is live and has that.
    pub(crate) remove_replaced: Statement,
    /// Removes the row under `$1` if it has expired.
    pub(crate) remove_expired: Statement,
    /// The version and the deadline of the row under `$1`, live or not, and the time.
    pub(crate) state: Statement,
    /// The owner's live entries.
    pub(crate) list: Statement,
    /// Some of the owner's live entries, at most `$2`.
    pub(crate) some_owned: Statement,
    /// Removes the owner's live entries except the youngest `$2` and the one under `$3`.
    pub(crate) remove_oldest: Statement,
    /// Removes the owner's rows except the one under `$2`, with the owner's lock `$3`.
    pub(crate) remove_owner: Statement,
    /// The live entries after `$1` in the order of their keys.
    pub(crate) scan: Statement,
    pub(crate) clear: Statement,
    /// The number of live entries.
    pub(crate) count: Statement,
    pub(crate) clean: Statement,
    /// The database's time.
    pub(crate) now: Statement,
    /// The table's name.
    pub(crate) table: String,
    /// The same after the name of its schema, on connections whose default schema may change.
    pub(crate) qualified: String,
}

impl Statements {
    pub(crate) fn new<D: Dialect>(
        namespace: &Namespace,
        qualified: String,
        slide_after: f64,
    ) -> Self {
        let statement = |sql: &str| statement::<D>(&qualified, sql);
        let select = |rest: &str| statement(&format!("SELECT {ENTRY}, {TIMES} FROM {{t}} {rest}"));
        let removal = |template: &str, found: &str| {
            statement(&template.replace("{found}", found).replace("{removed}", REMOVED))
        };
        // A factor in scientific notation is an exact or a floating-point number everywhere.
        let slide = format!(
            "UPDATE {{t}} SET idle_deadline = {{now}} + idle \
             WHERE {{key}} = $1 AND expires > {{now}} AND idle_deadline < {{now}} + idle \
             AND {{now}} + idle - idle_deadline >= idle * {slide_after:e}"
        );
        Self {
            get: select("WHERE {key} = $1 AND expires > {now}"),
            touch: statement(&D::TOUCH.replace("{slide}", &slide).replace("{times}", TIMES)),
            deadlines: statement(&format!(
                "SELECT {TIMES} FROM {{t}} WHERE {{key}} = $1 AND expires > {{now}}"
            )),
            insert: statement(&format!(
                "INSERT INTO {{t}} ({ENTRY}, idle, idle_deadline, absolute_deadline) \
                 VALUES ({INSERTED}){}",
                D::ON_TAKEN
            )),
            insert_replacing: D::CHANGES_IN_WITH.then(|| {
                statement(&format!(
                    "WITH gone AS (DELETE FROM {{t}} WHERE {{key}} = $10 \
                     AND ($11 IS NULL OR (version = $11 AND expires > {{now}})) RETURNING 1) \
                     INSERT INTO {{t}} ({ENTRY}, idle, idle_deadline, absolute_deadline) \
                     SELECT {INSERTED} WHERE $11 IS NULL OR EXISTS (SELECT 1 FROM gone)"
                ))
            }),
            replace: statement(
                "UPDATE {t} SET value = $3, version = $4, \
                 idle = CASE WHEN $5 = 1 THEN $6 ELSE idle END, \
                 idle_deadline = CASE WHEN $5 = 1 THEN {now} + $6 ELSE idle_deadline END, \
                 absolute_deadline = \
                 CASE WHEN $5 = 1 THEN {now} + $7 ELSE absolute_deadline END \
                 WHERE {key} = $1 AND version = $2 AND expires > {now}",
            ),
            remove: statement(
                "DELETE FROM {t} \
                 WHERE {key} = $1 AND version = COALESCE($2, version) AND expires > {now}",
            ),
            remove_row: statement("DELETE FROM {t} WHERE {key} = $1 AND version = $2"),
            remove_replaced: statement(
                "DELETE FROM {t} WHERE {key} = $1 \
                 AND ($2 IS NULL OR (version = $2 AND expires > {now}))",
            ),
            remove_expired: statement("DELETE FROM {t} WHERE {key} = $1 AND expires <= {now}"),
            state: statement("SELECT version, expires, {now} FROM {t} WHERE {key} = $1"),
            list: select(&format!("WHERE {LIVE} ORDER BY created, {{tie}}")),
            // In the order of the index, so that every database uses that index.
            some_owned: statement(&format!(
                "SELECT {{key}} FROM {{t}} WHERE {LIVE} ORDER BY expires LIMIT $2"
            )),
            remove_oldest: removal(
                D::REMOVE,
                &format!(
                    "SELECT {{key}} FROM {{t}} WHERE {LIVE} AND {{key}} <> $3 \
                     ORDER BY created DESC, {{tie}} DESC LIMIT 1000000000 OFFSET $2"
                ),
            ),
            remove_owner: removal(
                D::REMOVE,
                &format!(
                    "SELECT {{key}} FROM {{t}} WHERE {LIVE} - {MAX_LATE} AND {{key}} <> $2{}",
                    D::LOCK
                ),
            ),
            scan: select("WHERE {key} > $1 AND expires > {now} ORDER BY {key} LIMIT $2"),
            clear: statement("DELETE FROM {t}"),
            count: statement("SELECT count(*) FROM {t} WHERE expires > (SELECT {now})"),
            clean: removal(D::CLEAN, ""),
            now: statement("SELECT {now}"),
            table: table(namespace),
            qualified: qualified.clone(),
        }
    }

    /// Inserts this many rows, whose arguments follow each other, if none of their keys is taken.
    pub(crate) fn insert_rows<D: Dialect>(&self, rows: usize) -> Statement {
        let numbered = |row: usize| {
            let values = substitute(INSERTED, |index| format!("${}", row * COLUMNS + index + 1));
            format!("({values})")
        };
        let values: Vec<String> = (0..rows).map(numbered).collect();
        let columns = "idle, idle_deadline, absolute_deadline";
        let sql = format!("INSERT INTO {{t}} ({ENTRY}, {columns}) VALUES {}", values.join(", "));
        statement::<D>(&self.qualified, &sql)
    }

    /// Removes the rows under this many keys. It is prepared only for the usual, small numbers.
    pub(crate) fn remove_rows<D: Dialect>(&self, keys: usize) -> Statement {
        let persistent = keys <= 4;
        let keys: Vec<String> = (1..=keys).map(|number| format!("${number}")).collect();
        let sql = format!("DELETE FROM {{t}} WHERE {{key}} IN ({})", keys.join(", "));
        Statement { persistent, ..statement::<D>(&self.qualified, &sql) }
    }
}

/// The table of a namespace's entries: at most 41 bytes, of the 63 that every database allows.
pub(crate) fn table(namespace: &Namespace) -> String {
    format!("{namespace}_sessions")
}

/// A statement from its text.
pub(crate) fn statement<D: Dialect>(table: &str, sql: &str) -> Statement {
    let mut order = Vec::new();
    let sql = substitute(&fill::<D>(table, sql), |index| {
        order.push(index);
        if D::NUMBERS_ARGUMENTS { format!("${}", index + 1) } else { String::from("?") }
    });
    if D::NUMBERS_ARGUMENTS {
        order.sort_unstable();
        order.dedup();
    }
    Statement { sql: sql.into(), order: order.into(), persistent: true }
}

/// The text with another text in the place of each numbered argument.
pub(crate) fn substitute(sql: &str, mut argument: impl FnMut(usize) -> String) -> String {
    let mut parts = sql.split('$');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |sql, part| {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        let number = part[..part.len() - rest.len()].parse().unwrap_or(1usize);
        sql + &argument(number.saturating_sub(1)) + rest
    })
}

/// The text with the table's name and the database's words filled in.
pub(crate) fn fill<D: Dialect>(table: &str, sql: &str) -> String {
    sql.replace("{created}", D::CREATED)
        .replace("{tie}", D::TIE)
        .replace("{t}", table)
        .replace("{key}", D::KEY)
        .replace("{now}", D::NOW)
}
