//! Which store sessions are kept in, by URL.

use std::fmt;
use std::str::FromStr;

use kvolt::cache::codec::{Encrypted, EncryptionKeys};
use kvolt::cache::{
    AnyStore, ChangeFeed, Codec, Encoded, Error, MemoryStore, NearCache, Result as StoreResult,
    Store,
};
use kvolt::redis::RedisStore;
use kvolt::session::{Record, RecordJson};
use kvolt::sql::{MySqlStore, PostgresStore, SqliteStore};

use crate::options::Options;
use crate::users::User;

/// How many sessions this process holds at most: some 400 megabytes.
const MAX_SESSIONS: usize = 1_000_000;

/// Where sessions are kept. A URL may hold a password, so it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum StoreUrl {
    Memory,
    Redis(String),
    Postgres(String),
    MySql(String),
    Sqlite(String),
}

/// Opens the store of the options, with the near cache and the encryption of the options around it.
pub(crate) async fn open(options: &Options) -> StoreResult<AnyStore<Record<User>>> {
    let namespace = || {
        options.namespace.as_deref().ok_or_else(|| {
            Error::misconfigured(format!(
                "--store {}: needs --namespace, a name of this deployment's own such as `shop`: \
                 applications that share a server must not share sessions",
                options.store.scheme()
            ))
        })
    };
    match &options.store {
        StoreUrl::Memory => memory(options),
        StoreUrl::Redis(url) => near(options, RedisStore::open(url.as_str(), namespace()?).await?),
        StoreUrl::Postgres(url) => near(options, PostgresStore::open(url, namespace()?).await?),
        StoreUrl::MySql(_) if options.near_cache.is_some() => Err(Error::misconfigured(
            "--near-cache needs a store that pushes its changes: redis://, postgres:// or sqlite:",
        )),
        StoreUrl::MySql(url) => {
            let store = MySqlStore::open(url, namespace()?).await?;
            Ok(AnyStore::new(Encoded::new(store, codec(options))))
        }
        StoreUrl::Sqlite(url) => near(options, SqliteStore::open(url, namespace()?).await?),
    }
}

/// Sessions in this process's memory need no near cache, and are not encrypted.
fn memory(options: &Options) -> StoreResult<AnyStore<Record<User>>> {
    if options.namespace.is_some() {
        return Err(Error::misconfigured(
            "--namespace is for a store that others may share: memory: is this process's own",
        ));
    }
    if options.near_cache.is_some() {
        return Err(Error::misconfigured(
            "--near-cache is for a remote store: memory: is as near as it gets",
        ));
    }
    if !options.encryption_keys.is_empty() {
        return Err(Error::misconfigured("--encryption-key is for a store other than memory:"));
    }
    Ok(AnyStore::new(MemoryStore::builder().max_entries(MAX_SESSIONS).build()))
}

/// A store that pushes its changes, so that open connections end at once when their session does
/// on another instance, whether or not copies are kept.
///
/// What listening costs is in the application's README.
fn near(
    options: &Options,
    store: impl Store<Vec<u8>> + ChangeFeed,
) -> StoreResult<AnyStore<Record<User>>> {
    let builder = NearCache::builder(Encoded::new(store, codec(options)));
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

/// What can be written after --store.
const STORES: &str = "memory:, redis://, rediss://, postgres://, mysql:// and sqlite:PATH";

impl StoreUrl {
    /// How its URL begins.
    fn scheme(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis(_) => "redis",
            Self::Postgres(_) => "postgres",
            Self::MySql(_) => "mysql",
            Self::Sqlite(_) => "sqlite",
        }
    }
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = url.split_once(':') else {
            return Err(format!("a store is written as a URL; there are {STORES}"));
        };
        let whole = || url.to_owned();
        match scheme {
            "memory" if rest.is_empty() => Ok(Self::Memory),
            "memory" => Err(String::from("memory: takes nothing after the colon")),
            "redis" | "rediss" | "unix" | "redis+sentinel" | "rediss+sentinel"
            | "redis+cluster" | "rediss+cluster" => Ok(Self::Redis(whole())),
            "postgres" | "postgresql" => Ok(Self::Postgres(whole())),
            "mysql" | "mariadb" => Ok(Self::MySql(whole())),
            "sqlite" => Ok(Self::Sqlite(whole())),
            _ => Err(format!("there is no such store; there are {STORES}")),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Redis(_) => "Redis",
            Self::Postgres(_) => "PostgreSQL",
            Self::MySql(_) => "MySQL",
            Self::Sqlite(_) => "SQLite",
        })
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_stores_that_exist() {
        assert_eq!("memory:".parse(), Ok(StoreUrl::Memory));
        for url in ["memcached://localhost", "", "memory", "memory:x"] {
            let error = url.parse::<StoreUrl>().unwrap_err();
            assert!(error.contains("memory:"), "{url}: {error}");
        }
    }

    #[test]
    fn a_password_in_a_url_does_not_show() {
        for url in ["redis://:secret@localhost", "postgres://ada:secret@localhost/db"] {
            let url: StoreUrl = url.parse().unwrap();
            assert!(!format!("{url} {url:?}").contains("secret"));
        }
    }
}
