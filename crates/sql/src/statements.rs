//! Every statement on the path of a call, as text.
//!
//! The arguments are numbered (`$1`); `{t}` is the table, `{key}` its column `key`, `{now}` the
//! database's clock, `{created}` the age of what comes to the owner `$5`.

use crate::dialect::{Dialect, Statement};

/// The columns of an entry, as `row::Row` reads them.
const COLUMNS: &str =
    "{key}, id, version, value, owner, created, idle, idle_deadline, absolute_deadline, successor";

/// So many former keys lead to an entry. The version of a former key is how many renamings ago it
/// was left: with each, as many rows change as still lead on, and the oldest one ends.
pub(crate) const FORMER_MAX: i64 = 16;

/// The version of a former key that is being left.
pub(crate) const FORMER_FIRST: i64 = 1;

/// The statements of one store.
#[derive(Debug)]
pub(crate) struct Statements {
    /// What is live under `$1`: an entry or a former key.
    pub(crate) get: Statement,
    /// The live entry that the former key `$1` leads to.
    pub(crate) follow: Statement,
    /// Moves the idle deadline of the entry `$2` under `$1` to `$3`, never back.
    pub(crate) slide: Statement,
    /// Inserts where nothing is or where what is there has ended.
    pub(crate) insert: Statement,
    /// Sets the value under `$1` with the version `$2`.
    pub(crate) replace: Statement,
    /// Removes what is live under `$1`.
    pub(crate) remove: Statement,
    /// Removes the entry `$2` if it is live under `$1`.
    pub(crate) remove_entry: Statement,
    /// Removes the row under `$1`, whatever it is.
    pub(crate) remove_row: Statement,
    /// Locks the rows under `$1` and `$2` and returns them, live or not.
    pub(crate) lock: Statement,
    /// Moves the row under `$1` to `$2`.
    pub(crate) rename: Statement,
    /// Lets the former keys of `$1` lead to `$2`, for `$3` at the most; the oldest one lead nowhere.
    pub(crate) lead_on: Statement,
    /// The owner's live entries but `$2`, oldest first.
    pub(crate) list: Statement,
    /// The same, locked.
    pub(crate) lock_owned: Statement,
    /// The live entries after `$1` in the order of their keys.
    pub(crate) scan: Statement,
    pub(crate) clear: Statement,
    /// How many live entries there are.
    pub(crate) count: Statement,
    pub(crate) clean: Statement,
    /// The same, and returns what it deletes, or else finds what to delete and locks it.
    pub(crate) clean_telling: Statement,
    /// The table's name.
    pub(crate) table: String,
}

