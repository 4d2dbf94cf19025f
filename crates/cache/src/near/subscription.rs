//! The task that receives a store's changes.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::state::State;
use crate::{ChangeFeed, ChangeObserver, Error, Result};

const TARGET: &str = "kvolt::near";

const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The shortest bound that a store can keep up with.
const MIN_BOUND: Duration = Duration::from_millis(10);

/// The longest interval between two confirmations.
const MAX_INTERVAL: Duration = Duration::from_secs(60);

/// The shortest time without a confirmation after which the feed is restarted.
const MIN_SILENCE: Duration = Duration::from_secs(3);

/// The task that runs the store's change feed. Dropping this ends it.
#[derive(Debug)]
pub(super) struct SubscriptionTask(pub(super) Option<JoinHandle<()>>);

impl SubscriptionTask {
    /// Starts the task, unless the bound is zero.
    pub(super) fn start<V: Clone + Send + Sync + 'static>(
        store: &Arc<impl ChangeFeed>,
        state: &Arc<State<V>>,
    ) -> Result<Self> {
        let bound = state.feed.bound();
        if bound.is_zero() {
            return Ok(Self(None));
        }
        if bound < MIN_BOUND {
            return Err(Error::misconfigured(format!(
                "a near cache with a bound of {bound:?}: use zero, or 10 ms or more"
            )));
        }
        let runtime = Handle::try_current().map_err(|source| {
            Error::misconfigured("a near cache must be built inside of a Tokio runtime")
                .with_source(source)
        })?;
        let guard = DisconnectOnDrop(Arc::clone(state));
        let store = Arc::clone(store);
        Ok(Self(Some(runtime.spawn(async move { subscribe(&*store, &guard.0).await }))))
    }
}

impl Drop for SubscriptionTask {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// However the task ends, no copy is used after it, and every waiting task is notified.
struct DisconnectOnDrop<V: Clone + Send + Sync + 'static>(Arc<State<V>>);

impl<V: Clone + Send + Sync + 'static> Drop for DisconnectOnDrop<V> {
    fn drop(&mut self) {
        self.0.disconnect();
    }
}

/// Runs the feed, and restarts it after a pause whenever it has failed.
async fn subscribe<V: Clone + Send + Sync + 'static>(store: &impl ChangeFeed, state: &State<V>) {
    let mut pause = MIN_PAUSE;
    loop {
        let failed = run_feed(store, state).await;
        let was_connected = !state.feed.is_disconnected();
        state.disconnect();
        // Once for each outage, and not at every attempt.
        if was_connected || pause == MIN_PAUSE {
            let error: &(dyn std::error::Error + 'static) = &failed;
            tracing::warn!(target: TARGET, error, "near cache lost its change feed; reads go to the store");
        }
        pause = if was_connected { MIN_PAUSE } else { (pause * 2).min(MAX_PAUSE) };
        sleep(pause).await;
    }
}

/// Runs the feed until it fails, or confirms nothing for so long that it must have failed.
async fn run_feed<V: Clone + Send + Sync + 'static>(
    store: &impl ChangeFeed,
    state: &State<V>,
) -> Error {
    let bound = state.feed.bound();
    let interval = (bound / 5).min(MAX_INTERVAL);
    let max_silence = (interval * 15).max(MIN_SILENCE);
    let mut feed = pin!(store.run(interval, state));
    let mut confirmed_at = state.now();
    let mut is_connected = false;
    loop {
        tokio::select! {
            failed = &mut feed => return failed,
            () = sleep(interval * 2) => {}
        }
        let now = state.now();
        if state.feed.store_time(now).is_some() {
            confirmed_at = now;
            if !is_connected {
                tracing::info!(target: TARGET, ?bound, "near cache receives the store's changes");
            }
            is_connected = true;
        }
        if now.since(confirmed_at) > max_silence {
            return Error::unavailable(format!("no notification for {max_silence:?}"));
        }
    }
}
