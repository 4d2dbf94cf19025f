//! For tests: sessions that began earlier, and events as they happen.

use std::time::Duration;

use kvolt_cache::{Expiry, Freshness};

use super::token_status::TokenStatus;
use super::{Manager, report_expired};
use crate::testing::RecordedEvents;
use crate::{Error, Result, Token};

impl<T: Send + Sync + 'static> Manager<T> {
    /// Makes a session older, as if everything had happened that much earlier: its creation, each
    /// proof of identity, each rotation, the last proof of its device. Only its last use is now. No
    /// clock is moved, so a test can do it on every store. `false` if the session does not exist.
    ///
    /// ```
    /// use std::time::Duration;
    /// use kvolt_cache::MemoryStore;
    /// use kvolt_session::{Manager, StepUp};
    ///
    /// # pollster::block_on(async {
    /// let manager = Manager::<String>::new(MemoryStore::new());
    /// let token = manager.create(String::from("Ada")).await?;
    /// let minute = Duration::from_secs(60);
    /// assert!(manager.make_older(&token, 20 * minute).await?);
    ///
    /// let session = manager.get(&token).await?.expect("it lives for 12 hours");
    /// let now = manager.clock().now();
    /// assert!(session.meets(&StepUp::within(30 * minute), now));
    /// assert!(!session.meets(&StepUp::within(10 * minute), now));
    /// # Ok::<(), kvolt_session::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`rotate`](Self::rotate), and an error if the session would have
    /// reached its lifetime ([`Error::is_misconfigured`]).
    pub async fn make_older(&self, token: &Token, by: Duration) -> Result<bool> {
        let accepts = TokenStatus::is_accepted;
        let Some((token, session)) = self.session_of(token, Freshness::Strict, accepts).await?
        else {
            return Ok(false);
        };
        let older = self.change(&token, session, |session, status, _| {
            if !status.is_accepted() {
                return Ok(None);
            }
            let mut content = session.content().clone();
            let envelope = &mut content.envelope;
            envelope.created = envelope.created.saturating_sub(by);
            envelope.ends = envelope.ends.saturating_sub(by);
            envelope.proved.make_older(by);
            envelope.rotated = envelope.rotated.map(|rotated| rotated.saturating_sub(by));
            envelope.edit_rare(|rare| {
                for previous in &mut rare.previous {
                    previous.until = previous.until.saturating_sub(by);
                    previous.proved.make_older(by);
                }
                rare.quiet_until = rare.quiet_until.map(|until| until.saturating_sub(by));
                rare.device_binding.iter_mut().for_each(|device| device.make_older(by));
            });
            let left = envelope.ends.since(self.clock().now());
            if left.is_zero() {
                return Err(Error::misconfigured("a session that old has reached its lifetime"));
            }
            let idle = self.0.policy.timeouts_of(envelope).idle;
            Ok(Some((content, Some(Expiry::idle_within(idle, left)))))
        });
        Ok(older.await?.is_some())
    }

    pub(crate) fn record_events(&self, recorded: RecordedEvents) {
        let has_listeners = self.0.reporter.has_listeners();
        self.0.reporter.record(recorded);
        if !has_listeners {
            report_expired(&self.0.store, &self.0.reporter);
        }
    }
}
