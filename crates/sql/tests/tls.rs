//! Encrypted connections to the right server.

mod support;

use kvolt_cache::{Key, Store};
use kvolt_servers::{Certificates, MariaDb, Postgres};
use kvolt_sql::{MySqlStore, PostgresStore};
use support::get;
use support::pushing::entry;

async fn works<S: Store<Vec<u8>>>(store: S) {
    let key = Key::of("key");
    let _ = store.insert(key, entry("value")).await.expect("insert works");
    assert!(get(&store, &key).await.is_some());
}

#[tokio::test]
async fn postgresql_is_checked_by_certificate() {
    let (ours, theirs) = (Certificates::new(), Certificates::new());
    let server = Postgres::builder().fsync(false).tls(&ours).start();
    let (plain, _) = server.url().split_once('?').map(|(a, b)| (a.to_owned(), b.len())).unwrap();
    let verified = |certificates: &Certificates| {
        let authority = certificates.authority();
        format!("{plain}?sslmode=verify-full&sslrootcert={}", authority.display())
    };
    works(PostgresStore::open(&verified(&ours), "shop").await.expect("it is the server")).await;
    let error = PostgresStore::open(&verified(&theirs), "shop").await.expect_err("it is another");
    assert!(error.is_misconfigured(), "{error}");
    let plainly = format!("{plain}?sslmode=disable");
    let error = PostgresStore::open(&plainly, "shop").await.expect_err("it wants TLS");
    assert!(error.is_misconfigured(), "{error}");
}

#[tokio::test]
async fn postgresql_may_ask_for_a_certificate() {
    let certificates = Certificates::new();
    let server = Postgres::builder().fsync(false).mutual_tls(&certificates).start();
    let error = PostgresStore::open(&server.url(), "shop").await.expect_err("it asks for one");
    assert!(error.is_misconfigured(), "{error}");
    let (certificate, key) = (certificates.client(), certificates.client_key());
    let shown = format!("&sslcert={}&sslkey={}", certificate.display(), key.display());
    works(PostgresStore::open(&(server.url() + &shown), "shop").await.expect("it is shown")).await;
}

#[tokio::test]
async fn mariadb_is_checked_by_certificate() {
    let (ours, theirs) = (Certificates::new(), Certificates::new());
    let server = MariaDb::builder().fsync(false).tls(&ours).start();
    let url = server.url();
    let verified = |certificates: &Certificates| {
        let authority = certificates.authority();
        format!("{url}?ssl-mode=VERIFY_IDENTITY&ssl-ca={}", authority.display())
    };
    works(MySqlStore::open(&verified(&ours), "shop").await.expect("it is the server")).await;
    let error = MySqlStore::open(&verified(&theirs), "shop").await.expect_err("it is another");
    assert!(error.is_misconfigured(), "{error}");
    let plainly = format!("{url}?ssl-mode=DISABLED");
    let error = MySqlStore::open(&plainly, "shop").await.expect_err("it wants TLS");
    assert!(error.is_misconfigured(), "{error}");
}
