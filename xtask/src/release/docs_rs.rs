//! The documentation as docs.rs builds it: all features, each item marked with those that it needs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::cargo::{self, cargo, target_dir};
use crate::{Failure, api, dependencies};

/// How rustdoc marks an item that a feature adds.
const MARK: &str = "Available on <strong>crate feature";

pub(crate) fn check() -> Result<(), Failure> {
    let crates = dependencies::published()?;
    let mut docs = cargo(["doc", "--no-deps", "--lib", "--all-features"]);
    docs.args(crates.iter().flat_map(|name| ["--package", name]));
    api::stand_in(&mut docs)?;
    cargo::run(docs.env("RUSTDOCFLAGS", "--cfg docsrs -D warnings"))?;
    let mut faults = Vec::new();
    for package in dependencies::published_packages()? {
        let name = &package.name;
        let folder = target_dir().join("doc").join(name.replace('-', "_"));
        if !crates.contains(name) {
            continue;
        }
        let mut marked = BTreeSet::new();
        features_in(&folder, &mut marked)?;
        // Pages also name the features of crates whose traits an item has.
        marked.retain(|feature| !package.fields["features"][feature].is_null());
        println!("{name:<20} {}", marked.iter().map(String::as_str).collect::<Vec<_>>().join(", "));
        let root = package.manifest().with_file_name("src").join("lib.rs");
        let root = fs::read_to_string(&root).map_err(super::at(&root))?;
        if marked.is_empty() && root.contains("#[cfg(feature = ") {
            faults.push(format!("{name}: no item is marked with its feature"));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

/// Collects the features that the pages below a folder name.
fn features_in(folder: &Path, features: &mut BTreeSet<String>) -> Result<(), Failure> {
    for entry in fs::read_dir(folder).map_err(super::at(folder))? {
        let path = entry.map_err(super::at(folder))?.path();
        if path.is_dir() {
            features_in(&path, features)?;
        } else if path.extension().is_some_and(|extension| extension == "html") {
            let page = fs::read_to_string(&path).map_err(super::at(&path))?;
            features.extend(marks(&page));
        }
    }
    Ok(())
}

fn marks(page: &str) -> impl Iterator<Item = String> {
    page.split(MARK)
        .skip(1)
        .flat_map(|rest| {
            let sentence = rest.split("only.").next().unwrap_or_default();
            sentence.split("<code>").skip(1).filter_map(|code| code.split("</code>").next())
        })
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_found_in_a_page() {
        let page =
            "Available on <strong>crate feature <code>json</code></strong> only. <code>x</code>";
        assert_eq!(marks(page).collect::<Vec<_>>(), ["json"]);
    }
}
