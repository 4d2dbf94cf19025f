//! Common parts of the remote stores.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use kvolt_servers::{Package, require};

/// The server that all tests of a program share, started by the first; `None` if its tests are
/// skipped.
pub(super) async fn shared<S: Send + Sync>(
    cell: &'static OnceLock<S>,
    package: Package,
    start: fn() -> S,
) -> Option<&'static S> {
    let server = move || require(&[package]).then(|| cell.get_or_init(start));
    tokio::task::spawn_blocking(server).await.expect("the server starts")
}

/// A name that is unique in this program, also with a suffix: without its last letter, a `0` after
/// one name would make another.
pub(super) fn unique(name: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("{name}_{}x", COUNT.fetch_add(1, Ordering::Relaxed))
}
