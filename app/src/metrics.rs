//! Metrics for Prometheus, served at a separate address.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use kvolt::cache::{Clock, STORE_SECONDS, Timestamp};
use kvolt::session::{Manager, describe_metrics};
use metrics::{describe_counter, describe_gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::sync::Mutex;

use crate::users::User;

/// The sessions are counted at most this often: on Redis, a count scans all keys.
const COUNT_INTERVAL: Duration = Duration::from_secs(10);

/// A scrape waits at most this long for the store.
const COUNT_TIMEOUT: Duration = Duration::from_secs(2);

/// In seconds: from a store in the same rack to one that is about to time out.
const STORE_BUCKETS: [f64; 12] =
    [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0];

// The application's own metrics, besides those of KVolt.
pub(crate) const SIGN_INS: &str = "kvolt_app_sign_ins_total";
pub(crate) const OPEN_CONNECTIONS: &str = "kvolt_app_live_connections";

/// Starts to collect metrics.
pub(crate) fn install() -> Result<PrometheusHandle, String> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(STORE_SECONDS.to_owned()), &STORE_BUCKETS)
        .map_err(|error| error.to_string())?
        .install_recorder()
        .map_err(|error| format!("metrics can't be collected: {error}"))?;
    describe_metrics();
    describe_counter!(SIGN_INS, "Attempts to sign in, by outcome: right, wrong, locked_out.");
    describe_gauge!(OPEN_CONNECTIONS, "Open event streams and WebSockets.");
    Ok(recorder)
}

struct Scrapes {
    recorder: PrometheusHandle,
    manager: Manager<User>,
    last_count: Mutex<Option<Timestamp>>,
    clock: Clock,
}

/// The routes of the address for metrics.
pub(crate) fn router(recorder: PrometheusHandle, manager: Manager<User>) -> Router {
    let clock = Clock::system();
    let scrapes = Scrapes { recorder, manager, last_count: Mutex::new(None), clock };
    Router::new().route("/metrics", get(scrape)).with_state(Arc::new(scrapes))
}

async fn scrape(State(scrapes): State<Arc<Scrapes>>) -> Response {
    scrapes.count_sessions().await;
    scrapes.recorder.run_upkeep();
    let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, scrapes.recorder.render()).into_response()
}

impl Scrapes {
    /// Counts the sessions if the last count is old. If the store fails, the gauge keeps its
    /// value: other metrics show the outage.
    async fn count_sessions(&self) {
        let mut last_count = self.last_count.lock().await;
        let now = self.clock.now();
        if last_count.is_some_and(|last| now.since(last) < COUNT_INTERVAL) {
            return;
        }
        *last_count = Some(now);
        match tokio::time::timeout(COUNT_TIMEOUT, self.manager.count()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "could not count the sessions"),
            Err(_) => tracing::debug!("could not count the sessions within {COUNT_TIMEOUT:?}"),
        }
    }
}
