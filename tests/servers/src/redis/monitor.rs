use std::fmt;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::Control;
use super::resp::Connection;
use crate::failure::OrPanic;
use crate::{Failure, ports, wait};

/// The commands that a server executes, recorded since
/// [`Redis::monitor`](super::Redis::monitor).
pub struct Monitor {
    control: Control,
    lines: Arc<Mutex<Vec<String>>>,
    socket: UnixStream,
    reader: Option<JoinHandle<()>>,
}

impl Monitor {
    pub(super) fn start(control: Control) -> Result<Self, Failure> {
        let mut connection = control.connect()?;
        connection.command(&["MONITOR"])?;
        connection.wait_forever()?;
        let socket = connection.socket()?;
        let lines = Arc::new(Mutex::default());
        let kept = Arc::clone(&lines);
        let reader = Some(thread::spawn(move || read(connection, &kept)));
        Ok(Self { control, lines, socket, reader })
    }

    /// Returns the commands executed so far, as `MONITOR` prints them. Excludes commands
    /// received over the Unix socket, which the harness itself uses.
    ///
    /// # Panics
    ///
    /// Panics if the server can't be reached.
    #[track_caller]
    pub fn lines(&self) -> Vec<String> {
        self.catch_up().or_panic();
        let is_own = |line: &String| line.contains(&self.control.mark());
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| !is_own(line)).cloned().collect()
    }

    /// Returns how many of the lines contain this text, ignoring case.
    ///
    /// # Panics
    ///
    /// Panics if the server can't be reached.
    #[track_caller]
    pub fn count(&self, part: &str) -> usize {
        let part = part.to_lowercase();
        self.lines().iter().filter(|line| line.to_lowercase().contains(&part)).count()
    }

    /// Discards the commands recorded so far.
    ///
    /// # Panics
    ///
    /// Panics if the server can't be reached.
    #[track_caller]
    pub fn clear(&self) {
        self.catch_up().or_panic();
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Waits until all commands executed so far were received: executes a marker command
    /// and waits for it.
    fn catch_up(&self) -> Result<(), Failure> {
        let mark = format!("monitored up to {:016x}", ports::random());
        self.control.cli(&["ECHO", &mark])?;
        wait::until("MONITOR", || {
            let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            match lines.iter().any(|line| line.contains(&mark)) {
                true => Ok(()),
                false => Err(Failure::new("MONITOR did not report the marker command")),
            }
        })
    }
}

impl Control {
    /// Returns the part of a `MONITOR` line that marks a command received over the socket:
    /// `[0 unix:/path]`.
    fn mark(&self) -> String {
        format!(" unix:{}]", self.socket.display())
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
        drop(self.reader.take().map(JoinHandle::join));
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").field("server", &self.control.socket).finish_non_exhaustive()
    }
}

fn read(mut connection: Connection, lines: &Mutex<Vec<String>>) {
    while let Ok(Ok(reply)) = connection.read() {
        lines.lock().unwrap_or_else(PoisonError::into_inner).push(reply.to_string());
    }
}
