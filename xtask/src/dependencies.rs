//! Licences, sources and promised Rust versions of everything that the workspace depends on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use crate::cargo::{self, cargo, find_program, host, root};
use crate::steps::Done;
use crate::{Failure, licence};

/// cargo-deny where it is installed, and a check of its own where it is not.
pub(crate) fn check() -> Result<(), Failure> {
    let metadata = metadata()?;
    let mut faults = rust_versions(&metadata)?;
    if find_program("cargo-deny").is_some() {
        cargo::run(&mut cargo(["deny", "--offline", "check", "licenses", "bans", "sources"]))?;
    } else {
        println!("cargo-deny is not installed: licences and sources are checked without it");
        faults.extend(licences_and_sources(&metadata)?);
    }
    if faults.is_empty() {
        println!("{} packages looked at", packages(&metadata).count());
        return Ok(());
    }
    Err(faults.join("\n"))
}

/// Known vulnerabilities, where the database of them is already on this machine.
pub(crate) fn advisories() -> Result<Done, Failure> {
    if find_program("cargo-deny").is_none() || !has_advisory_database() {
        return Ok(Done::Skipped("needs network, cargo-deny and the RustSec database".to_owned()));
    }
    cargo::run(&mut cargo(["deny", "--offline", "check", "advisories"])).map(Done::from)
}

/// The oldest Rust that the workspace promises to build with.
pub(crate) fn minimum_rust() -> Result<String, Failure> {
    let text = read("Cargo.toml")?;
    text.lines()
        .find_map(|line| line.strip_prefix("rust-version = \""))
        .and_then(|rest| rest.strip_suffix('"'))
        .map(str::to_owned)
        .ok_or_else(|| "Cargo.toml has no rust-version".to_owned())
}

fn has_advisory_database() -> bool {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let folders = ["advisory-dbs", "advisory-db"];
    home.is_some_and(|home| folders.iter().any(|folder| home.join(folder).is_dir()))
}

fn read(file: &str) -> Result<String, Failure> {
    std::fs::read_to_string(root().join(file))
        .map_err(|error| format!("{file} can't be read: {error}"))
}

/// The whole graph: without the network if that is enough, and else of this platform alone.
fn metadata() -> Result<Value, Failure> {
    let args = ["metadata", "--format-version", "1"];
    let text = match cargo::output(cargo(args).arg("--offline")) {
        Ok(text) => text,
        Err(_) => match cargo::output(&mut cargo(args)) {
            Ok(text) => text,
            Err(_) => {
                println!("without the network only what this platform needs is looked at");
                let host = host()?;
                cargo::output(cargo(args).args(["--offline", "--filter-platform", &host]))?
            }
        },
    };
    serde_json::from_str(&text).map_err(|error| format!("cargo metadata can't be read: {error}"))
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().into_iter().flatten()
}

fn name(package: &Value) -> String {
    let word = |field: &str| package[field].as_str().unwrap_or("?").to_owned();
    format!("{} {}", word("name"), word("version"))
}

fn licences_and_sources(metadata: &Value) -> Result<Vec<String>, Failure> {
    let allowed = licence::allowed(&read("deny.toml")?)?;
    let mut faults = Vec::new();
    for package in packages(metadata) {
        let expression = package["license"].as_str().unwrap_or_default();
        if !licence::is_met(expression, &allowed) {
            faults.push(format!("{}: licence `{expression}` is not allowed", name(package)));
        }
        if let Some(source) = package["source"].as_str()
            && !source.starts_with("registry+")
        {
            faults.push(format!("{}: comes from `{source}`, not a registry", name(package)));
        }
    }
    Ok(faults)
}

/// What the libraries need when they are used must not ask for a newer Rust than they do.
fn rust_versions(metadata: &Value) -> Result<Vec<String>, Failure> {
    let promised = minimum_rust()?;
    let by_id: BTreeMap<&str, &Value> =
        packages(metadata).filter_map(|package| Some((package["id"].as_str()?, package))).collect();
    let mut faults = Vec::new();
    for id in needed_by_libraries(metadata) {
        let Some(package) = by_id.get(id) else { continue };
        if let Some(asked) = package["rust_version"].as_str()
            && numbers(asked) > numbers(&promised)
        {
            let name = name(package);
            faults.push(format!("{name}: asks for Rust {asked}, the libraries for {promised}"));
        }
    }
    Ok(faults)
}

/// The ids of the published libraries and of everything that they need at run time.
fn needed_by_libraries(metadata: &Value) -> BTreeSet<&str> {
    let nodes = || metadata["resolve"]["nodes"].as_array().into_iter().flatten();
    let needs: BTreeMap<&str, Vec<&str>> = nodes()
        .filter_map(|node| {
            let needs = node["deps"].as_array()?.iter().filter(|dep| is_ordinary(dep));
            Some((node["id"].as_str()?, needs.filter_map(|dep| dep["pkg"].as_str()).collect()))
        })
        .collect();
    let mut open: Vec<&str> = packages(metadata)
        .filter(|package| package["source"].is_null() && is_library(package))
        .filter_map(|package| package["id"].as_str())
        .collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            open.extend(needs.get(id).into_iter().flatten());
        }
    }
    seen
}

fn is_ordinary(dep: &Value) -> bool {
    dep["dep_kinds"].as_array().into_iter().flatten().any(|kind| kind["kind"].is_null())
}

fn is_library(package: &Value) -> bool {
    let mut targets = package["targets"].as_array().into_iter().flatten();
    targets.any(|target| target["kind"].as_array().is_some_and(|kind| kind.contains(&"lib".into())))
}

fn numbers(version: &str) -> Vec<u64> {
    version.split('.').map(|number| number.parse().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(numbers("1.100") > numbers("1.88"));
        assert!(numbers("1.88.0") >= numbers("1.88"));
    }

    #[test]
    fn what_only_tests_need_does_not_count() {
        let metadata = json!({
            "packages": [{ "id": "lib", "source": null, "targets": [{ "kind": ["lib"] }] }],
            "resolve": { "nodes": [
                { "id": "lib", "deps": [
                    { "pkg": "used", "dep_kinds": [{ "kind": null }] },
                    { "pkg": "tested", "dep_kinds": [{ "kind": "dev" }] },
                ] },
                { "id": "used", "deps": [{ "pkg": "deep", "dep_kinds": [{ "kind": null }] }] },
            ] },
        });
        let needed: Vec<&str> = needed_by_libraries(&metadata).into_iter().collect();
        assert_eq!(needed, ["deep", "lib", "used"]);
    }
}
