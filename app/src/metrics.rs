//! Numbers for Prometheus, on an address of their own.

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

/// Sessions are counted this often at the most: on Redis that goes through all keys.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// A scrape waits this long for the store at the most.
const COUNT_TIMEOUT: Duration = Duration::from_secs(2);

/// From a store in the same rack to one that is about to be given up, in seconds.
const STORE_BUCKETS: [f64; 12] =
    [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0];

// What happens to sessions, kvolt counts; these are the application's own.
pub(crate) const SIGN_INS: &str = "kvolt_app_sign_ins_total";
pub(crate) const LIVE: &str = "kvolt_app_live_connections";

/// Has everything counted from now on.
pub(crate) fn install() -> Result<PrometheusHandle, String> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(STORE_SECONDS.to_owned()), &STORE_BUCKETS)
        .map_err(|error| error.to_string())?
        .install_recorder()
        .map_err(|error| format!("metrics can't be counted: {error}"))?;
    describe();
    Ok(recorder)
}

fn describe() {
    describe_metrics();
    describe_counter!(SIGN_INS, "Attempts to sign in, by outcome.");
    describe_gauge!(LIVE, "Event streams and WebSockets that are open.");
}

/// What scrapes are answered with.
struct Scraped {
    recorder: PrometheusHandle,
    manager: Manager<User>,
    counted: Mutex<Option<Timestamp>>,
    clock: Clock,
}

/// The routes of the address for metrics.
pub(crate) fn router(recorder: PrometheusHandle, manager: Manager<User>) -> Router {
    let clock = Clock::system();
    let scraped = Scraped { recorder, manager, counted: Mutex::new(None), clock };
    Router::new().route("/metrics", get(scrape)).with_state(std::sync::Arc::new(scraped))
}

async fn scrape(State(scraped): State<std::sync::Arc<Scraped>>) -> Response {
    scraped.count().await;
    scraped.recorder.run_upkeep();
    let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, scraped.recorder.render()).into_response()
}

impl Scraped {
    /// Counts the sessions anew if that is long ago. A store that can't say leaves the number as it
    /// was: its outage shows in the other numbers.
    async fn count(&self) {
        let mut counted = self.counted.lock().await;
        let now = self.clock.now();
        if counted.is_some_and(|counted| now.since(counted) < COUNT_EVERY) {
            return;
        }
        *counted = Some(now);
        match tokio::time::timeout(COUNT_TIMEOUT, self.manager.count()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "sessions could not be counted"),
            Err(_) => tracing::debug!("sessions were not counted in {COUNT_TIMEOUT:?}"),
        }
    }
}
