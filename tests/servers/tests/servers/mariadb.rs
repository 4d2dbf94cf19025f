//! Tests of MariaDB.

use std::process::Command;
use std::thread;

use crate::support::{Traces, answers};
use kvolt_servers::{Certificates, MariaDb, Package, require, wait_until};

#[test]
fn committed_rows_survive_a_kill() {
    if !require(&[Package::MariaDb]) {
        return;
    }
    let mariadb = MariaDb::start();
    let url = mariadb.url();
    assert!(url.starts_with("mysql://kvolt:"), "{url}");
    assert!(url.ends_with(&format!("@127.0.0.1:{}/kvolt", mariadb.port())), "{url}");
    mariadb.sql("create table t (a int, b text); insert into t values (1, 'x'), (2, 'é');");
    assert_eq!(mariadb.sql("select * from t order by a"), "1\tx\n2\té");
    let refused =
        mariadb.try_sql("select * from no_such_table").expect_err("the table does not exist");
    assert!(refused.to_string().contains("doesn't exist"), "{refused}");
    assert_eq!(client(&mariadb, &[], "select a from t where b = 'x'"), Ok("1".to_owned()));

    let port = mariadb.port();
    mariadb.kill();
    assert!(!answers(port));
    assert!(mariadb.try_sql("select 1").is_err());
    mariadb.restart();
    assert_eq!((mariadb.port(), mariadb.sql("select count(*) from t")), (port, "2".to_owned()));
    mariadb.stop();
    assert!(!answers(port));
    mariadb.restart();
    mariadb.restart();
    assert_eq!(client(&mariadb, &[], "select count(*) from t"), Ok("2".to_owned()));

    let traces = Traces::of(&mariadb);
    drop(mariadb);
    traces.assert_gone();
}

#[test]
fn paused_server_answers_after_resume() {
    if !require(&[Package::MariaDb]) {
        return;
    }
    let mariadb = MariaDb::builder().fsync(false).max_connections(12).start();
    assert_eq!(mariadb.sql("select @@max_connections"), "12");
    assert_eq!(mariadb.sql("select @@innodb_flush_log_at_trx_commit"), "2");
    mariadb.pause();
    thread::scope(|scope| {
        let answer = scope.spawn(|| mariadb.sql("select 1"));
        thread::sleep(std::time::Duration::from_millis(300));
        assert!(!answer.is_finished());
        mariadb.resume();
        mariadb.wait_until_ready();
        wait_until("the answer", || answer.is_finished());
        assert_eq!(answer.join().expect("it answers"), "1");
    });
    mariadb.pause();
    let traces = Traces::of(&mariadb);
    drop(mariadb);
    traces.assert_gone();
}

#[test]
fn tls_rejects_plaintext_clients() {
    if !require(&[Package::MariaDb]) {
        return;
    }
    let certificates = Certificates::new();
    let mariadb = MariaDb::builder().fsync(false).tls(&certificates).start();
    let authority = format!("--ssl-ca={}", certificates.authority().display());
    let cipher = "show status like 'ssl_version'";
    let tls = client(&mariadb, &[&authority, "--ssl-verify-server-cert"], cipher);
    assert_eq!(tls, Ok("Ssl_version\tTLSv1.3".to_owned()));
    assert!(client(&mariadb, &["--skip-ssl"], "select 1").is_err());
    let stranger = Certificates::new();
    let authority = format!("--ssl-ca={}", stranger.authority().display());
    assert!(client(&mariadb, &[&authority, "--ssl-verify-server-cert"], "select 1").is_err());
}

#[test]
fn failed_start_reports_the_reason() {
    if !require(&[Package::MariaDb]) {
        return;
    }
    let failed = MariaDb::builder().config("no-such-option", "1").try_start();
    let failure = failed.expect_err("the option does not exist").to_string();
    assert!(failure.contains("unknown variable"), "{failure}");
}

/// Runs SQL as an independent client, outside the harness.
fn client(mariadb: &MariaDb, options: &[&str], sql: &str) -> Result<String, String> {
    let url = mariadb.url();
    let (_, rest) = url.split_once("kvolt:").expect("the user");
    let (password, _) = rest.split_once('@').expect("the password");
    let mut client = Command::new("mariadb");
    client.args(["--no-defaults", "--batch", "--skip-column-names", "--host", "127.0.0.1"]);
    client.args(["--user=kvolt", "--database=kvolt", "--execute", sql]);
    client.args([format!("--port={}", mariadb.port()), format!("--password={password}")]);
    let output = client.args(options).output().expect("mariadb is installed");
    let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}
