//! A server, and the connection to it, which is made anew when it is lost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kvolt_cache::Timestamp;
use redis::{Cmd, Value};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::connect::{Link, Options};
use crate::errors::Fault;
use crate::reply;
use crate::script::Call;
use crate::sentinel::Sentinels;
use crate::url::Address;

/// After a failed attempt nobody tries again for so long; twice as long after each further one.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
/// Whoever comes after the server has returned waits for it no longer than this.
const MAX_PAUSE: Duration = Duration::from_millis(320);
/// The longest time that the server is asked to wait for replicas, in milliseconds: 49 days.
const MAX_WAIT: u128 = 1 << 32;

/// Which server.
pub(crate) enum Source {
    At(Address),
    /// Whichever is the master at the time.
    MasterOf(Sentinels),
}

impl Source {
    async fn open(&self, options: &Options) -> Result<Link, Fault> {
        let link = match self {
            Self::At(address) => Link::open(address, options).await?,
            Self::MasterOf(sentinels) => sentinels.open_master(options).await?,
        };
        link.identified().await
    }
}

/// A server.
///
/// A call that finds the connection lost waits for a new one, or is told at once that the last
/// attempt has just failed. No call is sent twice: of one whose answer is lost nobody
/// knows whether it has taken effect.
pub(crate) struct Node {
    main: Lane,
    /// For calls that wait for replicas: a connection stands still while one of them waits.
    waiting: Option<Lane>,
    options: Arc<Options>,
}

impl Node {
    pub(crate) fn new(source: Source, options: Arc<Options>) -> Self {
        let source = Arc::new(source);
        let lane = || Lane {
            source: Arc::clone(&source),
            options: Arc::clone(&options),
            state: Arc::default(),
        };
        let waiting = options.replicas.is_some().then(lane);
        Self { main: lane(), waiting, options }
    }

    pub(crate) fn source(&self) -> &Source {
        &self.main.source
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Whether a connection that this has leads to another process than `link`.
    pub(crate) fn is_of_another(&self, link: &Link) -> bool {
        [Some(&self.main), self.waiting.as_ref()].into_iter().flatten().any(|lane| {
            let state = lane.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.link.as_ref().is_some_and(|mine| mine.is_of_another(link))
        })
    }

    /// The connection that reads use.
    pub(crate) async fn link(&self) -> Result<Arc<Link>, Fault> {
        self.main.link().await
    }

    /// Lets go of the connections, so that the next call makes new ones.
    pub(crate) fn forget(&self) {
        self.main.forget();
        if let Some(lane) = &self.waiting {
            lane.forget();
        }
    }

    /// Sends a command. Only for what may be answered before any replica knows of it.
    pub(crate) async fn send(&self, command: &Cmd) -> Result<Value, Fault> {
        let guarded = Guarded::new(&self.main, self.main.link().await?);
        let answer = self.in_time(guarded.link().send(command)).await?;
        guarded.answered();
        self.seen(answer)
    }

    /// Sends a call, and returns the answer and the server's time after it: that time or a little
    /// more. `asking` is for a slot of a cluster that is on its way to this node.
    pub(crate) async fn call(
        &self,
        call: &Call,
        asking: bool,
    ) -> Result<(Value, Timestamp), Fault> {
        let answer = self.call_once(call, call.command(), asking).await;
        // Such a call has not been executed.
        if let Err(fault) = &answer
            && fault.is_unknown_script()
            && let Some(source) = call.with_source()
        {
            return Box::pin(self.call_once(call, &source, asking)).await;
        }
        answer
    }

    async fn call_once(
        &self,
        call: &Call,
        command: &Cmd,
        asking: bool,
    ) -> Result<(Value, Timestamp), Fault> {
        let (lane, replicas) = match (&self.waiting, self.options.replicas) {
            (Some(lane), Some(replicas)) if call.is_write() => (lane, Some(replicas)),
            _ => (&self.main, None),
        };
        let guarded = Guarded::new(lane, lane.link().await?);
        let (sent, asks) = guarded.link().time().ask();
        let asks = asks && !call.is_script();
        let (answer, time) = if replicas.is_none() && !asking && !asks {
            let answer = self.in_time(guarded.link().send(command)).await?;
            (answer, None)
        } else {
            // Boxed, so that the usual call is not as large as this one.
            let with = With { asking, time: asks, replicas };
            Box::pin(self.send_with(guarded.link(), command, with)).await?
        };
        let link = guarded.answered();
        let answer = self.seen(answer)?;
        // Each answer of a script begins with the time.
        let scripts = || reply::time(&answer).filter(|_| call.is_script());
        if let Some(time) = time.or_else(scripts) {
            link.time().heard(sent, time);
        }
        let now = link.time().now().ok_or_else(unanswered)?;
        Ok((answer, now))
    }

    /// Sends a command with what has to come before and after it in the same write. Returns what
    /// came of it, and the server's time if that was asked for.
    async fn send_with(
        &self,
        link: &Link,
        command: &Cmd,
        with: With,
    ) -> Result<(Result<Value, Fault>, Option<Timestamp>), Fault> {
        let mut commands = redis::pipe();
        if with.asking {
            commands.cmd("ASKING");
        }
        commands.add_command(command.clone());
        if with.time {
            commands.cmd("TIME");
        }
        if let Some((count, limit)) = with.replicas {
            let limit = limit.as_millis().clamp(1, MAX_WAIT).to_string();
            commands.cmd("WAIT").arg(count).arg(limit);
        }
        let answers = self.in_time(link.send_all(&commands)).await??;
        let mut answers = answers.into_iter().skip(usize::from(with.asking));
        let mut next = || answers.next().ok_or_else(unanswered);
        let answer = next()?;
        let time = match with.time {
            true => Some(reply::server_time(next()??).ok_or_else(unanswered)?),
            false => None,
        };
        if let (Some((count, _)), Ok(_)) = (with.replicas, &answer) {
            let reached = match next()?? {
                Value::Int(reached) => reached,
                _ => 0,
            };
            if reached < i64::from(count) {
                return Err(Fault::unavailable(format!(
                    "the change is on {reached} of the {count} replicas that it has to be on; it may or may not last"
                )));
            }
        }
        Ok((answer, time))
    }

    /// An error once most of the time is up: the rest is for finding out who else could be asked.
    async fn in_time<T>(&self, sending: impl Future<Output = T>) -> Result<T, Fault> {
        let limit = self.options.timeout / 4 * 3;
        tokio::time::timeout(limit, sending)
            .await
            .map_err(|_| Fault::unavailable(format!("no answer within {limit:?}")))
    }

    /// A replica does not become a master on the connection that it was asked on: look again.
    fn seen(&self, answer: Result<Value, Fault>) -> Result<Value, Fault> {
        if matches!(&answer, Err(fault) if fault.is_replica()) {
            self.forget();
        }
        answer
    }
}

/// What goes with a command.
struct With {
    asking: bool,
    time: bool,
    replicas: Option<(u32, Duration)>,
}

fn unanswered() -> Fault {
    Fault::unavailable("the server did not answer each command")
}

/// One connection to a node.
struct Lane {
    source: Arc<Source>,
    options: Arc<Options>,
    state: Arc<Mutex<State>>,
}

/// What becomes of an attempt to connect, once it is over.
type Attempt = watch::Receiver<Option<Result<Arc<Link>, Fault>>>;

#[derive(Default)]
struct State {
    link: Option<Arc<Link>>,
    attempt: Option<Attempt>,
    /// How the last attempts failed, how many, and until when nobody tries again.
    failed: Option<(Fault, u32, Instant)>,
}

impl Lane {
    async fn link(&self) -> Result<Arc<Link>, Fault> {
        let current = self.state.lock().unwrap_or_else(PoisonError::into_inner).link.clone();
        match current {
            Some(link) if link.is_open() => Ok(link),
            _ => Box::pin(self.connect()).await.map_err(Fault::before_sending),
        }
    }