impl Statements {
    pub(crate) fn new<D: Dialect>(table: &str) -> Self {
        let statement = |sql: &str| statement::<D>(table, sql);
        let owned = format!(
            "SELECT {COLUMNS}, {{now}} FROM {{t}} \
             WHERE owner = $1 AND id <> $2 AND expires > {{now}} AND successor IS NULL \
             ORDER BY created, id"
        );
        Self {
            get: statement(&format!(
                "SELECT {COLUMNS}, {{now}} FROM {{t}} WHERE {{key}} = $1 AND expires > {{now}}"
            )),
            // Both looks are in one snapshot: what it leads to can't have moved on in between.
            follow: statement(&format!(
                "SELECT {}, {{now}} FROM {{t}} k \
                 JOIN {{t}} e ON e.{{key}} = k.successor AND e.id = k.id \
                 WHERE k.{{key}} = $1 AND k.expires > {{now}} \
                 AND e.expires > {{now}} AND e.successor IS NULL",
                COLUMNS
                    .split(", ")
                    .map(|column| format!("e.{column}"))
                    .collect::<Vec<_>>()
                    .join(", ")
            )),
            slide: statement(
                "UPDATE {t} SET idle_deadline = $3 \
                 WHERE {key} = $1 AND id = $2 AND successor IS NULL \
                 AND idle = $4 AND idle_deadline < $3 AND expires > {now}",
            ),
            insert: statement(&format!(
                "INSERT INTO {{t}} ({COLUMNS}) \
                 VALUES ($1, $2, $3, $4, $5, {{created}}, $6, {{now}} + $6, {{now}} + $7, $8){}",
                D::ON_TAKEN
            )),
            replace: statement(&format!(
                "UPDATE {{t}} SET value = $3, version = $4, {} \
                 WHERE {{key}} = $1 AND version = $2 AND successor IS NULL AND expires > {{now}}",
                restart(5, 6, 7)
            )),
            remove: statement(
                "DELETE FROM {t} WHERE {key} = $1 AND successor IS NULL AND expires > {now}",
            ),
            remove_entry: statement(
                "DELETE FROM {t} \
                 WHERE {key} = $1 AND id = $2 AND successor IS NULL AND expires > {now}",
            ),
            remove_row: statement("DELETE FROM {t} WHERE {key} = $1"),
            lock: statement(&format!(
                "SELECT {COLUMNS}, {{now}}, expires FROM {{t}} WHERE {{key}} IN ($1, $2){}",
                D::FOR_UPDATE
            )),
            rename: statement(&format!(
                "UPDATE {{t}} SET {{key}} = $2, version = $3, value = COALESCE($4, value), \
                 owner = COALESCE($5, owner), \
                 created = CASE WHEN $6 = 1 THEN {{created}} ELSE created END, {} \
                 WHERE {{key}} = $1 AND successor IS NULL AND expires > {{now}}",
                restart(7, 8, 9)
            )),
            // MySQL sets one column after the other, and sees what it has set: the version last.
            lead_on: statement(
                &"UPDATE {t} SET successor = $2, absolute_deadline = \
                 CASE WHEN absolute_deadline < {most} THEN absolute_deadline ELSE {most} END, \
                 version = version + 1 \
                 WHERE successor = $1 AND version <= {max}"
                    .replace("{most}", "{now} + CASE WHEN version < {max} THEN $3 ELSE 0 END")
                    .replace("{max}", &FORMER_MAX.to_string()),
            ),
            list: statement(&owned),
            lock_owned: statement(&(owned + D::FOR_UPDATE)),
            scan: statement(&format!(
                "SELECT {COLUMNS}, {{now}} FROM {{t}} \
                 WHERE {{key}} > $1 AND expires > {{now}} AND successor IS NULL \
                 ORDER BY {{key}} LIMIT $2"
            )),
            clear: statement("DELETE FROM {t}"),
            // An index has all that is looked at; the rows have the values, too. Only those of
            // former keys are looked up.
            count: statement(
                "SELECT (SELECT count(*) FROM {t} WHERE expires > (SELECT {now})) - \
                 (SELECT count(*) FROM {t} \
                 WHERE successor IS NOT NULL AND expires > (SELECT {now}))",
            ),
            clean: statement(D::CLEAN),
            clean_telling: match D::FIND_ENDED {
                Some(find) => statement(find),
                None => statement(&format!("{} RETURNING {{key}}, successor", D::CLEAN)),
            },
            table: table.to_owned(),
        }
    }

    /// Removes the rows under this many keys; prepared if they are as few as they are mostly.
    pub(crate) fn remove_rows<D: Dialect>(&self, keys: usize) -> Statement {
        let persistent = keys <= 4;
        let keys: Vec<String> = (1..=keys).map(|number| format!("${number}")).collect();
        let sql = format!("DELETE FROM {{t}} WHERE {{key}} IN ({})", keys.join(", "));
        Statement { persistent, ..statement::<D>(&self.table, &sql) }
    }
}

/// Both deadlines anew if the argument `whether` is 1, else as they are.
fn restart(whether: usize, idle: usize, lifetime: usize) -> String {
    format!(
        "idle = CASE WHEN ${whether} = 1 THEN ${idle} ELSE idle END, \
         idle_deadline = CASE WHEN ${whether} = 1 THEN {{now}} + ${idle} ELSE idle_deadline END, \
         absolute_deadline = \
         CASE WHEN ${whether} = 1 THEN {{now}} + ${lifetime} ELSE absolute_deadline END"
    )
}

/// A statement from its text.
pub(crate) fn statement<D: Dialect>(table: &str, sql: &str) -> Statement {
    let sql = fill::<D>(table, sql);
    let mut order: Vec<usize> = sql.split('$').skip(1).filter_map(leading_index).collect();
    if !D::NUMBERS_ARGUMENTS {
        let sql = without_numbers(&sql).into();
        return Statement { sql, order: order.into(), persistent: true };
    }
    order.sort_unstable();
    order.dedup();
    Statement { sql: sql.into(), order: order.into(), persistent: true }
}

/// The index of the argument whose number the text begins with.
pub(crate) fn leading_index(text: &str) -> Option<usize> {
    let number: usize = text[..text.len() - after_number(text).len()].parse().ok()?;
    number.checked_sub(1)
}

pub(crate) fn after_number(text: &str) -> &str {
    text.trim_start_matches(|c: char| c.is_ascii_digit())
}

fn without_numbers(sql: &str) -> String {
    let mut parts = sql.split('$');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |sql, part| sql + "?" + after_number(part))
}

/// The text with the table's name and the database's words filled in.
pub(crate) fn fill<D: Dialect>(table: &str, sql: &str) -> String {
    sql.replace("{created}", D::CREATED)
        .replace("{t}", table)
        .replace("{key}", D::KEY)
        .replace("{now}", D::NOW)
}
