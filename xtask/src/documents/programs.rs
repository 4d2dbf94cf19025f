//! The programs of the README and the guide: each is built as it stands, and those that need no
//! server are run against the `curl` commands that stand below them.
//!
//! All are in one package outside of the workspace, with its lock file and target folder. The one
//! difference from the text is the port: each program has a free one in place of 3000.

use std::fmt::Write as _;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::markdown::{Block, Document};
use crate::Failure;
use crate::cargo::{self, cargo, find_program, root, target_dir};
use crate::steps::Done;

const GUIDE: &str = "crates/kvolt/src/guide";
const ADDRESS: &str = "127.0.0.1:3000";

/// The features and dependencies that the README and the guide name.
const DEPENDENCIES: &str = r#"
actix-web = { version = "4", default-features = false, features = ["macros"] }
axum = "0.8"
http-body-util = "0.1"
hyper = { version = "1", features = ["http1", "server"] }
hyper-util = { version = "0.1", features = ["service", "tokio"] }
redis = { version = "1.8", default-features = false, features = ["connection-manager", "tokio-comp"] }
serde = { version = "1", features = ["derive"] }
serde_json = "1"
sqlx = { version = "0.9", default-features = false, features = ["postgres", "runtime-tokio"] }
tokio = { version = "1", features = ["macros", "net", "rt-multi-thread", "signal"] }
tower = { version = "0.5", features = ["util"] }
tower-http = { version = "0.7", features = ["cors"] }

[lints.rust]
warnings = "deny"

[profile.dev]
debug = "line-tables-only"
"#;
const FEATURES: &str = r#"["device-bound", "encrypt", "near", "postgres", "redis", "sqlite"]"#;

struct Program {
    name: String,
    code: String,
    address: String,
    /// The commands below the program, with their answers; empty if the program needs a server.
    transcript: Vec<Exchange>,
}

#[derive(Debug, PartialEq)]
struct Exchange {
    command: String,
    answer: Vec<String>,
}

pub(super) fn run(documents: &[Document]) -> Result<Done, Failure> {
    let programs = programs(documents)?;
    let package = target_dir().join("documents");
    write_package(&package, &programs)
        .map_err(|error| format!("{}: {error}", package.display()))?;
    let manifest = package.join("Cargo.toml");
    let manifest = manifest.to_string_lossy();
    cargo::run(&mut cargo(["build", "--bins", "--manifest-path", &manifest]))?;
    cargo::run(&mut cargo(["test", "--bin", "testing", "--manifest-path", &manifest]))?;
    if find_program("curl").is_none() {
        return Ok(Done::Skipped("built, but not run: that needs curl".to_owned()));
    }
    for program in programs.iter().filter(|program| !program.transcript.is_empty()) {
        program.run(&package)?;
        println!("{}: {} commands answer as written", program.name, program.transcript.len());
    }
    Ok(Done::Passed)
}

/// The programs of the README and of each page of the guide, with what is typed below them.
fn programs(documents: &[Document]) -> Result<Vec<Program>, Failure> {
    let mut programs = Vec::new();
    for document in documents {
        let is_page = document.path.starts_with(GUIDE);
        if !is_page && document.path != Path::new("README.md") {
            continue;
        }
        let stem = document.path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
        let before = programs.len();
        for (at, block) in document.blocks.iter().enumerate() {
            let has_main = block.lines.iter().any(|line| line.contains("fn main()"));
            if !block.is("rust") || block.is_ignored() || !has_main {
                continue;
            }
            let name = match programs.len() - before {
                0 => stem.clone(),
                several => format!("{stem}_{}", several + 1),
            };
            let address = free_address()?;
            let code = block.code().replace(ADDRESS, &address);
            let transcript = document.blocks.get(at + 1).map(transcript).unwrap_or_default();
            programs.push(Program { name, code, address, transcript });
        }
        // Otherwise, the program is an example, which is built and tested there.
        let is_example = document.blocks.iter().any(|block| block.example().is_some());
        if programs.len() == before && !is_example {
            return Err(format!("{} has no program", document.path.display()));
        }
    }
    Ok(programs)
}

/// The commands of a block, if all of them are `curl`.
fn transcript(block: &Block) -> Vec<Exchange> {
    let mut exchanges: Vec<Exchange> = Vec::new();
    for line in block.lines.iter().filter(|_| block.is("console")) {
        match (line.strip_prefix("$ "), exchanges.last_mut()) {
            (Some(command), _) if !command.starts_with("curl ") => return Vec::new(),
            (Some(command), _) => {
                exchanges.push(Exchange { command: command.to_owned(), answer: Vec::new() });
            }
            (None, Some(exchange)) => exchange.answer.push(line.clone()),
            (None, None) => {}
        }
    }
    exchanges
}

