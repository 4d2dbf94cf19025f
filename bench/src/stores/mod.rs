//! Sessions in remote stores: real servers on this machine, and other libraries on the same ones.

mod app;
mod backend;
mod changes;
mod client;
mod commands;
mod floor;
mod rate;
mod scale;
mod serve;
mod server;
mod statistics;
mod stored;

use std::path::PathBuf;
use std::time::Duration;

use crate::harness::Settings;

pub(crate) use app::child;
pub(crate) use server::CHILD;

/// How long a session lives unused, in every program.
const IDLE: Duration = Duration::from_secs(30 * 60);

/// Runs the part of this name, if it is one of these.
pub(crate) fn run(part: &str, settings: Settings) -> bool {
    match part {
        "commands" => commands::run(settings),
        "serve" => serve::run(settings),
        "rate" => rate::run(settings),
        "changes" => changes::run(settings),
        "stored" => stored::run(settings),
        "scale" => scale::run(settings),
        _ => return false,
    }
    true
}

/// A folder for files of this run, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("kvolt-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("it can be made");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
