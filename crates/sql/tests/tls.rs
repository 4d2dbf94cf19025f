//! Connections that nobody can read, to the server that is meant.

mod support;

use kvolt_cache::{Access, Key, Store};
use kvolt_servers::{Certificates, MariaDb, Postgres};
use kvolt_sql::{MySqlStore, PostgresStore};
use support::pushing::entry;

async fn works<S: Store<Vec<u8>>>(store: S) {
    let key = Key::of("key");
    let _ = store.insert(key, entry("value")).await.expect("it works");
    assert!(store.get(&key, Access::SLIDE).await.expect("it works").is_some());
}

#[tokio::test]
async fn postgresql_by_its_certificate() {
    let (ours, theirs) = (Certificates::new(), Certificates::new());
    let server = Postgres::builder().fsync(false).tls(&ours).start();
    let (plain, _) = server.url().split_once('?').map(|(a, b)| (a.to_owned(), b.len())).unwrap();
    let verified = |certificates: &Certificates| {
        let authority = certificates.authority();
        format!("{plain}?sslmode=verify-full&sslrootcert={}", authority.display())
    };
    works(PostgresStore::open(&verified(&ours)).await.expect("it is the server")).await;
    let error = PostgresStore::open(&verified(&theirs)).await.expect_err("it is another");
    assert!(error.is_misconfigured(), "{error}");
    let plainly = format!("{plain}?sslmode=disable");
    let error = PostgresStore::open(&plainly).await.expect_err("it wants TLS");
    assert!(error.is_misconfigured(), "{error}");
}

#[tokio::test]
async fn postgresql_that_asks_for_a_certificate() {
    let certificates = Certificates::new();
    let server = Postgres::builder().fsync(false).mutual_tls(&certificates).start();
    let error = PostgresStore::open(&server.url()).await.expect_err("it asks for one");
    assert!(error.is_misconfigured(), "{error}");
    let (certificate, key) = (certificates.client(), certificates.client_key());
    let shown = format!("&sslcert={}&sslkey={}", certificate.display(), key.display());
    works(PostgresStore::open(&(server.url() + &shown)).await.expect("it is shown")).await;
}

#[tokio::test]
async fn mariadb_by_its_certificate() {
    let (ours, theirs) = (Certificates::new(), Certificates::new());
    let server = MariaDb::builder().fsync(false).tls(&ours).start();
    let url = server.url();
    let verified = |certificates: &Certificates| {
        let authority = certificates.authority();
        format!("{url}?ssl-mode=VERIFY_IDENTITY&ssl-ca={}", authority.display())
    };
    works(MySqlStore::open(&verified(&ours)).await.expect("it is the server")).await;
    let error = MySqlStore::open(&verified(&theirs)).await.expect_err("it is another");
    assert!(error.is_misconfigured(), "{error}");
    let plainly = format!("{url}?ssl-mode=DISABLED");
    let error = MySqlStore::open(&plainly).await.expect_err("it wants TLS");
    assert!(error.is_misconfigured(), "{error}");
}
