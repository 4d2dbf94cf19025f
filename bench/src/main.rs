//! Measurements of KVolt beside what else there is: `kvolt-bench PART [--quick]`.
//!
//! `cargo xtask bench` builds it, runs its parts and writes the report; `harness.rs` says how a part
//! is added and what it writes.
#![allow(clippy::disallowed_methods, reason = "what measures time reads it")]

mod allocations;
mod cache;
mod device;
mod floor;
mod harness;
mod http;
mod instructions;
mod memory;
mod pause;
mod peers;
mod session;
#[cfg(feature = "stores")]
mod stores;
mod user;
mod writes;

use std::process::ExitCode;

use harness::Settings;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, part, rest @ ..] = &arguments[..]
        && flag == harness::CHILD
    {
        match &**part {
            "memory" => memory::child(&rest[0]),
            "sessions" => memory::sessions_child(&rest[0], rest[1].parse().expect("a number")),
            "instructions" => instructions::child(&rest[0], rest[1].parse().expect("a number")),
            #[cfg(feature = "stores")]
            stores::CHILD => stores::child(&rest[0], &rest[1]),
            _ => unreachable!("only this program starts itself"),
        }
        return ExitCode::SUCCESS;
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let settings = Settings { quick };
    let mut parts = arguments.iter().map(|argument| &**argument).filter(|part| *part != "--quick");
    match parts.next().unwrap_or_default() {
        "cache" => cache::run(settings),
        "session" => session::run(settings),
        "http" => http::run(settings),
        "device" => device::run(settings),
        "allocations" => allocations::run(),
        "memory" => memory::run(settings),
        "pause" => pause::run(settings),
        "instructions" => instructions::run(),
        #[cfg(feature = "stores")]
        part if stores::run(part, settings) => {}
        other => {
            eprintln!("there is no part `{other}`; `cargo xtask bench --list` lists them");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
