//! How often somebody may try to sign in.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use kvolt::cache::memory::AtCapacity;
use kvolt::cache::{Cache, Clock, Error, MemoryStore, Timestamp};
use tokio::sync::Mutex;

/// Attempts count for this long.
const WINDOW: Duration = Duration::from_secs(5 * 60);

/// How many names and addresses are kept in mind; of more, those whose last attempt is the longest ago
/// are forgotten. Some 40 megabytes at the most.
const MAX_KEPT: usize = 100_000;

/// A whole office may have one address.
const PER_ADDRESS: usize = 10;

/// Counts the failed sign-ins of each name and of each address.
///
/// An attempt counts from its beginning, so that many at once are no way around it; one that
/// succeeds is taken back. Names that nobody has count too: the answer must not tell them apart.
pub(crate) struct Attempts {
    recent: Cache<Arc<[Timestamp]>>,
    per_name: usize,
    /// Held while attempts are counted.
    counting: Mutex<()>,
    clock: Clock,
}

/// An attempt that was let through. It counts as failed until it is taken back.
#[must_use = "an attempt counts as failed unless it is taken back"]
pub(crate) struct Attempt {
    name: String,
    address: Option<String>,
    at: Timestamp,
}

impl Attempts {
    pub(crate) fn new(per_name: NonZeroUsize, clock: Clock) -> Self {
        let store = MemoryStore::builder()
            .max_entries(MAX_KEPT)
            .at_capacity(AtCapacity::EvictNearestEnd)
            .clock(clock.clone())
            .build();
        let recent = Cache::new(store, WINDOW);
        Self { recent, per_name: per_name.get(), counting: Mutex::new(()), clock }
    }

    /// Begins an attempt, or says after how long one may be made.
    pub(crate) async fn begin(
        &self,
        name: &str,
        address: Option<IpAddr>,
    ) -> Result<Attempt, Duration> {
        let begun = self.count(name, address).await;
        // A store in memory that makes room does not fail; what can't be counted is not let through.
        begun.unwrap_or_else(|error| {
            tracing::error!(%error, "sign-ins can't be counted");
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
        let of_address = address.iter().map(|address| (address, self.per_name * PER_ADDRESS));
        let mut counted = Vec::new();
        for (who, most) in [(&name, self.per_name)].into_iter().chain(of_address) {
            let mut recent = self.recent(who, at).await?;
            if recent.len() >= most {
                let free = recent[recent.len() - most].saturating_add(WINDOW);
                return Ok(Err(free.since(at)));
            }
            recent.push(at);
            counted.push((who, recent));
        }
        for (who, recent) in counted {
            self.recent.set(who, recent.into()).await?;
        }
        Ok(Ok(Attempt { name, address, at }))
    }

    /// The attempt was no failure: its name begins anew, and its address has one attempt less.
    pub(crate) async fn succeeded(&self, attempt: Attempt) {
        if let Err(error) = self.take_back(attempt).await {
            tracing::error!(%error, "a sign-in stays counted as failed");
        }
    }

    async fn take_back(&self, attempt: Attempt) -> Result<(), Error> {
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

    async fn recent(&self, who: &str, now: Timestamp) -> Result<Vec<Timestamp>, Error> {
        let kept = self.recent.get(who).await?.unwrap_or_default();
        Ok(kept.iter().copied().filter(|at| now.since(*at) < WINDOW).collect())
    }
}

/// What one customer of a provider has: an address, or a network of IPv6 addresses to choose from.
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
    async fn a_name_may_fail_so_often_and_again_once_the_first_failure_is_long_ago() {
        let (attempts, clock) = attempts(3);
        for _ in 0..3 {
            let _ = attempts.begin("ada", HERE).await.ok().unwrap();
            clock.advance(Duration::from_secs(60));
        }
        let wait = attempts.begin("ada", HERE).await.err().unwrap();
        assert_eq!(wait, Duration::from_secs(2 * 60));
        assert!(attempts.begin("bob", HERE).await.is_ok(), "others are not held up");
        clock.advance(wait);
        assert!(attempts.begin("ada", HERE).await.is_ok());
        assert!(attempts.begin("ada", HERE).await.is_err(), "one at a time");
    }

    #[tokio::test]
    async fn one_that_succeeds_frees_its_name_and_only_itself_of_the_address() {
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
