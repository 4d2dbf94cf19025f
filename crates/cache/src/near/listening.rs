use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::Inner;
use crate::{Error, Listener as _, Push, Result, Store};

const TARGET: &str = "kvolt::near";

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The task that listens to the store, until it is dropped.
#[derive(Debug)]
pub(super) struct Listening(Option<JoinHandle<()>>);

impl Listening {
    pub(super) fn start<V, S>(inner: &Arc<Inner<V, S>>) -> Result<Self>
    where
        V: Clone + Send + Sync + 'static,
        S: Store<V> + Push,
    {
        if inner.trust.bound().is_zero() {
            return Ok(Self(None));
        }
        let runtime = Handle::try_current().map_err(|source| {
            Error::misconfigured("a near cache is made inside of a Tokio runtime, where it listens")
                .with_source(source)
        })?;
        Ok(Self(Some(runtime.spawn(listen(Arc::clone(inner))))))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

async fn listen<V, S>(inner: Arc<Inner<V, S>>)
where
    V: Clone + Send + Sync + 'static,
    S: Store<V> + Push,
{
    let bound = inner.trust.bound();
    let mut pause = PAUSE_MIN;
    loop {
        let failed = watch(&inner, bound).await;
        let heard = !inner.trust.is_deaf();
        inner.trust.deafen();
        inner.all_changed();
        // Once for an outage, and not at every attempt.
        if heard || pause == PAUSE_MIN {
            let error: &(dyn std::error::Error + 'static) = &failed;
            tracing::warn!(target: TARGET, error, "the near cache does not hear from the store: every read asks it");
        }
        pause = if heard { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
        sleep(pause).await;
    }
}

/// Listens until the store fails, or has said nothing for so long that it must have.
async fn watch<V, S>(inner: &Inner<V, S>, bound: Duration) -> Error
where
    V: Clone + Send + Sync + 'static,
    S: Store<V> + Push,
{
    let silence_max = (bound * 3).max(Duration::from_secs(3));
    let mut watching = pin!(inner.store.watch(bound / 5, inner));
    let mut heard_at = inner.now();
    let mut was_deaf = true;
    loop {
        tokio::select! {
            failed = &mut watching => return failed,
            () = sleep(bound / 2) => {}
        }
        let now = inner.now();
        if inner.trust.since(now).is_some() {
            heard_at = now;
            if was_deaf {
                tracing::info!(target: TARGET, ?bound, "the near cache hears from the store");
            }
            was_deaf = false;
        }
        if now.since(heard_at) > silence_max {
            return Error::unavailable(format!("nothing was heard for {silence_max:?}"));
        }
    }
}
