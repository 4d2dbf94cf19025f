//! Every check and every test, what fails soonest first.

use std::process::Command;

use crate::cargo::{self, cargo, cargo_of, find_program, find_toolchain, target_dir};
use crate::steps::{Done, Steps};
use crate::{
    Failure, api, browser, counts, dependencies, documents, features, named_tests, servers,
};

#[derive(Default)]
struct Options {
    list: bool,
    only: Vec<String>,
    skip_browser: bool,
    quick: bool,
    install: bool,
}

pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let options = parse(args)?;
    let steps = if options.quick { quick() } else { plan(options.skip_browser, options.install) };
    steps.run_chosen(options.list, &options.only)
}

fn parse(args: &[String]) -> Result<Options, Failure> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--list" => options.list = true,
            "--skip-browser" => options.skip_browser = true,
            "--quick" => options.quick = true,
            "--install" => options.install = true,
            "--only" => {
                let name = args.next().ok_or("--only wants the name of a step")?;
                options.only.push(name.clone());
            }
            other => return Err(format!("`test` has no option `{other}`")),
        }
    }
    Ok(options)
}

/// The crates that need no server to be tested.
const WITHOUT_SERVERS: [&str; 5] =
    ["kvolt-cache", "kvolt-testkit", "kvolt-session", "kvolt-middleware", "kvolt-actix"];

/// `cargo run` builds few stores into the application; its tests use all.
const APP_STORES: [&str; 2] = ["--features", "kvolt-app/all-stores"];

/// Checks for the time of writing a change: no servers, no browser, and nothing to install.
fn quick() -> Steps {
    let mut steps = Steps::default();
    steps.add("format", format);
    steps.add("named tests", named_tests::check);
    steps.add("documents", documents::check);
    steps.add("tests without servers", || {
        let packages = WITHOUT_SERVERS.iter().flat_map(|package| ["--package", package]);
        let mut test = cargo(["test", "--lib", "--tests"]);
        cargo::run(test.args(packages).args(["--all-features"]))
    });
    steps.add("laws of adapters without servers", || {
        let args = ["test", "--package", "kvolt-adapters", "--tests", "--", "--skip", "redis"];
        cargo::run(&mut cargo(args))
    });
    steps
}

fn plan(skip_browser: bool, may_install: bool) -> Steps {
    let mut steps = Steps::default();
    steps.add("format", format);
    steps.add("clippy", || {
        let browser = ["--features", "kvolt-app/browser,kvolt-device-tests/browser"];
        let mut clippy = cargo(["clippy", "--workspace", "--all-targets"]);
        cargo::run(clippy.args(APP_STORES).args(browser).args(["--", "-D", "warnings"]))
    });
    steps.add("features", features::check);
    steps.add("minimum Rust", minimum_rust);
    steps.add("dependencies", dependencies::check);
    steps.add("advisories", dependencies::advisories);
    steps.add("named tests", named_tests::check);
    steps.add("documents", documents::check);
    steps.add("docs", || {
        let mut docs = cargo(["doc", "--workspace", "--no-deps"]);
        cargo::run(docs.env("RUSTDOCFLAGS", "-D warnings"))
    });
    steps.add("public items", api::check);
    if !skip_browser {
        steps.add("browser programs", move || browser::install(may_install));
    }
    steps.add("servers", move || servers::install(may_install));
    steps.add("tests", || cargo::run(cargo(["test", "--workspace"]).args(APP_STORES)));
    steps.add("instructions", counts::check);
    if !skip_browser {
        steps.add("browser", browser::test);
    }
    steps.add("examples", examples);
    steps.add("switches", || {
        let args = ["test", "--manifest-path", "tests/bridge/Cargo.toml"];
        cargo::run(&mut cargo(args))
    });
    steps.add("programs of the guide", documents::run_programs);
    steps.add("fuzz corpus", fuzz_corpus);
    steps.add("fuzz targets", fuzz_targets);
    steps.add("bench builds", || {
        let args = ["clippy", "--manifest-path", "bench/Cargo.toml", "--all-targets"];
        cargo::run(cargo(args).args(["--", "-D", "warnings"]))
    });
    steps.add("model checking", model_checking);
    steps
}

