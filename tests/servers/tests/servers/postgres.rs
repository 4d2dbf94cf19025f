//! Tests of PostgreSQL.

use std::process::Command;
use std::thread;

use crate::support::{Traces, answers, processes_in, state};
use kvolt_servers::{Certificates, Package, Postgres, require, wait_until};

#[test]
fn committed_rows_survive_a_kill() {
    if !require(&[Package::Postgres]) {
        return;
    }
    let postgres = Postgres::start();
    assert_eq!(postgres.url(), format!("postgres://kvolt@127.0.0.1:{}/kvolt", postgres.port()));
    assert_eq!(postgres.psql("show fsync"), "on");
    postgres.psql("create table t (a int, b text); insert into t values (1, 'x'), (2, 'é');");
    assert_eq!(postgres.psql("select * from t order by a"), "1|x\n2|é");
    let refused =
        postgres.try_psql("select * from no_such_table").expect_err("the table does not exist");
    assert!(refused.to_string().contains("does not exist"), "{refused}");
    assert_eq!(psql(&postgres.url(), "select a from t where b = 'x'"), Ok("1".to_owned()));

    let (port, folder) = (postgres.port(), postgres.folder().to_owned());
    postgres.kill();
    assert!(!answers(port) && processes_in(&folder).is_empty());
    assert!(postgres.try_psql("select 1").is_err());
    postgres.restart();
    assert_eq!((postgres.port(), postgres.psql("select count(*) from t")), (port, "2".to_owned()));
    postgres.stop();
    assert!(!answers(port));
    postgres.restart();
    postgres.restart();
    assert_eq!(postgres.psql("select count(*) from t"), "2");

    let traces = Traces::of(&postgres);
    drop(postgres);
    traces.assert_gone();
}

#[test]
fn busy_backend_is_paused_and_killed() {
    if !require(&[Package::Postgres]) {
        return;
    }
    let postgres = Postgres::builder().fsync(false).start();
    assert_eq!(postgres.psql("show fsync"), "off");
    postgres.psql("create table t (n int); insert into t values (0)");
    // The backend counts in a loop and never checks whether its postmaster still runs.
    let url = postgres.url();
    let count = "do $$ begin loop update t set n = n + 1; commit; end loop; end $$";
    let client = thread::spawn(move || psql(&url, count));
    let read = || postgres.psql("select n from t").parse::<u64>().expect("the count is a number");
    wait_until("the client counts", || read() > 0);

    postgres.pause();
    let paused = processes_in(postgres.folder());
    assert!(paused.len() > 5, "{paused:?}");
    assert!(paused.iter().all(|pid| state(*pid) == Some('T')), "a process was not paused");
    assert!(answers(postgres.port()), "the kernel must still accept connections");
    assert!(!client.is_finished());
    postgres.resume();
    postgres.wait_until_ready();
    let counted = read();
    wait_until("the client counts again", || read() > counted);

    postgres.kill();
    assert!(client.join().expect("it ends").is_err());
    postgres.restart();
    assert!(read() > counted);

    // Dropped while paused.
    postgres.pause();
    let traces = Traces::of(&postgres);
    drop(postgres);
    traces.assert_gone();
}

#[test]
fn killed_server_leaves_no_shared_memory() {
    if !require(&[Package::Postgres]) {
        return;
    }
    let postgres = Postgres::builder().fsync(false).start();
    let file = std::fs::read_to_string(postgres.folder().join("data/postmaster.pid"));
    let line = file.expect("it runs").lines().nth(6).expect("the segment").to_owned();
    let segment = line.split_whitespace().nth(1).expect("its number").to_owned();
    let exists = || {
        let listed = Command::new("ipcs").arg("-m").output().expect("ipcs is installed").stdout;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        listed.lines().any(|line| line.split_whitespace().nth(1) == Some(&segment))
    };
    postgres.kill();
    assert!(exists(), "this test checks the wrong segment");
    drop(postgres);
    assert!(!exists());
}

#[test]
fn password_and_connection_limit_are_enforced() {
    if !require(&[Package::Postgres]) {
        return;
    }
    let postgres = Postgres::builder()
        .fsync(false)
        .password("s3cret")
        .max_connections(7)
        .config("lock_timeout", "'1s'")
        .start();
    let url = postgres.url();
    assert_eq!(url, format!("postgres://kvolt:s3cret@127.0.0.1:{}/kvolt", postgres.port()));
    assert_eq!(psql(&url, "show max_connections"), Ok("7".to_owned()));
    assert_eq!(psql(&url, "show lock_timeout"), Ok("1s".to_owned()));
    let refused =
        psql(&url.replace("s3cret", "wrong"), "select 1").expect_err("the password is wrong");
    assert!(refused.contains("authentication failed"), "{refused}");
    // A user without privileges.
    postgres.psql("create role app login password 'pa55'");
    let refused = psql(&url.replace("kvolt:s3cret", "app:pa55"), "create table t (a int)");
    assert!(refused.expect_err("the user has no privileges").contains("permission denied"));
}

#[test]
fn tls_verifies_certificates_on_both_sides() {
    if !require(&[Package::Postgres]) {
        return;
    }
    let certificates = Certificates::new();
    let stranger = Certificates::new();
    let verified = |postgres: &Postgres, authority: &Certificates, client: &Certificates| {
        let path = |path: std::path::PathBuf| path.display().to_string();
        let url = postgres.url().replace("require", "verify-full");
        let url = format!(
            "{url}&sslrootcert={}&sslcert={}&sslkey={}",
            path(authority.authority()),
            path(client.client()),
            path(client.client_key())
        );
        psql(&url, "select version from pg_stat_ssl where pid = pg_backend_pid()")
    };
    let postgres = Postgres::builder().fsync(false).tls(&certificates).start();
    assert!(postgres.url().ends_with("?sslmode=require"));
    assert_eq!(psql(&postgres.url(), "select 1"), Ok("1".to_owned()));
    assert!(psql(&postgres.url().replace("require", "disable"), "select 1").is_err());
    assert_eq!(verified(&postgres, &certificates, &certificates), Ok("TLSv1.3".to_owned()));
    assert!(verified(&postgres, &stranger, &certificates).is_err());

    let postgres = Postgres::builder().fsync(false).mutual_tls(&certificates).start();
    assert!(
        psql(&postgres.url(), "select 1").is_err(),
        "a client without a certificate was accepted"
    );
    assert_eq!(verified(&postgres, &certificates, &certificates), Ok("TLSv1.3".to_owned()));
    assert!(verified(&postgres, &certificates, &stranger).is_err());
}

#[test]
fn failed_start_reports_the_reason() {
    if !require(&[Package::Postgres]) {
        return;
    }
    let failed = Postgres::builder().config("no_such_setting", "1").try_start();
    let failure = failed.expect_err("the setting does not exist").to_string();
    assert!(failure.contains("unrecognized configuration parameter"), "{failure}");
}

/// Runs SQL as an independent client, outside the harness.
fn psql(url: &str, sql: &str) -> Result<String, String> {
    let mut psql = Command::new("psql");
    psql.args(["-X", "-A", "-t", "-q", "-w", "-c", sql, url]);
    let output = psql.env("HOME", "/nonexistent").output().expect("psql is installed");
    let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}
