//! One connection through the proxy.

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

/// How many pieces may be on their way in one direction.
const MAX_PIECES: usize = 64;

const MAX_PIECE_BYTES: usize = 64 * 1024;

/// Bytes, and when they arrive.
type Piece = (Instant, Vec<u8>);

/// Serves a client until one of the sides closes the connection.
pub(super) fn serve(shared: &Shared, client: TcpStream) {
    shared.counters.connections.fetch_add(1, Ordering::Relaxed);
    let Some(id) = shared.register(&client) else { return };
    if let Some(server) = shared.connect(id) {
        pass(shared, id, &client, &server);
    }
    shared.forget(id);
}

/// Passes bytes both ways until both sides have closed.
fn pass(shared: &Shared, id: u64, client: &TcpStream, server: &TcpStream) {
    let client_spoke = AtomicBool::new(false);
    let spoke = &client_spoke;
    let way = |from, to, direction| {
        // Two threads for each way: the time on the way must not keep the next piece waiting.
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
    // An error is an end like any other: the writer closes the other side.
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
        if !shared.wait_for_passage(id, direction) || to.write_all(&bytes).is_err() {
            // A peer that still sends in this direction gets an error.
            shared.close(id);
            return;
        }
    }
    // The end of one side's data is passed on like the data.
    if shared.wait_for_passage(id, direction) {
        let _ = to.shutdown(Shutdown::Write);
    }
}

impl Shared {
    /// Registers a connection, so that it can be cut; `None` if it was cut already.
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

    /// Connects to the server, once anything passes to it.
    fn connect(&self, id: u64) -> Option<TcpStream> {
        if !self.wait_for_passage(id, Direction::ToServer) {
            return None;
        }
        let elsewhere = self.state().elsewhere;
        let mut server = self.server;
        server.set_port(elsewhere.unwrap_or(server.port()));
        let server = TcpStream::connect(server).ok()?;
        server.set_nodelay(true).ok()?;
        let shared = server.try_clone().ok()?;
        // Gone if the connection was cut meanwhile.
        self.state().open.get_mut(&id)?.push(shared);
        Some(server)
    }

    /// Waits while nothing passes in this direction; `false` once the connection is cut.
    fn wait_for_passage(&self, id: u64, direction: Direction) -> bool {
        let mut state = self.state();
        while state.open.contains_key(&id) {
            let held = match state.mode {
                Mode::Passing | Mode::Cut => false,
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

    fn forget(&self, id: u64) {
        self.close(id);
        self.state().open.remove(&id);
    }
}
