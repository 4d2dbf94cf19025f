//! The chores of the workspace, as `cargo xtask COMMAND`.

#![allow(clippy::print_stdout, reason = "a command line tool speaks on its standard output")]

mod api;
mod bench;
mod browser;
mod cargo;
mod counts;
mod debian;
mod dependencies;
mod documents;
mod features;
mod fuzz;
mod licence;
mod named_tests;
mod npm;
mod release;
mod sanitize;
mod servers;
mod steps;
mod test;

use std::process::ExitCode;

const HELP: &str = "\
The chores of the KVolt workspace.

Usage: cargo xtask COMMAND [OPTIONS]

Commands:
  test       Run every check and every test; stops at the first step that fails
               --list           name the steps and do nothing
               --only STEP      run this step alone (repeatable)
               --skip-browser   leave out the test in a real browser
               --quick          only what needs no server, no browser and no installation
               --install        install what is missing: servers and a browser by apt-get,
                                others below target/; without it, nothing outside target/ changes
  api        Compare the public items of the published crates with docs/api
               --renew          write docs/api again
  counts     Compare allocations, store commands, bytes on the wire and instructions of the hot
             paths with tests/counts/baseline.json
               --renew          write the baseline again
  fuzz       Fuzz with libFuzzer; needs a nightly toolchain and cargo-fuzz
               TARGET           one target; without it, each in turn
               --seconds N      how long for each target (60 by default)
               --list           name the targets
  bench      Run the benchmarks; a run of all parts writes docs/benchmarks.* and docs/plots
               PART...          these parts; without it, all
               --quick          so little of each that all take two minutes
               --no-build       run the programs that an earlier run has built
               --list           name the parts
               --report [FILE]  measure nothing: write the report and the plots of these results of
                                an earlier run, by default docs/benchmarks.json
  release    Check what a release needs: versions, documentation, packages, bills of materials
               --list           name the steps and do nothing
               --only STEP      run this step alone (repeatable)
               --repository URL write the public address of the repository into the manifests
  sanitize   Run the tests of the cache under the address sanitizer; needs a nightly toolchain
  help       This text
";

/// An error message for the person at the terminal.
type Failure = String;

fn main() -> ExitCode {
    if api::stands_in_for_rustdoc() {
        return done(api::rustdoc());
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match args.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    let asks_for_help = rest.iter().any(|arg| arg == "--help" || arg == "-h");
    let outcome = match command {
        "help" | "--help" | "-h" => help(),
        _ if asks_for_help => help(),
        "test" => test::run(rest),
        "api" => api::run(rest),
        "counts" => counts::run(rest),
        "fuzz" => fuzz::run(rest),
        "bench" => bench::run(rest),
        "release" => release::run(rest),
        "sanitize" => sanitize::run(rest),
        other => Err(format!("there is no command `{other}`; `cargo xtask help` lists them")),
    };
    done(outcome)
}

fn done(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn help() -> Result<(), Failure> {
    print!("{HELP}");
    Ok(())
}
