//! A server, and the connection to it, which is opened again after it is lost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kvolt_cache::Timestamp;
use redis::aio::ConnectionManager;
use redis::{Cmd, Value};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::connect::{Link, Options};
use crate::errors::Fault;
use crate::reply;
use crate::script::Call;
use crate::url::Address;

/// No attempt to connect is made for this time after one has failed; twice as long after each
/// further one, at most [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_millis(320);
/// The longest time that the server is asked to wait for replicas, in milliseconds: 49 days.
const MAX_WAIT: u128 = 1 << 32;

/// A server.
///
/// A call that finds the connection lost waits for a new one, or fails at once if the last attempt
/// has just failed. No call is sent twice: if its reply is lost, it may have been executed.
pub(crate) struct Node {
    main: SharedConnection,
    /// For calls that wait for replicas: a connection executes nothing else while one waits.
    waiting: Option<SharedConnection>,
}

impl Node {
    pub(crate) fn new(address: Address, options: Arc<Options>) -> Self {
        let waiting =
            options.replicas.map(|_| SharedConnection::new(address.clone(), Arc::clone(&options)));
        Self { main: SharedConnection::new(address, options), waiting }
    }

    /// The node on the application's connection.
    pub(crate) fn existing(connection: ConnectionManager, options: Arc<Options>) -> Self {
        let main = SharedConnection::new(Address::Existing, options);
        let (_, attempt) = watch::channel(Some(Ok(Arc::new(Link::existing(connection)))));
        *main.last_attempt() = Some(attempt);
        Self { main, waiting: None }
    }

    pub(crate) const fn address(&self) -> &Address {
        &self.main.address
    }

