//! Installing what tests need, by Debian's package manager.

use std::path::Path;
use std::process::Command;

use crate::Failure;
use crate::cargo::{self, find_program};

/// Installs packages that `needed_by` lacks, if the caller allows it; `otherwise` says how to do
/// without them.
///
/// # Errors
///
/// Returns an error that names the packages if `may_install` is false, or if they can't be installed.
pub(crate) fn install<P: AsRef<str>>(
    packages: &[P],
    needed_by: &str,
    otherwise: &str,
    may_install: bool,
) -> Result<(), Failure> {
    let names: Vec<&str> = packages.iter().map(AsRef::as_ref).collect();
    if !may_install {
        let names = names.join(" ");
        return Err(format!(
            "{needed_by} needs {names}: run `cargo xtask test --install`, install them yourself \
             (`apt-get install --no-install-recommends {names}` on Debian), or {otherwise}"
        ));
    }
    let get = || apt_get(&names.join(" "), needed_by, otherwise);
    cargo::run(get()?.arg("update"))?;
    cargo::run(get()?.args(["install", "--yes", "--no-install-recommends"]).args(&names))
}

/// The package manager as root, or why this machine has no way to call it.
fn apt_get(packages: &str, needed_by: &str, otherwise: &str) -> Result<Command, Failure> {
    let debian = Path::new("/etc/debian_version").exists() && find_program("apt-get").is_some();
    if !debian {
        return Err(format!(
            "{needed_by} needs {packages}, which this command installs on Debian only: \
             install them yourself, or {otherwise}"
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
            "{needed_by} needs {packages}, and installing them needs root or sudo: run \
             `apt-get install --no-install-recommends {packages}` as root, or {otherwise}"
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
