//! The metrics, by the facade of that name. The crate's README lists them.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram};

use super::EventKind;

const CREATED: &str = "kvolt_sessions_created_total";
const IMPERSONATED: &str = "kvolt_impersonations_total";
const ROTATED: &str = "kvolt_sessions_rotated_total";
const ENDED: &str = "kvolt_sessions_ended_total";
const EXPIRED: &str = "kvolt_sessions_expired_total";
const REFUSED: &str = "kvolt_requests_refused_total";
pub(crate) const OFFERED: &str = "kvolt_device_bindings_offered_total";
const BOUND: &str = "kvolt_device_bindings_total";
const PROVED: &str = "kvolt_device_proofs_total";
const REUSED: &str = "kvolt_tokens_reused_total";
pub(crate) const SLIDES_FAILED: &str = "kvolt_slides_failed_total";
pub(super) const MISSED: &str = "kvolt_events_missed_total";
pub(crate) const ACTIVE: &str = "kvolt_sessions_active";

/// Registers the descriptions of all metrics with the installed recorder.
///
/// ```
/// // After the program has installed its recorder:
/// kvolt_session::describe_metrics();
/// ```
pub fn describe_metrics() {
    for (name, text) in [
        (CREATED, "Sessions created."),
        (IMPERSONATED, "Sessions in which an administrator acts for a user."),
        (ROTATED, "Tokens replaced by a new one."),
        (ENDED, "Sessions ended, by reason."),
        (EXPIRED, "Sessions that reached a timeout, where the store reports it."),
        (REFUSED, "Requests refused, by reason."),
        (OFFERED, "Sessions whose browser was asked to bind them to its device."),
        (BOUND, "Sessions bound to a device."),
        (PROVED, "Proofs by the devices of bound sessions."),
        (REUSED, "Uses of replaced tokens after their grace."),
        (SLIDES_FAILED, "Uses of sessions that the store could not record."),
        (MISSED, "Events that a listener missed because it was too slow."),
    ] {
        describe_counter!(name, text);
    }
    describe_gauge!(ACTIVE, "Sessions in the store when they were last counted.");
    describe_histogram!(
        kvolt_cache::STORE_SECONDS,
        Unit::Seconds,
        "How long the store took to answer."
    );
}

/// Counts an event.
pub(super) fn count(kind: EventKind) {
    let (name, label) = match kind {
        EventKind::Created { anonymous } => {
            (CREATED, Some(("anonymous", if anonymous { "true" } else { "false" })))
        }
        EventKind::Impersonated => (IMPERSONATED, None),
        EventKind::Reauthenticated { .. } => return,
        EventKind::Rotated => (ROTATED, None),
        EventKind::Ended { reason } => (ENDED, Some(("reason", reason.name()))),
        EventKind::Expired => (EXPIRED, None),
        EventKind::Refused { reason } => (REFUSED, Some(("reason", reason.name()))),
        EventKind::Reused => (REUSED, None),
        EventKind::DeviceBound => (BOUND, None),
        EventKind::DeviceProved => (PROVED, None),
    };
    counter!(name, &label).increment(1);
}
