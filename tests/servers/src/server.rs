use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::failure::{During, OrPanic};
use crate::folder::Folder;
use crate::launch::Launch;
use crate::{Failure, wait};

/// How long a dropped server may take to shut down.
const DROP_PATIENCE: Duration = Duration::from_secs(5);

/// How much of the log a failure shows.
const MAX_TAIL_BYTES: usize = 4_000;

/// A server that runs, or that was stopped and can be started again.
///
/// This is common to all servers. On drop, the process and its children are ended, and its folder is
/// removed.
pub struct Server {
    name: &'static str,
    port: u16,
    launch: Launch,
    signals: Signals,
    ready: Ready,
    child: Mutex<Option<Child>>,
    // Last, so that it is removed last.
    folder: Folder,
}

/// Asks a server whether it is ready.
pub(crate) type Ready = Box<dyn Fn() -> Result<(), Failure> + Send + Sync>;

/// The signals that a server understands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signals {
    /// Shuts down without waiting for clients.
    pub(crate) stop: Signal,
    /// Ends at once, and releases the system's resources.
    pub(crate) quit: Signal,
}

impl Server {
    /// Starts a server and waits until it is ready.
    pub(crate) fn start(
        name: &'static str,
        port: u16,
        folder: Folder,
        launch: Launch,
        signals: Signals,
        ready: Ready,
    ) -> Result<Self, Failure> {
        let child = Mutex::new(None);
        let server = Self { name, port, launch, signals, ready, child, folder };
        server.up()?;
        Ok(server)
    }

    /// The port that it listens on, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its folder: data, configuration, log.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process that was started, if it runs.
    pub fn pid(&self) -> Option<u32> {
        let mut child = self.child();
        let child = child.as_mut()?;
        matches!(child.try_wait(), Ok(None)).then(|| child.id())
    }

    /// Whether it runs and is not paused.
    pub fn is_running(&self) -> bool {
        let pid = self.pid().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        pid.is_some_and(|pid| !is_stopped(pid))
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Kills it and everything that it started, as when the machine fails.
    #[track_caller]
    pub fn kill(&self) {
        self.down(Signal::KILL).or_panic();
    }

    /// Stops it in an orderly way.
    #[track_caller]
    pub fn stop(&self) {
        self.down(self.signals.stop).or_panic();
    }

    /// Starts it again on the same port, with what its folder holds; one that
    /// still runs is stopped first.
    #[track_caller]
    pub fn restart(&self) {
        if self.pid().is_some() {
            self.stop();
        }
        self.up().or_panic();
    }

    /// Pauses it: connections stay open, and it does not answer.
    #[track_caller]
    pub fn pause(&self) {
        self.freeze().or_panic();
    }

    /// Lets it go on where it was paused.
    pub fn resume(&self) {
        self.folder.signal(Signal::CONT);
    }

    /// Waits until it answers, as after a restart or a resume.
    #[track_caller]
    pub fn wait_until_ready(&self) {
        wait::until(self.name, || (self.ready)()).or_panic();
    }

    fn up(&self) -> Result<(), Failure> {
        let child = self.launch.spawn(&self.log_file())?;
        *self.child() = Some(child);
        wait::until(self.name, || {
            let Err(not_ready) = (self.ready)() else { return Ok(()) };
            let ended = match self.child().as_mut() {
                Some(child) => child.try_wait().during("its state can't be asked for")?,
                None => return Err(Failure::last("it was stopped while it started")),
            };
            let Some(status) = ended else { return Err(not_ready) };
            let tail = self.tail();
            let message = format!("ended at once ({status}): {tail}");
            Err(match says_port_taken(&tail) {
                true => Failure::port_taken(message),
                false => Failure::last(message),
            })
        })
        .map_err(|failure| match failure.is_final() {
            true => failure,
            false => Failure::last(format!("{failure}{}", self.tail())),
        })
    }

    /// Sends the signal that ends it, and waits until nothing of it runs.
    fn down(&self, signal: Signal) -> Result<(), Failure> {
        if signal == Signal::KILL {
            // Paused first, it starts nothing new while its processes are being killed.
            let _ = self.freeze();
            self.folder.signal(Signal::KILL);
        } else {
            // One that is paused would never see it.
            self.signal_main(signal);
            self.resume();
        }
        let result = self.wait_until_down(signal, wait::PATIENCE);
        result.map_err(|failure| failure.during(format_args!("{} does not end", self.name)))
    }

    fn wait_until_down(&self, signal: Signal, limit: Duration) -> Result<(), Failure> {
        wait::within(limit, self.name, || {
            let mut child = self.child();
            if let Some(process) = child.as_mut() {
                // An orphan of a killed server is asked again; of another, it ends by itself.
                if process.try_wait().during("its state can't be asked for")?.is_none() {
                    return Err(Failure::new("it still runs"));
                }
            }
            let left = match signal == Signal::KILL {
                true => self.folder.signal(Signal::KILL),
                false => self.folder.processes().len(),
            };
            if left > 0 {
                return Err(Failure::new(format!("{left} of its processes still run")));
            }
            *child = None;
            Ok(())
        })
    }

    /// Pauses its processes until none is left that could start another.
    fn freeze(&self) -> Result<(), Failure> {
        self.signal_main(Signal::STOP);
        wait::until("a pause", || {
            let running: Vec<Pid> =
                self.folder.processes().into_iter().filter(|pid| !is_stopped(*pid)).collect();
            for pid in &running {
                let _ = kill_process(*pid, Signal::STOP);
            }
            match running.len() {
                0 => Ok(()),
                count => Err(Failure::new(format!("{count} processes still run"))),
            }
        })
    }

    fn signal_main(&self, signal: Signal) {
        let pid = self.pid().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        if let Some(pid) = pid {
            // It may have ended meanwhile, which is what most signals are for.
            let _ = kill_process(pid, signal);
        }
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        // A panicking test must still be able to end its server.
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    fn tail(&self) -> String {
        let log = self.log();
        let mut start = log.len().saturating_sub(MAX_TAIL_BYTES);
        while !log.is_char_boundary(start) {
            start += 1;
        }
        format!("\n--- the end of the log of {}:\n{}\n---", self.name, log[start..].trim_end())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing here may panic: a test that fails drops its servers while it unwinds.
        if self.signals.quit != Signal::KILL {
            self.signal_main(self.signals.quit);
            self.resume();
            let _ = self.wait_until_down(self.signals.quit, DROP_PATIENCE);
        }
        let _ = self.down(Signal::KILL);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("name", &self.name)
            .field("port", &self.port)
            .field("pid", &self.pid())
            .field("folder", &self.folder.path())
            .finish_non_exhaustive()
    }
}

fn says_port_taken(log: &str) -> bool {
    let log = log.to_lowercase();
    log.contains("address already in use") || log.contains("could not create server tcp")
}

/// Whether it is stopped, or has ended and only waits to be noticed.
fn is_stopped(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    // After the name, which is in parentheses and may contain anything.
    let state = stat.as_deref().ok().and_then(|stat| stat.rsplit_once(") ")?.1.chars().next());
    matches!(state, None | Some('T' | 't' | 'Z' | 'X'))
}
