use std::fmt;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::Control;
use super::resp::Connection;
use crate::failure::OrPanic;
use crate::{Failure, ports, wait};

/// The commands that a server executes, from [`Redis::monitor`](super::Redis::monitor) on.
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

    /// All commands that were executed so far, as `MONITOR` prints them, without those over the
    /// server's Unix socket, which the harness sends itself.
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

    /// The number of lines that contain this text, in any case.
    ///
    /// # Panics
    ///
    /// Panics if the server can't be reached.
    #[track_caller]
    pub fn count(&self, part: &str) -> usize {
        let part = part.to_lowercase();
        self.lines().iter().filter(|line| line.to_lowercase().contains(&part)).count()
    }

    /// Discards the commands that were executed so far.
    ///
    /// # Panics
    ///
    /// Panics if the server can't be reached.
    #[track_caller]
    pub fn clear(&self) {
        self.catch_up().or_panic();
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Waits until all earlier commands have arrived here, by sending another one after them.
    fn catch_up(&self) -> Result<(), Failure> {
        let mark = format!("monitored up to {:016x}", ports::random());
        self.control.cli(&["ECHO", &mark])?;
        wait::until("MONITOR", || {
            let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            match lines.iter().any(|line| line.contains(&mark)) {
                true => Ok(()),
                false => Err(Failure::new("it does not say what was executed")),
            }
        })
    }
}

impl Control {
    /// The mark of commands over the socket in a line of `MONITOR`: `[0 unix:/path]`.
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
