//! Sessions in remote stores: real servers on this machine, and tower-sessions on the same ones.

mod app;
mod backend;
mod client;
mod million;
mod serve;
mod server;
mod statistics;
mod trips;
mod turns;
mod user;

use std::time::Duration;

use crate::machine::versions;

pub(crate) use app::child;
pub(crate) use server::CHILD;

/// How long a session lives unused, in every program.
const IDLE: Duration = Duration::from_secs(30 * 60);

/// Versions that the peer program is built with.
const PEERS: [&str; 6] = [
    "tower-sessions",
    "tower-sessions-redis-store",
    "tower-sessions-sqlx-store",
    "tower-sessions-moka-store",
    "fred",
    "sqlx",
];

const USAGE: &str = "usage: kvolt-bench stores trips [--only PART,…]
       kvolt-bench stores serve [--seconds N] [--rounds N] [--sessions N] [--only PART,…]
       kvolt-bench stores turns [--only redis,postgres,sqlite]
       kvolt-bench stores million [--entries N] [--only redis,postgres,mariadb,sqlite]";

/// Runs one of the parts, or prints the usage.
pub(crate) fn run(arguments: &[&str]) -> Result<(), &'static str> {
    let Some((part, arguments)) = arguments.split_first() else { return Err(USAGE) };
    let mut options =
        Options { seconds: 2, rounds: 5, sessions: 2_000, entries: 100_000, only: None };
    for pair in arguments.chunks(2) {
        let [name, value] = pair else { return Err(USAGE) };
        let number = || value.replace('_', "").parse::<u64>().map_err(|_| USAGE);
        match *name {
            "--seconds" => options.seconds = number()?,
            "--rounds" => options.rounds = number()?,
            "--sessions" => options.sessions = number()?,
            "--entries" => options.entries = number()?,
            "--only" => options.only = Some(value.split(',').map(String::from).collect()),
            _ => return Err(USAGE),
        }
    }
    println!("{}", versions(include_str!("../../Cargo.lock"), &["redis", "sqlx"]));
    println!("peers: {}", versions(include_str!("../../peers/Cargo.lock"), &PEERS));
    match *part {
        "trips" => trips::run(&options),
        "serve" => serve::run(&options),
        "turns" => turns::run(&options),
        "million" => million::run(&options),
        _ => return Err(USAGE),
    }
    Ok(())
}

struct Options {
    seconds: u64,
    rounds: u64,
    sessions: u64,
    entries: u64,
    only: Option<Vec<String>>,
}

impl Options {
    /// Whether the part of this name is measured. Defaults to all.
    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.iter().any(|part| name.contains(&**part)))
    }
}
