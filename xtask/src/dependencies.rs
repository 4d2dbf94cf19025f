//! Licences, sources and promised Rust versions of everything that the workspace depends on, and
//! licences and sources of what the examples depend on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use crate::cargo::{self, cargo, find_program, host, root};
use crate::steps::Done;
use crate::{Failure, licence};

/// The workspaces whose dependencies have a policy, each with its manifest and the file that states
/// the policy.
const POLICIES: [(&str, &str); 2] =
    [("Cargo.toml", "deny.toml"), ("examples/Cargo.toml", "examples/deny.toml")];

/// cargo-deny where it is installed, and a check of its own where it is not.
pub(crate) fn check() -> Result<(), Failure> {
    let metadata = metadata("Cargo.toml")?;
    let mut faults = rust_versions(&metadata)?;
    faults.extend(misplaced(&metadata));
    if find_program("cargo-deny").is_some() {
        deny(&["licenses", "bans", "sources"])?;
    } else {
        println!("cargo-deny is not installed: licences and sources are checked without it");
        for (manifest, policy) in POLICIES {
            let metadata = self::metadata(manifest)?;
            faults.extend(licences_and_sources(&metadata, policy)?);
            println!("{manifest}: {} packages looked at", packages(&metadata).count());
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

fn deny(checks: &[&str]) -> Result<(), Failure> {
    for (manifest, policy) in POLICIES {
        let args = ["deny", "--offline", "--manifest-path", manifest, "check", "--config", policy];
        cargo::run(cargo(args).args(checks))?;
    }
    Ok(())
}

/// Known vulnerabilities, where the database of them is already on this machine.
pub(crate) fn advisories() -> Result<Done, Failure> {
    if find_program("cargo-deny").is_none() || !has_advisory_database() {
        return Ok(Done::Skipped("needs network, cargo-deny and the RustSec database".to_owned()));
    }
    deny(&["advisories"]).map(Done::from)
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
fn metadata(manifest: &str) -> Result<Value, Failure> {
    let args = ["metadata", "--format-version", "1", "--manifest-path", manifest];
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

fn licences_and_sources(metadata: &Value, policy: &str) -> Result<Vec<String>, Failure> {
    let allowed = licence::allowed(&read(policy)?)?;
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

/// A library's run-time dependencies must not need a newer Rust than the library promises.
fn rust_versions(metadata: &Value) -> Result<Vec<String>, Failure> {
    let by_id: BTreeMap<&str, &Value> =
        packages(metadata).filter_map(|package| Some((package["id"].as_str()?, package))).collect();
    let mut faults = Vec::new();
    for library in libraries(metadata) {
        let promised = library["rust_version"].as_str().unwrap_or_default();
        for id in needed_by(metadata, library["id"].as_str().unwrap_or_default()) {
            let Some(package) = by_id.get(id) else { continue };
            if let Some(asked) = package["rust_version"].as_str()
                && numbers(asked) > numbers(promised)
            {
                let (needed, library) = (name(package), name(library));
                faults.push(format!("{needed}: asks for Rust {asked}, {library} for {promised}"));
            }
        }
    }
    Ok(faults)
}

/// The published libraries of the workspace.
fn libraries(metadata: &Value) -> impl Iterator<Item = &Value> {
    packages(metadata).filter(|package| {
        let published = package["publish"].as_array().is_none_or(|places| !places.is_empty());
        package["source"].is_null() && published && is_library(package)
    })
}

/// The names of the published libraries.
pub(crate) fn published() -> Result<Vec<String>, Failure> {
    let metadata = metadata("Cargo.toml")?;
    let names = libraries(&metadata).filter_map(|package| package["name"].as_str());
    Ok(names.map(str::to_owned).collect())
}

/// Published packages lie in `crates`, and no others do.
fn misplaced(metadata: &Value) -> Vec<String> {
    let own = packages(metadata).filter(|package| package["source"].is_null());
    own.filter_map(|package| {
        let path = package["manifest_path"].as_str()?;
        let is_published = package["publish"].as_array().is_none_or(|places| !places.is_empty());
        let lies_in_crates = path.contains("/crates/");
        (is_published != lies_in_crates).then(|| match is_published {
            true => format!("{path}: a published package lies outside of `crates`"),
            false => format!("{path}: lies in `crates`, and is not published"),
        })
    })
    .collect()
}

/// The names of the published libraries that promise the workspace's own minimum.
pub(crate) fn libraries_of_minimum_rust() -> Result<Vec<String>, Failure> {
    let (metadata, minimum) = (metadata("Cargo.toml")?, minimum_rust()?);
    let promise_it = libraries(&metadata).filter(|package| package["rust_version"] == *minimum);
    Ok(promise_it.filter_map(|package| Some(package["name"].as_str()?.to_owned())).collect())
}

/// The ids of a library and of everything that it needs at run time, but for
/// other libraries of the workspace, which promise for themselves.
fn needed_by<'a>(metadata: &'a Value, library: &'a str) -> BTreeSet<&'a str> {
    let nodes = || metadata["resolve"]["nodes"].as_array().into_iter().flatten();
    let needs: BTreeMap<&str, Vec<&str>> = nodes()
        .filter_map(|node| {
            let needs = node["deps"].as_array()?.iter().filter(|dep| is_ordinary(dep));
            Some((node["id"].as_str()?, needs.filter_map(|dep| dep["pkg"].as_str()).collect()))
        })
        .collect();
    let others: BTreeSet<&str> =
        libraries(metadata).filter_map(|package| package["id"].as_str()).collect();
    let mut open = vec![library];
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            open.extend(needs.get(id).into_iter().flatten().filter(|id| !others.contains(*id)));
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

/// Its numbers; 1.94.0 is 1.94.
fn numbers(version: &str) -> Vec<u64> {
    let mut numbers: Vec<u64> =
        version.split('.').map(|number| number.parse().unwrap_or(0)).collect();
    while numbers.last() == Some(&0) {
        numbers.pop();
    }
    numbers
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(numbers("1.100") > numbers("1.88"));
        assert_eq!(numbers("1.88.0"), numbers("1.88"));
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
        let needed: Vec<&str> = needed_by(&metadata, "lib").into_iter().collect();
        assert_eq!(needed, ["deep", "lib", "used"]);
    }

    #[test]
    fn a_library_promises_for_itself() {
        let library = |id: &str, version: &str| {
            json!({
                "id": id, "name": id, "version": "1.0.0", "source": null, "rust_version": version,
                "targets": [{ "kind": ["lib"] }],
            })
        };
        let dep = |id: &str| json!({ "pkg": id, "dep_kinds": [{ "kind": null }] });
        let mut metadata = json!({
            "packages": [
                library("old", "1.88"),
                library("new", "1.94"),
                { "id": "driver", "name": "driver", "version": "2.0.0", "source": "registry+x",
                  "rust_version": "1.94.0", "targets": [{ "kind": ["lib"] }] },
            ],
            "resolve": { "nodes": [
                { "id": "old", "deps": [dep("new")] },
                { "id": "new", "deps": [dep("driver")] },
            ] },
        });
        assert_eq!(rust_versions(&metadata), Ok(Vec::new()));
        metadata["resolve"]["nodes"][0]["deps"] = json!([dep("driver")]);
        assert_eq!(rust_versions(&metadata).map(|faults| faults.len()), Ok(1));
    }
}
