//! The committed counts, and how present ones differ from them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The counts of one path, by what is counted.
pub type Counts = BTreeMap<String, u64>;

/// How much a count may rise, in percent.
const TOLERANCE: u64 = 3;

/// Counts that must not differ at all.
const EXACT: [&str; 2] = ["commands", "round_trips"];

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("baseline.json")
}

/// The committed counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// Allocations of each path, and what a path costs its store.
    pub costs: BTreeMap<String, Counts>,
    /// The tools and the machine that counted the instructions.
    pub instructions_by: BTreeMap<String, String>,
    /// The instructions of each path in memory.
    pub instructions: BTreeMap<String, Counts>,
}

/// Whether the baseline is written again: `KVOLT_COUNTS=renew`.
pub fn is_renewal() -> bool {
    std::env::var_os("KVOLT_COUNTS").is_some_and(|value| value == "renew")
}

/// Prints each path with its counts, and how they differ from the committed ones.
///
/// Returns false if a count rose, unless the baseline is written again.
pub fn report(
    committed: &BTreeMap<String, Counts>,
    present: &BTreeMap<String, Counts>,
    is_all: bool,
) -> bool {
    for (path, counts) in present {
        let counts: Vec<String> =
            counts.iter().map(|(what, count)| format!("{} {count}", words(what))).collect();
        println!("  {path:<44} {}", counts.join(", "));
    }
    let differences = compare(committed, present, is_all);
    let rose = differences.iter().filter(|fault| matches!(fault, Fault::Rose(_))).count();
    for difference in &differences {
        match difference {
            Fault::Rose(text) => println!("DIFFERS  {text}"),
            Fault::Fell(text) => println!("fewer    {text}"),
        }
    }
    if is_renewal() || differences.is_empty() {
        return true;
    }
    println!(
        "\n{rose} counts differ from tests/counts/baseline.json, and {} fell. If that is intended:\n\
         cargo xtask counts --renew",
        differences.len() - rose
    );
    rose == 0
}

fn words(what: &str) -> String {
    what.replace('_', " ")
}

/// A difference from the baseline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It fails the check.
    Rose(String),
    /// It should be recorded, and fails nothing.
    Fell(String),
}

impl Baseline {
    /// Reads the committed baseline; an empty one where none is committed.
    ///
    /// # Panics
    ///
    /// Panics if the file is not a baseline.
    pub fn read() -> Self {
        match fs::read_to_string(file()) {
            Ok(text) => serde_json::from_str(&text).expect("baseline.json is a baseline"),
            Err(_) => Self::default(),
        }
    }

    /// Writes the baseline, one path a line.
    ///
    /// # Panics
    ///
    /// Panics if the file can't be written.
    pub fn write(&self) {
        fs::write(file(), self.text()).expect("baseline.json can be written");
    }

    fn text(&self) -> String {
        let mut text = String::from("{\n");
        section(&mut text, "costs", &self.costs, ",");
        section(&mut text, "instructions_by", &self.instructions_by, ",");
        section(&mut text, "instructions", &self.instructions, "");
        text.push_str("}\n");
        text
    }
}

fn section<T: Serialize>(text: &mut String, name: &str, lines: &BTreeMap<String, T>, end: &str) {
    let json = |value: &str| serde_json::to_string(value).expect("a text is JSON");
    let lines: Vec<String> = lines
        .iter()
        .map(|(name, value)| {
            let value = serde_json::to_string(value).expect("counts are JSON");
            let value = value.replace("\":", "\": ").replace(",\"", ", \"");
            format!("    {}: {value}", json(name))
        })
        .collect();
    let _ = writeln!(text, "  \"{name}\": {{\n{}\n  }}{end}", lines.join(",\n"));
}

/// Compares present counts with committed ones, path by path.
///
/// A path that only the baseline has is a fault if `is_all`.
pub fn compare(
    committed: &BTreeMap<String, Counts>,
    present: &BTreeMap<String, Counts>,
    is_all: bool,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (path, counts) in present {
        let Some(before) = committed.get(path) else {
            faults.push(Fault::Rose(format!("{path}: it is not in the baseline")));
            continue;
        };
        for (what, now) in counts {
            let was = before.get(what).copied();
            faults.extend(differs(path, what, was, *now));
        }
    }
    if is_all {
        let gone = committed.keys().filter(|path| !present.contains_key(*path));
        faults.extend(gone.map(|path| Fault::Rose(format!("{path}: nothing counts it now"))));
    }
    faults
}

fn differs(path: &str, what: &str, was: Option<u64>, now: u64) -> Option<Fault> {
    let Some(was) = was else {
        return Some(Fault::Rose(format!("{path}: {what} is not in the baseline")));
    };
    let words = words(what);
    let change = |verb: &str| {
        let percent = (now as f64 - was as f64) / (was.max(1) as f64) * 100.0;
        format!("{path}: {words} {verb} from {was} to {now} ({percent:+.1} %)")
    };
    let is_exact = EXACT.contains(&what);
    if now * 100 > was * (100 + TOLERANCE) || (is_exact && now > was) {
        return Some(Fault::Rose(change("rose")));
    }
    if is_exact && now < was {
        return Some(Fault::Rose(change("fell")));
    }
    let fell = now * 100 < was * (100 - TOLERANCE);
    fell.then(|| Fault::Fell(change("fell")))
}
