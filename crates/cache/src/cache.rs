use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::{
    AfterRead, AnyStore, Error, Expiry, Freshness, InsertOutcome, Key, NewEntry, RemoveOutcome,
    ReplaceOutcome, Result, Store,
};

/// A plain cache with names as keys and one time to live, on any [`Store`].
///
/// A value ends its time to live after it was set; reading does not prolong it. A value that can't
/// be decoded, because its type has changed, counts as missing and is overwritten. Cloning a cache
/// is cheap; all clones are one cache.
///
/// ```
/// use std::time::Duration;
/// use kvolt_cache::{Cache, MemoryStore};
///
/// # pollster::block_on(async {
/// let rates = Cache::new(MemoryStore::new(), Duration::from_secs(60));
/// rates.set("EUR", 1.09).await?;
/// assert_eq!(rates.get("EUR").await?, Some(1.09));
///
/// // Computed once, also if many tasks ask for a missing value at the same time:
/// let rate = rates.get_or_insert_with("CHF", async || Ok::<_, kvolt_cache::Error>(1.12)).await?;
/// assert_eq!(rate, 1.12);
///
/// rates.clear().await?;
/// assert_eq!(rates.get("EUR").await?, None);
/// # Ok::<(), kvolt_cache::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Cache<V> {
    store: AnyStore<V>,
    expiry: Expiry,
    flights: Arc<Mutex<Flights>>,
}

/// The computations in progress. The call that computes a value holds its lock, and other calls for
/// the same name wait for it.
type Flights = HashMap<Key, Weak<tokio::sync::Mutex<()>>>;

impl<V: Clone + Send + Sync + 'static> Cache<V> {
    /// A cache in a store. Its values live for `time_to_live`.
    pub fn new(store: impl Store<V>, time_to_live: Duration) -> Self {
        Self {
            store: AnyStore::new(store),
            expiry: Expiry::after(time_to_live),
            flights: Arc::default(),
        }
    }

    /// Returns the value of a name; `None` if there is none.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable
    /// ([`is_unavailable`](crate::Error::is_unavailable)).
    pub async fn get(&self, name: &str) -> Result<Option<V>> {
        self.get_key(&Key::of(name)).await
    }

    /// Sets the value of a name, and replaces an earlier one.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable
    /// ([`is_unavailable`](crate::Error::is_unavailable)) or full
    /// ([`is_full`](crate::Error::is_full)), or if the value is too large
    /// ([`is_too_large`](crate::Error::is_too_large)).
    pub async fn set(&self, name: &str, value: V) -> Result<()> {
        self.set_key(Key::of(name), value).await
    }

    /// Removes the value of a name. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable
    /// ([`is_unavailable`](crate::Error::is_unavailable)).
    pub async fn remove(&self, name: &str) -> Result<bool> {
        let key = Key::of(name);
        Ok(self.store.remove((&key).into(), None).await? == RemoveOutcome::Removed)
    }

    /// Removes every value in the store.
    ///
    /// # Errors
    ///
    /// Returns an error if the store is unavailable
    /// ([`is_unavailable`](crate::Error::is_unavailable)).
    pub async fn clear(&self) -> Result<()> {
        self.store.clear().await
    }

    /// Returns the value of a name; computes and sets it if it is missing.
    ///
    /// Of all calls in this process for one name, one computes and the others wait. If its
    /// computation fails, that call returns the error and the next one computes. The same happens
    /// if its future is dropped. Two servers on one store may each compute once.
    ///
    /// # Errors
    ///
    /// Returns the error of `compute`. Returns an error if the store is unavailable
    /// ([`is_unavailable`](crate::Error::is_unavailable)) or full
    /// ([`is_full`](crate::Error::is_full)), or if the value is too large
    /// ([`is_too_large`](crate::Error::is_too_large)).
    pub async fn get_or_insert_with<F, E>(
        &self,
        name: &str,
        compute: impl FnOnce() -> F,
    ) -> Result<V, E>
    where
        F: Future<Output = Result<V, E>>,
        E: From<Error>,
    {
        let key = Key::of(name);
        if let Some(value) = self.get_key(&key).await? {
            return Ok(value);
        }
        let flight = self.flight(key);
        let _computing = flight.lock().await;
        if let Some(value) = self.get_key(&key).await? {
            return Ok(value);
        }
        let value = compute().await?;
        self.set_key(key, value.clone()).await?;
        Ok(value)
    }

    /// Reads a value. One that can't be decoded counts as missing.
    async fn get_key(&self, key: &Key) -> Result<Option<V>> {
        let mut value = None;
        let ready = self.store.get_ready(key, Freshness::Bounded, &mut |entry| {
            value = Some(entry.value.clone());
            AfterRead::Keep
        });
        let found = match ready {
            Some(found) => found.map(|found| value.filter(|_| found)),
            None => {
                let entry = self.store.get(key, Freshness::Bounded).await;
                entry.map(|entry| entry.map(|entry| entry.value))
            }
        };
        found.or_else(|error| if error.is_corrupt() { Ok(None) } else { Err(error) })
    }

    async fn set_key(&self, key: Key, value: V) -> Result<()> {
        loop {
            let entry = NewEntry::new(value.clone(), self.expiry);
            if matches!(self.store.insert(key, entry).await?, InsertOutcome::Inserted { .. }) {
                return Ok(());
            }
            // Another value exists: this one takes its place.
            let overwritten = async {
                let Some(current) = self.store.get(&key, Freshness::Strict).await? else {
                    return Ok::<_, Error>(false);
                };
                let (seen, expiry) = (current.version, Some(self.expiry));
                let replaced = self.store.replace((&key).into(), seen, value.clone(), expiry);
                Ok(matches!(replaced.await?, ReplaceOutcome::Replaced(_)))
            };
            match overwritten.await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) if error.is_corrupt() => {
                    let _ = self.store.remove((&key).into(), None).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn flight(&self, key: Key) -> Arc<tokio::sync::Mutex<()>> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&key).and_then(Weak::upgrade) {
            return flight;
        }
        // The locks of finished computations are dropped whenever their number has doubled.
        if flights.len() >= 64 && flights.len().is_power_of_two() {
            flights.retain(|_, flight| flight.strong_count() > 0);
        }
        let flight = Arc::default();
        flights.insert(key, Arc::downgrade(&flight));
        flight
    }
}

impl<V> fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("expiry", &self.expiry).finish_non_exhaustive()
    }
}
