//! Says what `cargo xtask test` has to install before the tests can run.
//!
//! A program and not a function that `xtask` calls: that would make every chore
//! wait until this crate and what it needs are built. It prints, a line for each:
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
