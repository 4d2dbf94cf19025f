use std::ops::Sub;
use std::sync::atomic::{AtomicU64, Ordering};

/// Traffic that passed through a [`Proxy`](super::Proxy).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Connections opened by clients.
    pub connections: u64,
    /// Bytes sent from clients to the server.
    pub bytes_to_server: u64,
    /// Bytes sent from the server to clients.
    pub bytes_to_client: u64,
    /// Commands or statements sent by clients, in the protocol of Redis, PostgreSQL or
    /// MySQL, without TLS.
    pub commands: u64,
    /// Round trips: how often the server answered after a client sent something. Pipelined
    /// requests and their replies count as one round trip.
    pub round_trips: u64,
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            connections: self.connections - earlier.connections,
            bytes_to_server: self.bytes_to_server - earlier.bytes_to_server,
            bytes_to_client: self.bytes_to_client - earlier.bytes_to_client,
            commands: self.commands - earlier.commands,
            round_trips: self.round_trips - earlier.round_trips,
        }
    }
}

/// Updated before the bytes are forwarded, so that a client that has received a reply finds
/// it counted.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) connections: AtomicU64,
    pub(super) bytes_to_server: AtomicU64,
    pub(super) bytes_to_client: AtomicU64,
    pub(super) commands: AtomicU64,
    pub(super) round_trips: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> Counts {
        // Relaxed: the client's socket read orders these loads after the stores.
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            connections: read(&self.connections),
            bytes_to_server: read(&self.bytes_to_server),
            bytes_to_client: read(&self.bytes_to_client),
            commands: read(&self.commands),
            round_trips: read(&self.round_trips),
        }
    }
}
