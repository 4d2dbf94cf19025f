//! What a release needs beyond the test command: `cargo xtask release`.

mod changelog;
mod docs_rs;
mod minimal;
mod packages;
mod repository;
mod sbom;
mod smallest;

use std::path::PathBuf;

use crate::cargo::{self, cargo, target_dir};
use crate::steps::{Done, Steps};
use crate::{Failure, api, dependencies, documents, named_tests, test};

#[derive(Default)]
struct Options {
    list: bool,
    only: Vec<String>,
    repository: Option<String>,
}

pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let options = parse(args)?;
    let steps = plan(options.repository);
    steps.run_chosen(options.list, &options.only)
}

fn parse(args: &[String]) -> Result<Options, Failure> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().cloned().ok_or_else(|| format!("{arg} wants a value"));
        match arg.as_str() {
            "--list" => options.list = true,
            "--only" => options.only.push(value()?),
            "--repository" => options.repository = Some(value()?),
            other => return Err(format!("`release` has no option `{other}`")),
        }
    }
    Ok(options)
}

fn plan(url: Option<String>) -> Steps {
    let mut steps = Steps::default();
    steps.add("repository", move || repository::check(url.as_deref()));
    steps.add("changelog", changelog::check);
    steps.add("format", test::format);
    steps.add("dependencies", dependencies::check);
    steps.add("advisories", dependencies::advisories);
    steps.add("named tests", named_tests::check);
    steps.add("documents", documents::check);
    steps.add("public items", api::check);
    steps.add("minimum Rust", minimum_rust);
    steps.add("minimal versions", minimal::check);
    steps.add("docs.rs", docs_rs::check);
    steps.add("sbom", sbom::write);
    steps.add("packages", packages::check);
    steps.add("smallest program", smallest::measure);
    steps
}

/// No item of the standard library that is newer than the promised Rust, and, where rustup has that
/// Rust, a build with it.
fn minimum_rust() -> Result<Done, Failure> {
    let mut clippy = cargo(["clippy", "--lib", "--all-features"]);
    let crates = dependencies::published()?;
    clippy.args(crates.iter().flat_map(|name| ["--package", name]));
    cargo::run(clippy.args(["--", "-D", "clippy::incompatible_msrv"]))?;
    test::minimum_rust()
}

/// The folder of the files that this command writes.
fn folder() -> PathBuf {
    target_dir().join("release-set")
}

/// An error about a file.
fn at(path: &std::path::Path) -> impl Fn(std::io::Error) -> Failure {
    move |error| format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_option_is_an_error() {
        assert!(parse(&["--publish".to_owned()]).is_err());
        assert!(parse(&["--repository".to_owned()]).is_err());
    }

    #[test]
    fn each_step_runs_by_its_name() {
        for name in plan(None).names() {
            assert!(plan(None).keep(&[name.to_owned()]).is_ok());
        }
    }
}
