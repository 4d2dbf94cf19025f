//! Limits failed sign-ins.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use kvolt::cache::memory::AtCapacity;
use kvolt::cache::{Cache, Clock, Error, MemoryStore, Timestamp};
use tokio::sync::Mutex;

/// An attempt counts for this long.
const WINDOW: Duration = Duration::from_secs(5 * 60);

/// The maximum number of names and addresses in memory, about 40 megabytes. Above it, those with
/// the oldest last attempt are dropped.
const MAX_KEPT: usize = 100_000;

/// An address may fail this many times as often as a name: an office may share one address.
const ADDRESS_FACTOR: usize = 10;

/// Counts the failed sign-ins of each name and each address.
///
/// An attempt counts when it starts, so that parallel attempts do not evade the limit; a successful
/// one is subtracted. Unknown names count too: the answer must not reveal which names exist.
pub(crate) struct Attempts {
    recent: Cache<Arc<[Timestamp]>>,
    max_per_name: usize,
    /// Locked while attempts are counted.
    counting: Mutex<()>,
    clock: Clock,
}

/// An attempt in progress. It counts as failed until it is subtracted.
#[must_use = "an attempt counts as failed until `succeeded` subtracts it"]
pub(crate) struct Attempt {
    name: String,
    address: Option<String>,
    at: Timestamp,
    is_last: bool,
}

impl Attempt {
    /// Whether the next attempt of this name or address is locked out if this one fails.
    pub(crate) fn is_last(&self) -> bool {
        self.is_last
    }
}

impl Attempts {
    pub(crate) fn new(max_per_name: NonZeroUsize, clock: Clock) -> Self {
        let store = MemoryStore::builder()
            .max_entries(MAX_KEPT)
            .at_capacity(AtCapacity::EvictNearestEnd)
            .clock(clock.clone())
            .build();
        let recent = Cache::new(store, WINDOW);
        Self { recent, max_per_name: max_per_name.get(), counting: Mutex::new(()), clock }
    }

    /// Starts an attempt; if it is locked out, the error is the time until the next one may start.
    pub(crate) async fn begin(
        &self,
        name: &str,
        address: Option<IpAddr>,
    ) -> Result<Attempt, Duration> {
        let counted = self.count(name, address).await;
        // A memory store that evicts does not fail. If it did, refuse the attempt.
        counted.unwrap_or_else(|error| {
            tracing::error!(%error, "could not count a sign-in: it is refused");
            Err(WINDOW)
        })
    }

    async fn count(
        &self,
        name: &str,
        address: Option<IpAddr>,
    ) -> Result<Result<Attempt, Duration>, Error> {
        let name = format!("name {name}");
        let address = address.map(|address| format!("address {}", network(address)));
        let _counting = self.counting.lock().await;
        let at = self.clock.now();
        let of_address =
            address.iter().map(|address| (address, self.max_per_name * ADDRESS_FACTOR));
        let mut counted = Vec::new();
        let mut is_last = false;
        for (subject, max) in [(&name, self.max_per_name)].into_iter().chain(of_address) {
            let mut recent = self.recent(subject, at).await?;
            if recent.len() >= max {
                let free = recent[recent.len() - max].saturating_add(WINDOW);
                return Ok(Err(free.since(at)));
            }
            recent.push(at);
            is_last |= recent.len() == max;
            counted.push((subject, recent));
        }
        for (subject, recent) in counted {
            self.recent.set(subject, recent.into()).await?;
        }
        Ok(Ok(Attempt { name, address, at, is_last }))
    }

    /// Resets the count of the attempt's name, and subtracts the attempt from its address.
    pub(crate) async fn succeeded(&self, attempt: Attempt) {
        if let Err(error) = self.subtract(attempt).await {
            tracing::error!(%error, "could not subtract a successful sign-in: it counts as failed");
        }
    }

    async fn subtract(&self, attempt: Attempt) -> Result<(), Error> {
        let _counting = self.counting.lock().await;
        self.recent.remove(&attempt.name).await?;
        if let Some(address) = &attempt.address {
            let mut recent = self.recent(address, self.clock.now()).await?;
            if let Some(place) = recent.iter().position(|at| *at == attempt.at) {
                recent.remove(place);
                self.recent.set(address, recent.into()).await?;
            }
        }
        Ok(())
    }

    async fn recent(&self, subject: &str, now: Timestamp) -> Result<Vec<Timestamp>, Error> {
        let kept = self.recent.get(subject).await?.unwrap_or_default();
        Ok(kept.iter().copied().filter(|at| now.since(*at) < WINDOW).collect())
    }
}

/// The address, or its IPv6 network of 64 bits: a customer of a provider has all its addresses.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use kvolt::cache::ManualClock;

    use super::*;

    const HERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    fn attempts(per_name: usize) -> (Attempts, ManualClock) {
        let clock = ManualClock::new();
        (Attempts::new(NonZeroUsize::new(per_name).unwrap(), clock.clock()), clock)
    }

    #[tokio::test]
    async fn a_name_is_locked_out_until_its_first_failure_expires() {
        let (attempts, clock) = attempts(3);
        for round in 0..3 {
            let attempt = attempts.begin("ada", HERE).await.ok().unwrap();
            assert_eq!(attempt.is_last(), round == 2);
            clock.advance(Duration::from_secs(60));
        }
        let wait = attempts.begin("ada", HERE).await.err().unwrap();
        assert_eq!(wait, Duration::from_secs(2 * 60));
        assert!(attempts.begin("bob", HERE).await.is_ok(), "other names are not locked out");
        clock.advance(wait);
        assert!(attempts.begin("ada", HERE).await.is_ok());
        assert!(attempts.begin("ada", HERE).await.is_err(), "one at a time");
    }

    #[tokio::test]
    async fn a_success_resets_the_name_and_is_subtracted_from_the_address() {
        let (attempts, _clock) = attempts(1);
        for number in 0..9 {
            let _ = attempts.begin(&format!("name {number}"), HERE).await.ok().unwrap();
        }
        for _ in 0..5 {
            let attempt = attempts.begin("ada", HERE).await.ok().unwrap();
            assert!(attempts.begin("bob", HERE).await.is_err(), "the address is full");
            attempts.succeeded(attempt).await;
        }
        assert!(attempts.begin("bob", HERE).await.is_ok());
    }

    #[test]
    fn a_network_of_ipv6_addresses_counts_as_one() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(network("192.0.2.1"), "192.0.2.1");
    }
}
