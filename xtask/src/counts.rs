//! Counts of the hot paths, checked against `tests/counts/baseline.json`.

use crate::Failure;
use crate::cargo::{self, cargo, find_program, target_dir};
use crate::steps::Done;

/// `renew` writes the baseline again.
const VARIABLE: &str = "KVOLT_COUNTS";

pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let renews = match args {
        [] => false,
        [arg] if arg == "--renew" => true,
        [other, ..] => return Err(format!("`counts` has no option `{other}`")),
    };
    // With the features of the whole workspace, as the step `tests` builds it.
    let mut costs = cargo(["test", "--workspace", "--features", "kvolt-app/all-stores"]);
    costs.args(["--test", "counts"]);
    if renews {
        costs.env(VARIABLE, "renew");
    }
    cargo::run(&mut costs)?;
    if let Done::Skipped(why) = instructions(renews)? {
        println!("instructions were not counted: {why}");
    }
    Ok(())
}

/// The instructions, where valgrind is installed. The step `tests` checks the other counts.
pub(crate) fn check() -> Result<Done, Failure> {
    instructions(false)
}

fn instructions(renews: bool) -> Result<Done, Failure> {
    if find_program("valgrind").is_none() {
        return Ok(Done::Skipped(
            "valgrind is not installed (`apt-get install valgrind`)".to_owned(),
        ));
    }
    let name = "kvolt-instructions";
    let mut build = cargo(["build", "--profile", "counts", "--package", "kvolt-counts"]);
    cargo::run(build.args(["--no-default-features", "--bin", name]))?;
    let mut count = std::process::Command::new(target_dir().join("counts").join(name));
    if renews {
        count.env(VARIABLE, "renew");
    }
    cargo::run(&mut count).map(Done::from)
}
