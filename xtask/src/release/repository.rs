//! The public address of the repository, which crates.io and docs.rs link to.

use std::fs;
use std::path::Path;

use crate::Failure;
use crate::cargo::root;
use crate::dependencies;
use crate::steps::Done;

/// Writes the address into all published manifests where one is given, and reports that it is
/// missing where no manifest has it.
pub(crate) fn check(url: Option<&str>) -> Result<Done, Failure> {
    let known = dependencies::workspace_field("repository").ok();
    match (known, url) {
        (Some(known), Some(url)) if known != url => {
            Err(format!("Cargo.toml names the repository {known}, and not {url}"))
        }
        (Some(_), _) => Ok(Done::Passed),
        (None, Some(url)) => write(url).map(Done::from),
        (None, None) => Ok(Done::Skipped(
            "no crate names its repository: run `cargo xtask release --only repository \
             --repository URL` once it has a public address"
                .to_owned(),
        )),
    }
}

fn write(url: &str) -> Result<(), Failure> {
    if !url.starts_with("https://") {
        return Err(format!("{url} does not begin with https://"));
    }
    let line = format!("repository = \"{url}\"");
    insert(&root().join("Cargo.toml"), &line)?;
    for package in dependencies::published_packages()? {
        insert(&package.manifest(), "repository.workspace = true")?;
    }
    Ok(())
}

/// Inserts a line below that of the licence.
fn insert(manifest: &Path, line: &str) -> Result<(), Failure> {
    let text = fs::read_to_string(manifest).map_err(super::at(manifest))?;
    let mut lines: Vec<&str> = text.lines().collect();
    let licence = lines.iter().position(|line| line.starts_with("license"));
    let licence = licence.ok_or_else(|| format!("{} has no licence", manifest.display()))?;
    lines.insert(licence + 1, line);
    fs::write(manifest, lines.join("\n") + "\n").map_err(super::at(manifest))
}
