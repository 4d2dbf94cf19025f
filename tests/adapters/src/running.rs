use std::net::SocketAddr;
use std::time::Duration;

use kvolt_testkit::http::Application;

use crate::Backend;

/// A running application. Dropping it stops the server.
#[derive(Debug)]
pub struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) backend: Backend,
    pub(crate) _server: Box<dyn std::any::Any>,
}

impl Application for Running {
    fn address(&self) -> SocketAddr {
        self.address
    }

    async fn advance(&self, by: Duration) -> bool {
        self.backend.advance(by)
    }

    async fn fail_store(&self, fail: bool) -> bool {
        self.backend.faults.fail_all(fail);
        true
    }

    async fn damage(&self, id: &str) -> bool {
        self.backend.damage(id).await
    }
}
