use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::Inner;
use crate::{ChangeFeed, ChangeObserver, Error, Result, Store};

const TARGET: &str = "kvolt::near";

const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Below this, no store could keep up.
const MIN_BOUND: Duration = Duration::from_millis(10);

/// The longest interval in which the store is asked whether it still notifies.
const MAX_INTERVAL: Duration = Duration::from_secs(60);

/// The shortest silence after which the store is taken to have failed.
const MIN_SILENCE: Duration = Duration::from_secs(3);

/// The task that listens to the store, until it is dropped.
#[derive(Debug)]
pub(super) struct Listening(pub(super) Option<JoinHandle<()>>);

impl Listening {
    /// Listens, unless the bound is zero.
    pub(super) fn start<V, S>(inner: &Arc<Inner<V, S>>) -> Result<Self>
    where
        V: Clone + Send + Sync + 'static,
        S: Store<V> + ChangeFeed,
    {
        let bound = inner.trust.bound();
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
        Ok(Self(Some(runtime.spawn(listen(Deafens(Arc::clone(inner)))))))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// However the task ends, no copy is used after it and every waiting task is notified.
struct Deafens<V, S>(Arc<Inner<V, S>>)
where
    V: Clone + Send + Sync + 'static;

impl<V, S> Drop for Deafens<V, S>
where
    V: Clone + Send + Sync + 'static,
{
    fn drop(&mut self) {
        self.0.deafen();
    }
}

async fn listen<V, S>(inner: Deafens<V, S>)
where
    V: Clone + Send + Sync + 'static,
    S: Store<V> + ChangeFeed,
{
    let inner = &*inner.0;
    let mut pause = MIN_PAUSE;
    loop {
        let failed = watch(inner).await;
        let has_heard = !inner.trust.is_deaf();
        inner.deafen();
        // Once for an outage, and not at every attempt.
        if has_heard || pause == MIN_PAUSE {
            let error: &(dyn std::error::Error + 'static) = &failed;
            tracing::warn!(target: TARGET, error, "lost the store's notifications of changes: every read asks the store");
        }
        pause = if has_heard { MIN_PAUSE } else { (pause * 2).min(MAX_PAUSE) };
        sleep(pause).await;
    }
}

/// Listens until the store fails, or was silent for so long that it must have.
async fn watch<V, S>(inner: &Inner<V, S>) -> Error
where
    V: Clone + Send + Sync + 'static,
    S: Store<V> + ChangeFeed,
{
    let bound = inner.trust.bound();
    let interval = (bound / 5).min(MAX_INTERVAL);
    let max_silence = (interval * 15).max(MIN_SILENCE);
    let mut watching = pin!(inner.store.run(interval, inner));
    let mut heard_at = inner.now();
    let mut was_deaf = true;
    loop {
        tokio::select! {
            failed = &mut watching => return failed,
            () = sleep(interval * 2) => {}
        }
        let now = inner.now();
        if inner.trust.store_time(now).is_some() {
            heard_at = now;
            if was_deaf {
                tracing::info!(target: TARGET, ?bound, "receives the store's notifications of changes");
            }
            was_deaf = false;
        }
        if now.since(heard_at) > max_silence {
            return Error::unavailable(format!("no notification for {max_silence:?}"));
        }
    }
}
