//! The tests with a real, headless Chromium: of the reference application, of device-bound sessions,
//! and of passkeys.

use crate::cargo::{self, cargo, find_program};
use crate::npm::AXE;
use crate::steps::Done;
use crate::test::cargo_of_examples;
use crate::{Failure, debian};

/// The programs, each with the Debian package that contains it.
const PROGRAMS: [(&str, &str); 3] =
    [("chromium", "chromium"), ("chromedriver", "chromium-driver"), ("npm", "npm")];

const OTHERWISE: &str = "leave that test out with --skip-browser";

/// Checks that the browser, its driver and axe-core exist, and installs them if it may.
pub(crate) fn install(may_install: bool) -> Result<Done, Failure> {
    let packages = missing_packages();
    if !packages.is_empty() {
        debian::install(&packages, "the browser test", OTHERWISE, may_install)?;
        if let still @ [_, ..] = missing_packages().as_slice() {
            return Err(format!(
                "after the installation, there is still no {}",
                still.join(", no ")
            ));
        }
    }
    if !AXE.are_installed() {
        if !may_install {
            return Err(format!(
                "the browser test needs axe-core: run `cargo xtask test --install`, or {OTHERWISE}"
            ));
        }
        AXE.fetch()?;
    }
    Ok(Done::Passed)
}

/// Runs the browser tests, which an ordinary `cargo test` leaves out, and the application's unit
/// tests in a build without the other stores.
pub(crate) fn test() -> Result<(), Failure> {
    let args = ["test", "--package", "kvolt-app", "--features", "browser", "--bins"];
    cargo::run(cargo(args).args(["--test", "browser"]))?;
    let args = ["test", "--package", "kvolt-device-tests", "--features", "browser"];
    // Most of the time, a browser waits.
    cargo::run(cargo(args).args(["--test", "browser", "--", "--test-threads", "4"]))?;
    let mut passkeys = cargo_of_examples(&["test", "--features", "passkeys/browser"]);
    cargo::run(passkeys.args(["--bin", "passkeys", "browser_tests", "--", "--test-threads", "4"]))
}

fn missing_packages() -> Vec<&'static str> {
    let mut packages: Vec<_> =
        PROGRAMS.into_iter().filter(|(program, _)| find_program(program).is_none()).collect();
    // npm only fetches axe-core.
    packages.retain(|(program, _)| *program != "npm" || !AXE.are_installed());
    packages.into_iter().map(|(_, package)| package).collect()
}
