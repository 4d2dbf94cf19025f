//! The benchmarks, a crate of their own beside the workspace.

use crate::Failure;
use crate::cargo::{self, cargo};

pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let mut bench = cargo(["bench", "--manifest-path", "bench/Cargo.toml"]);
    match args {
        [] => {}
        [name] if !name.starts_with('-') => {
            bench.args(["--bench", name]);
        }
        _ => return Err("`bench` takes the name of one benchmark, or nothing".to_owned()),
    }
    cargo::run(&mut bench)
}
