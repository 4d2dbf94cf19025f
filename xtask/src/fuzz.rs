//! Fuzzing with libFuzzer, by cargo-fuzz.

use std::path::Path;

use crate::Failure;
use crate::cargo::{self, cargo_of, find_program, find_toolchain, root, target_dir};

const SECONDS: u32 = 60;

#[derive(Debug, PartialEq)]
struct Options {
    list: bool,
    target: Option<String>,
    seconds: u32,
}

pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let options = parse(args)?;
    let targets = targets()?;
    if options.list {
        for target in targets {
            println!("{target}");
        }
        return Ok(());
    }
    let chosen = match options.target {
        None => targets,
        Some(name) if targets.contains(&name) => vec![name],
        Some(name) => {
            return Err(format!("there is no target `{name}`; there are: {}", targets.join(", ")));
        }
    };
    let nightly = find_toolchain("nightly")
        .ok_or("fuzzing needs nightly Rust: `rustup toolchain install nightly`")?;
    if find_program("cargo-fuzz").is_none() {
        return Err("fuzzing needs cargo-fuzz: `cargo install cargo-fuzz`".to_owned());
    }
    for target in chosen {
        fuzz(&nightly, &target, options.seconds)?;
    }
    Ok(())
}

/// Fuzzes one target: what it finds new goes below `target`, the committed corpus is only read.
fn fuzz(nightly: &str, target: &str, seconds: u32) -> Result<(), Failure> {
    let found = target_dir().join("fuzz-corpus").join(target);
    std::fs::create_dir_all(&found)
        .map_err(|error| format!("{} can't be made: {error}", found.display()))?;
    let seeds = root().join("fuzz/corpus").join(target);
    let mut command = cargo_of(nightly, ["fuzz", "run", "--features", "libfuzzer", target]);
    command.env("CARGO_TARGET_DIR", target_dir().join("fuzz")).arg(found);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    command.arg("--").arg(format!("-max_total_time={seconds}")).arg("-timeout=10");
    cargo::run(&mut command)
}

/// The names of the files in `fuzz/fuzz_targets`.
fn targets() -> Result<Vec<String>, Failure> {
    let folder = root().join("fuzz/fuzz_targets");
    let listing = std::fs::read_dir(&folder)
        .map_err(|error| format!("{} can't be read: {error}", folder.display()))?;
    let mut targets: Vec<String> =
        listing.flatten().filter_map(|file| stem(&file.path())).collect();
    targets.sort();
    Ok(targets)
}

fn stem(file: &Path) -> Option<String> {
    let is_rust = file.extension().is_some_and(|extension| extension == "rs");
    is_rust.then(|| file.file_stem()?.to_str().map(str::to_owned)).flatten()
}

fn parse(args: &[String]) -> Result<Options, Failure> {
    let mut options = Options { list: false, target: None, seconds: SECONDS };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--list" => options.list = true,
            "--seconds" => {
                let seconds = args.next().and_then(|seconds| seconds.parse().ok());
                options.seconds = seconds
                    .filter(|seconds| *seconds > 0)
                    .ok_or("--seconds wants a whole number from 1 on")?;
            }
            option if option.starts_with('-') => {
                return Err(format!("`fuzz` has no option `{option}`"));
            }
            name if options.target.is_none() => options.target = Some(name.to_owned()),
            _ => return Err("`fuzz` takes one target".to_owned()),
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, Failure> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn options_and_target_in_any_order() {
        let wanted = Options { list: false, target: Some("token".to_owned()), seconds: 5 };
        assert_eq!(parsed("token --seconds 5").as_ref(), Ok(&wanted));
        assert_eq!(parsed("--seconds 5 token").as_ref(), Ok(&wanted));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in ["--seconds", "--seconds 0", "--seconds soon", "--fast", "token lookup"] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
