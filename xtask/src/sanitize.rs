//! The tests of the cache under the address sanitizer.

use crate::Failure;
use crate::cargo::{self, cargo_of, find_toolchain, host, target_dir};

pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    if let Some(arg) = args.first() {
        return Err(format!("`sanitize` has no option `{arg}`"));
    }
    let nightly = find_toolchain("nightly")
        .ok_or("a sanitizer needs nightly Rust: `rustup toolchain install nightly`")?;
    // With a target named, build scripts and macros are built without the sanitizer.
    let host = host()?;
    let args = ["test", "--package", "kvolt-cache", "--lib", "--tests", "--target", &host];
    let mut test = cargo_of(&nightly, args);
    test.env("RUSTFLAGS", "-Zsanitizer=address")
        .env("CARGO_TARGET_DIR", target_dir().join("sanitize"));
    cargo::run(&mut test)
}
