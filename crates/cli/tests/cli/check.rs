//! What `check` finds on servers that would lose sessions, and the SQL of `schema`.

use crate::support::{Folder, NAMESPACE, kvolt, open};
use kvolt::{MySqlStore, PostgresStore, SqliteStore};
use kvolt_servers::{Certificates, MariaDb, Package, Postgres, Redis, require};
use serde_json::{Value, json};

/// The findings that are no `ok`, as `level check`.
fn findings(url: &str) -> Vec<String> {
    let ran = kvolt(&["check", url, "-n", NAMESPACE, "--json"]);
    let found: Vec<Value> = ran.json();
    for finding in &found {
        let is_ok = finding["level"] == "ok";
        assert_eq!(finding["advice"].is_string(), !is_ok, "{finding}");
        assert!(finding["message"].as_str().is_some_and(|message| message.len() > 5));
    }
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let found: Vec<String> = found
        .iter()
        .filter(|one| one["level"] != "ok")
        .map(|one| format!("{} {}", text(&one["level"]), text(&one["check"])))
        .collect();
    assert_eq!(ran.status, if found.is_empty() { 0 } else { 3 }, "{found:?}");
    found
}

#[test]
fn redis_that_evicts_or_forgets_is_reported() {
    if !require(&[Package::Redis]) {
        return;
    }
    let safe = Redis::builder().append_only().config("maxmemory-policy", "noeviction");
    assert_eq!(findings(&safe.start().url()), [""; 0]);
    let unsafe_one = Redis::builder()
        .config("maxmemory", "100mb")
        .config("maxmemory-policy", "allkeys-lru")
        .config("save", "");
    assert_eq!(findings(&unsafe_one.start().url()), ["error eviction", "warning durability"]);

    // A user that may do what the store needs, and no more.
    let limited = Redis::builder().append_only().user(
        "app",
        "pass-app",
        "~shop:* ~shop.owners:* &* -@all +@read +@write +@scripting +ping +info +time +scan +client +hello",
    );
    let limited = limited.start();
    assert_eq!(findings(&limited.url_as("app", "pass-app")), ["warning settings"]);
    assert_eq!(findings(&limited.url_as("app", "wrong")), ["error reach"]);
    limited.kill();
    assert_eq!(findings(&limited.url_as("app", "pass-app")), ["error reach"]);
}

#[tokio::test]
async fn postgres_that_loses_writes_is_reported() {
    if !require(&[Package::Postgres]) {
        return;
    }
    let server = Postgres::builder().config("fsync", "off").config("autovacuum", "off").start();
    assert_eq!(findings(&server.url())[0], "error reach", "there is no table");
    drop(open(&server.url()).await);
    assert_eq!(findings(&server.url()), ["error durability", "warning vacuum"]);
    let lax = format!("{}?options=-c%20synchronous_commit%3Doff", server.url());
    assert_eq!(findings(&lax), ["error durability", "error durability", "warning vacuum"]);

    server.psql("ALTER TABLE shop_sessions SET UNLOGGED");
    assert!(findings(&server.url()).contains(&String::from("error tables")));
    server.psql("ALTER TABLE shop_sessions SET LOGGED");
    server.psql(
        "INSERT INTO shop_sessions (key, version, value, created, absolute_deadline) \
         VALUES (decode(repeat('00', 32), 'hex'), 1, '', 1, 1)",
    );
    assert!(findings(&server.url()).contains(&String::from("warning cleaning")));
    server.psql(
        "CREATE ROLE reader LOGIN; GRANT SELECT ON shop_sessions, shop_sessions_meta TO reader",
    );
    let reader = server.url().replace("//kvolt@", "//reader@");
    let found = findings(&reader);
    assert!(found.contains(&String::from("error permissions")), "{found:?}");
    assert!(found.contains(&String::from("error access")), "{found:?}");
}

#[test]
fn mariadb_that_loses_writes_is_reported() {
    if !require(&[Package::MariaDb]) {
        return;
    }
    let server = MariaDb::builder().config("innodb_flush_log_at_trx_commit", "2").start();
    let found = findings(&server.url());
    assert_eq!(found[0], "error reach", "there is no table: {found:?}");
    server.sql(&kvolt(&["schema", "mariadb", "-n", NAMESPACE]).has_status(0).stdout);
    assert_eq!(findings(&server.url()), ["error durability"]);
    server.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 1");
    assert_eq!(findings(&server.url()), [""; 0]);
}

#[cfg(unix)]
#[tokio::test]
async fn sqlite_file_that_others_can_read_is_reported() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let url = folder.url("sessions.db");
    drop(open(&url).await);
    let of = |what: &str| {
        let found = findings(&url);
        found.into_iter().filter(|one| one.ends_with(what)).collect::<Vec<_>>()
    };
    assert_eq!(of("mode"), [""; 0]);
    let readable = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(folder.path().join("sessions.db"), readable).expect("it is ours");
    assert_eq!(of("mode"), ["error mode"]);
    let normal = format!("{url}?synchronous=normal");
    assert!(findings(&normal).contains(&String::from("warning durability")));
}

