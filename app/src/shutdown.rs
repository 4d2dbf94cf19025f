//! Ending in good order.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How long requests under way may take once the end was asked for.
const GRACE: Duration = Duration::from_secs(10);

/// Knows when the program was asked to end.
#[derive(Debug, Clone)]
pub(crate) struct Shutdown {
    asked: watch::Receiver<bool>,
    /// Has a receiver for each connection that is to say goodbye itself.
    open: Arc<watch::Sender<()>>,
}

/// Held by a connection that is no request any more, and ends by itself when that is asked for.
pub(crate) struct Open(#[expect(dead_code, reason = "it is there or not")] watch::Receiver<()>);

impl Shutdown {
    /// Asked by SIGINT (Ctrl-C) and SIGTERM.
    pub(crate) fn on_signals() -> std::io::Result<Self> {
        let (ask, asked) = watch::channel(false);
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            tracing::info!("ending: no new requests are taken");
            ask.send_replace(true);
            // Kept until the end, so that it never looks closed.
            ask.closed().await;
        });
        Ok(Self { asked, open: Arc::new(watch::Sender::new(())) })
    }

    /// Waits until the end was asked for.
    pub(crate) fn asked(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut asked = self.asked.clone();
        async move {
            let _ = asked.wait_for(|asked| *asked).await;
        }
    }

    /// Has the program wait for a connection to end.
    pub(crate) fn open(&self) -> Open {
        Open(self.open.subscribe())
    }
}

/// Serves until the end is asked for and the requests under way are answered.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: Shutdown,
) -> Result<(), String> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(shutdown.asked());
    let late = async {
        shutdown.asked().await;
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
            tracing::warn!("some requests were not answered in {GRACE:?}");
            Ok(())
        }
    }
}
