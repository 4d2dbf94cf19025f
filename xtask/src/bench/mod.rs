//! The benchmarks: builds the programs in `bench/`, runs their parts, and writes the results as JSON, as
//! a report, and as plots.

mod machine;
mod parts;
mod plots;
mod progress;
mod report;
mod results;
mod run;
mod svg;
mod text;

use std::path::{Path, PathBuf};

use self::parts::{PARTS, Part};
use self::results::Results;
use crate::Failure;
use crate::cargo::{root, target_dir};

/// The results that the report and the plots in the tree show.
const RESULTS: &str = "docs/benchmarks.json";
const REPORT: &str = "docs/benchmarks.md";

pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let args: Vec<&str> = args.iter().map(|arg| &**arg).collect();
    match &args[..] {
        ["--list"] => {
            list();
            Ok(())
        }
        ["--report"] => write_report(&read(&root().join(RESULTS))?),
        ["--report", file] => write_report(&read(Path::new(file))?),
        _ => measure(&args),
    }
}

fn list() {
    for Part { name, about, full, quick, .. } in PARTS {
        let quick = quick.map_or(String::new(), |quick| format!(", quick {quick} s"));
        println!("{name:<13} {about} ({full} s{quick})");
    }
    let full: u64 = PARTS.iter().map(|part| part.full).sum();
    let quick: u64 = PARTS.iter().filter_map(|part| part.quick).sum();
    println!("all parts: {} min; with --quick: {quick} s", full.div_ceil(60));
}

/// Runs the parts of these names, or all of them; `--quick` and `--no-build` may be among them.
fn measure(args: &[&str]) -> Result<(), Failure> {
    let quick = args.contains(&"--quick");
    let builds = !args.contains(&"--no-build");
    let is_name = |arg: &&str| !matches!(*arg, "--quick" | "--no-build");
    let names: Vec<&str> = args.iter().copied().filter(is_name).collect();
    if let Some(unknown) = names.iter().find(|name| PARTS.iter().all(|part| part.name != **name)) {
        return Err(format!("there is no part `{unknown}`; `cargo xtask bench --list` lists them"));
    }
    let wanted = |part: &&Part| match names.is_empty() {
        true => !quick || part.quick.is_some(),
        false => names.contains(&part.name),
    };
    let parts: Vec<&Part> = PARTS.iter().filter(wanted).collect();
    let (results, failed) = run::run(&parts, quick, builds)?;
    let file = save(&results)?;
    println!("\nresults: {}", file.display());
    if failed.is_empty() && names.is_empty() && !quick {
        write_report(&results)?;
    }
    match &failed[..] {
        [] => Ok(()),
        failed => Err(format!("these parts failed: {}", failed.join(", "))),
    }
}

/// Keeps the results beside those of earlier runs, which they don't replace.
fn save(results: &Results) -> Result<PathBuf, Failure> {
    let folder = target_dir().join("bench-results");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let free = (1..).map(|number| folder.join(format!("{number:03}.json")));
    let file = free.into_iter().find(|file| !file.exists()).unwrap_or_default();
    write(&file, &results.to_json())?;
    Ok(file)
}

fn read(file: &Path) -> Result<Results, Failure> {
    let text = std::fs::read_to_string(file);
    Results::from_json(&text.map_err(|error| format!("{}: {error}", file.display()))?)
}

/// Writes these results, their report and their plots into the tree.
fn write_report(results: &Results) -> Result<(), Failure> {
    write(&root().join(RESULTS), &results.to_json())?;
    for (file, text) in files(results) {
        println!("writes {file}");
        write(&root().join(file), &text)?;
    }
    Ok(())
}

/// The report and the plots, with their paths from the root.
fn files(results: &Results) -> Vec<(String, String)> {
    let mut files = vec![(REPORT.to_owned(), report::whole(results))];
    files.extend(plots::all(results));
    files
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_and_plots_are_those_of_the_results() {
        let text = std::fs::read_to_string(root().join(RESULTS)).unwrap();
        let results = Results::from_json(&text).unwrap();
        assert_eq!(results.to_json(), text, "{RESULTS} was changed by hand");
        for (file, expected) in files(&results) {
            let found = std::fs::read_to_string(root().join(&file)).unwrap();
            assert!(found == expected, "{file}: `cargo xtask bench --report` writes it");
        }
    }

    #[test]
    fn an_unknown_part_is_an_error() {
        assert!(measure(&["http", "htttp"]).unwrap_err().contains("`htttp`"));
    }
}
