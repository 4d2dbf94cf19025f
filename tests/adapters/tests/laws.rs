//! Every law over HTTP, on every adapter and every store.

macro_rules! laws_of {
    ($adapter:ident) => {
        mod $adapter {
            mod memory {
                use kvolt_adapters::{stores, $adapter};
                // Values in memory are not encoded: none can be unreadable.
                kvolt_testkit::http_suite!(
                    $adapter::start(stores::memory().await).await,
                    without[damage]
                );
            }

            mod redis {
                use kvolt_adapters::{stores, $adapter};
                // The server's clock can't be moved.
                kvolt_testkit::http_suite!(
                    {
                        let Some(backend) = stores::redis().await else { return };
                        $adapter::start(backend).await
                    },
                    without[advance]
                );
            }

            mod sqlite {
                use kvolt_adapters::{stores, $adapter};
                // The database's clock can't be moved.
                kvolt_testkit::http_suite!(
                    $adapter::start(stores::sqlite().await).await,
                    without[advance]
                );
            }
        }
    };
}

laws_of!(actix);
laws_of!(axum);
