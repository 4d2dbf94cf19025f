//! Measurements of KVolt beside what else there is, in one process and one run.
//!
//! `cargo run --release -- [PART] [--quick]`; a machine that does something else meanwhile
//! disturbs the absolute times, and much less the ratios: contenders take turns.
#![allow(clippy::disallowed_methods, reason = "what measures time reads it")]

mod allocations;
mod cache;
mod harness;
mod http;
mod instructions;
mod machine;
mod memory;
mod pause;
mod session;
mod writes;

use std::process::ExitCode;

const USAGE: &str =
    "usage: kvolt-bench [cache|session|http|memory|pause|allocations|instructions|all] [--quick]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, part, rest @ ..] = &arguments[..]
        && flag == harness::CHILD
    {
        match &**part {
            "memory" => memory::child(&rest[0]),
            "instructions" => instructions::child(&rest[0], rest[1].parse().expect("a number")),
            _ => unreachable!("only this program starts itself"),
        }
        return ExitCode::SUCCESS;
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let mut parts = arguments.iter().map(|argument| &**argument).filter(|part| *part != "--quick");
    let part = parts.next().unwrap_or("all");
    let all: [(&str, &dyn Fn()); 7] = [
        ("cache", &|| cache::run(quick)),
        ("session", &session::run),
        ("http", &http::run),
        ("allocations", &allocations::run),
        ("memory", &memory::run),
        ("pause", &pause::run),
        ("instructions", &instructions::run),
    ];
    if parts.next().is_some() || (part != "all" && !all.iter().any(|(name, _)| *name == part)) {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    }
    machine::print();
    for (name, run) in all {
        if part == "all" || part == name {
            run();
        }
    }
    ExitCode::SUCCESS
}
