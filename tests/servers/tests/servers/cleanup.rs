//! No process or file of a server is left, however a test or its program ends.

use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use kvolt_servers::{
    Certificates, MariaDb, Package, Postgres, Redis, Server, missing, require, wait_until,
};

use crate::support::{Traces, processes_in};

const ENDING: &str = "KVOLT_TEST_ENDING";

#[test]
fn panicking_test_leaves_nothing_behind() {
    if !require(&[Package::Redis, Package::Postgres]) {
        return;
    }
    let (sender, traces) = std::sync::mpsc::channel();
    let test = thread::spawn(move || {
        let servers = (Redis::start(), Postgres::builder().fsync(false).start());
        sender.send([Traces::of(&servers.0), Traces::of(&servers.1)]).expect("the receiver waits");
        servers.0.cli(&["NO-SUCH-COMMAND"]);
    });
    let panic = test.join().expect_err("the command is rejected");
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(message.contains("unknown command"), "{message}");
    traces.recv().expect("the servers had started").iter().for_each(Traces::assert_gone);
}

#[test]
fn killed_program_leaves_nothing_behind() {
    let Some((mut program, left)) = program("killed") else { return };
    program.kill().expect("it runs");
    assert_eq!(program.wait().expect("it ends").signal(), Some(9));
    assert_gone_soon(&left);
}

#[test]
fn interrupted_program_leaves_nothing_behind() {
    let Some((mut program, left)) = program("interrupted") else { return };
    // A terminal signals the whole process group.
    let group = format!("-{}", program.id());
    let sent = Command::new("kill").args(["-s", "INT", "--", &group]).status();
    assert!(sent.expect("kill is installed").success());
    assert_eq!(program.wait().expect("it ends").signal(), Some(2));
    assert_gone_soon(&left);
}

#[test]
fn static_servers_end_with_their_program() {
    let Some((mut program, left)) = program("returns") else { return };
    assert!(program.wait().expect("it ends").success());
    assert_gone_soon(&left);
}

#[test]
fn certificates_are_removed_on_drop() {
    let certificates = Certificates::new();
    let files = [certificates.authority(), certificates.client_key(), certificates.server()];
    assert!(files.iter().all(|file| file.is_file()));
    drop(certificates);
    assert!(files.iter().all(|file| !file.exists() && !file.parent().is_some_and(Path::exists)));
}

#[test]
fn missing_packages_are_the_unavailable_ones() {
    let missing = missing();
    for package in Package::ALL {
        assert_eq!(package.available().is_err(), missing.contains(&package), "{package}");
    }
}

/// Not a test: the program run by the tests above. It starts servers and waits to be ended.
#[test]
#[ignore = "other tests run it"]
#[expect(clippy::print_stdout, reason = "the test that runs it reads its standard output")]
fn child_program() {
    static SERVERS: OnceLock<(Redis, Postgres, MariaDb)> = OnceLock::new();
    let Some(ending) = std::env::var_os(ENDING) else { return };
    let start = || (Redis::start(), Postgres::start(), MariaDb::start());
    let (redis, postgres, mariadb) = SERVERS.get_or_init(start);
    for server in [redis as &Server, postgres, mariadb] {
        println!("folder {}", server.folder().display());
    }
    // The watchdog must also kill paused processes.
    redis.pause();
    postgres.pause();
    println!("ready");
    if ending != "returns" {
        thread::sleep(Duration::from_secs(600));
    }
}

fn program(ending: &str) -> Option<(Child, Vec<PathBuf>)> {
    if !require(&[Package::Redis, Package::Postgres, Package::MariaDb]) {
        return None;
    }
    let tests = std::env::current_exe().expect("this program");
    let mut program = Command::new(tests)
        .args(["--exact", "cleanup::child_program", "--ignored", "--nocapture"])
        .env(ENDING, ending)
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("it starts");
    let mut folders = Vec::new();
    let mut lines = BufReader::new(program.stdout.take().expect("a pipe")).lines();
    for line in &mut lines {
        let line = line.expect("text");
        if let Some((_, folder)) = line.split_once("folder ") {
            folders.push(PathBuf::from(folder));
        }
        if line.ends_with("ready") {
            break;
        }
    }
    assert_eq!(folders.len(), 3);
    // Keep the pipe open: the program still prints that its test has passed.
    thread::spawn(move || lines.count());
    Some((program, folders))
}

#[track_caller]
fn assert_gone_soon(folders: &[PathBuf]) {
    let root = folders[0].parent().expect("a server's folder has a parent");
    wait_until("the watchdog to clean up", || processes_in(root).is_empty() && !root.exists());
}
