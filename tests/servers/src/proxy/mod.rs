//! A proxy that injects network faults.

mod commands;
mod connection;
mod counts;

use std::collections::HashMap;
use std::fmt;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use counts::Counts;

use crate::failure::{During, OrPanic};
use crate::{Failure, ports, wait};
use counts::Counters;

/// A TCP proxy in front of a server that injects network faults on demand.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    /// Accepts connections; `None` while the proxy is cut.
    acceptor: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    server: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
    counters: Counters,
}

#[derive(Default)]
struct State {
    mode: Mode,
    delay: Duration,
    next: u64,
    /// Target port of new connections, if it is not the server's.
    redirected_to: Option<u16>,
    /// The sockets of every open connection, used to close it.
    open: HashMap<u64, Vec<TcpStream>>,
}

/// How the proxy handles traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Mode {
    #[default]
    Forwarding,
    /// Holds both directions.
    Blackhole,
    /// Forwards requests and holds replies.
    RepliesHeld,
    /// Closes all connections and accepts none.
    Cut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

impl Proxy {
    /// Starts a proxy for a server on this port of 127.0.0.1.
    ///
    /// # Panics
    ///
    /// Panics if no port is free.
    #[track_caller]
    pub fn to(port: u16) -> Self {
        Self::try_to(port).or_panic()
    }

    fn try_to(server: u16) -> Result<Self, Failure> {
        let shared = Arc::new(Shared {
            server: (Ipv4Addr::LOCALHOST, server).into(),
            state: Mutex::default(),
            changed: Condvar::new(),
            counters: Counters::default(),
        });
        ports::start_on_free(|port| {
            let acceptor = Some(accept_on(port, &shared)?).into();
            Ok(Self { port, shared: Arc::clone(&shared), acceptor })
        })
    }

    /// Returns the proxy's port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the server's URL with the proxy's port.
    ///
    /// # Panics
    ///
    /// Panics if the URL does not contain the address of the server behind this proxy.
    #[track_caller]
    pub fn url(&self, of_server: &str) -> String {
        let server = self.shared.server.to_string();
        assert!(of_server.contains(&server), "{of_server} is not a URL of {server}");
        of_server.replacen(&server, &format!("127.0.0.1:{}", self.port), 1)
    }

    /// Directs new connections to another port of 127.0.0.1, as a DNS name with a changed
    /// address would. Open connections stay connected.
    pub fn lead_to(&self, port: u16) {
        self.shared.state().redirected_to = Some(port);
    }

    /// Closes all connections and refuses new ones, as if the server were down.
    pub fn cut(&self) {
        self.shared.set_mode(Mode::Cut);
        self.stop_accepting();
    }

    /// Closes all connections; clients can reconnect.
    pub fn drop_connections(&self) {
        self.shared.close_all(&mut self.shared.state());
    }

    /// Accepts connections and keeps them open, but forwards nothing, like an unplugged
    /// cable. Data sent meanwhile arrives after [`restore`](Self::restore).
    #[track_caller]
    pub fn blackhole(&self) {
        self.accept_again(Mode::Blackhole).or_panic();
    }

    /// Forwards requests and holds replies: the server executes requests, but no client
    /// receives an answer.
    #[track_caller]
    pub fn hold_replies(&self) {
        self.accept_again(Mode::RepliesHeld).or_panic();
    }

    /// Adds this delay to each direction, starting with the next byte.
    pub fn delay(&self, one_way: Duration) {
        self.shared.state().delay = one_way;
    }

    /// Forwards all traffic again, without delay.
    #[track_caller]
    pub fn restore(&self) {
        self.delay(Duration::ZERO);
        self.accept_again(Mode::Forwarding).or_panic();
    }

    /// Returns the traffic so far; subtract two results to measure a call.
    pub fn counts(&self) -> Counts {
        self.shared.counters.read()
    }

    /// Returns the number of open connections.
    pub fn connections(&self) -> usize {
        self.shared.state().open.len()
    }

    fn accept_again(&self, mode: Mode) -> Result<(), Failure> {
        let mut acceptor = self.acceptor.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.set_mode(mode);
        if acceptor.is_none() {
            *acceptor = Some(wait::until("the proxy's port", || restart_acceptor(self))?);
        }
        Ok(())
    }

    fn stop_accepting(&self) {
        let mut acceptor = self.acceptor.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(acceptor) = acceptor.take() else { return };
        // Wakes the acceptor, which checks the mode after each connection.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        let _ = acceptor.join();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("port", &self.port)
            .field("server", &self.shared.server)
            .field("mode", &self.shared.state().mode)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_mode(&self, mode: Mode) {
        let mut state = self.state();
        state.mode = mode;
        if mode == Mode::Cut {
            self.close_all(&mut state);
        }
        drop(state);
        self.changed.notify_all();
    }

    fn close_all(&self, state: &mut State) {
        for stream in state.open.drain().flat_map(|(_, streams)| streams) {
            // The other side may have closed it already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.changed.notify_all();
    }
}

fn restart_acceptor(proxy: &Proxy) -> Result<JoinHandle<()>, Failure> {
    // Not fatal: a closing connection may still hold the port.
    accept_on(proxy.port, &proxy.shared).map_err(|failure| Failure::new(failure.to_string()))
}

fn accept_on(port: u16, shared: &Arc<Shared>) -> Result<JoinHandle<()>, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .during("the proxy can't listen on its port")
        .map_err(|failure| Failure::port_taken(failure.to_string()))?;
    let shared = Arc::clone(shared);
    Ok(thread::spawn(move || {
        for client in listener.incoming() {
            if shared.state().mode == Mode::Cut {
                return;
            }
            // Ignore a client that disconnected before it was accepted.
            let Ok(client) = client else { continue };
            let shared = Arc::clone(&shared);
            thread::spawn(move || connection::serve(&shared, client));
        }
    }))
}
