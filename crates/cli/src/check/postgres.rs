//! PostgreSQL.

use kvolt::cache::{Clock, Timestamp};
use sqlx::ConnectOptions;
use sqlx::postgres::PgSslMode;

use super::Report;
use super::sql::{self, Server};
use crate::args::StoreArgs;
use crate::url::StoreUrl;

const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
const CIPHER: &str =
    "SELECT version || ' ' || cipher FROM pg_stat_ssl WHERE ssl AND pid = pg_backend_pid()";
const EXPIRED: &str = "SELECT count(*) FROM {t} \
    WHERE expires < (extract(epoch FROM now()) * 1000)::bigint - 3600000";

pub(super) async fn inspect(url: &StoreUrl, args: &StoreArgs, report: &mut Report) {
    // The parameter is the store's own.
    let plain = url.url.replace("pooled_by_transactions=true", "");
    let Ok(options) = kvolt::PostgresStore::connect_options(&plain) else { return };
    let is_near = options.get_socket().is_some() || url.is_loopback();
    let is_verified = matches!(options.get_ssl_mode(), PgSslMode::VerifyFull);
    let options = options.disable_statement_logging();
    let connecting = options.connect();
    let Ok(Ok(connection)) = tokio::time::timeout(args.namespace.timeout, connecting).await else {
        report.warning(
            "server",
            "its settings could not be read on a connection of its own",
            "behind a pooler, check the server's own URL too",
        );
        return;
    };
    let mut server = Server(connection);
    let table = format!("{}_sessions", args.namespace.namespace);

    let version = server.fact(report, "server_version", "SHOW server_version").await;
    report.ok("version", format!("PostgreSQL {version}"));
    let cipher = server.ask(CIPHER).await.unwrap_or_default();
    let advice = "set sslmode=verify-full, and sslrootcert for a private authority";
    sql::tls(report, &cipher, is_verified, is_near, advice);
    let before = Clock::system().now();
    if let Some(Ok(now)) = server.ask(NOW).await.map(|now| now.parse()) {
        report.clock(before, Timestamp::from_millis(now), Clock::system().now());
    }
    writable(&mut server, report).await;
    durable(&mut server, report).await;
    tables(&mut server, &table, report).await;
}

async fn writable(server: &mut Server<sqlx::PgConnection>, report: &mut Report) {
    let is_replica = server.fact(report, "in_recovery", "SELECT pg_is_in_recovery()").await;
    let is_read_only = server.ask("SHOW default_transaction_read_only").await;
    if matches!(&*is_replica, "t" | "true") {
        report.error(
            "writable",
            "the server is a replica: it rejects every change",
            "name the primary",
        );
    } else if is_read_only.as_deref() == Some("on") {
        report.error(
            "writable",
            "default_transaction_read_only is on: the server rejects every change",
            "turn it off for the application's role",
        );
    } else {
        report.ok("writable", "the server is no replica, and accepts changes");
    }
}

async fn durable(server: &mut Server<sqlx::PgConnection>, report: &mut Report) {
    for (name, sql, advice) in [
        ("fsync", "SHOW fsync", "set fsync to on"),
        ("full_page_writes", "SHOW full_page_writes", "set full_page_writes to on"),
    ] {
        if server.fact(report, name, sql).await == "off" {
            report.error(
                "durability",
                format!("{name} is off: a crash of the machine may damage or lose all sessions"),
                advice,
            );
        }
    }
    let commit = server.fact(report, "synchronous_commit", "SHOW synchronous_commit").await;
    if commit == "off" {
        report.error(
            "durability",
            "synchronous_commit is off: a crash may undo the last changes, so that a session that was \
             ended is live again",
            "remove it from the URL's options",
        );
    } else {
        report
            .ok("durability", format!("synchronous_commit is {commit} on the store's connections"));
    }
    let standbys = "SHOW synchronous_standby_names";
    let standbys = server.fact(report, "synchronous_standby_names", standbys).await;
    let replicas = "SELECT count(*) FROM pg_stat_replication";
    let replicas = server.fact(report, "replicas", replicas).await;
    if standbys.is_empty() && !matches!(&*replicas, "" | "0") {
        report.warning(
            "replication",
            format!(
                "{replicas} replicas, none of them synchronous: a failover may undo the last changes"
            ),
            "set synchronous_standby_names if a logout must survive a failover",
        );
    } else {
        report.ok(
            "replication",
            format!("{} replicas", if replicas.is_empty() { "no" } else { &replicas }),
        );
    }
    if server.fact(report, "autovacuum", "SHOW autovacuum").await == "off" {
        report.warning(
            "vacuum",
            "autovacuum is off: each change leaves a dead row, and the table grows without bound",
            "turn it on, or vacuum the table by a job",
        );
    }
}

async fn tables(server: &mut Server<sqlx::PgConnection>, table: &str, report: &mut Report) {
    let kind = "SELECT relpersistence::text FROM pg_class WHERE oid = to_regclass('{t}')";
    let Some(kind) = server.ask_of(kind, table).await else {
        let may_create = "SELECT has_schema_privilege(current_schema(), 'CREATE')";
        match server.ask(may_create).await.as_deref() {
            Some("t" | "true") => report.warning(
                "tables",
                format!("the table {table} does not exist; the application may create it"),
                "start the application, or run the SQL of `kvolt schema postgres`",
            ),
            _ => report.error(
                "tables",
                format!("the table {table} does not exist, and the user may not create it"),
                "run the SQL of `kvolt schema postgres` as the owner of the schema",
            ),
        }
        return;
    };
    if kind != "p" {
        report.error(
            "tables",
            format!("the table {table} is unlogged: a crash of the server empties it"),
            "ALTER TABLE … SET LOGGED",
        );
    }
    let missing = "SELECT string_agg(privilege, ', ') FROM \
        unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) privilege \
        WHERE NOT has_table_privilege('{t}', privilege)";
    match server.ask_of(missing, table).await {
        Some(missing) => report.error(
            "permissions",
            format!("the user lacks {missing} on {table}"),
            "GRANT SELECT, INSERT, UPDATE, DELETE ON the table",
        ),
        None => report.ok("permissions", format!("the user may read and write {table}")),
    }
    let version = server.ask_of("SELECT max(version) FROM {t}_meta", table).await;
    report.fact("table_version", version.unwrap_or_default());
    let size = server.ask_of("SELECT pg_total_relation_size('{t}')", table).await;
    report.fact("table_bytes", size.unwrap_or_default());
    let triggers = "SELECT count(*) FROM pg_trigger WHERE tgrelid = to_regclass('{t}') \
        AND tgname LIKE '{t}_push_%'";
    report.fact("push_triggers", server.ask_of(triggers, table).await.unwrap_or_default());
    sql::cleaning(report, server.ask_of(EXPIRED, table).await);
}
