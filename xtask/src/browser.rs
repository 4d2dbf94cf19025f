//! The test that drives the reference application with a real, headless Chromium.

use std::process::Command;

use crate::cargo::{self, cargo, find_program};
use crate::steps::Done;
use crate::{Failure, debian};

const PROGRAMS: [&str; 2] = ["chromium", "chromedriver"];
const PACKAGES: [&str; 2] = ["chromium", "chromium-driver"];

/// Checks that the browser and its driver exist, and installs them if it may.
pub(crate) fn install(may_install: bool) -> Result<Done, Failure> {
    if missing().is_empty() {
        for program in PROGRAMS {
            cargo::run(Command::new(program).arg("--version"))?;
        }
        return Ok(Done::Passed);
    }
    let otherwise = "leave that test out with --skip-browser";
    debian::install(&PACKAGES, "the browser test", otherwise, may_install)?;
    match missing().as_slice() {
        [] => Ok(Done::Passed),
        still => Err(format!("after the installation there is still no {}", still.join(", no "))),
    }
}

/// Runs the browser test, which an ordinary `cargo test` leaves out.
pub(crate) fn test() -> Result<(), Failure> {
    let args = ["test", "--package", "kvolt-app", "--features", "browser", "--test", "browser"];
    cargo::run(&mut cargo(args))
}

fn missing() -> Vec<&'static str> {
    PROGRAMS.into_iter().filter(|name| find_program(name).is_none()).collect()
}
