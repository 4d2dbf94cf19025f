//! Licences, sources and promised Rust versions of everything that the workspace depends on, and
//! licences and sources of what its examples depend on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::cargo::{self, cargo, find_program, host, root};
use crate::steps::Done;
use crate::{Failure, licence};

/// The workspaces that are checked: each folder has a `Cargo.toml` and a `deny.toml`.
const WORKSPACES: [&str; 2] = [".", "examples"];

/// cargo-deny where it is installed, and a check of its own where it is not.
pub(crate) fn check() -> Result<(), Failure> {
    let root = metadata(".")?;
    let mut faults = rust_versions(&root)?;
    faults.extend(misplaced(&root));
    let has_deny = find_program("cargo-deny").is_some();
    if !has_deny {
        println!("cargo-deny is not installed: licences and sources are checked without it");
    }
    for folder in WORKSPACES {
        if has_deny {
            cargo::run(deny(folder).args(["licenses", "bans", "sources"]))?;
        }
        let metadata = metadata(folder)?;
        faults.extend(licences_and_sources(&metadata, folder)?);
        println!("{folder}: {} packages looked at", packages(&metadata).count());
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(faults.join("\n"))
}

/// cargo-deny reads the `deny.toml` beside the manifest.
fn deny(folder: &str) -> Command {
    let manifest = format!("{folder}/Cargo.toml");
    cargo(["deny", "--offline", "--manifest-path", &manifest, "check"])
}

/// Known vulnerabilities, where the database of them is already on this machine.
pub(crate) fn advisories() -> Result<Done, Failure> {
    if find_program("cargo-deny").is_none() || !has_advisory_database() {
        return Ok(Done::Skipped("needs network, cargo-deny and the RustSec database".to_owned()));
    }
    for folder in WORKSPACES {
        cargo::run(deny(folder).arg("advisories"))?;
    }
    Ok(Done::Passed)
}

/// The oldest Rust that the workspace promises to build with.
pub(crate) fn minimum_rust() -> Result<String, Failure> {
    workspace_field("rust-version")
}

/// A text that all packages of the workspace share.
pub(crate) fn workspace_field(name: &str) -> Result<String, Failure> {
    let text = read("Cargo.toml")?;
    let (_, package) = text.split_once("[workspace.package]").unwrap_or_default();
    let (package, _) = package.split_once("\n[").unwrap_or((package, ""));
    let mut fields = package.lines().filter_map(|line| line.split_once(" = "));
    let value = fields.find(|(field, _)| *field == name).map(|(_, value)| value);
    let value = value.map(|value| value.trim_matches('"').to_owned());
    value.ok_or_else(|| format!("Cargo.toml has no {name}"))
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
fn metadata(folder: &str) -> Result<Value, Failure> {
    let manifest = format!("{folder}/Cargo.toml");
    let args = ["metadata", "--format-version", "1", "--manifest-path", &manifest];
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

fn licences_and_sources(metadata: &Value, folder: &str) -> Result<Vec<String>, Failure> {
    let text = read(&format!("{folder}/deny.toml"))?;
    let allowed = licence::allowed(&text)?;
    let mut faults = Vec::new();
    if allowed != licence::allowed(&read("deny.toml")?)? {
        faults.push(format!("{folder}/deny.toml: `allow` is not that of deny.toml"));
    }
    faults.extend(licences(metadata, &allowed, &licence::exceptions(&text)));
    for (advisory, crate_name) in licence::ignored_advisories(&text) {
        if !packages(metadata).any(|package| package["name"] == *crate_name) {
            let what = "its reason begins with no dependency's name";
            faults.push(format!("{folder}/deny.toml: {advisory}: {what}"));
        }
    }
    for package in packages(metadata) {
        if let Some(source) = package["source"].as_str()
            && !source.starts_with("registry+")
        {
            faults.push(format!("{}: comes from `{source}`, not a registry", name(package)));
        }
    }
    Ok(faults)
}

/// Licences that are not allowed, and exceptions without a use.
fn licences(
    metadata: &Value,
    allowed: &[String],
    exceptions: &BTreeMap<String, Vec<String>>,
) -> Vec<String> {
    let mut faults = Vec::new();
    let mut unused: BTreeSet<&str> = exceptions.keys().map(String::as_str).collect();
    for package in packages(metadata) {
        let expression = package["license"].as_str().unwrap_or_default();
        if licence::is_met(expression, allowed) {
            continue;
        }
        let crate_name = package["name"].as_str().unwrap_or_default();
        let exception = exceptions.get(crate_name).map_or(&[][..], Vec::as_slice);
        if licence::is_met(expression, &[allowed, exception].concat()) {
            unused.remove(crate_name);
        } else {
            faults.push(format!("{}: licence `{expression}` is not allowed", name(package)));
        }
    }
    faults.extend(unused.iter().map(|name| format!("{name}: needs no exception of its licence")));
    faults
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
        package["source"].is_null() && is_published(package) && is_library(package)
    })
}

/// The names of the published libraries.
pub(crate) fn published() -> Result<Vec<String>, Failure> {
    let metadata = metadata(".")?;
    let names = libraries(&metadata).filter_map(|package| package["name"].as_str());
    Ok(names.map(str::to_owned).collect())
}

/// A published package, as `cargo metadata` describes it.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) fields: Value,
}

