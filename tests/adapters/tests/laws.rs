//! Every law over HTTP, on every adapter and every store.

mod axum {
    mod memory {
        use kvolt_adapters::{axum, stores};
        kvolt_testkit::http_suite!(axum::start(stores::memory().await).await, without[damage]);
    }

    mod redis {
        use kvolt_adapters::{axum, stores};
        kvolt_testkit::http_suite!(
            {
                let Some(backend) = stores::redis().await else { return };
                axum::start(backend).await
            },
            without[advance]
        );
    }

    mod sqlite {
        use kvolt_adapters::{axum, stores};
        kvolt_testkit::http_suite!(axum::start(stores::sqlite().await).await, without[advance]);
    }
}
