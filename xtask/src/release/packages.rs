//! What crates.io receives: each package's files, and a rehearsal of the publication.

use crate::Failure;
use crate::cargo::{self, cargo};
use crate::dependencies::{self, Package};

/// Files that each package has.
const NEEDED: [&str; 4] = ["Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "README.md"];

/// Where other files of a package lie. cargo adds the last three itself.
const ALLOWED: [&str; 6] =
    ["src/", "data/", "migrations/", "Cargo.lock", "Cargo.toml.orig", ".cargo_vcs_info.json"];

/// More than a package of source code needs, in KiB.
const MAX_SIZE: u64 = 1_024;

pub(crate) fn check() -> Result<(), Failure> {
    let mut faults = Vec::new();
    for package in dependencies::published_packages()? {
        let args = ["package", "--list", "--allow-dirty", "--package", &package.name];
        let list = cargo::output(&mut cargo(args))?;
        let files: Vec<&str> = list.lines().collect();
        let size = package.size(&files)?;
        println!("{:<20} {:>3} files, {:>4} KiB", package.name, files.len(), size);
        faults.extend(in_list(&package.name, &files));
        faults.extend(in_manifest(&package));
        if size > MAX_SIZE {
            faults.push(format!("{}: {size} KiB are more than {MAX_SIZE}", package.name));
        }
    }
    if !faults.is_empty() {
        return Err(faults.join("\n"));
    }
    // What is verified is the commit, not files that are not committed.
    cargo::run(&mut cargo(["publish", "--workspace", "--dry-run"]))
}

fn in_list(name: &str, files: &[&str]) -> Vec<String> {
    let missing = NEEDED.iter().filter(|file| !files.contains(file));
    let is_needless = |file: &&&str| {
        !NEEDED.contains(*file) && !ALLOWED.iter().any(|place| file.starts_with(place))
    };
    let missing = missing.map(|file| format!("{name}: the package has no {file}"));
    let needless = files.iter().filter(is_needless);
    missing.chain(needless.map(|file| format!("{name}: {file} need not be published"))).collect()
}

fn in_manifest(package: &Package) -> Vec<String> {
    let name = &package.name;
    let mut faults = Vec::new();
    for field in ["description", "license", "rust_version"] {
        if package.fields[field].as_str().is_none_or(str::is_empty) {
            faults.push(format!("{name}: the manifest has no {field}"));
        }
    }
    for field in ["keywords", "categories"] {
        let count = package.fields[field].as_array().map_or(0, Vec::len);
        if !(1..=5).contains(&count) {
            faults.push(format!("{name}: the manifest has {count} {field}, not 1 to 5"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_has_licences_and_no_tests() {
        let mut files =
            vec!["Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "README.md", "src/lib.rs"];
        assert!(in_list("a", &files).is_empty());
        files.push("tests/a.rs");
        assert_eq!(in_list("a", &files).len(), 1);
        assert_eq!(in_list("a", &files[1..]).len(), 2);
    }
}