/// Formatting of this workspace and of those beside it.
pub(crate) fn format() -> Result<(), Failure> {
    cargo::run(&mut cargo(["fmt", "--all", "--check"]))?;
    for folder in ["examples", "fuzz", "bench", "bench/peers", "tests/bridge"] {
        let manifest = format!("{folder}/Cargo.toml");
        cargo::run(&mut cargo(["fmt", "--all", "--check", "--manifest-path", &manifest]))?;
    }
    Ok(())
}

/// Lints and tests of the examples.
fn examples() -> Result<(), Failure> {
    for args in [&["build", "--all-targets"][..], &["test"]] {
        cargo::run(&mut cargo_of_examples(args))?;
    }
    Ok(())
}

/// Cargo, in the workspace of the examples. Their frameworks are large, so each dependency is compiled
/// once: `clippy-driver` compiles as `rustc` does, where `cargo clippy` compiles nothing that can be
/// run, with `--all-targets` the programs have the dependencies of their tests, and with
/// `--workspace` the features of all.
pub(crate) fn cargo_of_examples(args: &[&str]) -> Command {
    let mut command = cargo(args);
    command
        .args(["--manifest-path", "examples/Cargo.toml", "--workspace"])
        // As `cargo clippy -- -D warnings` sets them.
        .env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver")
        .env("CLIPPY_ARGS", "-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__");
    command
}

/// Lints of the fuzzed checks, and a run of them on the corpus.
fn fuzz_corpus() -> Result<(), Failure> {
    let manifest = ["--manifest-path", "fuzz/Cargo.toml"];
    let mut clippy = cargo(["clippy", "--all-targets"]);
    cargo::run(clippy.args(manifest).args(["--", "-D", "warnings"]))?;
    cargo::run(cargo(["test"]).args(manifest))
}

/// The fuzz targets themselves, which need libFuzzer, and so a C++ compiler.
fn fuzz_targets() -> Result<Done, Failure> {
    if find_program("c++").is_none() {
        return Ok(Done::Skipped("libFuzzer needs a C++ compiler".to_owned()));
    }
    let args = ["check", "--manifest-path", "fuzz/Cargo.toml", "--features", "libfuzzer"];
    cargo::run(cargo(args).arg("--bins")).map(Done::from)
}

/// The in-memory store and the near cache under shuttle: the shipping code, every interleaving that it picks.
fn model_checking() -> Result<(), Failure> {
    let mut test = cargo(["test", "--release", "--package", "kvolt-cache", "--features", "near"]);
    test.args(["--lib", "--test", "model_check"])
        .env("CARGO_TARGET_DIR", target_dir().join("shuttle"))
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("RUSTFLAGS", "--cfg kvolt_shuttle");
    cargo::run(&mut test)
}

/// The libraries under the oldest Rust that they promise, where rustup has it.
pub(crate) fn minimum_rust() -> Result<Done, Failure> {
    let version = dependencies::minimum_rust()?;
    let Some(toolchain) = find_toolchain(&version) else {
        let why = format!("rustup has no toolchain {version}; `dependencies` checks what is said");
        return Ok(Done::Skipped(why));
    };
    let mut check = cargo_of(&toolchain, ["check"]);
    for library in dependencies::libraries_of_minimum_rust()? {
        check.args(["--package", &library]);
    }
    check.env("CARGO_TARGET_DIR", target_dir().join("minimum"));
    cargo::run(&mut check).map(Done::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_option_is_an_error() {
        assert!(parse(&["--fast".to_owned()]).is_err());
        assert!(parse(&["--only".to_owned()]).is_err());
    }

    #[test]
    fn quick_plan_installs_nothing() {
        let names = quick().names().join(" ");
        assert!(!names.contains("browser programs") && !quick().names().contains(&"servers"));
    }

    #[test]
    fn without_a_browser_no_step_asks_for_one() {
        assert!(!plan(true, false).names().iter().any(|name| name.contains("browser")));
        assert!(plan(false, false).names().contains(&"browser"));
    }
}
