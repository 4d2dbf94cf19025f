//! The list of public items, made from rustdoc's JSON by `kvolt-api`.

use std::process::Command;

use crate::Failure;
use crate::cargo::{self, cargo, output, target_dir};
use crate::dependencies;
use crate::steps::Done;

/// Set where this program stands in for rustdoc.
const AS_RUSTDOC: &str = "KVOLT_AS_RUSTDOC";

/// The version of rustdoc's JSON that `kvolt-api` reads.
const FORMAT: &str = "1.95.";

pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    match args {
        [] => list(&[]),
        [arg] if arg == "--renew" => list(&["--renew"]),
        [other, ..] => Err(format!("`api` has no option `{other}`")),
    }
}

pub(crate) fn check() -> Result<Done, Failure> {
    let version = output(Command::new("rustc").arg("--version"))?;
    if !version.contains(FORMAT) {
        let why = format!("kvolt-api reads what rustdoc {FORMAT}* writes, and this is {version}");
        return Ok(Done::Skipped(why));
    }
    list(&[]).map(Done::from)
}

fn list(args: &[&str]) -> Result<(), Failure> {
    let crates = dependencies::published()?;
    let mut docs = cargo(["doc", "--no-deps", "--lib", "--all-features"]);
    docs.args(crates.iter().flat_map(|name| ["--package", name]));
    stand_in(&mut docs)?;
    let flags = "-Z unstable-options --output-format json --cap-lints allow";
    cargo::run(docs.env("RUSTDOCFLAGS", flags))?;
    let mut list = cargo(["run", "--quiet", "--package", "kvolt-api", "--"]);
    list.arg(target_dir().join("doc")).args(args).args(crates);
    cargo::run(&mut list)
}

/// Lets cargo call this program in the place of rustdoc, which then has its unstable options.
///
/// A stable rustdoc has them with `RUSTC_BOOTSTRAP`. Set for all of cargo, that variable would build
/// every dependency again.
pub(crate) fn stand_in(docs: &mut Command) -> Result<(), Failure> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    docs.env("RUSTDOC", this).env(AS_RUSTDOC, "1");
    Ok(())
}

/// Whether cargo calls this program in the place of rustdoc.
pub(crate) fn stands_in_for_rustdoc() -> bool {
    std::env::var_os(AS_RUSTDOC).is_some()
}

pub(crate) fn rustdoc() -> Result<(), Failure> {
    let args = std::env::args_os().skip(1);
    let status = Command::new("rustdoc").args(args).env("RUSTC_BOOTSTRAP", "1").status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("rustdoc failed ({status})")),
        Err(error) => Err(format!("rustdoc does not start: {error}")),
    }
}
