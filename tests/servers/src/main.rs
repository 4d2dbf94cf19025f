//! Prints the packages that `cargo xtask test` must install before the tests can run.
//!
//! This is a program, not a function called by `xtask`: otherwise every `xtask` command
//! would wait for this crate and its dependencies to be built. It prints one line per
//! package:
//!
//! ```text
//! debian PACKAGE
//! wheel PACKAGE PATH_OF_THE_PROGRAM_INSIDE
//! ```

#![allow(clippy::print_stdout, reason = "the output is the purpose of this program")]

use kvolt_servers::{Source, missing};

fn main() {
    for package in missing() {
        match package.source() {
            Source::Debian(name) => println!("debian {name}"),
            Source::Wheel { package, program } => println!("wheel {package} {program}"),
        }
    }
}
