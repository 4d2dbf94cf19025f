//! MySQL and MariaDB.

use kvolt::cache::{Clock, Timestamp};
use sqlx::ConnectOptions;
use sqlx::mysql::MySqlSslMode;

use super::Report;
use super::sql::{self, Server};
use crate::args::StoreArgs;
use crate::url::StoreUrl;

const NOW: &str =
    "SELECT CAST(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000 AS CHAR)";
const CIPHER: &str = "SHOW SESSION STATUS LIKE 'Ssl_cipher'";
const EXPIRED: &str = "SELECT CAST(COUNT(*) AS CHAR) FROM {t} WHERE expires < \
    TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000 - 3600000";

pub(super) async fn inspect(url: &StoreUrl, args: &StoreArgs, report: &mut Report) {
    let Ok(options) = kvolt::MySqlStore::connect_options(&url.url) else { return };
    let is_near = options.get_socket().is_some() || url.is_loopback();
    let is_verified = matches!(options.get_ssl_mode(), MySqlSslMode::VerifyIdentity);
    let options = options.disable_statement_logging();
    let connecting = options.connect();
    let Ok(Ok(connection)) = tokio::time::timeout(args.namespace.timeout, connecting).await else {
        report.warning(
            "server",
            "its settings could not be read on a connection of its own",
            "check the user's permissions and the server's limit of connections",
        );
        return;
    };
    let mut server = Server(connection);
    let table = format!("{}_sessions", args.namespace.namespace);

    let version = server.fact(report, "server_version", "SELECT VERSION()").await;
    let name = if version.contains("MariaDB") { "MariaDB" } else { "MySQL" };
    report.ok("version", format!("{name} {version}"));
    let cipher = server.value(CIPHER).await.unwrap_or_default();
    sql::tls(report, &cipher, is_verified, is_near, "set ssl-mode=VERIFY_IDENTITY, and ssl-ca");
    let before = Clock::system().now();
    if let Some(Ok(now)) = server.ask(NOW).await.map(|now| now.parse()) {
        report.clock(before, Timestamp::from_millis(now), Clock::system().now());
    }
    durable(&mut server, report).await;
    tables(&mut server, &table, report).await;
}

impl Server<sqlx::MySqlConnection> {
    /// The second column, which has the value in the answer to `SHOW`.
    async fn value(&mut self, sql: &'static str) -> Option<String> {
        use sqlx::Row as _;
        let row = sqlx::raw_sql(sql).fetch_optional(&mut self.0).await.ok()??;
        row.try_get_unchecked::<Option<String>, _>(1).ok()?
    }
}

async fn durable(server: &mut Server<sqlx::MySqlConnection>, report: &mut Report) {
    let read_only = "SELECT CAST(@@global.read_only AS CHAR)";
    if server.fact(report, "read_only", read_only).await == "1" {
        report.error(
            "writable",
            "read_only is on: the server is a replica, or rejects every change",
            "name the primary, or turn it off",
        );
    } else {
        report.ok("writable", "read_only is off");
    }
    let flush = "SELECT CAST(@@innodb_flush_log_at_trx_commit AS CHAR)";
    let flush = server.fact(report, "innodb_flush_log_at_trx_commit", flush).await;
    if flush == "1" {
        report.ok("durability", "innodb_flush_log_at_trx_commit is 1");
    } else {
        report.error(
            "durability",
            format!(
                "innodb_flush_log_at_trx_commit is {flush}: a crash of the machine may undo the last \
                 second, so that a session that was ended is live again"
            ),
            "set it to 1",
        );
    }
    let double_write = "SELECT CAST(@@innodb_doublewrite AS CHAR)";
    if matches!(&*server.fact(report, "innodb_doublewrite", double_write).await, "0" | "OFF") {
        report.error(
            "durability",
            "innodb_doublewrite is off: a crash of the machine may damage the table",
            "turn it on",
        );
    }
    let has_log = server.fact(report, "log_bin", "SELECT CAST(@@log_bin AS CHAR)").await == "1";
    let sync = server.fact(report, "sync_binlog", "SELECT CAST(@@sync_binlog AS CHAR)").await;
    if has_log && sync != "1" {
        report.warning(
            "replication",
            format!(
                "the binary log is on and sync_binlog is {sync}: after a crash, replicas may lack \
                 changes that this server has, or have others"
            ),
            "set sync_binlog to 1",
        );
    } else if has_log {
        report.ok("replication", "the binary log is on, and sync_binlog is 1");
    } else {
        report.ok("replication", "the binary log is off, so there are no replicas");
    }
}

async fn tables(server: &mut Server<sqlx::MySqlConnection>, table: &str, report: &mut Report) {
    let engine = "SELECT engine FROM information_schema.tables \
        WHERE table_schema = DATABASE() AND table_name = '{t}'";
    let Some(engine) = server.ask_of(engine, table).await else {
        report.error(
            "tables",
            format!("the table {table} does not exist, or the user may not see it"),
            "start the application as a user that may create it, or run the SQL of `kvolt schema mysql`",
        );
        return;
    };
    if engine.eq_ignore_ascii_case("InnoDB") {
        report.ok("tables", format!("{table} exists, on InnoDB"));
    } else {
        report.error(
            "tables",
            format!("{table} is on {engine}, which has no transactions: a crash may lose sessions"),
            "ALTER TABLE … ENGINE = InnoDB",
        );
    }
    let version = "SELECT CAST(MAX(version) AS CHAR) FROM {t}_meta";
    report.fact("table_version", server.ask_of(version, table).await.unwrap_or_default());
    sql::cleaning(report, server.ask_of(EXPIRED, table).await);
}
