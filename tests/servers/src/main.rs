//! Prints the packages that `cargo xtask test` must install before the tests can run.
//!
//! This is a program and not a function that `xtask` calls, so that other chores need not build this
//! crate and its dependencies. It prints a line for each package:
//!
//! ```text
//! debian PACKAGE
//! wheel PACKAGE PATH_OF_THE_PROGRAM_INSIDE
//! ```

#![allow(clippy::print_stdout, reason = "its standard output is what it is for")]

use kvolt_servers::{Source, missing};

fn main() {
    for package in missing() {
        match package.source() {
            Source::Debian(name) => println!("debian {name}"),
            Source::Wheel { package, program } => println!("wheel {package} {program}"),
        }
    }
}
