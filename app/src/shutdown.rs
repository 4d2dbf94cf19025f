//! Graceful shutdown.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::{Listener, ListenerExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Requests in progress get this long at shutdown.
const GRACE: Duration = Duration::from_secs(10);

/// Notifies tasks of the shutdown, and waits for them.
#[derive(Debug, Clone)]
pub(crate) struct Shutdown {
    requested: watch::Receiver<bool>,
    /// Has a receiver for each connection that closes itself.
    open: Arc<watch::Sender<()>>,
}

/// Held by an upgraded connection, which closes itself at shutdown: the program waits for it.
pub(crate) struct OpenConnection(
    #[expect(dead_code, reason = "the sender counts it until it is dropped")] watch::Receiver<()>,
);

impl Shutdown {
    /// On SIGINT (Ctrl-C) or SIGTERM.
    pub(crate) fn on_signals() -> std::io::Result<Self> {
        let (request, requested) = watch::channel(false);
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            tracing::info!("shutting down: no new requests are accepted");
            request.send_replace(true);
            // Receivers would take a dropped sender for an error.
            request.closed().await;
        });
        Ok(Self { requested, open: Arc::new(watch::Sender::new(())) })
    }

    /// Waits for the signal.
    pub(crate) fn requested(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut requested = self.requested.clone();
        async move {
            let _ = requested.wait_for(|requested| *requested).await;
        }
    }

    /// Makes the program wait until the connection is dropped.
    pub(crate) fn open(&self) -> OpenConnection {
        OpenConnection(self.open.subscribe())
    }
}

/// Serves until the signal, and until the requests in progress are answered.
pub(crate) async fn serve(
    listener: impl Listener<Addr = SocketAddr>,
    router: Router,
    shutdown: Shutdown,
) -> Result<(), String> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    // axum gives the address of the peer for its own listeners, of which `TapIo` is one.
    let serving =
        axum::serve(listener.tap_io(|_| {}), service).with_graceful_shutdown(shutdown.requested());
    let late = async {
        shutdown.requested().await;
        tokio::time::sleep(GRACE).await;
    };
    let served = async {
        serving.await.map_err(|error| error.to_string())?;
        shutdown.open.closed().await;
        Ok(())
    };
    tokio::select! {
        served = served => served,
        () = late => {
            tracing::warn!("some requests were not answered within {GRACE:?}");
            Ok(())
        }
    }
}