#[test]
fn encrypted_connections_are_verified() {
    if !require(&[Package::Redis, Package::Postgres, Package::MariaDb]) {
        return;
    }
    let certificates = Certificates::new();
    let authority = certificates.authority();
    let authority = authority.display();
    let redis = Redis::builder().append_only().tls(&certificates).start();
    let url = redis.url().replace("127.0.0.1", "localhost");
    assert_eq!(findings(&url), ["error reach"], "the authority is unknown");
    assert_eq!(findings(&format!("{url}?ca_file={authority}")), [""; 0]);
    let any = format!("{url}?insecure_accept_any_certificate=true");
    assert_eq!(findings(&any), ["error tls"]);

    let redis = Redis::builder().append_only().mutual_tls(&certificates).start();
    let url = redis.url().replace("127.0.0.1", "localhost");
    let (own, key) = (certificates.client(), certificates.client_key());
    let client = format!("client_certificate={}&client_key={}", own.display(), key.display());
    assert_eq!(findings(&format!("{url}?ca_file={authority}&{client}")), [""; 0]);
    assert_eq!(findings(&format!("{url}?ca_file={authority}")), ["error reach"]);

    let postgres = Postgres::builder().tls(&certificates).start();
    let schema = kvolt(&["schema", "postgres", "-n", NAMESPACE]).has_status(0).stdout;
    postgres.psql(&schema);
    let url = postgres.url().replace("127.0.0.1", "localhost");
    let verified = url.replace("require", &format!("verify-full&sslrootcert={authority}"));
    let ran = kvolt(&["check", &verified, "-n", NAMESPACE]).has_status(0);
    assert!(ran.stdout.contains("TLSv1.3"), "{ran:?}");

    let mariadb = MariaDb::builder().tls(&certificates).start();
    mariadb.sql(&kvolt(&["schema", "mysql", "-n", NAMESPACE]).has_status(0).stdout);
    let url = mariadb.url().replace("127.0.0.1", "localhost");
    let verified = format!("{url}?ssl-mode=VERIFY_IDENTITY&ssl-ca={authority}");
    let ran = kvolt(&["check", &verified, "-n", NAMESPACE]).has_status(0);
    assert!(ran.stdout.contains("certificate was verified"), "{ran:?}");
}

#[tokio::test]
async fn store_opens_on_the_tables_of_the_printed_schema() {
    let folder = Folder::new();
    let of = |kind: &str| kvolt(&["schema", kind, "-n", NAMESPACE]).has_status(0).stdout;
    use sqlx::{Connection, Executor, SqliteConnection};
    let file = folder.path().join("sessions.db");
    let created = format!("sqlite:{}?mode=rwc", file.display());
    let mut connection = SqliteConnection::connect(&created).await.expect("the file is made");
    connection.execute(sqlx::AssertSqlSafe(of("sqlite"))).await.expect("the SQL is valid");
    let url = folder.url("sessions.db");
    SqliteStore::builder(&url, NAMESPACE).migrate(false).open().await.expect("the tables fit");
    if require(&[Package::Postgres]) {
        let server = Postgres::start();
        server.psql(&of("postgres"));
        let builder = PostgresStore::builder(&server.url(), NAMESPACE).migrate(false);
        builder.open().await.expect("the tables fit");
    }
    if require(&[Package::MariaDb]) {
        let server = MariaDb::start();
        server.sql(&of("mariadb"));
        let builder = MySqlStore::builder(&server.url(), NAMESPACE).migrate(false);
        builder.open().await.expect("the tables fit");
    }
    let ran = kvolt(&["schema", "postgres", "-n", NAMESPACE, "--json"]).has_status(0).json();
    let statements = PostgresStore::migrations(NAMESPACE).expect("a valid namespace");
    assert_eq!(ran, [json!({ "kind": "postgres", "statements": statements })]);
    kvolt(&["schema", "postgres", "-n", "Not a namespace"]).has_status(2);
}

#[test]
fn password_comes_from_a_variable_or_a_file() {
    if !require(&[Package::Redis, Package::Postgres]) {
        return;
    }
    let folder = Folder::new();
    let file = folder.path().join("password");
    std::fs::write(&file, "pass-word\n").expect("it can be written");
    let redis = Redis::builder().password("pass-word").start();
    let postgres = Postgres::builder().password("pass-word").start();
    postgres.psql(&kvolt(&["schema", "postgres", "-n", NAMESPACE]).has_status(0).stdout);
    for url in [redis.url(), postgres.url()] {
        let noted = kvolt(&["count", &url, "-n", NAMESPACE]).has_status(0);
        assert!(noted.stderr.contains("list of processes"), "{noted:?}");
        let url = url.replace(":pass-word@", "@").replace("//@", "//");
        kvolt(&["count", &url, "-n", NAMESPACE]).has_status(1);
        let by_file = format!("{url}?password_file={}", file.display());
        let quiet = kvolt(&["count", &by_file, "-n", NAMESPACE]).has_status(0);
        assert_eq!(quiet.stderr, "");
        let by_variable = format!("{url}?password_env=PASSWORD");
        let mut run = crate::support::command(&["count", &by_variable, "-n", NAMESPACE]);
        crate::support::ended(run.env("PASSWORD", "pass-word").spawn().expect("it starts"))
            .has_status(0);
    }
}