fn free_address() -> Result<String, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.to_string()).map_err(|error| error.to_string())
}

fn write_package(package: &Path, programs: &[Program]) -> std::io::Result<()> {
    let bins = package.join("src/bin");
    let _ = fs::remove_dir_all(&bins);
    fs::create_dir_all(&bins)?;
    let mut manifest = String::from(
        "[package]\nname = \"documents\"\nversion = \"0.0.0\"\nedition = \"2024\"\npublish = false\n\n[workspace]\n\n[dependencies]\n",
    );
    let path = root().join("crates/kvolt");
    let _ = writeln!(manifest, "kvolt = {{ path = {path:?}, features = {FEATURES} }}");
    let _ = writeln!(manifest, "kvolt-actix = {{ path = {:?} }}", root().join("crates/actix"));
    let path_of_bridge = root().join("crates/bridge");
    let _ = writeln!(
        manifest,
        "kvolt-bridge = {{ path = {path_of_bridge:?}, features = [\"redis\"] }}"
    );
    let tests =
        format!("[dev-dependencies]\nkvolt = {{ path = {path:?}, features = [\"testing\"] }}\n");
    fs::write(package.join("Cargo.toml"), manifest + DEPENDENCIES.trim_start() + &tests)?;
    fs::copy(root().join("Cargo.lock"), package.join("Cargo.lock"))?;
    for program in programs {
        fs::write(bins.join(format!("{}.rs", program.name)), &program.code)?;
    }
    Ok(())
}

impl Program {
    /// Runs the program and its transcript in an empty folder.
    fn run(&self, package: &Path) -> Result<(), Failure> {
        let folder = package.join("run").join(&self.name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let program = target_dir().join("debug").join(&self.name);
        let _running = Running::start(&program, &folder, &self.address)?;
        for Exchange { command, answer } in &self.transcript {
            let command = command.replace(ADDRESS, &self.address);
            let mut shell = Command::new("sh");
            let answered = cargo::output(shell.args(["-c", &command]).current_dir(&folder))?;
            let answered: Vec<&str> = answered.lines().collect();
            let matches = answered.len() == answer.len()
                && answered.iter().zip(answer).all(|(line, pattern)| is_like(line, pattern));
            if !matches {
                return Err(format!(
                    "{}: `{command}` answers {answered:?}, not {answer:?}",
                    self.name
                ));
            }
        }
        Ok(())
    }
}

/// Whether a line is as the pattern says, in which `…` stands for anything.
fn is_like(line: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    let mut is_open = false;
    for part in parts {
        is_open = true;
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        if !part.is_empty() {
            is_open = false;
        }
    }
    is_open || rest.is_empty()
}

/// A program that is killed when this is dropped.
struct Running(Child);

impl Running {
    fn start(program: &PathBuf, folder: &Path, address: &str) -> Result<Self, Failure> {
        let mut command = Command::new(program);
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
        let running = Self(child);
        for _ in 0..200 {
            if TcpStream::connect(address).is_ok() {
                return Ok(running);
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err(format!("{} does not listen on {address}", program.display()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transcript_is_commands_and_answers() {
        let document = Document::parse(
            PathBuf::from("x.md"),
            "```console\n$ curl a\n1\n2\n$ curl b\n```\n```console\n$ cargo run\n$ curl a\n```\n",
        );
        let exchange = |command: &str, answer: &[&str]| Exchange {
            command: command.to_owned(),
            answer: answer.iter().map(|line| (*line).to_owned()).collect(),
        };
        let expected = [exchange("curl a", &["1", "2"]), exchange("curl b", &[])];
        assert_eq!(transcript(&document.blocks[0]), expected);
        assert_eq!(transcript(&document.blocks[1]), []);
    }

    #[test]
    fn ellipsis_matches_anything() {
        assert!(is_like("{\"id\":\"0a\",\"current\":true}", "{\"id\":\"…\",\"current\":true}"));
        assert!(is_like("<p>Hello ada</p><form>", "<p>Hello ada</p>…"));
        assert!(is_like("same", "same"));
        assert!(!is_like("same and more", "same"));
        assert!(!is_like("other", "same…"));
    }
}