/// The published packages, libraries and programs.
pub(crate) fn published_packages() -> Result<Vec<Package>, Failure> {
    let metadata = metadata(".")?;
    let own =
        packages(&metadata).filter(|package| package["source"].is_null() && is_published(package));
    let package = |fields: &Value| {
        let name = fields["name"].as_str().unwrap_or_default().to_owned();
        Package { name, fields: fields.clone() }
    };
    Ok(own.map(package).collect())
}

impl Package {
    pub(crate) fn manifest(&self) -> PathBuf {
        self.fields["manifest_path"].as_str().unwrap_or_default().into()
    }

    pub(crate) fn has_program(&self) -> bool {
        has_target(&self.fields, "bin")
    }

    /// The size of its files, in KiB.
    pub(crate) fn size(&self, files: &[&str]) -> Result<u64, Failure> {
        let folder = self.manifest();
        let folder = folder.parent().ok_or("a manifest lies in a folder")?;
        // cargo writes some of the files itself.
        let sizes = files.iter().filter_map(|file| folder.join(file).metadata().ok());
        Ok(sizes.map(|file| file.len()).sum::<u64>() / 1_024)
    }
}

fn is_published(package: &Value) -> bool {
    package["publish"].as_array().is_none_or(|places| !places.is_empty())
}

/// Published packages lie in `crates`, and no others do.
fn misplaced(metadata: &Value) -> Vec<String> {
    let own = packages(metadata).filter(|package| package["source"].is_null());
    own.filter_map(|package| {
        let path = package["manifest_path"].as_str()?;
        let is_published = is_published(package);
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
    let (metadata, minimum) = (metadata(".")?, minimum_rust()?);
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
    has_target(package, "lib")
}

fn has_target(package: &Value, kind: &str) -> bool {
    let mut targets = package["targets"].as_array().into_iter().flatten();
    targets
        .any(|target| target["kind"].as_array().is_some_and(|kinds| kinds.contains(&kind.into())))
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
    fn an_exception_is_for_one_crate_and_in_use() {
        let metadata = json!({ "packages": [
            { "name": "free", "version": "1.0.0", "license": "MIT" },
            { "name": "copyleft", "version": "1.0.0", "license": "MPL-2.0" },
        ] });
        let faults = |exceptions: &[&str]| {
            let exceptions =
                exceptions.iter().map(|name| ((*name).to_owned(), vec!["MPL-2.0".to_owned()]));
            licences(&metadata, &["MIT".to_owned()], &exceptions.collect()).join("\n")
        };
        assert_eq!(faults(&["copyleft"]), "");
        assert_eq!(faults(&[]), "copyleft 1.0.0: licence `MPL-2.0` is not allowed");
        assert_eq!(faults(&["copyleft", "free"]), "free: needs no exception of its licence");
        assert!(faults(&["copyleft", "gone"]).starts_with("gone:"));
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
