//! The plain cache.
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![cfg(not(kvolt_shuttle))]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kvolt_cache::{
    Cache, Codec, Encoded, Error, Expiry, InsertOutcome, Key, ManualClock, MemoryStore, NewEntry,
    Result, Store,
};
use tokio::sync::Notify;

const TTL: Duration = Duration::from_secs(60);

fn cache() -> (ManualClock, Cache<u32>) {
    let time = ManualClock::new();
    let cache = Cache::new(MemoryStore::builder().clock(time.clock()).build(), TTL);
    (time, cache)
}

#[tokio::test]
async fn reading_does_not_prolong_a_value() {
    let (time, cache) = cache();
    cache.set("a", 1).await.unwrap();
    time.advance(TTL / 2);
    assert_eq!(cache.get("a").await.unwrap(), Some(1));
    cache.set("b", 2).await.unwrap();
    time.advance(TTL / 2);
    assert_eq!((cache.get("a").await.unwrap(), cache.get("b").await.unwrap()), (None, Some(2)));
    cache.set("b", 3).await.unwrap();
    time.advance(TTL - Duration::from_millis(1));
    assert_eq!(cache.get("b").await.unwrap(), Some(3), "setting starts its time again");
    cache.clear().await.unwrap();
    assert_eq!(cache.get("b").await.unwrap(), None);
    assert!(!cache.remove("b").await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn missing_value_is_computed_once() {
    let (_, cache) = cache();
    let computed = Arc::new(AtomicUsize::new(0));
    let asking = (0..100).map(|_| {
        let (cache, computed) = (cache.clone(), Arc::clone(&computed));
        tokio::spawn(async move {
            let compute = async || {
                tokio::task::yield_now().await;
                Ok::<_, Error>(computed.fetch_add(1, Ordering::SeqCst) as u32 + 40)
            };
            cache.get_or_insert_with("a", compute).await.unwrap()
        })
    });
    for asked in asking.collect::<Vec<_>>() {
        assert_eq!(asked.await.unwrap(), 40);
    }
    assert_eq!(computed.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn failed_or_cancelled_computation_blocks_no_other() {
    let (_, cache) = cache();
    let failed = cache.get_or_insert_with("a", async || Err(Error::unavailable("no"))).await;
    assert!(failed.unwrap_err().is_unavailable());

    let started = Arc::new(Notify::new());
    let endless = tokio::spawn({
        let (cache, started) = (cache.clone(), Arc::clone(&started));
        async move {
            let compute = async || {
                started.notify_one();
                std::future::pending::<Result<u32>>().await
            };
            cache.get_or_insert_with("a", compute).await
        }
    });
    started.notified().await;
    let waiting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_insert_with("a", async || Ok::<_, Error>(7)).await }
    });
    // Another name does not wait for it.
    assert_eq!(cache.get_or_insert_with("b", async || Ok::<_, Error>(8)).await.unwrap(), 8);
    endless.abort();
    assert_eq!(waiting.await.unwrap().unwrap(), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_sets_leave_one_of_the_values() {
    let (_, cache) = cache();
    let setting = (1..=50).map(|value| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.set("a", value).await })
    });
    for set in setting.collect::<Vec<_>>() {
        set.await.unwrap().unwrap();
    }
    assert!(cache.get("a").await.unwrap().is_some_and(|value| (1..=50).contains(&value)));
}

/// Decimal digits. Anything else can't be decoded.
#[derive(Debug)]
struct Digits;

impl Codec<u32> for Digits {
    fn encode(&self, _: &Key, value: &u32) -> Result<Vec<u8>> {
        Ok(value.to_string().into_bytes())
    }

    fn decode(&self, key: &Key, bytes: &[u8]) -> Result<u32> {
        let digits = std::str::from_utf8(bytes).ok().and_then(|digits| digits.parse().ok());
        digits.ok_or_else(|| Error::corrupt(*key, "not digits"))
    }
}

#[tokio::test]
async fn value_of_another_type_counts_as_missing() {
    let bytes = MemoryStore::<Vec<u8>>::new();
    let cache = Cache::new(Encoded::new(bytes.clone(), Digits), TTL);
    for name in ["a", "b", "c", "d"] {
        let old = NewEntry::new(b"of an older program".to_vec(), Expiry::after(TTL));
        let inserted = bytes.insert(Key::of(name), old).await.unwrap();
        assert!(matches!(inserted, InsertOutcome::Inserted { .. }));
    }
    assert_eq!(cache.get("a").await.unwrap(), None);
    cache.set("a", 1).await.unwrap();
    assert_eq!(cache.get("a").await.unwrap(), Some(1));
    let computed = cache.get_or_insert_with("b", async || Ok::<_, Error>(2)).await;
    assert_eq!((computed.unwrap(), cache.get("b").await.unwrap()), (2, Some(2)));
    assert!(cache.remove("c").await.unwrap());
    assert_eq!(bytes.len(), 3);
    let (one, other) = tokio::join!(cache.set("d", 4), cache.set("d", 5));
    one.and(other).unwrap();
    assert!(cache.get("d").await.unwrap().is_some());
}

#[tokio::test]
async fn longest_time_to_live_is_kept() {
    let cache = Cache::new(MemoryStore::new(), Duration::MAX);
    cache.set("a", 1).await.unwrap();
    cache.set("a", 2).await.unwrap();
    assert_eq!(cache.get("a").await.unwrap(), Some(2));
}
