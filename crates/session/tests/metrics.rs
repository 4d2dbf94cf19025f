//! The metrics, by the `metrics` facade.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![cfg(feature = "metrics")]

mod support;

use std::collections::BTreeMap;

use kvolt_cache::STORE_SECONDS;
use kvolt_session::{AnonymousSessions, OwnerLimit, Token};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use pollster::block_on;
use support::{GRACE, World, ada, owner, rotated, world_with};

/// The recorded values by name and labels; for a histogram, the number of values.
fn recorded(run: impl FnOnce()) -> BTreeMap<String, f64> {
    let recorder = DebuggingRecorder::new();
    metrics::with_local_recorder(&recorder, run);
    let all = recorder.snapshotter().snapshot().into_vec().into_iter();
    all.map(|(key, _, _, value)| {
        let key = key.key();
        let labels = key.labels().map(|label| format!(" {}={}", label.key(), label.value()));
        let mut labels: Vec<_> = labels.collect();
        labels.sort();
        let value = match value {
            DebugValue::Counter(count) => count as f64,
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Histogram(times) => times.len() as f64,
        };
        (format!("{}{}", key.name(), labels.concat()), value)
    })
    .collect()
}

fn world() -> World {
    let limit = OwnerLimit::refuse(2);
    world_with(|builder| {
        let builder = builder.rotation_grace(GRACE).owner_limit(limit);
        builder.anonymous(AnonymousSessions::new(10))
    })
}

#[test]
fn sessions_are_counted_with_their_reasons() {
    let recorded = recorded(|| {
        block_on(async {
            let world = world();
            let manager = &world.manager;
            let visitor = manager.create_anonymous(String::new()).await.unwrap();
            let one = manager.login(Some(&visitor), ada()).await.unwrap();
            let two = manager.create(ada()).await.unwrap();
            assert!(manager.create(ada()).await.is_err());
            let three = world.rotate(&one).await;
            world.time.advance(GRACE * 2);
            assert!(manager.get(&one).await.unwrap().is_none());
            assert!(manager.get(&Token::parse("A".repeat(48)).unwrap()).await.unwrap().is_none());
            let four = manager.reauthenticate(&three, kvolt_session::Level::Two).await.unwrap();
            let four = rotated(four);
            assert_eq!(manager.count().await.unwrap(), 2);
            assert!(manager.logout(&two).await.unwrap());
            assert!(manager.revoke(four.id()).await.unwrap());
        });
    });
    let expected = [
        ("kvolt_sessions_created_total anonymous=true", 1.0),
        ("kvolt_sessions_created_total anonymous=false", 2.0),
        ("kvolt_sessions_rotated_total", 2.0),
        ("kvolt_sessions_ended_total reason=new_login", 1.0),
        ("kvolt_sessions_ended_total reason=logout", 1.0),
        ("kvolt_sessions_ended_total reason=revoked", 1.0),
        ("kvolt_requests_refused_total reason=limit", 1.0),
        ("kvolt_requests_refused_total reason=reuse", 1.0),
        ("kvolt_requests_refused_total reason=unknown", 1.0),
        ("kvolt_tokens_reused_total", 1.0),
        ("kvolt_sessions_active", 2.0),
    ];
    let counted: BTreeMap<_, _> =
        recorded.iter().filter(|(name, _)| !name.starts_with(STORE_SECONDS)).collect();
    for (name, value) in expected {
        assert_eq!(recorded.get(name), Some(&value), "{name}: {recorded:#?}");
    }
    assert_eq!(counted.len(), expected.len(), "and nothing else: {recorded:#?}");
}

#[test]
fn slow_calls_of_the_store_are_measured() {
    let recorded = recorded(|| {
        block_on(async {
            let world = world();
            let token = world.manager.create(ada()).await.unwrap();
            assert!(world.manager.get(&token).await.unwrap().is_some());
            world.faults.answers_at_once(false);
            for _ in 0..3 {
                assert!(world.manager.get(&token).await.unwrap().is_some());
            }
            assert!(world.manager.update(&token, |name| name.push('!')).await.unwrap().is_some());
            world.faults.fail_next(1);
            assert!(world.manager.get(&token).await.is_err());
        });
    });
    for (labels, times) in [
        ("operation=insert outcome=ok", 1.0),
        ("operation=get outcome=ok", 4.0),
        ("operation=replace outcome=ok", 1.0),
        ("operation=get outcome=error", 1.0),
    ] {
        let name = format!("{STORE_SECONDS} {labels}");
        assert_eq!(recorded.get(&name), Some(&times), "{recorded:#?}");
    }
}

#[test]
fn no_label_has_a_name_from_outside() {
    let recorded = recorded(|| {
        block_on(async {
            let world = world();
            let token = world.manager.create(ada()).await.unwrap();
            let _ = world.rotate(&token).await;
            world.manager.revoke_owner(&owner("ada")).await.unwrap();
        });
    });
    assert!(
        recorded.len() > 3 && recorded.keys().all(|name| !name.contains("ada")),
        "{recorded:?}"
    );
}
