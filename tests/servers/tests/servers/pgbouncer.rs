//! Tests of PgBouncer.

use std::process::Command;
use std::thread;

use kvolt_servers::{Package, PgBouncer, Postgres, require};

use crate::support::Traces;

#[test]
fn pooled_transactions_share_few_connections() {
    if !require(&[Package::Postgres, Package::PgBouncer]) {
        return;
    }
    let postgres = Postgres::builder().fsync(false).start();
    let pooler = PgBouncer::start(&postgres);
    assert_eq!(pooler.url(), format!("postgres://kvolt@127.0.0.1:{}/kvolt", pooler.port()));
    assert_eq!(pooler.pool_size(), 2);
    assert_eq!(psql(&pooler.url(), "select 1"), "1");
    let url = pooler.url();
    let backends: Vec<String> = thread::scope(|scope| {
        let ask = || psql(&url, "select pg_backend_pid(), pg_sleep(0.02)");
        let clients: Vec<_> = (0..12).map(|_| scope.spawn(ask)).collect();
        clients.into_iter().map(|client| client.join().expect("an answer")).collect()
    });
    let mut backends: Vec<&str> = backends.iter().filter_map(|row| row.split('|').next()).collect();
    backends.sort_unstable();
    backends.dedup();
    assert!(backends.len() <= 2, "{backends:?}");
    let pools = pooler.console("show pools");
    assert!(pools.contains("kvolt") && pools.contains("transaction"), "{pools}");

    postgres.restart();
    assert_eq!(pooler.psql("select 1"), "1");
    pooler.kill();
    pooler.restart();
    pooler.pause();
    pooler.resume();
    assert_eq!(psql(&pooler.url(), "select 1"), "1");
    let traces = [Traces::of(&pooler), Traces::of(&postgres)];
    drop((pooler, postgres));
    traces.iter().for_each(Traces::assert_gone);
}

fn psql(url: &str, sql: &str) -> String {
    let output = Command::new("psql").args(["-X", "-A", "-t", "-q", "-w", "-c", sql, url]).output();
    let output = output.expect("psql is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
