//! Lists the public items of the published crates, one line each, and holds them against the lists
//! in `docs/api`.
//!
//! `cargo xtask api` makes rustdoc's JSON, and runs this program on it. `cargo xtask api --renew`
//! writes the lists again.
//!
//! A list begins with the foreign types in public signatures: a new major version of their crate is
//! a new major version of ours. After them come the items.
//!
//! A type or function is shown by an example in its own documentation or in that of its methods, or
//! by one of its crate that names it; a method by its own example or by a call in another.
//! `kvolt-testkit` is exempt: its README shows the one way to use it.

#![allow(clippy::print_stdout, reason = "a command line tool prints to its standard output")]

mod examples;
mod foreign;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

/// An error message for the person at the terminal.
type Failure = String;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match &args[..] {
        [folder, crates @ ..] => run(Path::new(folder), crates),
        [] => Err(String::from("usage: kvolt-api FOLDER_OF_JSON [--renew] CRATE...")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("kvolt-api: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(folder: &Path, args: &[String]) -> Result<(), Failure> {
    let renew = args.first().is_some_and(|arg| arg == "--renew");
    let mut problems = Vec::new();
    for name in &args[usize::from(renew)..] {
        let file = folder.join(format!("{}.json", name.replace('-', "_")));
        let json = read(&file)?;
        let json: Value = serde_json::from_str(&json).map_err(|error| error.to_string())?;
        let list = list(&file, &json)?;
        let path = format!("docs/api/{name}.txt");
        if renew {
            fs::write(&path, list).map_err(|error| format!("{path}: {error}"))?;
        } else {
            let committed = fs::read_to_string(&path).unwrap_or_default();
            problems.extend(differences(&path, &committed, &list));
        }
        if name != "kvolt-testkit" {
            let lacking = examples::missing(&json).into_iter();
            problems.extend(lacking.map(|item| format!("{name}: {item} has no example")));
        }
    }
    if problems.is_empty() {
        println!("the public items are those of docs/api, and each has its example");
        return Ok(());
    }
    for problem in &problems {
        println!("{problem}");
    }
    Err(format!("{} problems; `cargo xtask api --renew` writes the lists again", problems.len()))
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn list(file: &Path, json: &Value) -> Result<String, Failure> {
    let api = public_api::Builder::from_rustdoc_json(file)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()
        .map_err(|error| format!("{}: {error}", file.display()))?;
    let mut list = String::new();
    for name in foreign::types(json) {
        list += &format!("foreign {name}\n");
    }
    for item in api.items() {
        list += &format!("{item}\n");
    }
    Ok(list)
}

/// Lines that only one of two texts has.
fn differences(path: &str, committed: &str, now: &str) -> Vec<String> {
    let only = |all: &str, other: &str, sign: char| {
        let other: std::collections::HashSet<&str> = other.lines().collect();
        all.lines()
            .filter(|line| !other.contains(line))
            .map(|line| format!("{path}: {sign} {line}"))
            .collect::<Vec<_>>()
    };
    let mut differences = only(committed, now, '-');
    differences.extend(only(now, committed, '+'));
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_name_the_file_and_the_line() {
        assert_eq!(differences("a", "x\ny\n", "y\nz\n"), ["a: - x", "a: + z"]);
        assert!(differences("a", "x\n", "x\n").is_empty());
    }
}
