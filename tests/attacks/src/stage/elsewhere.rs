//! Shared parts of the remote stores.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use kvolt_servers::{Package, require};

/// Returns the server shared by all tests of a program, and starts it on first use; `None`
/// if its tests are skipped.
pub(super) async fn shared<S: Send + Sync>(
    cell: &'static OnceLock<S>,
    package: Package,
    start: fn() -> S,
) -> Option<&'static S> {
    let server = move || require(&[package]).then(|| cell.get_or_init(start));
    tokio::task::spawn_blocking(server).await.expect("the server starts")
}

/// Returns a name that is unique within this program.
pub(super) fn unique(name: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("{name}_{}", COUNT.fetch_add(1, Ordering::Relaxed))
}
