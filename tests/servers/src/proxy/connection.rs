//! A single connection through the proxy.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use super::commands::Commands;
use super::{Direction, Mode, Shared};
use crate::wait;

/// Maximum number of pieces in transit in one direction.
const MAX_PIECES: usize = 64;

const MAX_PIECE_BYTES: usize = 64 * 1024;

/// Bytes and their arrival time.
type Piece = (Instant, Vec<u8>);

/// Serves a client until either side closes the connection.
pub(super) fn serve(shared: &Shared, client: TcpStream) {
    shared.counters.connections.fetch_add(1, Ordering::Relaxed);
    let Some(id) = shared.register(&client) else { return };
    if let Some(server) = shared.connect(id) {
        forward(shared, id, &client, &server);
    }
    shared.deregister(id);
}

/// Forwards bytes in both directions until both sides have finished sending.
fn forward(shared: &Shared, id: u64, client: &TcpStream, server: &TcpStream) {
    let client_spoke = AtomicBool::new(false);
    let spoke = &client_spoke;
    let way = |from, to, direction| {
        // Two threads per direction: the delay of one piece must not delay the next.
        let (sender, receiver) = sync_channel(MAX_PIECES);
        (
            move || read(shared, from, direction, spoke, &sender),
            move || write(shared, id, to, direction, &receiver),
        )
    };
    let (read_client, write_server) = way(client, server, Direction::ToServer);
    let (read_server, write_client) = way(server, client, Direction::ToClient);
    thread::scope(|scope| {
        scope.spawn(read_client);
        scope.spawn(write_server);
        scope.spawn(read_server);
        write_client();
    });
}

fn read(
    shared: &Shared,
    mut from: &TcpStream,
    direction: Direction,
    client_spoke: &AtomicBool,
    to: &SyncSender<Piece>,
) {
    let mut buffer = vec![0; MAX_PIECE_BYTES];
    let mut commands = Commands::default();
    // An error counts as the end of the stream: the writer closes the other side.
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if direction == Direction::ToServer {
            let commands = commands.count(&buffer[..length]);
            shared.counters.commands.fetch_add(commands, Ordering::Relaxed);
        }
        shared.count(direction, length, client_spoke);
        let arrives = wait::now() + shared.state().delay;
        if to.send((arrives, buffer[..length].to_vec())).is_err() {
            break;
        }
    }
}

fn write(
    shared: &Shared,
    id: u64,
    mut to: &TcpStream,
    direction: Direction,
    from: &Receiver<Piece>,
) {
    for (arrives, bytes) in from {
        thread::sleep(arrives.saturating_duration_since(wait::now()));
        if !shared.wait_while_held(id, direction) || to.write_all(&bytes).is_err() {
            // Closes the connection, so that the sender notices.
            shared.close(id);
            return;
        }
    }
    // The end of a stream is forwarded like its bytes.
    if shared.wait_while_held(id, direction) {
        let _ = to.shutdown(Shutdown::Write);
    }
}

impl Shared {
    /// Registers a connection so that it can be closed; returns `None` if the proxy is
    /// already cut.
    fn register(&self, client: &TcpStream) -> Option<u64> {
        client.set_nodelay(true).ok()?;
        let client = client.try_clone().ok()?;
        let mut state = self.state();
        if state.mode == Mode::Cut {
            return None;
        }
        let id = state.next;
        state.next += 1;
        state.open.insert(id, vec![client]);
        Some(id)
    }

    /// Connects to the server, once the proxy forwards requests.
    fn connect(&self, id: u64) -> Option<TcpStream> {
        if !self.wait_while_held(id, Direction::ToServer) {
            return None;
        }
        let redirected_to = self.state().redirected_to;
        let mut server = self.server;
        server.set_port(redirected_to.unwrap_or(server.port()));
        let server = TcpStream::connect(server).ok()?;
        server.set_nodelay(true).ok()?;
        let shared = server.try_clone().ok()?;
        // The entry is missing if the connection was closed meanwhile.
        self.state().open.get_mut(&id)?.push(shared);
        Some(server)
    }

    /// Waits while the proxy holds this direction; returns `false` once the connection is
    /// closed.
    fn wait_while_held(&self, id: u64, direction: Direction) -> bool {
        let mut state = self.state();
        while state.open.contains_key(&id) {
            let held = match state.mode {
                Mode::Forwarding | Mode::Cut => false,
                Mode::Blackhole => true,
                Mode::RepliesHeld => direction == Direction::ToClient,
            };
            if !held {
                return true;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        false
    }

    fn count(&self, direction: Direction, length: usize, client_spoke: &AtomicBool) {
        let counters = &self.counters;
        let bytes = match direction {
            Direction::ToServer => &counters.bytes_to_server,
            Direction::ToClient => &counters.bytes_to_client,
        };
        bytes.fetch_add(length as u64, Ordering::Relaxed);
        let spoke = client_spoke.swap(direction == Direction::ToServer, Ordering::Relaxed);
        if spoke && direction == Direction::ToClient {
            counters.round_trips.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn close(&self, id: u64) {
        if let Some(streams) = self.state().open.get(&id) {
            for stream in streams {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    fn deregister(&self, id: u64) {
        self.close(id);
        self.state().open.remove(&id);
    }
}
