//! The metrics, by the facade of that name. The crate's own page says what they count.

pub(crate) const CREATED: &str = "kvolt_sessions_created_total";
pub(crate) const ROTATED: &str = "kvolt_sessions_rotated_total";
pub(crate) const ENDED: &str = "kvolt_sessions_ended_total";
pub(crate) const EXPIRED: &str = "kvolt_sessions_expired_total";
pub(crate) const REFUSED: &str = "kvolt_requests_refused_total";
pub(crate) const REUSED: &str = "kvolt_tokens_reused_total";
pub(crate) const SLIDES_FAILED: &str = "kvolt_slides_failed_total";
#[cfg(feature = "metrics")]
pub(crate) const MISSED: &str = "kvolt_events_missed_total";
#[cfg(feature = "metrics")]
pub(crate) const ACTIVE: &str = "kvolt_sessions_active";

/// Tells the recorder that is installed what each of the metrics is, for those that show it.
#[cfg(feature = "metrics")]
pub fn describe_metrics() {
    use kvolt_cache::STORE_SECONDS;
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

    for (name, text) in [
        (CREATED, "Sessions that were made."),
        (ROTATED, "Tokens that were replaced by new ones."),
        (ENDED, "Sessions that were ended, by reason."),
        (EXPIRED, "Sessions that ended at a timeout, as far as the store tells."),
        (REFUSED, "Requests that were refused, by reason."),
        (REUSED, "Uses of tokens that had been replaced."),
        (SLIDES_FAILED, "Uses of sessions that the store could not write down."),
        (MISSED, "Events that a listener was too slow for."),
    ] {
        describe_counter!(name, text);
    }
    describe_gauge!(ACTIVE, "Sessions in the store, when they were last counted.");
    describe_histogram!(STORE_SECONDS, Unit::Seconds, "How long the store took to answer.");
}

/// Counts one.
#[cfg(feature = "metrics")]
pub(super) fn count<const N: usize>(name: &'static str, labels: [(&'static str, &'static str); N]) {
    metrics::counter!(name, &labels).increment(1);
}

#[cfg(not(feature = "metrics"))]
pub(super) fn count<const N: usize>(_: &'static str, _: [(&'static str, &'static str); N]) {}
