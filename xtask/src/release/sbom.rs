//! A software bill of materials of each binary, as CycloneDX 1.5 JSON.
//!
//! `cargo tree` says what a binary is built of, with the features of that binary alone; `Cargo.lock`
//! has the checksums. The files are reproducible: they contain no time and no random number.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value, json};

use crate::Failure;
use crate::cargo::{self, cargo, host, root};
use crate::dependencies;

/// The reference application, with all its stores. Published packages with a binary come on top.
const APPLICATION: (&str, &[&str]) = ("kvolt-app", &["--features", "all-stores"]);

/// Name and version: in a build, they name one crate.
type Crate = (String, String);

#[derive(Default)]
struct Tree {
    licences: BTreeMap<Crate, String>,
    needs: BTreeMap<Crate, BTreeSet<Crate>>,
}

pub(crate) fn write() -> Result<(), Failure> {
    let file = root().join("Cargo.lock");
    let checksums = checksums(&fs::read_to_string(&file).map_err(super::at(&file))?);
    let folder = super::folder().join("sbom");
    fs::create_dir_all(&folder).map_err(super::at(&folder))?;
    let published = dependencies::published_packages()?;
    let programs = published.iter().filter(|package| package.has_program());
    let programs = programs.map(|package| (package.name.as_str(), &[][..]));
    for (name, features) in programs.chain([APPLICATION]) {
        let all = tree(name, features, "normal,build")?;
        let linked = tree(name, features, "normal,no-proc-macro")?;
        let bill = bill(name, &all, &linked, &checksums)?;
        let file = folder.join(format!("{name}.cdx.json"));
        let text = serde_json::to_string_pretty(&bill).map_err(|error| error.to_string())?;
        fs::write(&file, text + "\n").map_err(super::at(&file))?;
        let (all, linked) = (all.licences.len() - 1, linked.licences.len() - 1);
        println!("{}: {all} crates, {linked} of them in the binary", file.display());
    }
    Ok(())
}

fn tree(package: &str, features: &[&str], edges: &str) -> Result<Tree, Failure> {
    let mut tree = cargo(["tree", "--locked", "--package", package, "--edges", edges]);
    tree.args(features).args(["--target", &host()?, "--prefix", "depth", "--format", "|{p}|{l}|"]);
    parse(&cargo::output(&mut tree)?)
}

/// Lines such as `2|serde v1.0.229|MIT OR Apache-2.0| (*)`: the depth first.
fn parse(lines: &str) -> Result<Tree, Failure> {
    let mut tree = Tree::default();
    let mut path: Vec<Crate> = Vec::new();
    for line in lines.lines() {
        let wrong = || format!("cargo tree said `{line}`");
        let parts: Vec<&str> = line.split('|').collect();
        let [depth, package, licence, _] = parts[..] else { return Err(wrong()) };
        let depth: usize = depth.parse().map_err(|_| wrong())?;
        let mut words = package.split(' ');
        let (Some(name), Some(version)) = (words.next(), words.next()) else { return Err(wrong()) };
        let this = (name.to_owned(), version.trim_start_matches('v').to_owned());
        path.truncate(depth);
        if let Some(parent) = path.last() {
            tree.needs.entry(parent.clone()).or_default().insert(this.clone());
        }
        tree.needs.entry(this.clone()).or_default();
        tree.licences.insert(this.clone(), licence.replace('/', " OR "));
        path.push(this);
    }
    Ok(tree)
}

fn checksums(lock: &str) -> BTreeMap<Crate, String> {
    let mut checksums = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let field = |name: &str| {
            let mut lines = package.lines().filter_map(|line| line.split_once(" = "));
            let value = lines.find(|(field, _)| *field == name).map(|(_, value)| value);
            value.map(|value| value.trim_matches('"').to_owned())
        };
        if let (Some(name), Some(version), Some(sum)) =
            (field("name"), field("version"), field("checksum"))
        {
            checksums.insert((name, version), sum);
        }
    }
    checksums
}

fn bill(
    program: &str,
    all: &Tree,
    linked: &Tree,
    checksums: &BTreeMap<Crate, String>,
) -> Result<Value, Failure> {
    let reference = |(name, version): &Crate| format!("pkg:cargo/{name}@{version}");
    let is_program = |package: &Crate| package.0 == program;
    let component = |package: &Crate| {
        let (name, version) = package;
        let mut component = json!({
            "type": if is_program(package) { "application" } else { "library" },
            "bom-ref": reference(package),
            "name": name,
            "version": version,
            "purl": reference(package),
            "licenses": [{ "expression": all.licences[package] }],
        });
        if !is_program(package) {
            // Excluded: it takes part in the build only.
            let is_linked = linked.licences.contains_key(package);
            component["scope"] = json!(if is_linked { "required" } else { "excluded" });
        }
        if let Some(sum) = checksums.get(package) {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
        }
        component
    };
    let subject = all.licences.keys().find(|package| is_program(package));
    let subject = subject.ok_or_else(|| format!("cargo tree has no {program}"))?;
    let components: Vec<Value> =
        all.licences.keys().filter(|package| !is_program(package)).map(component).collect();
    let dependencies: Vec<Value> = all
        .needs
        .iter()
        .map(|(package, needs)| {
            let needs: Vec<String> = needs.iter().map(reference).collect();
            json!({ "ref": reference(package), "dependsOn": needs })
        })
        .collect();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": component(subject) },
        "components": components,
        "dependencies": dependencies,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bill_names_each_crate_once_with_its_checksum() {
        let all = parse(
            "0|app v1.0.0 (/app)|MIT|\n1|serde v1.2.3|MIT/Apache-2.0|\n2|derive v1.2.3 (proc-macro)|MIT|\n\
             1|derive v1.2.3 (proc-macro)|MIT| (*)",
        );
        let linked = parse("0|app v1.0.0 (/app)|MIT|\n1|serde v1.2.3|MIT/Apache-2.0|");
        let (all, linked) = (all.expect("a tree"), linked.expect("a tree"));
        let lock = "[[package]]\nname = \"serde\"\nversion = \"1.2.3\"\nchecksum = \"abc\"\n";
        let bill = bill("app", &all, &linked, &checksums(lock)).expect("a bill");
        let [derive, serde] = &bill["components"].as_array().expect("a list")[..] else {
            panic!("{bill}")
        };
        assert_eq!(derive["scope"], "excluded");
        assert_eq!(serde["scope"], "required");
        assert_eq!(serde["hashes"][0]["content"], "abc");
        assert_eq!(serde["licenses"][0]["expression"], "MIT OR Apache-2.0");
        let needs = &bill["dependencies"][0];
        assert_eq!(needs["ref"], "pkg:cargo/app@1.0.0");
        assert_eq!(needs["dependsOn"].as_array().map(Vec::len), Some(2));
    }
}
