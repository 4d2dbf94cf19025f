//! Each law fails on an application with a fault that an adapter, or what is around it, can have.

mod faults;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use ::axum::Router;
use ::axum::extract::Request;
use ::axum::middleware::{Next, from_fn};
use faults::{Before, FAULTS, Fault, NONE};
use kvolt_adapters::{Running, axum, stores};
use kvolt_testkit::http::{Application, check_law, check_laws, laws};

/// The application with a fault.
struct Broken(Running, &'static Fault);

impl Broken {
    async fn start(fault: &'static Fault) -> Self {
        let around = move |mut request: Request, next: Next| async move {
            let path = request.uri().path().to_owned();
            let headers = request.headers().clone();
            let before = Before { method: request.method().clone(), path, headers };
            (fault.request)(&mut request);
            let mut response = next.run(request).await;
            (fault.response)(&before, &mut response);
            response
        };
        // Around the router, so that a request can go to another route.
        let alter = |router| Router::new().fallback_service(router).layer(from_fn(around));
        Self(axum::start_altered(stores::encoded_memory().await, alter).await, fault)
    }
}

impl Application for Broken {
    fn address(&self) -> SocketAddr {
        self.0.address()
    }

    async fn advance(&self, by: Duration) -> bool {
        self.0.advance(by * self.1.time).await
    }

    async fn fail_store(&self, fail: bool) -> bool {
        self.1.hooks_do_nothing || self.0.fail_store(fail).await
    }

    async fn damage(&self, id: &str) -> bool {
        self.1.hooks_do_nothing || self.0.damage(id).await
    }
}

#[tokio::test]
async fn each_law_finds_a_fault() {
    let mut found = BTreeSet::new();
    let mut missed = Vec::new();
    for fault in FAULTS {
        for law in fault.breaks {
            let report = check_law(law, &Broken::start(fault).await).await;
            assert_eq!(report.not_checked, []);
            if report.broken.is_empty() {
                missed.push((fault.name, law));
            }
            found.insert(*law);
        }
    }
    assert_eq!(missed, []);
    let never_failed: Vec<_> = laws().into_iter().filter(|law| !found.contains(law)).collect();
    assert_eq!(never_failed, <[&str; 0]>::default());
}

/// Without a fault, the same application breaks no law: the faults are what the laws find.
#[tokio::test]
async fn application_without_a_fault_breaks_no_law() {
    let report = check_laws(async || Broken::start(&NONE).await).await;
    assert_eq!((report.broken, report.not_checked), (vec![], vec![]));
}
