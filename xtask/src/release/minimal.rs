//! The published crates with the lowest versions of their dependencies that their manifests allow.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Failure;
use crate::cargo::{self, cargo, root};

/// Checks a copy of the crates, without what only their tests need.
///
/// `-Z direct-minimal-versions` is unstable, so the update runs with `RUSTC_BOOTSTRAP`.
pub(crate) fn check() -> Result<(), Failure> {
    let copy = super::folder().join("minimal");
    if copy.exists() {
        fs::remove_dir_all(&copy).map_err(super::at(&copy))?;
    }
    copy_crates(&copy)?;
    let mut update = cargo(["update", "-Z", "direct-minimal-versions"]);
    cargo::run(update.current_dir(&copy).env("RUSTC_BOOTSTRAP", "1"))?;
    let mut check = cargo(["check", "--workspace", "--lib", "--all-features"]);
    check.env("CARGO_TARGET_DIR", super::folder().join("minimal-target"));
    cargo::run(check.current_dir(&copy))
}

fn copy_crates(to: &Path) -> Result<(), Failure> {
    let mut list = Command::new("git");
    list.args(["ls-files", "README.md", "crates"]).current_dir(root());
    for file in cargo::output(&mut list)?.lines().filter(|file| !file.contains("/tests/")) {
        let (from, to) = (root().join(file), to.join(file));
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(super::at(folder))?;
        }
        if file.ends_with("Cargo.toml") {
            let text = fs::read_to_string(&from).map_err(super::at(&from))?;
            fs::write(&to, without_tests(&text)).map_err(super::at(&to))?;
        } else {
            fs::copy(&from, &to).map_err(super::at(&from))?;
        }
    }
    let manifest = root().join("Cargo.toml");
    let text = fs::read_to_string(&manifest).map_err(super::at(&manifest))?;
    fs::write(to.join("Cargo.toml"), only_crates(&text)).map_err(super::at(to))
}

/// The manifest without dependencies and targets of tests.
fn without_tests(manifest: &str) -> String {
    let mut is_kept = true;
    let mut kept = String::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            is_kept = line != "[dev-dependencies]" && !line.starts_with("[[");
        }
        if is_kept {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// The workspace's manifest with the published crates as its members.
fn only_crates(manifest: &str) -> String {
    let lines = manifest.lines().filter(|line| !line.contains("path = \"tests/"));
    let lines = lines
        .filter(|line| !["default-members", "exclude"].iter().any(|key| line.starts_with(key)));
    let lines = lines.map(|line| match line.starts_with("members") {
        true => "members = [\"crates/*\"]",
        false => line,
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_of_tests_are_left_out() {
        let manifest = "[dependencies]\na = \"1\"\n[dev-dependencies]\nb = \"1\"\n[[test]]\nname = \"c\"\n[lints]\n";
        assert_eq!(without_tests(manifest), "[dependencies]\na = \"1\"\n[lints]\n");
    }

    #[test]
    fn workspace_keeps_published_crates_only() {
        let manifest = "[workspace]\nmembers = [\"app\"]\ndefault-members = [\"app\"]\n\
                        kvolt-servers = { path = \"tests/servers\" }\n";
        assert_eq!(only_crates(manifest), "[workspace]\nmembers = [\"crates/*\"]\n");
    }
}
