use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::trust::Trust;
use crate::{Error, Listener, Push, Result};

const TARGET: &str = "kvolt::near";

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Below this, no store could keep up.
const BOUND_MIN: Duration = Duration::from_millis(10);

/// Who listens to a store, and knows up to when it has heard everything.
pub(super) trait Hears: Listener + 'static {
    type Store: Push;
    /// For the log.
    const WHO: &'static str;
    /// For the log: what comes of hearing nothing.
    const WHEN_DEAF: &'static str;

    fn store(&self) -> &Self::Store;

    fn trust(&self) -> &Trust;

    /// Nothing is heard any more.
    fn deafen(&self);
}

/// The task that listens to the store, until it is dropped.
#[derive(Debug)]
pub(super) struct Listening(Option<JoinHandle<()>>);

impl Listening {
    /// Listens, unless the bound is zero.
    pub(super) fn start<L: Hears>(listener: &Arc<L>) -> Result<Self> {
        let bound = listener.trust().bound();
        if bound.is_zero() {
            return Ok(Self(None));
        }
        if bound < BOUND_MIN {
            return Err(Error::misconfigured(format!(
                "the bound of the {} ({bound:?}) is neither zero nor 10 ms or more",
                L::WHO
            )));
        }
        let runtime = Handle::try_current().map_err(|source| {
            Error::misconfigured(format!(
                "a {} is made inside of a Tokio runtime, where it listens",
                L::WHO
            ))
            .with_source(source)
        })?;
        Ok(Self(Some(runtime.spawn(listen(Deafens(Arc::clone(listener)))))))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// However the task ends, nothing is heard after it: whoever still waits for a change is woken.
struct Deafens<L: Hears>(Arc<L>);

impl<L: Hears> Drop for Deafens<L> {
    fn drop(&mut self) {
        self.0.deafen();
    }
}

async fn listen<L: Hears>(listener: Deafens<L>) {
    let listener = &*listener.0;
    let mut pause = PAUSE_MIN;
    loop {
        let failed = watch(listener).await;
        let heard = !listener.trust().is_deaf();
        listener.deafen();
        // Once for an outage, and not at every attempt.
        if heard || pause == PAUSE_MIN {
            let error: &(dyn std::error::Error + 'static) = &failed;
            tracing::warn!(target: TARGET, error, "the {} does not hear from the store: {}", L::WHO, L::WHEN_DEAF);
        }
        pause = if heard { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
        sleep(pause).await;
    }
}

/// Listens until the store fails, or has said nothing for so long that it must have.
async fn watch<L: Hears>(listener: &L) -> Error {
    let bound = listener.trust().bound();
    let silence_max = (bound * 3).max(Duration::from_secs(3));
    let mut watching = pin!(listener.store().watch(bound / 5, listener));
    let mut heard_at = listener.now();
    let mut was_deaf = true;
    loop {
        tokio::select! {
            failed = &mut watching => return failed,
            () = sleep(bound / 2) => {}
        }
        let now = listener.now();
        if listener.trust().since(now).is_some() {
            heard_at = now;
            if was_deaf {
                tracing::info!(target: TARGET, ?bound, "the {} hears from the store", L::WHO);
            }
            was_deaf = false;
        }
        if now.since(heard_at) > silence_max {
            return Error::unavailable(format!("nothing was heard for {silence_max:?}"));
        }
    }
}
