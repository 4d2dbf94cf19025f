//! The test that drives the reference application with a real, headless Chromium.

use std::path::Path;
use std::process::Command;

use crate::Failure;
use crate::cargo::{self, cargo, find_program};
use crate::steps::Done;

const PROGRAMS: [&str; 2] = ["chromium", "chromedriver"];
const PACKAGES: [&str; 2] = ["chromium", "chromium-driver"];

/// Sees to it that the browser and its driver are there.
pub(crate) fn install() -> Result<Done, Failure> {
    if missing().is_empty() {
        for program in PROGRAMS {
            cargo::run(Command::new(program).arg("--version"))?;
        }
        return Ok(Done::Passed);
    }
    let mut update = apt_get()?;
    cargo::run(update.arg("update"))?;
    let mut install = apt_get()?;
    cargo::run(install.args(["install", "--yes", "--no-install-recommends"]).args(PACKAGES))?;
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

/// Debian's package manager as root, or why this machine has no way to call it.
fn apt_get() -> Result<Command, Failure> {
    let wanted = missing().join(" and ");
    let debian = Path::new("/etc/debian_version").exists() && find_program("apt-get").is_some();
    if !debian {
        return Err(format!(
            "the browser test needs {wanted}, which this command installs on Debian only: \
             install them yourself, or leave that test out with --skip-browser"
        ));
    }
    let mut command = if is_root() {
        Command::new("apt-get")
    } else if may_sudo() {
        let mut sudo = Command::new("sudo");
        sudo.args(["--non-interactive", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        sudo
    } else {
        return Err(format!(
            "the browser test needs {wanted}, and installing them needs root or sudo: run \
             `apt-get install {}` as root, or leave that test out with --skip-browser",
            PACKAGES.join(" ")
        ));
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    Ok(command)
}

fn is_root() -> bool {
    cargo::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

fn may_sudo() -> bool {
    cargo::output(Command::new("sudo").args(["--non-interactive", "true"])).is_ok()
}
