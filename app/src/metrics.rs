//! Numbers for Prometheus, on an address of their own.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use kvolt::cache::{Clock, STORE_SECONDS, Timestamp};
use kvolt::session::Manager;
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
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
    for (name, text) in [
        ("kvolt_sessions_created_total", "Sessions that were made."),
        ("kvolt_sessions_rotated_total", "Tokens that were replaced by new ones."),
        ("kvolt_sessions_ended_total", "Sessions that were ended, by reason."),
        (
            "kvolt_sessions_expired_total",
            "Sessions that ended at a timeout, as far as the store tells.",
        ),
        ("kvolt_requests_refused_total", "Requests that were refused, by reason."),
        ("kvolt_tokens_reused_total", "Uses of tokens that had been replaced."),
        ("kvolt_events_missed_total", "Events that a listener was too slow for."),
        (SIGN_INS, "Attempts to sign in, by outcome."),
    ] {
        describe_counter!(name, text);
    }
    describe_gauge!(
        "kvolt_sessions_active",
        "Sessions in the store, counted at a scrape and every 10 seconds at the most."
    );
    describe_gauge!(LIVE, "Event streams and WebSockets that are open.");
    describe_histogram!(STORE_SECONDS, Unit::Seconds, "How long the store took to answer.");
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
