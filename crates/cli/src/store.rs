//! Opening a store of bytes.

use std::time::Duration;

use kvolt::cache::{AnyStore, Entry, Key, Namespace, Result};
use tokio::task::JoinSet;

use crate::args::{NamespaceArgs, StoreArgs};
use crate::failure::{Failure, failed, usage};
use crate::url::{Kind, StoreUrl};

/// A store of bytes, and what its own type can do beyond the contract of a store.
pub(crate) struct Opened {
    pub(crate) bytes: AnyStore<Vec<u8>>,
    /// Writes many entries at once.
    pub(crate) restores: Option<Box<dyn Restore>>,
    #[cfg(feature = "redis")]
    pub(crate) redis: Option<kvolt::RedisStore>,
}

/// A store that writes many entries at once.
pub(crate) trait Restore: Send {
    /// Starts to write the entries in the place of those with the same keys.
    fn restore(&self, entries: Vec<Entry<Vec<u8>>>, tasks: &mut JoinSet<Result<()>>);
}

/// The reason to open a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To read it and to end sessions: it must exist, and nothing is created.
    Operate,
    /// To fill it: files and tables are created.
    Fill,
}

/// Opens the store that the command line names.
pub(crate) async fn open(args: &StoreArgs) -> std::result::Result<(StoreUrl, Opened), Failure> {
    let url = StoreUrl::parse(&args.store)?;
    url.warn();
    let opened = open_url(&url, &args.namespace, Purpose::Operate).await?;
    Ok((url, opened))
}

pub(crate) async fn open_url(
    url: &StoreUrl,
    args: &NamespaceArgs,
    purpose: Purpose,
) -> std::result::Result<Opened, Failure> {
    namespace(args)?;
    let opened: Result<Opened> = match url.kind {
        #[cfg(feature = "redis")]
        Kind::Redis => redis(url, args).await,
        #[cfg(feature = "postgres")]
        Kind::Postgres => {
            let builder = kvolt::PostgresStore::builder(&url.url, &args.namespace);
            sql(url, args.timeout, purpose, builder).await
        }
        #[cfg(feature = "mysql")]
        Kind::MySql => {
            let builder = kvolt::MySqlStore::builder(&url.url, &args.namespace);
            sql(url, args.timeout, purpose, builder).await
        }
        #[cfg(feature = "sqlite")]
        Kind::Sqlite => {
            use kvolt::sql::Synchronous;
            if purpose == Purpose::Operate && !url.path().exists() {
                return Err(failed(format!("the file {} does not exist", url.path().display())));
            }
            let mut builder = kvolt::SqliteStore::builder(&url.url, &args.namespace);
            if url.settings.is_synchronous_normal {
                builder = builder.synchronous(Synchronous::Normal);
            }
            if let Some(bytes) = url.settings.max_file_size {
                builder = builder.max_file_size(bytes);
            }
            sql(url, args.timeout, purpose, builder).await
        }
        #[cfg(not(all(
            feature = "redis",
            feature = "postgres",
            feature = "mysql",
            feature = "sqlite"
        )))]
        kind => return Err(not_built(kind)),
    };
    opened.map_err(|error| failed(format!("{}: {error}", url.shown())))
}

/// The namespace, checked.
pub(crate) fn namespace(args: &NamespaceArgs) -> std::result::Result<Namespace, Failure> {
    Namespace::new(&args.namespace).map_err(|error| usage(error.to_string()))
}

/// The failure for a store that this program was built without.
pub(crate) fn not_built(kind: Kind) -> Failure {
    usage(format!("this program was built without its feature `{}`", kind.name()))
}

#[cfg(feature = "redis")]
async fn redis(url: &StoreUrl, args: &NamespaceArgs) -> Result<Opened> {
    let settings = &url.settings;
    let mut builder = kvolt::RedisStore::builder(&url.url, &args.namespace).timeout(args.timeout);
    if let Some((user, password)) = &url.credentials {
        builder = builder.credentials(user.as_deref(), password);
    }
    if let Some(password) = &settings.sentinel_password {
        builder = builder.sentinel_credentials(settings.sentinel_user.as_deref(), &password.0);
    }
    if let Some(path) = &settings.ca_file {
        builder = builder.ca_file(path);
    }
    if let Some((certificate, key)) =
        settings.client_certificate.as_ref().zip(settings.client_key.as_ref())
    {
        builder = builder.client_certificate(certificate, key);
    }
    if settings.accepts_any_certificate {
        builder = builder.insecure_accept_any_certificate();
    }
    if let Some((replicas, timeout)) = settings.replicas(args.timeout) {
        builder = builder.wait_replicas(replicas, timeout);
    }
    let store = builder.open().await?;
    Ok(Opened { bytes: AnyStore::new(store.clone()), restores: None, redis: Some(store) })
}

#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
async fn sql<D: kvolt::sql::Dialect>(
    url: &StoreUrl,
    timeout: Duration,
    purpose: Purpose,
    builder: kvolt::sql::SqlStoreBuilder<D>,
) -> Result<Opened> {
    // The application cleans, and an operator's command should not.
    let mut builder = builder.timeout(timeout).clean_every(None);
    builder = builder.migrate(purpose == Purpose::Fill && !url.settings.keeps_schema);
    if let Some(count) = url.settings.max_connections {
        builder = builder.max_connections(count);
    }
    let store = builder.open().await?;
    Ok(Opened {
        bytes: AnyStore::new(store.clone()),
        restores: Some(Box::new(store)),
        #[cfg(feature = "redis")]
        redis: None,
    })
}

#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
impl<D: kvolt::sql::Dialect> Restore for kvolt::sql::SqlStore<D> {
    fn restore(&self, entries: Vec<Entry<Vec<u8>>>, tasks: &mut JoinSet<Result<()>>) {
        let store = self.clone();
        tasks.spawn(async move { store.restore(entries).await });
    }
}

/// The mark of a copy, in its target. No token leads to it.
pub(crate) fn copy_mark() -> Key {
    Key::of("kvolt copy")
}