    /// Whether a connection of this node is to another process than `link`.
    pub(crate) async fn is_other_process(&self, link: &Link) -> Result<bool, Fault> {
        let connections = [Some(&self.main), self.waiting.as_ref()].into_iter().flatten();
        for mine in connections.filter_map(SharedConnection::current) {
            let is_other = match mine.is_existing() {
                // It may have reconnected.
                true => {
                    let identity = timeout(self.limit(), mine.identity()).await;
                    identity.unwrap_or_else(|_| Err(self.no_reply()))? != link.run_id
                }
                false => mine.run_id != link.run_id,
            };
            if is_other {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Drops the connections, so that the next call opens new ones.
    pub(crate) fn disconnect(&self) {
        self.main.close(|_| true);
        if let Some(waiting) = &self.waiting {
            waiting.close(|_| true);
        }
    }

    /// Sends a command that need not be on any replica when it is answered.
    pub(crate) async fn send(&self, command: &Cmd) -> Result<Value, Fault> {
        let sent = InFlight::new(&self.main).await?;
        let reply = timeout(self.limit(), sent.link.send(command)).await;
        let reply = reply.map_err(|_| self.no_reply())?;
        sent.answered();
        self.checked(reply)
    }

    /// Sends a call, and returns the reply and the server's time after it or slightly more.
    /// `asking` is for a slot of a cluster that is being moved to this node.
    pub(crate) async fn call(
        &self,
        call: &Call,
        asking: bool,
    ) -> Result<(Value, Timestamp), Fault> {
        let reply = self.call_once(call, &call.command, asking).await;
        // The server does not have the script, so it has not executed it.
        if let Err(fault) = &reply
            && fault.code() == Some("NOSCRIPT")
            && let Some(with_source) = call.with_source()
        {
            return Box::pin(self.call_once(call, &with_source, asking)).await;
        }
        reply
    }

    async fn call_once(
        &self,
        call: &Call,
        command: &Cmd,
        asking: bool,
    ) -> Result<(Value, Timestamp), Fault> {
        let waiting = self.waiting.as_ref().filter(|_| call.writes);
        let sent = InFlight::new(waiting.unwrap_or(&self.main)).await?;
        let replicas = self.main.options.replicas.filter(|_| waiting.is_some());
        let (asked_at, time) = sent.link.time.ask();
        // A script's reply begins with the time.
        let time = time && call.script.is_none();
        let (reply, time) = if replicas.is_none() && !asking && !time {
            let reply = timeout(self.limit(), sent.link.send(command)).await;
            (reply.map_err(|_| self.no_reply())?, None)
        } else {
            // Boxed, so that the usual call is smaller than this one.
            Box::pin(self.send_with(&sent.link, command, asking, time, replicas)).await?
        };
        let link = sent.answered();
        let reply = self.checked(reply)?;
        let scripts = || reply::script_time(&reply).filter(|_| call.script.is_some());
        if let Some(time) = time.or_else(scripts) {
            link.time.update(asked_at, time);
        }
        Ok((reply, link.time.now().ok_or_else(too_few)?))
    }

    /// Sends a command and what belongs before and after it in one write. Returns the command's
    /// outcome, and the server's time if it was asked for.
    async fn send_with(
        &self,
        link: &Link,
        command: &Cmd,
        asking: bool,
        with_time: bool,
        replicas: Option<(u32, Duration)>,
    ) -> Result<(Result<Value, Fault>, Option<Timestamp>), Fault> {
        let mut commands = redis::pipe();
        if asking {
            commands.cmd("ASKING");
        }
        commands.add_command(command.clone());
        if with_time {
            commands.cmd("TIME");
        }
        if let Some((count, limit)) = replicas {
            let limit = limit.as_millis().clamp(1, MAX_WAIT).to_string();
            commands.cmd("WAIT").arg(count).arg(limit);
        }
        let replies = timeout(self.limit(), link.send_all(&commands)).await;
        let replies = replies.map_err(|_| self.no_reply())??;
        let mut replies = replies.into_iter().skip(usize::from(asking));
        let mut next = || replies.next().ok_or_else(too_few);
        let reply = next()?;
        let time = match with_time {
            true => Some(reply::time(next()??).ok_or_else(too_few)?),
            false => None,
        };
        if let (Some((count, _)), Ok(_)) = (replicas, &reply) {
            let reached: u32 = reply::parse(next()??).unwrap_or_default();
            if reached < count {
                return Err(Fault::unavailable(format!(
                    "the change is on {reached} of the {count} replicas that it must be on; \
                     it may or may not last"
                )));
            }
        }
        Ok((reply, time))
    }

    /// Most of the call's time: the rest is for discovering another server.
    fn limit(&self) -> Duration {
        self.main.options.timeout / 4 * 3
    }

    fn no_reply(&self) -> Fault {
        Fault::no_reply(self.address(), self.limit())
    }

    /// A replica stays a replica on this connection: the address may lead to the master now.
    fn checked(&self, reply: Result<Value, Fault>) -> Result<Value, Fault> {
        reply.inspect_err(|fault| {
            if fault.is_replica() {
                self.disconnect();
            }
        })
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.address() == other.address()
    }
}

fn too_few() -> Fault {
    Fault::unavailable("the server did not reply to every command")
}

/// One connection to a server, opened when a call needs it.
struct SharedConnection {
    address: Address,
    options: Arc<Options>,
    /// The last attempt to open it.
    attempt: Mutex<Option<Attempt>>,
}

/// An attempt to connect, with its outcome once it has ended.
type Attempt = watch::Receiver<Option<Result<Arc<Link>, Failed>>>;

/// A failed attempt to connect.
#[derive(Clone)]
struct Failed {
    fault: Fault,
    /// How many attempts have failed one after the other.
    count: u32,
    /// When the next attempt may begin.
    until: Instant,
}

impl SharedConnection {
    fn new(address: Address, options: Arc<Options>) -> Self {
        Self { address, options, attempt: Mutex::default() }
    }

    async fn link(&self) -> Result<Arc<Link>, Fault> {
        match self.current() {
            Some(link) if link.is_open() => Ok(link),
            _ => Box::pin(self.connect()).await.map_err(Fault::before_sending),
        }
    }

    async fn connect(&self) -> Result<Arc<Link>, Fault> {
        let mut attempt = {
            let mut last = self.last_attempt();
            let mut failures = 0;
            let usable = last.as_ref().filter(|attempt| match &*attempt.borrow() {
                Some(Ok(link)) => link.is_open(),
                Some(Err(failed)) => {
                    failures = failed.count;
                    Instant::now() < failed.until
                }
                // Under way, unless its runtime has ended.
                None => attempt.has_changed().is_ok(),
            });
            match usable {
                Some(attempt) => attempt.clone(),
                None => last.insert(self.open(failures)).clone(),
            }
        };
        let aborted = || Fault::unavailable("the attempt to connect was aborted");
        let outcome = attempt.wait_for(Option::is_some).await.map_err(|_| aborted())?;
        match &*outcome {
            Some(Ok(link)) => Ok(Arc::clone(link)),
            Some(Err(failed)) => Err(failed.fault.clone()),
            None => Err(aborted()),
        }
    }

    /// Connects in a task of its own, because the callers that wait for it may give up.
    fn open(&self, failures: u32) -> Attempt {
        let (outcome, attempt) = watch::channel(None);
        let (address, options) = (self.address.clone(), Arc::clone(&self.options));
        tokio::spawn(async move {
            let opened = async { Link::open(&address, &options, None).await?.identified().await };
            let opened = opened.await.map(Arc::new).map_err(|fault| {
                let pause = (FIRST_PAUSE * 2u32.pow(failures.min(8))).min(MAX_PAUSE);
                Failed { fault, count: failures + 1, until: Instant::now() + pause }
            });
            // All receivers may be gone.
            let _ = outcome.send(Some(opened));
        });
        attempt
    }

    fn last_attempt(&self) -> MutexGuard<'_, Option<Attempt>> {
        self.attempt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> Option<Arc<Link>> {
        match &*self.last_attempt().as_ref()?.borrow() {
            Some(Ok(link)) => Some(Arc::clone(link)),
            _ => None,
        }
    }

    /// Drops the connection if it is one of these, unless it belongs to the application.
    fn close(&self, these: impl Fn(&Arc<Link>) -> bool) {
        let is_it = |attempt: &mut Attempt| matches!(&*attempt.borrow(), Some(Ok(link)) if !link.is_existing() && these(link));
        self.last_attempt().take_if(is_it);
    }
}

/// A call that was sent and not answered yet.
///
/// If the caller gives up after a long time in which nothing has come from the server, the network
/// may have cut the connection without notice, which TCP detects after a quarter of an hour. Then
/// the next call opens a new one.
struct InFlight<'a> {
    connection: &'a SharedConnection,
    link: Arc<Link>,
    sent: Instant,
    is_answered: bool,
}

impl<'a> InFlight<'a> {
    async fn new(connection: &'a SharedConnection) -> Result<Self, Fault> {
        let link = connection.link().await?;
        Ok(Self { connection, link, sent: Instant::now(), is_answered: false })
    }

    fn answered(mut self) -> Arc<Link> {
        self.is_answered = true;
        Arc::clone(&self.link)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if !self.is_answered
            && self.sent.elapsed() >= self.connection.options.timeout / 2
            && self.link.is_silent_since(self.sent)
        {
            self.connection.close(|link| Arc::ptr_eq(link, &self.link));
        }
    }
}
