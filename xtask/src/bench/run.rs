//! Builds the programs and runs the parts, one after the other.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};

use serde_json::Value;

use super::machine;
use super::parts::{Part, Program};
use super::progress::{Progress, now};
use super::report;
use super::results::{Measure, Results, rounded};
use crate::Failure;
use crate::cargo::{self, cargo};

/// The variable in which the program in `bench` finds that in `bench/peers`.
const PEERS: &str = "KVOLT_BENCH_PEERS";

/// The programs, as far as these parts need them.
#[derive(Default)]
struct Programs {
    bench: PathBuf,
    peers: PathBuf,
    actix: PathBuf,
}

impl Programs {
    /// Those that an earlier run has built.
    fn built() -> Self {
        let program = |name: &str| cargo::target_dir().join("release").join(name);
        Self {
            bench: program("kvolt-bench"),
            peers: program("kvolt-bench-peers"),
            actix: program("kvolt-bench-actix"),
        }
    }

    fn build(parts: &[&Part]) -> Result<Self, Failure> {
        let mut programs = Self::default();
        let needs = |program| parts.iter().any(|part| part.program == program);
        if needs(Program::Bench) || needs(Program::BenchAndPeers) {
            let built = build("bench/Cargo.toml")?;
            programs.bench = find(&built, "kvolt-bench")?;
        }
        if needs(Program::Actix) || needs(Program::BenchAndPeers) {
            let built = build("bench/peers/Cargo.toml")?;
            programs.peers = find(&built, "kvolt-bench-peers")?;
            programs.actix = find(&built, "kvolt-bench-actix")?;
        }
        Ok(programs)
    }

    fn command(&self, part: &Part, quick: bool) -> Command {
        let mut command = match part.program {
            Program::Actix => Command::new(&self.actix),
            Program::Bench | Program::BenchAndPeers => {
                let mut command = Command::new(&self.bench);
                command.arg(part.name).env(PEERS, &self.peers);
                command
            }
        };
        if quick {
            command.arg("--quick");
        }
        command
    }
}

/// Builds a workspace, and returns what cargo says of it.
fn build(manifest: &str) -> Result<Vec<Value>, Failure> {
    println!("builds {manifest}");
    let mut build = cargo(["build", "--release", "--locked", "--manifest-path", manifest]);
    build.args(["--workspace", "--message-format", "json-render-diagnostics"]);
    // Build scripts that read what the outer cargo has set would run again, and all that needs them.
    for (name, _) in std::env::vars_os() {
        let is_outer =
            |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(is_outer) {
            build.env_remove(name);
        }
    }
    let output = build.stderr(Stdio::inherit()).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("cargo does not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("{manifest} does not build"));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    Ok(messages.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// The program of this name, among those that were built.
fn find(built: &[Value], name: &str) -> Result<PathBuf, Failure> {
    let mut named = built.iter().filter(|message| message["target"]["name"] == name);
    let found = named.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    found.ok_or_else(|| format!("cargo does not say where {name} is"))
}

/// Returns the results of these parts, and the names of those that failed. Prints the tables of each.
pub(super) fn run(
    parts: &[&Part],
    quick: bool,
    builds: bool,
) -> Result<(Results, Vec<String>), Failure> {
    let programs = if builds { Programs::build(parts)? } else { Programs::built() };
    let mut results = Results::default();
    let names: Vec<&str> = parts.iter().map(|part| part.name).collect();
    let names = names.join(", ");
    let names = if quick { format!("{names} (quick)") } else { names };
    machine::describe(&mut results, &names);
    let mut failed = Vec::new();
    let mut progress = Progress::new(parts, quick);
    for part in parts {
        progress.show(0.0, "starts");
        let outcome = run_part(programs.command(part, quick), &mut results, &mut progress);
        progress.next();
        match outcome {
            Ok(()) => println!("{}", report::part(&results, part.name)),
            Err(failure) => {
                eprintln!("xtask: {}: {failure}", part.name);
                failed.push(part.name.to_owned());
            }
        }
    }
    results.add_fact("load after", &machine::load());
    results.add_fact("took", &progress.elapsed());
    Ok((results, failed))
}

/// Runs one part until it ends, at most until its limit.
fn run_part(
    mut command: Command,
    results: &mut Results,
    progress: &mut Progress,
) -> Result<(), Failure> {
    // Without a standard input that stays open: it is no program to talk to.
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = started.map_err(|error| format!("it does not start: {error}"))?;
    let end = now() + progress.limit();
    let lines = lines(&mut child);
    loop {
        match lines.recv_timeout(end.saturating_duration_since(now())) {
            Ok(line) => read(&line, results, progress)?,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("ended after {:?}: it hangs", progress.limit()));
            }
        }
    }
    let status = child.wait().map_err(|error| format!("it can't be waited for: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("it failed ({status})")) }
}

/// The lines of a program's standard output, as they come.
fn lines(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    if let Some(output) = child.stdout.take() {
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
    }
    receiver
}

/// A line of JSON: `bench/src/harness.rs` lists the kinds.
fn read(line: &str, results: &mut Results, progress: &mut Progress) -> Result<(), Failure> {
    let value: Value = serde_json::from_str(line)
        .map_err(|error| format!("it printed a line that is no JSON: {line}: {error}"))?;
    if let Some(measure) = value.get("measure") {
        let mut measure: Measure = serde_json::from_value(measure.clone())
            .map_err(|error| format!("a measure can't be read: {line}: {error}"))?;
        measure.samples.iter_mut().for_each(|sample| *sample = rounded(*sample));
        results.measures.push(measure);
    } else if let Some(fact) = value.get("fact") {
        let text = |field: &str| fact[field].as_str().unwrap_or_default().to_owned();
        results.add_fact(&text("name"), &text("value"));
    } else if let Some(shown) = value.get("progress") {
        let share = shown["done"].as_f64().unwrap_or(0.0);
        progress.show(share, shown["what"].as_str().unwrap_or_default());
    }
    Ok(())
}
