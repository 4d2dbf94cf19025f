//! Opens the store that the options name, with their near cache and encryption around it.

use kvolt::cache::{AnyStore, Error, MemoryStore, Result};
use kvolt::session::Record;

use crate::options::{Options, StoreKind};
use crate::users::User;

/// The maximum number of sessions in memory: about 400 megabytes.
const MAX_SESSIONS: usize = 1_000_000;

pub(crate) async fn open(options: &Options) -> Result<AnyStore<Record<User>>> {
    let url = &options.store;
    let scheme = url.kind.scheme();
    match url.kind {
        StoreKind::Memory => memory(options),
        #[cfg(feature = "sqlite")]
        StoreKind::Sqlite => {
            let store =
                kvolt::sql::SqliteStore::open(&url.url, remote::namespace(options)?).await?;
            remote::with_near_cache(options, store)
        }
        #[cfg(feature = "redis")]
        StoreKind::Redis => {
            let store =
                kvolt::redis::RedisStore::open(url.url.as_str(), remote::namespace(options)?)
                    .await?;
            remote::with_near_cache(options, store)
        }
        #[cfg(feature = "postgres")]
        StoreKind::Postgres => {
            let store =
                kvolt::sql::PostgresStore::open(&url.url, remote::namespace(options)?).await?;
            remote::with_near_cache(options, store)
        }
        #[cfg(feature = "mysql")]
        StoreKind::MySql => {
            if options.near_cache.is_some() {
                return Err(Error::misconfigured(
                    "--near-cache needs a store that pushes its changes: redis://, postgres:// or sqlite:",
                ));
            }
            let store = kvolt::sql::MySqlStore::open(&url.url, remote::namespace(options)?).await?;
            Ok(AnyStore::new(remote::encoded(options, store)))
        }
        // Reached only without one of the features.
        #[allow(unreachable_patterns)]
        kind => Err(Error::misconfigured(format!(
            "this build does not support {kind}: run `cargo run --features {scheme} -- --store {scheme}:…`, \
             or use `--features all-stores` for every store"
        ))),
    }
}

fn memory(options: &Options) -> Result<AnyStore<Record<User>>> {
    for (is_set, message) in [
        (options.namespace.is_some(), "--namespace is for a shared store: memory: is not shared"),
        (options.near_cache.is_some(), "--near-cache is for a remote store, not for memory:"),
        (!options.encryption_keys.is_empty(), "--encryption-key is for a store other than memory:"),
    ] {
        if is_set {
            return Err(Error::misconfigured(message));
        }
    }
    Ok(AnyStore::new(MemoryStore::builder().max_entries(MAX_SESSIONS).build()))
}

/// Stores outside of this process, which contain bytes.
#[cfg(any(feature = "sqlite", feature = "redis", feature = "postgres", feature = "mysql"))]
mod remote {
    use kvolt::cache::codec::{Encrypted, EncryptionKeys};
    #[cfg(any(feature = "sqlite", feature = "redis", feature = "postgres"))]
    use kvolt::cache::{AnyStore, ChangeFeed, NearCache};
    use kvolt::cache::{Codec, Encoded, Error, Result, Store};
    use kvolt::session::{Record, RecordJson};

    use crate::options::Options;
    use crate::users::User;

    pub(super) fn namespace(options: &Options) -> Result<&str> {
        options.namespace.as_deref().ok_or_else(|| {
            Error::misconfigured(format!(
                "--store {}: needs --namespace, a name of this deployment such as `shop`: \
                 applications on one server must not share sessions",
                options.store.kind.scheme()
            ))
        })
    }

    pub(super) fn encoded<S: Store<Vec<u8>>>(
        options: &Options,
        store: S,
    ) -> Encoded<Record<User>, S, Box<dyn Codec<Record<User>>>> {
        Encoded::new(store, codec(options))
    }

    /// Receives the store's changes even without `--near-cache`, so that an open connection ends
    /// as soon as its session ends on another instance. The README lists what this costs.
    #[cfg(any(feature = "sqlite", feature = "redis", feature = "postgres"))]
    pub(super) fn with_near_cache(
        options: &Options,
        store: impl Store<Vec<u8>> + ChangeFeed,
    ) -> Result<AnyStore<Record<User>>> {
        let builder = NearCache::builder(encoded(options, store));
        let builder = match options.near_cache {
            Some(bound) => builder.bound(bound),
            None => builder.max_copies(0),
        };
        Ok(AnyStore::new(builder.build()?))
    }

    fn codec(options: &Options) -> Box<dyn Codec<Record<User>>> {
        let mut keys = options.encryption_keys.iter().cloned();
        let Some(first) = keys.next() else {
            return Box::new(RecordJson::new());
        };
        let keys = keys.fold(EncryptionKeys::new(first), EncryptionKeys::also_opening);
        Box::new(Encrypted::new(RecordJson::new(), keys))
    }
}

#[cfg(all(test, not(feature = "redis")))]
mod tests {
    use clap::Parser;

    use super::*;

    #[tokio::test]
    async fn a_store_that_is_not_built_names_the_command() {
        let options = Options::parse_from(["kvolt-app", "--store", "redis://localhost"]);
        let error = open(&options).await.err().unwrap().to_string();
        assert!(error.contains("cargo run --features redis -- --store redis:"), "{error}");
    }
}