    async fn connect(&self) -> Result<Arc<Link>, Fault> {
        let mut attempt = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(link) = state.link.take_if(|link| !link.is_open()) {
                drop(link);
            }
            if let Some(link) = &state.link {
                return Ok(Arc::clone(link));
            }
            match &state.attempt {
                Some(attempt) => attempt.clone(),
                None => {
                    if let Some((fault, _, until)) = &state.failed
                        && Instant::now() < *until
                    {
                        return Err(fault.clone());
                    }
                    let attempt = self.attempt();
                    state.attempt = Some(attempt.clone());
                    attempt
                }
            }
        };
        let lost = || Fault::unavailable("the attempt to connect was broken off");
        let outcome = attempt.wait_for(Option::is_some).await.map_err(|_| lost())?;
        outcome.clone().unwrap_or_else(|| Err(lost()))
    }

    /// Connects in a task of its own: the callers that wait for it may give up, one after the other.
    fn attempt(&self) -> Attempt {
        let (told, outcome) = watch::channel(None);
        let (source, options) = (Arc::clone(&self.source), Arc::clone(&self.options));
        let state = Arc::clone(&self.state);
        // If the runtime ends the task, the next caller has to be able to try again.
        let cleanup = Cleanup(Arc::clone(&self.state));
        tokio::spawn(async move {
            let opened = source.open(&options).await.map(Arc::new);
            {
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                match &opened {
                    Ok(link) => {
                        state.link = Some(Arc::clone(link));
                        state.failed = None;
                    }
                    Err(fault) => {
                        let failures = state.failed.as_ref().map_or(0, |(_, count, _)| *count);
                        let pause = PAUSE_FIRST * 2u32.pow(failures.min(8));
                        let until = Instant::now() + pause.min(MAX_PAUSE);
                        state.failed = Some((fault.clone(), failures + 1, until));
                    }
                }
            }
            drop(cleanup);
            // Nobody may be waiting any more.
            let _ = told.send(Some(opened));
        });
        outcome
    }

    fn forget(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).link = None;
    }

    fn forget_this(&self, link: &Arc<Link>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.link.take_if(|current| Arc::ptr_eq(current, link));
    }
}

struct Cleanup(Arc<Mutex<State>>);

impl Drop for Cleanup {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).attempt = None;
    }
}

/// A call under way.
///
/// If it is given up after a long time in which nothing at all has come from the server, the
/// connection may have been cut without a word, which TCP finds out after a quarter of an hour:
/// the next call makes a new one.
struct Guarded<'a> {
    lane: &'a Lane,
    link: Arc<Link>,
    sent: Instant,
    is_answered: bool,
}

impl<'a> Guarded<'a> {
    fn new(lane: &'a Lane, link: Arc<Link>) -> Self {
        Self { lane, link, sent: Instant::now(), is_answered: false }
    }

    fn link(&self) -> &Link {
        &self.link
    }

    fn answered(mut self) -> Arc<Link> {
        self.is_answered = true;
        Arc::clone(&self.link)
    }
}

impl Drop for Guarded<'_> {
    fn drop(&mut self) {
        let patience = self.lane.options.timeout / 2;
        if !self.is_answered
            && self.sent.elapsed() >= patience
            && self.link.is_silent_since(self.sent)
        {
            self.lane.forget_this(&self.link);
        }
    }
}
