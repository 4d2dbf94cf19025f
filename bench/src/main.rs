//! Measurements of KVolt beside what else there is, in one process and one run.
//!
//! `cargo run --release -- [PART] [--quick]`; a machine that does something else meanwhile
//! disturbs the absolute times, and much less the ratios: contenders take turns.
#![allow(clippy::disallowed_methods, reason = "what measures time reads it")]

mod allocations;
mod cache;
mod device;
mod floor;
mod harness;
mod http;
mod instructions;
mod machine;
mod memory;
mod pause;
mod session;
#[cfg(feature = "stores")]
mod stores;
mod writes;

use std::process::ExitCode;

const USAGE: &str =
    "usage: kvolt-bench [cache|session|http|device|memory|pause|allocations|instructions|all] [--quick]
       kvolt-bench stores [trips|serve|turns|million] …";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, part, rest @ ..] = &arguments[..]
        && flag == harness::CHILD
    {
        match &**part {
            "memory" => memory::child(&rest[0]),
            #[cfg(feature = "stores")]
            stores::CHILD => stores::child(&rest[0], &rest[1]),
            "instructions" => instructions::child(&rest[0], rest[1].parse().expect("a number")),
            _ => unreachable!("only this program starts itself"),
        }
        return ExitCode::SUCCESS;
    }
    #[cfg(feature = "stores")]
    if let [part, rest @ ..] = &arguments[..]
        && part == "stores"
    {
        machine::print();
        let rest: Vec<&str> = rest.iter().map(|argument| &**argument).collect();
        return match stores::run(&rest) {
            Ok(()) => ExitCode::SUCCESS,
            Err(usage) => {
                eprintln!("{usage}");
                ExitCode::FAILURE
            }
        };
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let mut parts = arguments.iter().map(|argument| &**argument).filter(|part| *part != "--quick");
    let part = parts.next().unwrap_or("all");
    let all: [(&str, &dyn Fn()); 8] = [
        ("cache", &|| cache::run(quick)),
        ("session", &session::run),
        ("http", &http::run),
        ("device", &device::run),
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
    println!("ns/op: from when all threads are ready to when the last has done its operations, by");
    println!("the operations of one thread; contenders take turns, the best of five rounds counts");
    for (name, run) in all {
        if part == "all" || part == name {
            run();
        }
    }
    ExitCode::SUCCESS
}
